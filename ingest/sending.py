"""Sends embedding requests at the pace an endpoint bears: what passes is waited out, what does not stops the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.pacing import Pacer, Ticket
from ingest.patience import is_over, tell
from ingest.refusals import Refusal, refusal_of
from ingest.turns import Turns
from rag.contracts import Embedder
from rag.errors import EmbeddingError
from rag.types import EmbeddingLimits, Embeddings

__all__ = ["EmbeddingStatus", "EmbeddingStoppedError", "PacedSender"]

MAX_BAD_TEXTS_IN_A_ROW = 50
MAX_BAD_TEXTS_AT_FIRST = 5
"""Texts that may fail, each alone, before the endpoint is thought to refuse everything; fewer where none succeeded."""


class EmbeddingStoppedError(EmbeddingError):
    """The endpoint is of no use for now: nothing more is sent in this run."""


@dataclass(frozen=True, slots=True)
class EmbeddingStatus:
    """Who waits for whom: texts not sent yet, requests under way of those that may be, and the pause, if there is one.

    ``reason`` says why there is a pause ("rate limited"); ``paused_s`` are the seconds left of it.
    """

    n_waiting: int = 0
    n_under_way: int = 0
    concurrency: int = 0
    paused_s: float = 0.0
    reason: str = ""


class PacedSender:
    """The way to one embedder. Used from one event loop; ``on_pause`` is called now and then while nothing may start.

    ``n_waiting`` tells how many texts wait, for the message that ends a run.
    """

    def __init__(
        self,
        embedder: Embedder,
        limits: EmbeddingLimits,
        *,
        n_waiting: Callable[[], int],
        on_pause: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._patience_s = limits.patience_s
        self._pacer = Pacer(first=limits.concurrency, most=limits.max_concurrency or limits.concurrency, clock=clock)
        self._n_waiting = n_waiting
        self._turns = Turns(self._pacer, on_pause=on_pause, check=self._raise_if_stopped, clock=clock)
        self._n_bad_in_a_row = 0
        self.n_succeeded = 0
        self.stopped: EmbeddingStoppedError | None = None

    @property
    def concurrency(self) -> int:
        return self._pacer.concurrency

    def status(self, n_waiting: int) -> EmbeddingStatus:
        """Return what is under way, beside ``n_waiting`` texts that were not sent yet."""
        pacer = self._pacer
        return EmbeddingStatus(n_waiting, pacer.n_under_way, pacer.concurrency, pacer.paused_s, pacer.reason)

    async def send(self, texts: Sequence[str], n_tokens: int) -> Embeddings:
        """Return the vectors of one request, however often it must be sent.

        Raises EmbeddingStoppedError when nothing can be had any more, and EmbeddingError for what sending the same
        again would not help: the request is too large, or a text is bad.
        """
        malformed_before = False
        while True:
            ticket = await self._turns.next(n_tokens)
            try:
                embeddings = await self._embedder.embed(texts, kind="document")
            except EmbeddingError as error:
                refusal = refusal_of(error)
                passes = self._note(error, refusal, ticket)
                if not passes and (refusal.kind != "malformed" or malformed_before):
                    raise
                malformed_before = malformed_before or refusal.kind == "malformed"
            except BaseException:
                self._pacer.end(ticket)
                raise
            else:
                self._pacer.succeed(ticket, requests=embeddings.requests_left, tokens=embeddings.tokens_left)
                self.n_succeeded += 1
                self._n_bad_in_a_row = 0
                return embeddings
            finally:
                self._turns.changed()

    def note_bad_text(self, error: EmbeddingError) -> None:
        """Take in that a text has failed alone; raises EmbeddingStoppedError when all that is sent seems to."""
        self._n_bad_in_a_row += 1
        limit = MAX_BAD_TEXTS_IN_A_ROW if self.n_succeeded else MAX_BAD_TEXTS_AT_FIRST
        if self._n_bad_in_a_row >= limit:
            self._stop(f"the last {self._n_bad_in_a_row} texts were each refused, so more would be: {error}", error)
            self._raise_if_stopped()

    def _note(self, error: EmbeddingError, refusal: Refusal, ticket: Ticket) -> bool:
        """Tell the pacer, and stop where there is no hope; return whether the same request may succeed later."""
        if not tell(self._pacer, ticket, error, refusal):
            if refusal.kind == "hopeless":
                self._stop(str(error), error)
                self._raise_if_stopped()
            return False
        troubled_s = self._pacer.troubled_s
        if is_over(troubled_s, error, refusal, patience_s=self._patience_s, has_succeeded=self.n_succeeded > 0):
            self._lose_patience(error, troubled_s, refusal.retry_after_s)
            self._raise_if_stopped()
        return True

    def _lose_patience(self, error: EmbeddingError, troubled_s: float, retry_after_s: float | None) -> None:
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - troubled_s))
        asks = f", and it asks to wait {retry_after_s:.0f} s" if retry_after_s else ""
        self._stop(
            f"no request has succeeded since {since} ({troubled_s:.0f} s){asks}; {self._n_waiting():,} texts wait, "
            "what is embedded is kept: run the same command again when the endpoint is back, or raise "
            f"embeddings.patience_s; the last error: {error}",
            error,
        )

    def _stop(self, message: str, error: EmbeddingError) -> None:
        if self.stopped is None:
            self.stopped = EmbeddingStoppedError(message)
            self.stopped.__cause__ = error.__cause__
        self._turns.changed()

    def _raise_if_stopped(self) -> None:
        if self.stopped is not None:
            raise EmbeddingStoppedError(str(self.stopped)) from self.stopped.__cause__
