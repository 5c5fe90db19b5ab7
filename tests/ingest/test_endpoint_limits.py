"""The queue against endpoints that enforce limits as real ones do, over HTTP: all is embedded, nothing twice."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.vector_store import VectorSpace, VectorStore
from ingest.embedding import EmbeddingQueue
from rag.gateway.embeddings import EndpointEmbedder
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.providers import embedder_profile, provider_named
from rag.types import Chunk, EmbedderProfile, content_address
from tests.fakes import WordTokenizer
from tests.upstream import Fault, Upstream, embedding_of, error_body

TOKENIZER = WordTokenizer()
SPACE = VectorSpace("stub-embedding", 8)
Refuse = Callable[[dict[str, Any]], Fault | None]


def tokens_of(request: dict[str, Any]) -> list[int]:
    return [TOKENIZER.count(text) for text in request["input"]]


def refused(status: int, message: str, code: str | None = None) -> Fault:
    return Fault(status=status, body=error_body(status, message=message, code=code))


def openai_like(request: dict[str, Any]) -> Fault | None:
    sizes = tokens_of(request)
    if len(sizes) > 2048:
        said = f"Invalid 'input': array too long. Expected an array with maximum length 2048, but got {len(sizes)}."
        return refused(400, said, "array_above_max_length")
    if sum(sizes) > 300_000:
        said = f"Requested {sum(sizes)} tokens, max 300000 tokens per request"
        return refused(400, said, "max_tokens_per_request")
    if max(sizes) > 8192:
        said = f"This model's maximum context length is 8192 tokens, however you requested {max(sizes)} tokens."
        return refused(400, said, "context_length_exceeded")
    return None


def dashscope_like(request: dict[str, Any]) -> Fault | None:
    if len(request["input"]) > 10:
        return refused(400, "batch size is invalid, it should not be larger than 10.: input.contents")
    return None


def siliconflow_like(request: dict[str, Any]) -> Fault | None:
    if len(request["input"]) > 32:
        body = {"code": 20042, "message": "input batch size 33 > maximum allowed batch size 32", "data": None}
        return Fault(status=413, body=body)
    if max(tokens_of(request)) > 512:
        return Fault(status=413, body={"code": 20042, "message": "input must have less than 512 tokens", "data": None})
    return None


def proxy_like(request: dict[str, Any]) -> Fault | None:
    """A proxy in front that takes 32 texts and does not say what it minds."""
    if len(request["input"]) > 32:
        page = "<html><head><title>413 Request Entity Too Large</title></head></html>"
        return Fault(status=413, headers={"content-type": "text/html"}, body=page)
    return None


def llamacpp_like(request: dict[str, Any]) -> Fault | None:
    longest = max(tokens_of(request))
    if longest > 512:
        said = f"input ({longest} tokens) is too large to process. increase the physical batch size (current: 512)"
        return refused(500, said)
    return None


def texts_of(n: int, n_tokens: int) -> list[str]:
    return [" ".join([f"t{i}", *["word"] * (n_tokens - 1)]) for i in range(n)]


def chunks_of(texts: list[str]) -> list[Chunk]:
    return [Chunk(text, "a.txt", 0, len(text), text, TOKENIZER.count(text)) for text in texts]


class Bench:
    """A store, a queue's file and embedders for one endpoint."""

    def __init__(self, folder: Path, upstream: Upstream, transport: HttpxTransport) -> None:
        self.store = VectorStore(folder / "vectors.db", create=True)
        self.learnt = folder / "endpoints.json"
        self._upstream = upstream
        self._transport = transport

    def embedder(self, provider: str = "openai-compatible", model: str = "stub-embedding") -> EndpointEmbedder:
        endpoint = Endpoint(provider_named(provider), base_url=self._upstream.base_url, timeout_s=5)
        profile = embedder_profile(endpoint.provider, model)
        profile = EmbedderProfile(profile.model, SPACE.dimensions, "words", profile.limits)
        return EndpointEmbedder(EndpointClient(endpoint, self._transport), profile, tokenizer=TOKENIZER)

    def queue(self, embedder: EndpointEmbedder) -> EmbeddingQueue:
        return EmbeddingQueue(embedder, self.store, SPACE, learnt=self.learnt, count_tokens=TOKENIZER.count)

    async def embed(self, embedder: EndpointEmbedder, texts: list[str]) -> None:
        queue = self.queue(embedder)
        await queue.fill(chunks_of(texts))
        await queue.aclose()

    def n_missing(self, texts: list[str]) -> int:
        return len(self.store.missing(SPACE, [content_address(text) for text in texts]))


@pytest.fixture
async def bench(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Bench]:
    transport = HttpxTransport(n_pools=2)
    upstream.dimensions = SPACE.dimensions
    opened = Bench(tmp_path, upstream, transport)
    yield opened
    opened.store.close()
    await transport.aclose()


@pytest.mark.parametrize(
    ("provider", "model", "limits", "n_texts", "n_tokens", "fewest"),
    [
        ("openai", "text-embedding-3-small", openai_like, 5000, 3, math.ceil(5000 / 2048)),
        ("openai", "text-embedding-3-small", openai_like, 1200, 500, 2),
        ("qwen", "text-embedding-v4", dashscope_like, 200, 20, 20),
        ("qwen", "text-embedding-v2", dashscope_like, 200, 20, 20),
        ("zhipu", "embedding-3", siliconflow_like, 640, 20, 20),
        ("siliconflow", "BAAI/bge-m3", siliconflow_like, 640, 20, 20),
        ("llamacpp", "m", llamacpp_like, 1280, 20, 20),
        ("openai-compatible", "m", proxy_like, 6400, 3, 200),
    ],
    ids=["openai inputs", "openai tokens", "10", "25 but takes 10", "64 but takes 32", "32", "llama.cpp", "unsaid 32"],
)
async def test_requests_are_few_and_each_text_is_embedded_once(
    bench: Bench,
    upstream: Upstream,
    provider: str,
    model: str,
    limits: Refuse,
    n_texts: int,
    n_tokens: int,
    fewest: int,
) -> None:
    upstream.refuse = limits
    texts = texts_of(n_texts, n_tokens)
    embedder = bench.embedder(provider, model)
    await bench.embed(embedder, texts[: n_texts // 8])  # what must be learnt is learnt here
    before = len(upstream.calls("embeddings"))
    await bench.embed(embedder, texts)
    assert bench.n_missing(texts) == 0
    assert max(upstream.embedded.values()) == 1
    assert sum(upstream.embedded.values()) == n_texts
    assert len(upstream.calls("embeddings")) - before <= 1 + 1.1 * fewest * 7 / 8


@pytest.mark.parametrize("limits", [dashscope_like, siliconflow_like, proxy_like])
async def test_what_was_learnt_is_not_asked_again_after_a_restart(
    bench: Bench, upstream: Upstream, limits: Refuse
) -> None:
    statuses: list[bool] = []

    def refuse(request: dict[str, Any]) -> Fault | None:
        fault = limits(request)
        statuses.append(fault is None)
        return fault

    upstream.refuse = refuse
    texts = texts_of(500, 3)
    await bench.embed(bench.embedder(), texts[:250])
    assert not all(statuses)
    del statuses[:]
    await bench.embed(bench.embedder(), texts)
    assert all(statuses)
    assert "127.0.0.1" in next(iter(json.loads(bench.learnt.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("limits", [llamacpp_like, siliconflow_like, openai_like])
async def test_a_text_that_is_too_long_becomes_the_mean_of_its_parts(
    bench: Bench, upstream: Upstream, limits: Refuse
) -> None:
    longest = 8192 if limits is openai_like else 512
    n_tokens = 2 * longest - 100
    long = " ".join(f"w{i}" for i in range(n_tokens))
    embedder = bench.embedder()
    upstream.refuse = limits
    chunks = [*chunks_of(texts_of(20, 5)), Chunk("long", "a.txt", 0, len(long), long, longest - 50)]  # miscounted here
    queue = bench.queue(embedder)
    await queue.fill(chunks)
    await queue.aclose()
    (vector,) = bench.store.get(SPACE, [content_address(long)]).values()
    parts = [text for text in upstream.embedded if text.startswith("w0 ") or text in long]
    weights = [TOKENIZER.count(part) for part in parts]
    assert sum(weights) == n_tokens
    wanted = np.average([embedding_of(part, SPACE.dimensions) for part in parts], axis=0, weights=weights)
    assert vector is not None
    assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-6)
    assert bench.n_missing([chunk.text for chunk in chunks]) == 0
    assert max(upstream.embedded.values()) == 1


async def test_one_bad_text_costs_few_requests_and_its_document_only(bench: Bench, upstream: Upstream) -> None:
    upstream.refuse = lambda request: refused(400, "the input is invalid") if "t77 word" in request["input"] else None
    texts = texts_of(1024, 2)
    queue = bench.queue(bench.embedder())
    good, bad = [text for text in texts if text != "t77 word"], Chunk("x", "b.pdf", 40, 48, "t77 word", 2, page=3)
    filling = [queue.fill(chunks_of(good)), queue.fill([bad])]
    _, failure = await asyncio.gather(*filling, return_exceptions=True)
    await queue.aclose()
    assert "page 3, characters 40 to 48" in str(failure)
    assert "input is invalid" in str(failure)
    assert "t77" not in str(failure)
    assert bench.n_missing(good) == 0
    assert len(upstream.calls("embeddings")) <= 2 * math.log2(1024) + 2
    assert max(upstream.embedded.values()) == 1
