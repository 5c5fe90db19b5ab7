"""Reranking as a user meets it: named in a setting, seen in the hits, and no reason for an answer to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.choice import choose
from api.footnote import Footnote
from rag.errors import ConfigError
from rag.settings import load_settings
from rag.types import Retrieval
from tests.upstream import Fault, Upstream


def search(library: Path, query: str, **settings: Any) -> Retrieval:
    async def run() -> Retrieval:
        async with Footnote.open(library, environ={}, **settings) as footnote:
            return await footnote.search(query)

    return asyncio.run(run())


def test_nobody_reranks_unless_named() -> None:
    shared = {"OPENAI_BASE_URL": "https://api.siliconflow.cn/v1", "OPENAI_API_KEY": "k"}
    assert choose(load_settings(shared), "rerank").kind == "off"
    named = choose(load_settings(shared | {"RAG_RERANK_PROVIDER": "siliconflow"}), "rerank")
    assert (named.kind, named.explicit) == ("endpoint", True)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RAG_RERANK_PROVIDER": "deepseek", "DEEPSEEK_API_KEY": "k"}, "serves no rerank"),
        ({"RAG_RERANK_PROVIDER": "chat"}, "no chat endpoint is set"),
        ({"RAG_RERANK_PROVIDER": "jina"}, "needs a key for rerank"),
    ],
)
def test_who_cannot_rerank_is_said(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        choose(load_settings(environ), "rerank")


def test_hits_are_reranked_by_the_endpoint_named(ingested: Path, upstream: Upstream) -> None:
    found = search(
        ingested, "How tall is the Eiffel Tower?", rerank__base_url=upstream.base_url, rerank__model="stub-rerank"
    )
    assert found.reranker == "stub-rerank"
    assert found.hits[0].rerank_score == found.hits[0].score


def test_a_passage_is_judged_under_the_titles_above_it(ingested: Path, upstream: Upstream) -> None:
    search(ingested, "Who landed on the Moon?", rerank__base_url=upstream.base_url, rerank__model="m")
    texts = upstream.calls("rerank")[0].json["documents"]
    assert any(text.startswith("The Moon") and "Apollo 11 landed" in text for text in texts)


def test_the_only_model_that_reranks_is_found_by_its_name(ingested: Path, upstream: Upstream) -> None:
    upstream.models = ("stub-chat", "stub-embedding", "bge-reranker")
    assert search(ingested, "tower", rerank__base_url=upstream.base_url).reranker == "bge-reranker"


def test_the_chat_model_reranks_where_it_is_to(ingested: Path, upstream: Upstream) -> None:
    upstream.reply = lambda request: (
        '{"grades": [' + ", ".join("1" * request["messages"][-1]["content"].count('", "')) + "]}"
    )
    found = search(
        ingested,
        "tower",
        chat__base_url=upstream.base_url,
        chat__model="stub-chat",
        rerank__provider="chat",
    )
    assert upstream.calls("chat")
    assert found.reranker == "stub-chat" or found.notes


def test_an_answer_does_not_wait_for_a_reranker_that_is_down(
    service: Callable[..., httpx2.Client], upstream: Upstream
) -> None:
    upstream.always("rerank", Fault(hang=True))
    client = service(rerank__base_url=upstream.base_url, rerank__model="m", rerank__timeout_s=0.2)
    answer = client.post("/ask", json={"question": "How tall is the Eiffel Tower?"}).json()
    assert answer["answered"]
    assert answer["notes"] == ["not reranked: m did not answer within 0.2 s (rerank.timeout_s)"]
    found = client.post("/search", json={"query": "tower"}).json()
    assert (found["reranker"], len(found["notes"])) == ("", 1)
    assert all(hit["rerank_score"] is None for hit in found["hits"])
