"""Counts what becomes of the files of a run, tells whoever watches, and sums it up."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from ingest.cost import Spending
from ingest.embedding import EmbeddingStatus
from ingest.outlook import Done, Outlook, ToDo
from ingest.report import FileResult, IngestReport, MediaCount
from ingest.web.sighting import FetchProgress
from rag.types import Embeddings, MediaKind, MediaProfile, MediaText

__all__ = ["IngestProgress", "Phase", "Tally", "Waiting"]

TELL_EVERY_S = 0.25
"""How often the progress is told, beside each document that is stored."""

Phase = Literal["looking", "comparing", "working", "finishing"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whom the run waits for: ``on`` is "parser", "disk", "endpoint", "embedded model", or another engine.

    ``n`` things are with them, the oldest of which is ``what``, for ``seconds`` now. A pause has a reason, ``why``, and
    ``paused_s`` seconds left.
    """

    on: str
    n: int = 1
    what: str = ""
    seconds: float = 0.0
    why: str = ""
    paused_s: float = 0.0


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a run is. ``n_texts_embedded`` of ``n_chunks`` were sent and came back; ``path`` was looked at last.

    ``n_media_read`` pages, pictures and recordings were read now. ``cost`` is what all that costs, None where a price
    is not known (see IngestReport). ``embedding`` tells what waits for the endpoint, ``waiting`` who is waited for. A
    run is ``looking`` through folders (``n_seen`` paths so far, and ``n_files`` is not known yet), ``comparing``
    contents with the last run (``n_compared`` of ``n_to_compare`` files), ``working``, and ``finishing``: bringing the
    indexes up to date. ``n_stored`` documents are stored, and ``n_bytes_read`` of ``n_bytes`` read. ``n_tokens`` are
    those of the chunks. Rates are over the last half minute, of chunks that have their vectors and of tokens sent.
    ``left_s`` is None where nobody can tell. ``fetching`` is how far the pages of an address are, before their number
    is known.
    """

    n_files: int
    n_done: int
    n_chunks: int
    n_texts_embedded: int
    n_tokens_embedded: int
    path: str
    cost: float | None = None
    currency: str = ""
    embedding: EmbeddingStatus | None = None
    n_media_read: int = 0
    phase: Phase = "working"
    n_seen: int = 0
    n_compared: int = 0
    n_to_compare: int = 0
    n_stored: int = 0
    n_bytes: int = 0
    n_bytes_read: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    chunks_per_s: float | None = None
    tokens_per_s: float | None = None
    left_s: float | None = None
    waiting: tuple[Waiting, ...] = ()
    fetching: FetchProgress | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """What takes a moment to work out, and does not change within one."""

    embedding: EmbeddingStatus | None = None
    chunks_per_s: float | None = None
    tokens_per_s: float | None = None
    left_s: float | None = None
    waiting: tuple[Waiting, ...] = ()


class Tally:
    """The figures of one run. ``stopped`` is why it ended early; ``removed`` the documents that went.
    ``prefix`` is what the ids of this folder's documents begin with.

    Counting costs next to nothing: what it comes to is worked out when it is told, four times a second, and for each
    document that is stored.

    ``notes`` are what else a person should know.
    """

    def __init__(self, spending: Spending, on_progress: Callable[[IngestProgress], None]) -> None:
        self.files: dict[str, FileResult] = {}
        self.removed: tuple[str, ...] = ()
        self.phase: Phase = "looking"
        self.path = ""
        self.prefix = ""
        self.n_seen = 0
        self.n_compared = 0
        self.n_to_compare = 0
        self.n_files = 0
        self.n_chunks = 0
        self.n_bytes = 0
        self.stopped = ""
        self.notes: tuple[str, ...] = ()
        self._spending = spending
        self._on_progress = on_progress
        self._embedding: Callable[[], EmbeddingStatus] | None = None
        self._embedder = "endpoint"
        self._outlook = Outlook()
        self._began = time.monotonic()
        self._told_at = 0.0
        self._view = _View()
        self._waiting: dict[int, tuple[str, str, float]] = {}
        self._numbers = itertools.count()
        self._n_stored = 0
        self._n_bytes_read = 0
        self._n_tokens = 0
        self._n_settled = 0
        self._n_texts_embedded = 0
        self._n_tokens_embedded = 0
        self._n_texts_unreadable = 0
        self._n_texts_reused = 0
        self._n_tokens_reused = 0
        self._media: dict[tuple[str, str], MediaCount] = {}
        self._fetching: FetchProgress | None = None

    # --- counting

    def fetched(self, progress: FetchProgress) -> None:
        """Note how far the pages of an address are fetched."""
        self._fetching = progress
        self._show(time.monotonic())

    def done(self, result: FileResult) -> None:
        """Note the one state that a path ended in."""
        self.files[result.path] = result
        if result.state == "indexed":
            self._n_stored += 1
            self.path = result.path
            self._show(time.monotonic())

    @contextmanager
    def reading(self, what: str, n_bytes: int) -> Iterator[None]:
        """Show that a file is being read and cut, for as long as the block takes; then it is, with whatever outcome."""
        with self.waiting("parser", what):
            try:
                yield
            finally:
                self._n_bytes_read += n_bytes

    def cut(self, n_chunks: int, n_tokens: int) -> None:
        """Add the chunks of a document."""
        self.n_chunks += n_chunks
        self._n_tokens += n_tokens

    def embedded(self, embeddings: Embeddings) -> None:
        """Add a reply whose vectors are stored."""
        self._n_texts_embedded += len(embeddings.readable)
        self._n_texts_unreadable += int((~embeddings.readable).sum())
        self._n_tokens_embedded += embeddings.n_tokens
        self._n_settled += len(embeddings.readable)

    def reused(self, n_texts: int, n_tokens: int) -> None:
        """Add texts that had their vectors already, where that counts as saved."""
        self._n_settled += n_texts
        if self._spending.counts_reuse:
            self._n_texts_reused += n_texts
            self._n_tokens_reused += n_tokens

    def media_read(self, kind: MediaKind, reader: MediaProfile, text: MediaText, *, is_new: bool) -> None:
        """Add a medium whose text a file has got; ``is_new`` where it was read now."""
        key = (kind, reader.title)
        count = self._media.get(key) or MediaCount(kind, reader.title, price=reader.price)
        self._media[key] = count.with_text(text, is_new=is_new)
        if is_new:
            self.tell()

    @property
    def media(self) -> tuple[MediaCount, ...]:
        """What was read of media, by kind and reader."""
        return tuple(self._media[key] for key in sorted(self._media))

    def given_up(self, n_chunks: int) -> None:
        """Add the chunks of a document that could not be embedded: nobody waits for them any more."""
        self._n_settled += n_chunks

    def embeds_with(self, status: Callable[[], EmbeddingStatus], *, on: str) -> None:
        """Take ``status`` for what waits to be embedded, and ``on`` for who does it."""
        self._embedding, self._embedder = status, on

    @contextmanager
    def waiting(self, on: str, what: str) -> Iterator[None]:
        """Show, for as long as the block takes, that ``what`` is with ``on`` (a parser, the disk, an engine)."""
        number = next(self._numbers)
        self._waiting[number] = (on, what, time.monotonic())
        try:
            yield
        finally:
            del self._waiting[number]

    # --- telling

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell the progress again and again while the block runs: also where nothing moves, for that is news too."""
        ticking = asyncio.ensure_future(self._tick())
        try:
            yield
            if ticking.done():
                ticking.result()  # what the listener raised
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ticking

    async def _tick(self) -> None:
        while True:
            self.tell(always=True)
            await asyncio.sleep(TELL_EVERY_S)

    def tell(self, path: str = "", *, always: bool = False) -> None:
        """Show how far the run is; where that is not due ``always``, only once in a while."""
        self.path = path or self.path
        now = time.monotonic()
        if not always and now - self._told_at < TELL_EVERY_S:
            return
        self._told_at = now
        self._outlook.see(now, Done(self._n_bytes_read, self._n_settled, self._n_tokens_embedded))
        embedding = self._embedding() if self._embedding else None
        left_s = self._left_s(paused=bool(embedding and embedding.reason))
        rates = self._outlook.chunks_per_s, self._outlook.tokens_per_s
        self._view = _View(embedding, *rates, left_s, tuple(self._waits(now, embedding)))
        self._show(now)

    def _show(self, now: float) -> None:
        """Show the figures of this moment, and what was last worked out from them."""
        view = self._view
        self._on_progress(
            IngestProgress(
                n_files=self.n_files,
                n_done=len(self.files),
                n_chunks=self.n_chunks,
                n_texts_embedded=self._n_texts_embedded,
                n_tokens_embedded=self._n_tokens_embedded,
                path=self.path,
                cost=self._spending.total(self._n_tokens_embedded, self.media),
                currency=self._spending.currency,
                embedding=view.embedding,
                n_media_read=sum(count.n_read for count in self._media.values()),
                phase=self.phase,
                n_seen=self.n_seen,
                n_compared=self.n_compared,
                n_to_compare=self.n_to_compare,
                n_stored=self._n_stored,
                n_bytes=self.n_bytes,
                n_bytes_read=self._n_bytes_read,
                n_tokens=self._n_tokens,
                seconds=now - self._began,
                chunks_per_s=view.chunks_per_s,
                tokens_per_s=view.tokens_per_s,
                left_s=view.left_s,
                waiting=view.waiting,
                fetching=self._fetching if self.n_files == 0 else None,
            )
        )

    def _left_s(self, *, paused: bool) -> float | None:
        if self.phase != "working":
            return None
        # Without a queue that embeds at once (a dry run, batches) there is nothing to wait for but reading.
        n_waiting = self.n_chunks - self._n_settled if self._embedding else 0
        per_byte = self.n_chunks / self._n_bytes_read if self._embedding and self._n_bytes_read else 0.0
        unread = self.n_bytes - self._n_bytes_read
        return self._outlook.left_s(ToDo(max(0, unread), max(0, n_waiting), per_byte), paused=paused)

    def _waits(self, now: float, embedding: EmbeddingStatus | None) -> Iterator[Waiting]:
        """Yield each who is waited for once, with what has been there longest."""
        by_party: dict[str, list[tuple[float, str]]] = {}
        for on, what, since in list(self._waiting.values()):
            by_party.setdefault(on, []).append((since, what))
        for on, entries in by_party.items():
            since, what = min(entries)
            yield Waiting(on, len(entries), what, now - since)
        if embedding and (embedding.n_under_way or embedding.n_waiting):
            what = f"{embedding.n_waiting:,} texts" if embedding.n_waiting else ""
            yield Waiting(
                self._embedder, embedding.n_under_way, what, why=embedding.reason, paused_s=embedding.paused_s
            )

    def report(self, root: str, collection: str, seconds: float) -> IngestReport:
        """Return the report of the run."""
        return IngestReport(
            root=root,
            collection=collection,
            files=tuple(self.files[path] for path in sorted(self.files)),
            removed=tuple(sorted(self.removed)),
            notes=self.notes,
            n_texts_embedded=self._n_texts_embedded,
            n_tokens_embedded=self._n_tokens_embedded,
            n_texts_unreadable=self._n_texts_unreadable,
            seconds=round(seconds, 3),
            stopped=self.stopped,
            n_texts_reused=self._n_texts_reused,
            n_tokens_reused=self._n_tokens_reused,
            embedding_cost=self._spending.cost(self._n_tokens_embedded),
            cost=self._spending.total(self._n_tokens_embedded, self.media),
            currency=self._spending.currency,
            media=self.media,
            prefix=self.prefix,
            saved=self._spending.cost(self._n_tokens_reused),
        )
