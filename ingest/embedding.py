"""Sees to it that texts have their vectors: what is known is not sent, the rest goes out in full requests.

Texts of many documents share a request, within the endpoint's three budgets (inputs, tokens an input, tokens a
request). Each reply is committed before anything that uses it, so that a crash pays at most for what was under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from index.vector_store import VectorSpace, VectorStore
from rag.contracts import Embedder
from rag.errors import (
    AuthenticationError,
    EmbeddingError,
    EndpointError,
    EndpointUnreachableError,
    QuotaExhaustedError,
    RateLimitError,
)
from rag.types import Chunk, EmbeddingLimits, Embeddings, content_address

__all__ = ["EmbeddingQueue", "EmbeddingStoppedError", "Filled", "pack"]

LINGER_S = 0.2
"""How long a request that is not yet full waits for more texts."""

MAX_FAILURES_IN_A_ROW = 3
"""Requests that may fail one after the other before the endpoint counts as gone. Each has spent its own retries."""

_STOPPING = (AuthenticationError, QuotaExhaustedError, EndpointUnreachableError, RateLimitError)
_POISON_STATUS = frozenset({400, 413, 422})


class EmbeddingStoppedError(EmbeddingError):
    """The endpoint is of no use for now: nothing more is sent in this run."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What one document's texts cost: how many texts and tokens were sent; all others were known."""

    n_texts: int
    n_tokens: int


@dataclass(slots=True, eq=False)
class _Text:
    address: bytes
    text: str
    n_tokens: int
    done: asyncio.Future[None]


def pack(sizes: Sequence[int], limits: EmbeddingLimits) -> int:
    """Return how many of the first texts, given their token counts, fit one request; at least 1 if there are any.

    >>> pack([100, 150, 100], EmbeddingLimits(max_inputs=10, max_request_tokens=300))
    2
    """
    n_tokens = 0
    for n_texts, size in enumerate(sizes):
        n_tokens += size
        if n_texts == limits.max_inputs or (n_texts and n_tokens > limits.max_request_tokens):
            return n_texts
    return len(sizes)


class EmbeddingQueue:
    """Collects texts, embeds them in full requests, stores the vectors.

    Used from one event loop. ``on_embedded`` is called with each reply once it is committed.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        space: VectorSpace,
        *,
        on_embedded: Callable[[Embeddings], None] = lambda embeddings: None,
    ) -> None:
        self._embedder = embedder
        self._limits = embedder.profile.limits
        self._store = store
        self._space = space
        self._on_embedded = on_embedded
        self._waiting: deque[_Text] = deque()
        self._under_way: dict[bytes, _Text] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._linger: asyncio.TimerHandle | None = None
        self._flushing = False
        self._failures_in_a_row = 0
        self._stopped: EmbeddingStoppedError | None = None

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return once every chunk's vector is stored. A text that is already under way is waited for, not sent again.

        Raises EmbeddingError when one of the texts cannot be embedded, EmbeddingStoppedError when none can for now.
        """
        by_address = {content_address(chunk.text): chunk for chunk in chunks}
        missing = await asyncio.to_thread(self._store.missing, self._space, list(by_address))
        sent: list[_Text] = []
        awaited: list[asyncio.Future[None]] = []
        for address in missing:
            item = self._under_way.get(address)
            if item is None:
                chunk = by_address[address]
                item = _Text(address, chunk.text, chunk.n_tokens, asyncio.get_running_loop().create_future())
                self._enqueue(item)
                sent.append(item)
            awaited.append(item.done)
        self._dispatch()
        outcomes = await asyncio.gather(*awaited, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return Filled(len(sent), sum(item.n_tokens for item in sent))

    def flush(self) -> None:
        """Send what waits, full or not: nobody will add to it for now."""
        self._flushing = True
        self._dispatch()

    async def aclose(self) -> None:
        """Cancel what is under way."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        self._fail(list(self._under_way.values()), EmbeddingStoppedError("the run was stopped"))

    def _enqueue(self, item: _Text) -> None:
        if self._stopped is not None:
            self._fail([item], self._stopped)
            return
        self._waiting.append(item)
        self._under_way[item.address] = item

    def _dispatch(self) -> None:
        while self._waiting and len(self._requests) < self._limits.concurrency:
            n_texts = pack([item.n_tokens for item in _first(self._waiting, self._limits.max_inputs + 1)], self._limits)
            is_full = n_texts < len(self._waiting) or n_texts == self._limits.max_inputs
            if not is_full and not self._flushing:
                self._wait_for_more()
                return
            self._start_request([self._waiting.popleft() for _ in range(n_texts)])
        if not self._waiting:
            self._flushing = False

    def _start_request(self, batch: list[_Text]) -> None:
        request = asyncio.create_task(self._request(batch))
        self._requests.add(request)
        request.add_done_callback(self._after_request)

    def _wait_for_more(self) -> None:
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._linger_over)

    def _linger_over(self) -> None:
        self._linger = None
        self.flush()

    def _after_request(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        self._dispatch()

    async def _request(self, batch: list[_Text]) -> None:
        """Embed and store one batch. A batch that the endpoint refuses as bad input is halved to find the bad one."""
        if self._stopped is not None:
            self._fail(batch, self._stopped)
            return
        try:
            await self._embed(batch)
            self._failures_in_a_row = 0
        except EmbeddingError as error:
            if len(batch) > 1 and _is_poisoned(error):
                middle = len(batch) // 2
                await self._request(batch[:middle])
                await self._request(batch[middle:])
            else:
                self._give_up(batch, error)
        except Exception as error:  # a full disk, say: whoever waits for these texts must hear of it
            self._fail(batch, error)

    async def _embed(self, batch: list[_Text]) -> None:
        embeddings = await self._embedder.embed([item.text for item in batch], kind="document")
        await asyncio.to_thread(self._store.put, self._space, [item.address for item in batch], embeddings)
        for item in batch:
            self._under_way.pop(item.address, None)
            if not item.done.done():
                item.done.set_result(None)
        self._on_embedded(embeddings)

    def _give_up(self, batch: list[_Text], error: EmbeddingError) -> None:
        if not _is_poisoned(error):
            self._failures_in_a_row += 1
        if isinstance(error.__cause__, _STOPPING) or self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self._stopped = EmbeddingStoppedError(str(error))
            self._stopped.__cause__ = error.__cause__
            waiting, self._waiting = list(self._waiting), deque()
            self._fail([*batch, *waiting], self._stopped)
        else:
            self._fail(batch, error)

    def _fail(self, batch: list[_Text], error: Exception) -> None:
        for item in batch:
            self._under_way.pop(item.address, None)
            if not item.done.done():
                item.done.set_exception(error)
                item.done.exception()  # marks it as seen: the document that waited for it may be gone


def _first(items: deque[_Text], n: int) -> list[_Text]:
    return [item for item, _ in zip(items, range(n), strict=False)]


def _is_poisoned(error: EmbeddingError) -> bool:
    """Tell whether the endpoint objects to what is in the request rather than to us."""
    cause = error.__cause__
    return isinstance(cause, EndpointError) and cause.status in _POISON_STATUS and not isinstance(cause, _STOPPING)
