"""Sees to it that texts have their vectors: what is known is not sent, the rest goes out in full requests.

Texts of many documents share a request, within the endpoint's three budgets (inputs, tokens an input, tokens a
request); where it takes less than thought, the budgets are learnt. Each reply is committed before anything that uses
it, so that a crash pays at most for what was under way.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from index.vector_store import VectorSpace, VectorStore
from ingest.learnt import LearntLimits
from ingest.packing import pack
from ingest.sending import EmbeddingStatus, EmbeddingStoppedError, PacedSender
from ingest.settling import Settler, Text
from ingest.stopping import to_the_end
from ingest.together import Together
from rag.contracts import Embedder
from rag.errors import EmbeddingError
from rag.types import Chunk, Embeddings, content_address

__all__ = ["EmbeddingQueue", "EmbeddingStatus", "EmbeddingStoppedError", "Filled"]

LINGER_S = 0.2
"""How long a request that is not yet full waits for more texts."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What one document's texts cost: how many texts and tokens were sent; all others were known."""

    n_texts: int
    n_tokens: int


class EmbeddingQueue:
    """Collects texts, embeds them in full requests, stores the vectors.

    Used from one event loop. ``on_embedded`` is called with each reply once it is committed, ``on_pause`` now and then
    while nothing may be sent. ``learnt`` is the file that keeps what is found out about the endpoint; ``count_tokens``
    weighs the parts of a text that is too long for it.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        space: VectorSpace,
        *,
        on_embedded: Callable[[Embeddings], None] = lambda embeddings: None,
        on_pause: Callable[[], None] = lambda: None,
        learnt: Path | None = None,
        count_tokens: Callable[[str], int] = len,
    ) -> None:
        self._learnt = LearntLimits(embedder.profile, learnt)
        self._sender = PacedSender(
            embedder, self._learnt.limits, n_waiting=lambda: len(self._under_way), on_pause=on_pause
        )
        self._settler = Settler(
            self._sender,
            self._learnt,
            keep=self._keep,
            fail=self._fail,
            requeue=self._requeue,
            count_tokens=count_tokens,
        )
        self._store = store
        self._space = space
        self._on_embedded = on_embedded
        self._missing = Together(self._missing_of_each)
        self._waiting: deque[Text] = deque()
        self._under_way: dict[bytes, Text] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._n_storing = 0
        self._broken: Exception | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._flushing = False

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return once every chunk's vector is stored. A text that is already under way is waited for, not sent again.

        Raises EmbeddingError when one of the texts cannot be embedded, naming its place, EmbeddingStoppedError when
        none can for now.
        """
        by_address = {content_address(chunk.embedded_text): chunk for chunk in chunks}
        mine = self._claim(by_address)
        awaited = [self._under_way[address].done for address in by_address]
        try:
            missing = await self._missing([text.address for text in mine])
        except BaseException as error:
            self._fail(mine, error if isinstance(error, Exception) else EmbeddingStoppedError("the run was stopped"))
            raise
        sent = [text for text in mine if text.address in missing]
        for text in mine:
            if text.address in missing:
                self._enqueue(text)
            else:
                self._end(text)
        self._dispatch()
        outcomes = await asyncio.gather(*awaited, return_exceptions=True)
        failures = [(chunk, outcome) for chunk, outcome in zip(by_address.values(), outcomes, strict=True) if outcome]
        if failures:
            raise _failure(chunks, failures)
        return Filled(len(sent), sum(text.n_tokens for text in sent))

    def status(self) -> EmbeddingStatus:
        """Return what waits for the endpoint, and why."""
        return self._sender.status(len(self._waiting))

    def flush(self) -> None:
        """Send what waits, full or not: nobody will add to it for now."""
        self._flushing = True
        self._dispatch()

    async def aclose(self) -> None:
        """Cancel what is under way, and keep what was learnt of the endpoint."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        self._waiting.clear()
        self._fail(list(self._under_way.values()), EmbeddingStoppedError("the run was stopped"))
        if self._sender.n_succeeded and self._sender.concurrency != self._learnt.limits.concurrency:
            self._learnt.learn(concurrency=self._sender.concurrency)

    # --- looking up

    def _claim(self, by_address: Mapping[bytes, Chunk]) -> list[Text]:
        """Return texts for the addresses that are not under way, and put them under way.

        subtle: before it is looked up what is stored, or a text could be stored between the look and the note of it,
        and be paid for twice.
        """
        loop = asyncio.get_running_loop()
        mine = [
            Text(address, chunk.embedded_text, chunk.n_tokens, loop.create_future())
            for address, chunk in by_address.items()
            if address not in self._under_way
        ]
        self._under_way.update((text.address, text) for text in mine)
        return mine

    def _missing_of_each(self, asked: Sequence[Sequence[bytes]]) -> list[set[bytes]]:
        """Return, for each list of addresses, those that have no vector, by one look at the store for all."""
        missing = set(self._store.missing(self._space, list(itertools.chain.from_iterable(asked))))
        return [missing.intersection(addresses) for addresses in asked]

    # --- packing

    def _enqueue(self, text: Text) -> None:
        if (error := self._broken or self._sender.stopped) is not None:
            self._fail([text], error)
        else:
            self._waiting.append(text)

    def _requeue(self, batch: list[Text]) -> None:
        """Put texts back in front of all others, to be packed anew."""
        self._waiting.extendleft(reversed(batch))

    def _dispatch(self) -> None:
        while self._waiting and self._has_room():
            n_texts = self._next()
            limits = self._learnt.limits
            is_full = n_texts < len(self._waiting) or n_texts == limits.max_inputs
            if not is_full and not self._flushing:
                self._wait_for_more()
                return
            self._start_request([self._waiting.popleft() for _ in range(n_texts)])
        if not self._waiting:
            self._flushing = False

    def _has_room(self) -> bool:
        concurrency = self._sender.concurrency
        is_keeping_up = self._n_storing <= concurrency
        return (
            not self._settler.is_finding_size and is_keeping_up and len(self._requests) - self._n_storing < concurrency
        )

    def _next(self) -> int:
        """Return how many of the first waiting texts make the next request; a text that is too long goes alone."""
        limits = self._learnt.limits
        first = itertools.islice(self._waiting, limits.max_inputs + 1)
        sizes = [item.n_tokens for item in first]
        short = list(itertools.takewhile(lambda size: size <= limits.max_input_tokens, sizes))
        return pack(short, limits) or 1

    def _start_request(self, batch: list[Text]) -> None:
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

    def _give_up(self, batch: list[Text], error: Exception) -> None:
        waiting, self._waiting = list(self._waiting), deque()
        self._fail([*batch, *waiting], error)

    # --- sending

    async def _request(self, batch: list[Text]) -> None:
        """See a batch through: each of its texts is stored, failed, or waiting again."""
        try:
            await self._settler.settle(batch)
        except EmbeddingStoppedError as error:
            self._give_up(batch, error)
        except EmbeddingError as error:
            self._fail(batch, error)
        except Exception as error:  # a full disk, say: what is paid for from now on could not be kept
            self._broken = error
            self._give_up(batch, error)

    async def _keep(self, batch: list[Text], embeddings: Embeddings) -> None:
        self._n_storing += 1  # the endpoint need not wait for our disk
        self._dispatch()
        try:
            await to_the_end(self._store.put, self._space, [item.address for item in batch], embeddings)
        finally:
            self._n_storing -= 1
        for text in batch:
            self._end(text)
        self._on_embedded(embeddings)

    def _end(self, text: Text) -> None:
        """Tell those who wait for a text that its vector is stored."""
        self._under_way.pop(text.address, None)
        if not text.done.done():
            text.done.set_result(None)

    def _fail(self, batch: list[Text], error: Exception) -> None:
        """Tell those who wait; texts that are stored or back in the queue are left alone."""
        back = set(map(id, self._waiting))
        for text in batch:
            if id(text) in back or text.done.done():
                continue
            self._under_way.pop(text.address, None)
            text.done.set_exception(error)
            text.done.exception()  # marks it as seen: the document that waited for it may be gone


def _failure(chunks: Sequence[Chunk], failures: Sequence[tuple[Chunk, BaseException]]) -> BaseException:
    """Return the error of a document, with the place of the chunk that failed first; its text is nobody's business."""
    chunk, error = failures[0]
    if not isinstance(error, EmbeddingError) or isinstance(error, EmbeddingStoppedError):
        return error
    page = f"page {chunk.page}, " if chunk.page is not None else ""
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    number = 1 + next(place for place, other in enumerate(chunks) if other.embedded_text == chunk.embedded_text)
    located = EmbeddingError(
        f"chunk {number} of {len(chunks)} ({page}characters {chunk.start} to {chunk.end}){others}: {error}"
    )
    located.__cause__ = error.__cause__
    return located
