"""Sees to it that texts have their vectors: what is known is not sent, the rest goes out in full requests.

Texts of many documents share a request, within the endpoint's three budgets (inputs, tokens an input, tokens a
request); where it takes less than thought, the budgets are learnt. Each reply is committed before anything that uses
it, so that a crash pays at most for what was under way.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index.vector_store import VectorSpace, VectorStore
from ingest.learnt import LearntLimits
from ingest.packing import pack, parts_of, weighted_mean
from ingest.refusals import Refusal, refusal_of
from ingest.sending import EmbeddingStatus, EmbeddingStoppedError, PacedSender
from ingest.stopping import to_the_end
from rag.contracts import Embedder
from rag.errors import EmbeddingError
from rag.types import Chunk, Embeddings, content_address

__all__ = ["EmbeddingQueue", "EmbeddingStatus", "EmbeddingStoppedError", "Filled"]

LINGER_S = 0.2
"""How long a request that is not yet full waits for more texts."""

MAX_PARTS = 256
"""Into so many parts a text is cut at most that is too long for the endpoint; if they are too long, it means other."""

_TOO_LARGE = ("inputs", "request_tokens", "input_tokens", "size")


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
        self._store = store
        self._space = space
        self._on_embedded = on_embedded
        self._count_tokens = count_tokens
        self._waiting: deque[_Text] = deque()
        self._under_way: dict[bytes, _Text] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._n_storing = 0
        self._finding_size = False
        self._broken: Exception | None = None
        self._longest_taken = 0
        self._linger: asyncio.TimerHandle | None = None
        self._flushing = False

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return once every chunk's vector is stored. A text that is already under way is waited for, not sent again.

        Raises EmbeddingError when one of the texts cannot be embedded, naming its place, EmbeddingStoppedError when
        none can for now.
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
        failures = [
            (by_address[address], outcome) for address, outcome in zip(missing, outcomes, strict=True) if outcome
        ]
        if failures:
            raise _failure(chunks, failures)
        return Filled(len(sent), sum(item.n_tokens for item in sent))

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

    # --- packing

    def _enqueue(self, item: _Text) -> None:
        if (error := self._broken or self._sender.stopped) is not None:
            self._fail([item], error)
            return
        self._waiting.append(item)
        self._under_way[item.address] = item

    def _requeue(self, batch: list[_Text]) -> None:
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
        return not self._finding_size and is_keeping_up and len(self._requests) - self._n_storing < concurrency

    def _next(self) -> int:
        """Return how many of the first waiting texts make the next request; a text that is too long goes alone."""
        limits = self._learnt.limits
        first = itertools.islice(self._waiting, limits.max_inputs + 1)
        sizes = [item.n_tokens for item in first]
        short = list(itertools.takewhile(lambda size: size <= limits.max_input_tokens, sizes))
        return pack(short, limits) or 1

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

    def _give_up(self, batch: list[_Text], error: Exception) -> None:
        waiting, self._waiting = list(self._waiting), deque()
        self._fail([*batch, *waiting], error)

    # --- sending

    async def _request(self, batch: list[_Text]) -> None:
        """See a batch through: each of its texts is stored, failed, or waiting again."""
        try:
            if len(batch) == 1 and batch[0].n_tokens > self._learnt.limits.max_input_tokens:
                await self._send_in_parts(batch[0], 1 + batch[0].n_tokens // self._learnt.limits.max_input_tokens)
            else:
                await self._settle(batch)
        except EmbeddingStoppedError as error:
            self._give_up(batch, error)
        except EmbeddingError as error:
            self._fail(batch, error)
        except Exception as error:  # a full disk, say: what is paid for from now on could not be kept
            self._broken = error
            self._give_up(batch, error)

    async def _settle(self, batch: list[_Text], *, finding_size: bool = False) -> bool:
        """Send a batch, and if it is refused do what helps; return whether all of it was embedded as it was sent."""
        n_tokens = sum(item.n_tokens for item in batch)
        try:
            embeddings = await self._sender.send([item.text for item in batch], n_tokens)
        except EmbeddingStoppedError:
            raise
        except EmbeddingError as error:
            return await self._refused(batch, n_tokens, error, finding_size=finding_size)
        self._longest_taken = max(self._longest_taken, *(item.n_tokens for item in batch))
        await self._keep(batch, embeddings)
        return True

    async def _refused(self, batch: list[_Text], n_tokens: int, error: EmbeddingError, *, finding_size: bool) -> bool:
        refusal = refusal_of(error)
        limits = self._learnt.limits
        if len(batch) == 1:
            await self._refused_alone(batch[0], error, refusal)
        elif refusal.kind == "inputs":
            if len(batch) <= limits.max_inputs:  # else others have learnt it meanwhile
                self._learnt.learn(max_inputs=refusal.limit_below(len(batch)) or len(batch) // 2)
            self._requeue(batch)
        elif refusal.kind == "request_tokens":
            if n_tokens <= limits.max_request_tokens:
                self._learnt.learn(max_request_tokens=refusal.scaled_limit(n_tokens))
            self._requeue(batch)
        elif refusal.kind != "size":
            return await self._halve(batch, is_bad=refusal.kind in ("input", "input_tokens"))
        elif finding_size:
            return await self._halve(batch, finding_size=True)
        elif self._finding_size or len(batch) > limits.max_inputs or n_tokens > limits.max_request_tokens:
            self._requeue(batch)  # somebody else is finding the size, or has found it
        else:
            self._finding_size = True  # nothing else is sent meanwhile: it would most likely be refused too
            try:
                return await self._halve(batch, finding_size=True)
            finally:
                self._finding_size = False
        return False

    async def _halve(self, batch: list[_Text], *, is_bad: bool = False, finding_size: bool = False) -> bool:
        """Send a refused batch in halves, until the bad text stands alone, or the size that passes is found.

        If there ``is_bad`` input and the first half passes, it is in the second, which is not sent whole to be told so.
        Sizes are tried as powers of two, which limits mostly are. A size in tokens cannot be told from a size in texts,
        so it is learnt as the latter: texts are chunks of much the same size.
        """
        middle = 1 << ((len(batch) - 1).bit_length() - 1) if finding_size else len(batch) // 2
        first, second = batch[:middle], batch[middle:]
        first_passed = await self._settle(first, finding_size=finding_size)
        if finding_size and len(second) > self._learnt.limits.max_inputs:
            self._requeue(second)  # the size was found in the first half
            return False
        if is_bad and first_passed and len(second) > 1:
            return await self._halve(second, is_bad=True)
        second_passed = await self._settle(second, finding_size=finding_size)
        if finding_size and first_passed and second_passed:
            self._learnt.learn(max_inputs=middle)
        return first_passed and second_passed

    async def _refused_alone(self, item: _Text, error: EmbeddingError, refusal: Refusal) -> None:
        if refusal.kind in _TOO_LARGE and refusal.kind != "inputs":
            if item.n_tokens > self._longest_taken:
                self._learnt.learn(max_input_tokens=item.n_tokens - 1)
            await self._send_in_parts(item, refusal.n_parts())
        else:
            self._fail([item], error)
            self._sender.note_bad_text(error)

    async def _send_in_parts(self, item: _Text, n_parts: int) -> None:
        """Embed a text that is too long: its vector is the mean of its parts', weighted by tokens, of unit length."""
        while True:
            parts = parts_of(item.text, n_parts)
            try:
                embeddings = await self._mean_of(parts)
            except EmbeddingStoppedError:
                raise
            except EmbeddingError as error:
                if refusal_of(error).kind not in _TOO_LARGE or len(parts) >= min(MAX_PARTS, len(item.text)):
                    self._fail([item], error)
                    self._sender.note_bad_text(error)
                    return
                n_parts *= 2
            else:
                await self._keep([item], embeddings)
                return

    async def _mean_of(self, parts: list[str]) -> Embeddings:
        weights = [max(1, self._count_tokens(part)) for part in parts]
        replies: list[Embeddings] = []
        start = 0
        while start < len(parts):
            end = start + pack(weights[start:], self._learnt.limits)
            replies.append(await self._sender.send(parts[start:end], sum(weights[start:end])))
            start = end
        readable = np.concatenate([reply.readable for reply in replies])
        mean = weighted_mean(np.concatenate([reply.vectors for reply in replies]), weights)
        if readable.any() and not mean.any():
            raise EmbeddingError("the vectors of the parts of a text that is too long cancel each other out")
        return Embeddings(
            mean[np.newaxis],
            np.array([readable.any()]),
            n_tokens=sum(reply.n_tokens for reply in replies),
            estimated=any(reply.estimated for reply in replies),
        )

    async def _keep(self, batch: list[_Text], embeddings: Embeddings) -> None:
        self._n_storing += 1  # the endpoint need not wait for our disk
        self._dispatch()
        try:
            await to_the_end(self._store.put, self._space, [item.address for item in batch], embeddings)
        finally:
            self._n_storing -= 1
        for item in batch:
            self._under_way.pop(item.address, None)
            if not item.done.done():
                item.done.set_result(None)
        self._on_embedded(embeddings)

    def _fail(self, batch: list[_Text], error: Exception) -> None:
        """Tell those who wait; texts that are stored or back in the queue are left alone."""
        back = set(map(id, self._waiting))
        for item in batch:
            if id(item) in back or item.done.done():
                continue
            self._under_way.pop(item.address, None)
            item.done.set_exception(error)
            item.done.exception()  # marks it as seen: the document that waited for it may be gone


def _failure(chunks: Sequence[Chunk], failures: Sequence[tuple[Chunk, BaseException]]) -> BaseException:
    """Return the error of a document, with the place of the chunk that failed first; its text is nobody's business."""
    chunk, error = failures[0]
    if not isinstance(error, EmbeddingError) or isinstance(error, EmbeddingStoppedError):
        return error
    page = f"page {chunk.page}, " if chunk.page is not None else ""
    others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    number = 1 + next(place for place, other in enumerate(chunks) if other.text == chunk.text)
    located = EmbeddingError(
        f"chunk {number} of {len(chunks)} ({page}characters {chunk.start} to {chunk.end}){others}: {error}"
    )
    located.__cause__ = error.__cause__
    return located
