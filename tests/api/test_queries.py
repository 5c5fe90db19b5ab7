"""Queries that a chat model writes, as a user meets them: in the answer, by setting and by request, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.footnote import Footnote
from tests.api.conftest import Service, ingest, write
from tests.upstream import Upstream

TRANSLATION = "How tall is the Eiffel Tower?"
CHINESE = "埃菲尔铁塔有多高?"


def scripted(request: dict[str, Any]) -> str:
    """Write queries where queries are asked for, else cite the first source."""
    told = request["messages"][0]["content"]
    if "search queries" not in told:
        return "It is 330 metres tall [1]."
    wanted = {
        "question": "How tall is the tower in Paris?",
        "alternatives": ["height of the tower"],
        "translation": TRANSLATION,
        "passage": "The tower is 330 metres tall.",
    }
    return json.dumps({name: value for name, value in wanted.items() if f'"{name}":' in told})


@pytest.fixture
def asked(upstream: Upstream) -> dict[str, str]:
    upstream.reply = scripted
    return {"chat__base_url": upstream.base_url, "chat__model": "stub-chat"}


def query_calls(upstream: Upstream) -> list[dict[str, Any]]:
    return [call.json for call in upstream.calls("chat") if "search queries" in call.json["messages"][0]["content"]]


def ask(client: httpx2.Client, question: str, **body: object) -> dict[str, Any]:
    reply = client.post("/ask", json={"question": question, **body})
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert isinstance(answer, dict)
    return answer


def test_a_chinese_question_finds_english_documents(
    service: Service, ingested: Path, upstream: Upstream, asked: dict[str, str]
) -> None:
    client = service(ingested, **asked, query__model="stub-small")
    answer = ask(client, CHINESE)
    assert answer["queries"] == [CHINESE, TRANSLATION]
    assert answer["sources"][0]["document"] == "places/tower.txt"
    assert answer["citations"][0]["document"] == "places/tower.txt"
    assert [call["model"] for call in query_calls(upstream)] == ["stub-small"]


def test_an_english_question_finds_chinese_documents(
    service: Service, upstream: Upstream, asked: dict[str, str], tmp_path: Path
) -> None:
    ingest(
        tmp_path / "library",
        write(tmp_path / "zh", {"塔.txt": "埃菲尔铁塔高330米。\n", "元.txt": "元朝的首都是大都。\n"}),
    )
    upstream.reply = lambda request: (
        json.dumps({"translation": CHINESE})
        if "search queries" in request["messages"][0]["content"]
        else "330 米 [1]。"
    )
    answer = ask(service(tmp_path / "library", **asked), TRANSLATION)
    assert answer["queries"] == [TRANSLATION, CHINESE]
    assert answer["sources"][0]["document"] == "塔.txt"


def test_a_request_says_which_queries_are_written(
    service: Service, ingested: Path, upstream: Upstream, asked: dict[str, str]
) -> None:
    client = service(ingested, **asked)
    question = "How tall is the Eiffel Tower in Paris?"
    assert ask(client, question)["queries"] == [question]
    wanted = ask(client, question, query={"alternatives": 1, "hyde": "on"})
    assert wanted["queries"] == [question, "height of the tower", "The tower is 330 metres tall."]
    assert ask(client, CHINESE, query={"translate": "off"})["queries"] == [CHINESE]
    assert len(query_calls(upstream)) == 1
    turns = [{"role": "user", "text": "What stands in Paris?"}, {"role": "assistant", "text": "A tower [1]."}]
    rewritten = ask(client, "How tall is it?", history=turns)
    assert rewritten["queries"] == ["How tall is the tower in Paris?"]
    plain = ask(client, "How tall is it?", history=turns, query={"rewrite": "off"})
    assert plain["queries"] == ["What stands in Paris?\nHow tall is it?"]


@pytest.mark.parametrize("query", [{"alternatives": 6}, {"hyde": True}, {"wording": "other"}])
def test_a_wish_that_means_nothing_is_a_400(reader: httpx2.Client, query: dict[str, object]) -> None:
    assert reader.post("/ask", json={"question": "Why?", "query": query}).status_code == 400


async def test_without_a_chat_model_the_question_is_the_query(ingested: Path) -> None:
    async with Footnote.open(ingested, environ={}) as footnote:
        assert footnote.collection().language() == "en"
        answer = await footnote.ask(CHINESE, query={"alternatives": 3})
        assert answer.queries == (CHINESE,)
