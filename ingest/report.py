"""What became of each file of a run: one state per path, and the sum of the states is the number of paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Change", "FileResult", "FileState", "IngestReport"]

FileState = Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
Change = Literal["new", "changed", "renamed"]

STATES: tuple[FileState, ...] = ("indexed", "unchanged", "empty", "failed", "unsupported", "skipped")


@dataclass(frozen=True, slots=True)
class FileResult:
    """The one state a path ended in.

    ``change`` says how an indexed file differs from the last run; ``renamed_from`` names its former path. ``reason``
    explains every state but indexed and unchanged. ``n_tokens`` are the tokens of its chunks; ``n_tokens_embedded``
    those that were sent to the embedder now (the rest was known).
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
class IngestReport:
    """A run: the files in order of path, the documents it removed, and what it cost.

    ``n_texts_embedded`` were sent to the embedder; ``n_texts_unreadable`` of them are in a language that it does not
    read, have no vector, and are found by keywords only. ``n_texts_reused`` are the chunks of the files indexed now
    whose vectors were paid for before, or by another chunk of this run, and ``n_tokens_reused`` their tokens; both are
    0 for a run by batches, which cannot tell them from what a batch has paid for. ``cost`` is what the embedded tokens
    cost, None where the price is not known; ``currency`` is "" for the embedded model.
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
    def exit_code(self) -> int:
        """0 when every file was dealt with, 1 when one failed or the run was stopped."""
        return 1 if self.failed or self.stopped else 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "counts": dict(self.counts), "exit_code": self.exit_code}
