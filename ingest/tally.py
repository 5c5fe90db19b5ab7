"""Counts what becomes of the files of a run, tells whoever watches, and sums it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ingest.cost import Spending
from ingest.embedding import EmbeddingStatus
from ingest.report import FileResult, IngestReport
from ingest.web.sighting import FetchProgress
from rag.types import Embeddings

__all__ = ["IngestProgress", "Tally"]


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a run is. ``n_texts_embedded`` of ``n_chunks`` were sent and came back; ``path`` was looked at last.

    ``cost`` is what they cost, None where the price is not known (see IngestReport). ``embedding`` tells what waits for
    the endpoint, ``fetching`` how far the pages of an address are, before their number is known.
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
    fetching: FetchProgress | None = None


class Tally:
    """The figures of one run. ``stopped`` is why it ended early; ``removed`` the documents that went.

    ``notes`` are what else a person should know.

    ``embedding`` tells what waits for the endpoint, where texts are embedded at once.
    """

    def __init__(self, spending: Spending, on_progress: Callable[[IngestProgress], None]) -> None:
        self.files: dict[str, FileResult] = {}
        self.removed: tuple[str, ...] = ()
        self.n_files = 0
        self.n_chunks = 0
        self.stopped = ""
        self.notes: tuple[str, ...] = ()
        self.embedding: Callable[[], EmbeddingStatus] | None = None
        self._spending = spending
        self._on_progress = on_progress
        self._n_texts_embedded = 0
        self._n_tokens_embedded = 0
        self._n_texts_unreadable = 0
        self._n_texts_reused = 0
        self._n_tokens_reused = 0
        self._fetching: FetchProgress | None = None

    def fetched(self, progress: FetchProgress) -> None:
        """Note how far the pages of an address are fetched."""
        self._fetching = progress
        self.tell()

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
                cost=self._spending.cost(self._n_tokens_embedded),
                currency=self._spending.currency,
                embedding=self.embedding() if self.embedding else None,
                fetching=self._fetching if self.n_files == 0 else None,
            )
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
            cost=self._spending.cost(self._n_tokens_embedded),
            currency=self._spending.currency,
        )
