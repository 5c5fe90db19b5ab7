"""Counts what becomes of the files of a run, tells whoever watches, and sums it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest.cost import Spending
from ingest.embedding import EmbeddingStatus
from ingest.report import FileResult, IngestReport, MediaCount
from rag.types import Embeddings, MediaKind, MediaProfile, MediaText

__all__ = ["IngestProgress", "Tally"]


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a run is. ``n_texts_embedded`` of ``n_chunks`` were sent and came back; ``path`` was looked at last.

    ``n_media_read`` pages, pictures and recordings were read now. ``cost`` is what all that costs, None where a price
    is not known (see IngestReport). ``embedding`` tells what waits for the endpoint.
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


class Tally:
    """The figures of one run. ``stopped`` is why it ended early; ``removed`` the documents that went.

    ``embedding`` tells what waits for the endpoint, where texts are embedded at once.
    """

    def __init__(self, spending: Spending, on_progress: Callable[[IngestProgress], None]) -> None:
        self.files: dict[str, FileResult] = {}
        self.removed: tuple[str, ...] = ()
        self.n_files = 0
        self.n_chunks = 0
        self.stopped = ""
        self.embedding: Callable[[], EmbeddingStatus] | None = None
        self._spending = spending
        self._on_progress = on_progress
        self._n_texts_embedded = 0
        self._n_tokens_embedded = 0
        self._n_texts_unreadable = 0
        self._n_texts_reused = 0
        self._n_tokens_reused = 0
        self._media: dict[tuple[str, str], MediaCount] = {}

    def done(self, result: FileResult) -> None:
        """Note the one state that a path ended in."""
        self.files[result.path] = result
        self.tell(result.path)

    def embedded(self, embeddings: Embeddings) -> None:
        """Add a reply whose vectors are stored."""
        self._n_texts_embedded += len(embeddings.readable)
        self._n_texts_unreadable += int((~embeddings.readable).sum())
        self._n_tokens_embedded += embeddings.n_tokens
        self.tell()

    def reused(self, n_texts: int, n_tokens: int) -> None:
        """Add texts that had their vectors already, where that counts as saved."""
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

    def tell(self, path: str = "") -> None:
        """Show how far the run is."""
        self._on_progress(
            IngestProgress(
                n_files=self.n_files,
                n_done=len(self.files),
                n_chunks=self.n_chunks,
                n_texts_embedded=self._n_texts_embedded,
                n_tokens_embedded=self._n_tokens_embedded,
                path=path,
                cost=self._spending.total(self._n_tokens_embedded, self.media),
                currency=self._spending.currency,
                embedding=self.embedding() if self.embedding else None,
                n_media_read=sum(count.n_read for count in self._media.values()),
            )
        )

    def report(self, root: str, collection: str, seconds: float) -> IngestReport:
        """Return the report of the run."""
        return IngestReport(
            root=root,
            collection=collection,
            files=tuple(self.files[path] for path in sorted(self.files)),
            removed=self.removed,
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
        )
