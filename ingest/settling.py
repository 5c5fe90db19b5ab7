"""Sees one request's texts through: each is stored, failed, or back in the queue, whatever the endpoint refuses.

A request that is too large is sent again in smaller ones, and the size is learnt. One that the endpoint calls bad is
halved until the bad text stands alone. A text that is too long for the endpoint is sent in parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from ingest.learnt import LearntLimits
from ingest.packing import pack, parts_of, weighted_mean
from ingest.refusals import Refusal, refusal_of
from ingest.sending import EmbeddingStoppedError, PacedSender
from rag.errors import EmbeddingError
from rag.types import Embeddings

__all__ = ["Settler", "Text"]

MAX_PARTS = 256
"""Into so many parts a text is cut at most that is too long for the endpoint; if they are too long, it means other."""

_TOO_LARGE = ("inputs", "request_tokens", "input_tokens", "size")


@dataclass(slots=True, eq=False)
class Text:
    """A text that waits for its vector; ``done`` ends when that is stored, or cannot be had."""

    address: bytes
    text: str
    n_tokens: int
    done: asyncio.Future[None]


class Settler:
    """Sends texts by a sender, within limits that it learns.

    ``keep`` stores what was embedded, ``fail`` tells those who wait for texts, ``requeue`` takes texts that are to be
    packed anew. ``count_tokens`` weighs the parts of a text that is too long.
    """

    def __init__(
        self,
        sender: PacedSender,
        learnt: LearntLimits,
        *,
        keep: Callable[[list[Text], Embeddings], Awaitable[None]],
        fail: Callable[[list[Text], Exception], None],
        requeue: Callable[[list[Text]], None],
        count_tokens: Callable[[str], int],
    ) -> None:
        self._sender = sender
        self._learnt = learnt
        self._keep = keep
        self._fail = fail
        self._requeue = requeue
        self._count_tokens = count_tokens
        self._longest_taken = 0
        self.is_finding_size = False
        """Whether a size that passes is being looked for: what is sent meanwhile would most likely be refused."""

    async def settle(self, batch: list[Text]) -> None:
        """See a batch through. Raises EmbeddingStoppedError where nothing can be had any more; some texts then wait."""
        if len(batch) == 1 and batch[0].n_tokens > self._learnt.limits.max_input_tokens:
            await self._send_in_parts(batch[0], 1 + batch[0].n_tokens // self._learnt.limits.max_input_tokens)
        else:
            await self._settle(batch)

    async def _settle(self, batch: list[Text], *, finding_size: bool = False) -> bool:
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

    async def _refused(self, batch: list[Text], n_tokens: int, error: EmbeddingError, *, finding_size: bool) -> bool:
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
        elif self.is_finding_size or len(batch) > limits.max_inputs or n_tokens > limits.max_request_tokens:
            self._requeue(batch)  # somebody else is finding the size, or has found it
        else:
            self.is_finding_size = True  # nothing else is sent meanwhile: it would most likely be refused too
            try:
                return await self._halve(batch, finding_size=True)
            finally:
                self.is_finding_size = False
        return False

    async def _halve(self, batch: list[Text], *, is_bad: bool = False, finding_size: bool = False) -> bool:
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

    async def _refused_alone(self, item: Text, error: EmbeddingError, refusal: Refusal) -> None:
        if refusal.kind in _TOO_LARGE and refusal.kind != "inputs":
            if item.n_tokens > self._longest_taken:
                self._learnt.learn(max_input_tokens=item.n_tokens - 1)
            await self._send_in_parts(item, refusal.n_parts())
        else:
            self._fail([item], error)
            self._sender.note_bad_text(error)

    async def _send_in_parts(self, item: Text, n_parts: int) -> None:
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
