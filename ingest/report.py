"""What became of each file of a run: one state per path, and the sum of the states is the number of paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from rag.prices import UsagePrice
from rag.types import MediaKind, MediaText, MediaUsage

__all__ = ["Change", "FileResult", "FileState", "IngestReport", "MediaCount"]

FileState = Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
Change = Literal["new", "changed", "renamed", "removed"]

STATES: tuple[FileState, ...] = ("indexed", "unchanged", "empty", "failed", "unsupported", "skipped")


@dataclass(frozen=True, slots=True)
class FileResult:
    """The one state a path ended in.

    ``change`` says how an indexed file differs from the last run, or that a skipped one, or a page that is gone, was
    a document until now, and is removed; ``renamed_from`` names its former path. ``reason`` explains every state but
    indexed and unchanged.
    ``n_tokens`` are the tokens of its chunks; ``n_tokens_embedded`` those that were sent to the embedder now (the rest
    was known).
    """

    path: str
    state: FileState
    reason: str = ""
    change: Change | None = None
    renamed_from: str | None = None
    retriable: bool = False
    n_pages: int = 0
    n_chunks: int = 0
    n_tokens: int = 0
    n_tokens_embedded: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaCount:
    """The media of one kind that one reader has read: ``n_read`` now, with ``usage``, and ``n_known`` before.

    ``known_usage`` is what the latter took when they were read. ``n_refused`` of both have no text, because the reader
    refuses them for good. ``price`` is None where it is not known.
    """

    kind: MediaKind
    reader: str
    n_read: int = 0
    n_known: int = 0
    n_refused: int = 0
    usage: MediaUsage = field(default_factory=MediaUsage)
    known_usage: MediaUsage = field(default_factory=MediaUsage)
    price: UsagePrice | None = None

    def with_text(self, text: MediaText, *, is_new: bool) -> MediaCount:
        """Return the count with one more."""
        count = replace(self, n_refused=self.n_refused + bool(text.refusal))
        if is_new:
            return replace(count, n_read=self.n_read + 1, usage=self.usage + text.usage)
        return replace(count, n_known=self.n_known + 1, known_usage=self.known_usage + text.usage)

    @property
    def cost(self) -> float | None:
        """What was paid now; None where the price is not known."""
        return None if self.price is None else self.usage.cost(self.price)

    @property
    def saved(self) -> float | None:
        """What was not paid again; None where the price is not known."""
        return None if self.price is None else self.known_usage.cost(self.price)

    def to_json(self) -> dict[str, Any]:
        """Return the count as plain values."""
        currency = self.price.currency if self.price else ""
        return {**asdict(self), "cost": self.cost, "saved": self.saved, "currency": currency}


@dataclass(frozen=True, slots=True)
class IngestReport:
    """A run: the files in order of path, the documents it removed, and what it cost.

    ``n_texts_embedded`` were sent to the embedder; ``n_texts_unreadable`` of them are in a language that it does not
    read, have no vector, and are found by keywords only. ``n_texts_reused`` are the chunks of the files indexed now
    whose vectors were paid for before, or by another chunk of this run, and ``n_tokens_reused`` their tokens; both are
    0 for a run by batches, which cannot tell them from what a batch has paid for. ``media`` is what was read of pages,
    pictures and recordings. ``embedding_cost`` is what the embedded tokens cost, ``cost`` all of it, and ``saved`` what
    those reused would have; None where a price is not known. ``currency`` is "" where nothing but embedded models and
    programs worked. ``prefix`` is what the paths begin with, beside their place below ``root``: "" in the first folder
    of a collection.
    ``stopped`` is the reason why the run ended before all files were read ("" otherwise); files it did not reach are
    listed as failed and retriable. ``notes`` are what else a person should know.
    """

    root: str
    collection: str
    files: tuple[FileResult, ...]
    removed: tuple[str, ...]
    n_texts_embedded: int
    n_tokens_embedded: int
    n_texts_unreadable: int
    seconds: float
    stopped: str = ""
    n_texts_reused: int = 0
    n_tokens_reused: int = 0
    cost: float | None = None
    currency: str = ""
    media: tuple[MediaCount, ...] = ()
    embedding_cost: float | None = None
    saved: float | None = None
    prefix: str = ""
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Mapping[FileState, int]:
        """How many files ended in each state, all states listed."""
        counted = Counter(file.state for file in self.files)
        return {state: counted[state] for state in STATES}

    @property
    def failed(self) -> tuple[FileResult, ...]:
        return tuple(file for file in self.files if file.state == "failed")

    @property
    def changed(self) -> bool:
        """Whether the run did anything, or should have: not so where every file was as it was."""
        return bool(self.removed or self.stopped or any(map(_is_news, self.files)))

    @property
    def exit_code(self) -> int:
        """0 when every file was dealt with, 1 when one failed or the run was stopped."""
        return 1 if self.failed or self.stopped else 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        media = [count.to_json() for count in self.media]
        return {**asdict(self), "media": media, "counts": dict(self.counts), "exit_code": self.exit_code}


def _is_news(file: FileResult) -> bool:
    return file.state in ("indexed", "failed") or file.change == "removed"
