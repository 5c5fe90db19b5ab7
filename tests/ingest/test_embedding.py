"""The embedding queue over a real vector store; only the embedder is scripted."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.vector_store import VectorSpace, VectorStore
from ingest.embedding import EmbeddingQueue, EmbeddingStatus, EmbeddingStoppedError
from ingest.packing import pack
from rag.errors import (
    AuthenticationError,
    CollectionError,
    EmbeddingError,
    EmbeddingInputError,
    EndpointError,
    EndpointResponseError,
    EndpointTimeoutError,
    RateLimitError,
)
from rag.types import Chunk, EmbedderProfile, EmbeddingLimits, Embeddings, TextKind, content_address

SPACE = VectorSpace("words", 2)


class ScriptedEmbedder:
    """Vectors of (1, 0); refuses as told. Records every request, and how many were under way at once."""

    def __init__(self, limits: EmbeddingLimits, refuse: Callable[[Sequence[str]], EndpointError | None]) -> None:
        self.profile = EmbedderProfile("words", 2, "words", limits)
        self.requests: list[list[str]] = []
        self.most_at_once = 0
        self._refuse = refuse
        self._under_way = 0

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        self.requests.append(list(texts))
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        await asyncio.sleep(0.005)
        self._under_way -= 1
        cause = self._refuse(texts)
        if cause is not None:
            raise EmbeddingError(str(cause)) from cause
        vectors = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1))
        return Embeddings(vectors, np.ones(len(texts), dtype=np.bool_), n_tokens=len(texts))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[VectorStore]:
    opened = VectorStore(tmp_path / "vectors.db", create=True)
    yield opened
    opened.close()


def chunks(*texts: str, n_tokens: int = 1) -> list[Chunk]:
    return [Chunk(text, "a.txt", 0, len(text), text, n_tokens) for text in texts]


def embedder_of(
    refuse: Callable[[Sequence[str]], EndpointError | None] = lambda texts: None, **limits: Any
) -> ScriptedEmbedder:
    return ScriptedEmbedder(EmbeddingLimits(**limits), refuse)


def is_stored(store: VectorStore, *texts: str) -> list[bool]:
    missing = set(store.missing(SPACE, [content_address(text) for text in texts]))
    return [content_address(text) not in missing for text in texts]


async def test_texts_of_many_documents_share_requests(store: VectorStore) -> None:
    embedder = embedder_of(max_inputs=10)
    queue = EmbeddingQueue(embedder, store, SPACE)
    await asyncio.gather(*(queue.fill(chunks(f"text {i}")) for i in range(20)))
    assert sorted(len(request) for request in embedder.requests) == [10, 10]


async def test_a_text_is_sent_once_however_many_ask_and_never_again(store: VectorStore) -> None:
    embedder = embedder_of(max_inputs=4)
    queue = EmbeddingQueue(embedder, store, SPACE)
    filled = await asyncio.gather(*(queue.fill(chunks("same", f"own {i}", "same")) for i in range(5)))
    again = await EmbeddingQueue(embedder, store, SPACE).fill(chunks("same", "own 3"))
    sent = Counter(text for request in embedder.requests for text in request)
    assert sent == Counter({"same": 1, **{f"own {i}": 1 for i in range(5)}})
    assert (sum(item.n_texts for item in filled), again.n_texts) == (6, 0)


async def test_no_more_requests_are_under_way_than_allowed(store: VectorStore) -> None:
    embedder = embedder_of(max_inputs=1, concurrency=3)
    await EmbeddingQueue(embedder, store, SPACE).fill(chunks(*map(str, range(12))))
    assert embedder.most_at_once == 3


async def test_a_poisoned_text_fails_its_document_only(store: VectorStore) -> None:
    def refuse(texts: Sequence[str]) -> EndpointError | None:
        return EndpointResponseError("too long", status=400) if "bad" in texts else None

    queue = EmbeddingQueue(embedder_of(refuse, max_inputs=16), store, SPACE)
    good = [queue.fill(chunks(f"good {i}")) for i in range(15)]
    outcomes = await asyncio.gather(*good, queue.fill(chunks("bad")), return_exceptions=True)
    assert [isinstance(outcome, EmbeddingError) for outcome in outcomes] == [False] * 15 + [True]
    assert all(is_stored(store, *(f"good {i}" for i in range(15))))


async def test_a_text_that_can_never_be_embedded_fails_its_document_only(store: VectorStore) -> None:
    class NarrowEmbedder(ScriptedEmbedder):
        async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
            if "too long" in texts:
                raise EmbeddingInputError("a text has 300 tokens and the model reads 254")
            return await super().embed(texts, kind=kind)

    queue = EmbeddingQueue(NarrowEmbedder(EmbeddingLimits(max_inputs=8), lambda texts: None), store, SPACE)
    good = queue.fill(chunks(*(f"good {i}" for i in range(7))))
    outcomes = await asyncio.gather(good, queue.fill(chunks("too long")), return_exceptions=True)
    assert [isinstance(outcome, EmbeddingError) for outcome in outcomes] == [False, True]


async def test_a_refused_key_stops_everything_at_once(store: VectorStore) -> None:
    embedder = embedder_of(lambda texts: AuthenticationError("no such key", status=401), max_inputs=1, concurrency=1)
    queue = EmbeddingQueue(embedder, store, SPACE)
    with pytest.raises(EmbeddingStoppedError, match="no such key"):
        await queue.fill(chunks(*map(str, range(50))))
    with pytest.raises(EmbeddingStoppedError):
        await queue.fill(chunks("later"))
    assert len(embedder.requests) == 1


async def test_an_endpoint_without_the_model_is_given_up_at_once(store: VectorStore) -> None:
    embedder = embedder_of(lambda texts: EndpointResponseError("no such model", status=404), max_inputs=1)
    queue = EmbeddingQueue(embedder, store, SPACE)
    with pytest.raises(EmbeddingStoppedError, match="no such model"):
        await queue.fill(chunks(*map(str, range(50))))
    assert len(embedder.requests) <= 8


async def test_bursts_of_refusals_and_faults_fail_no_text(store: VectorStore) -> None:
    troubles = deque(
        cause
        for _ in range(6)
        for cause in (
            RateLimitError("slow down", status=429, retriable=True, retry_after_s=0.01),
            EndpointResponseError("overloaded", status=503, retriable=True, retry_after_s=0.01),
            EndpointTimeoutError("silence", retriable=True, retry_after_s=0.01),
            None,
        )
    )
    embedder = embedder_of(lambda texts: troubles.popleft() if troubles else None, max_inputs=2, concurrency=4)
    texts = [str(i) for i in range(40)]
    await EmbeddingQueue(embedder, store, SPACE).fill(chunks(*texts))
    assert all(is_stored(store, *texts))


async def test_an_endpoint_that_never_recovers_is_waited_for_as_long_as_set_and_no_longer(store: VectorStore) -> None:
    refusal = RateLimitError("slow down", status=429, retriable=True, retry_after_s=0.05)
    embedder = embedder_of(lambda texts: refusal, max_inputs=1, concurrency=1, patience_s=0.2)
    queue = EmbeddingQueue(embedder, store, SPACE)
    with pytest.raises(EmbeddingStoppedError, match=r"no request has succeeded since .*50 texts wait.*same command"):
        await queue.fill(chunks(*map(str, range(50))))
    with pytest.raises(EmbeddingStoppedError):
        await queue.fill(chunks("later"))
    assert len(embedder.requests) >= 3


async def test_a_wait_beyond_all_patience_is_not_begun(store: VectorStore) -> None:
    embedder = embedder_of(lambda texts: RateLimitError("come back tomorrow", status=429, retry_after_s=86_400))
    with pytest.raises(EmbeddingStoppedError, match="asks to wait 86400 s"):
        await EmbeddingQueue(embedder, store, SPACE).fill(chunks("x"))


async def test_an_answer_that_is_no_set_of_vectors_is_asked_for_once_more(store: VectorStore) -> None:
    answers = deque([EndpointResponseError("2 texts were sent and 1 vectors came back", status=200)])
    embedder = embedder_of(lambda texts: answers.popleft() if answers else None, max_inputs=2)
    await EmbeddingQueue(embedder, store, SPACE).fill(chunks("a", "b"))
    assert [sorted(request) for request in embedder.requests] == [["a", "b"], ["a", "b"]]


async def test_a_text_that_always_gets_a_bad_vector_fails_alone(store: VectorStore) -> None:
    def refuse(texts: Sequence[str]) -> EndpointError | None:
        return EndpointResponseError("vector 0 is all zeros", status=200) if "bad" in texts else None

    queue = EmbeddingQueue(embedder_of(refuse, max_inputs=8), store, SPACE)
    good = queue.fill(chunks(*(f"good {i}" for i in range(7))))
    outcomes = await asyncio.gather(good, queue.fill(chunks("bad")), return_exceptions=True)
    assert [isinstance(outcome, EmbeddingError) for outcome in outcomes] == [False, True]
    assert "chunk 1 of 1" in str(outcomes[1])


async def test_an_endpoint_that_refuses_every_text_is_not_asked_about_each(store: VectorStore) -> None:
    embedder = embedder_of(lambda texts: EndpointResponseError("no", status=400), max_inputs=4, concurrency=1)
    with pytest.raises(EmbeddingError):
        await EmbeddingQueue(embedder, store, SPACE).fill(chunks(*map(str, range(500))))
    assert len(embedder.requests) < 20


async def test_it_tells_what_it_waits_for(store: VectorStore) -> None:
    refusals = deque([RateLimitError("slow down", status=429, retry_after_s=1.2)])
    embedder = embedder_of(lambda texts: refusals.popleft() if refusals else None, max_inputs=1, concurrency=1)
    seen: list[EmbeddingStatus] = []
    queue = EmbeddingQueue(embedder, store, SPACE, on_pause=lambda: seen.append(queue.status()))
    await queue.fill(chunks(*map(str, range(5))))
    assert {(status.reason, status.n_waiting, status.n_under_way) for status in seen} == {("rate limited", 4, 0)}
    assert 0 < seen[0].paused_s < 1.5
    assert queue.status().reason == ""


async def test_what_was_embedded_before_a_failure_stays_stored(store: VectorStore) -> None:
    def refuse(texts: Sequence[str]) -> EndpointError | None:
        return AuthenticationError("expired", status=401) if "3" in texts else None

    queue = EmbeddingQueue(embedder_of(refuse, max_inputs=1, concurrency=1), store, SPACE)
    with pytest.raises(EmbeddingStoppedError):
        await queue.fill(chunks(*map(str, range(6))))
    assert is_stored(store, *map(str, range(6))) == [True, True, True, False, False, False]


async def test_closing_leaves_nobody_waiting(store: VectorStore) -> None:
    queue = EmbeddingQueue(embedder_of(max_inputs=100), store, SPACE)
    waiting = asyncio.create_task(queue.fill(chunks("never sent")))
    await asyncio.sleep(0.02)
    await queue.aclose()
    with pytest.raises(EmbeddingStoppedError):
        await waiting


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 8), st.integers(50, 120))
def test_packing_takes_as_many_as_fit_and_never_none(
    sizes: list[int], max_inputs: int, max_request_tokens: int
) -> None:
    limits = EmbeddingLimits(max_inputs=max_inputs, max_request_tokens=max_request_tokens)
    n = pack(sizes, limits)
    assert (n >= 1) == bool(sizes)
    assert n <= max_inputs
    assert sum(sizes[:n]) <= max_request_tokens
    fits_one_more = n < len(sizes) and n < max_inputs and sum(sizes[: n + 1]) <= max_request_tokens
    assert not fits_one_more


async def test_nothing_more_is_paid_for_once_a_vector_could_not_be_stored(store: VectorStore) -> None:
    def stored_no_more(texts: Sequence[str]) -> None:
        store.close()

    embedder = embedder_of(stored_no_more, max_inputs=1, concurrency=2)
    queue = EmbeddingQueue(embedder, store, SPACE)
    with pytest.raises(CollectionError, match="was closed"):
        await queue.fill(chunks(*(f"text {i}" for i in range(50))))
    await queue.aclose()
    assert len(embedder.requests) <= 5  # two under way, and what was sent while the first reply was being stored
