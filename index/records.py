"""What a collection records, beside the documents and chunks of ``rag.types``: plain frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rag.types import ChunkingSettings

__all__ = [
    "CELLS_LIMIT",
    "EXACT_LIMIT",
    "METRIC",
    "RECALL_TARGET",
    "CollectionConfig",
    "CollectionStatus",
    "DerivedStatus",
    "DocumentInfo",
    "LedgerEntry",
    "LedgerState",
    "MeasuredRecall",
    "Position",
    "RepairReport",
]

METRIC = "cosine"
"""Rows are of unit length, so the inner product is the cosine."""

EXACT_LIMIT = 50_000
"""Chunks up to which vector search is exact by itself: some 8 ms of CPU and 77 MB at 384 dimensions."""

CELLS_LIMIT = 100_000
"""Chunks beyond which the codes lie in cells: scanning all of them would take more than some 3 ms of CPU."""

RECALL_TARGET = 0.98
"""What share of the ten nearest chunks an approximate search finds at least, unless a setting says otherwise."""

LedgerState = Literal["indexed", "empty", "failed", "unsupported", "skipped"]


@dataclass(frozen=True, slots=True)
class CollectionConfig:
    """What cannot change while a collection lives: its vector space, its tokenizer and how it cuts documents."""

    model: str
    dimensions: int
    tokenizer: str
    chunking: ChunkingSettings

    def __post_init__(self) -> None:
        if not self.model or not self.tokenizer:
            raise ValueError("a collection needs the names of its embedding model and tokenizer")
        if self.dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, got {self.dimensions}")


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What became of one input path. ``path`` is the document id; ``root`` the ingested folder it was found in.

    ``sha256`` is None where the file could not be read. ``updated_at`` is in Unix seconds. ``retriable`` says that the
    next run should try again although the file has not changed.
    """

    path: str
    root: str
    state: LedgerState
    sha256: str | None = None
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0
    reason: str = ""
    retriable: bool = False
    n_pages: int = 0
    n_chunks: int = 0
    n_tokens: int = 0
    warnings: tuple[str, ...] = ()
    reader: str = ""
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A stored document without its text. ``changed_at`` is in Unix seconds."""

    id: str
    title: str
    sha256: str
    media_type: str
    reader: str
    n_characters: int
    n_pages: int
    n_chunks: int
    n_tokens: int
    changed_at: float
    metadata: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a collection's history: the number of its last change and that change's random mark.

    The mark tells histories apart: an index made from a copy that went another way has the number but not the mark.
    """

    seq: int
    mark: str


@dataclass(frozen=True, slots=True)
class MeasuredRecall:
    """What share of the ten nearest chunks a search finds: the mean, and at least with a confidence of 95 %.

    Measured ``at`` (Unix seconds) over ``n_questions`` made of the collection's own vectors, when it had ``n_chunks``.
    """

    recall: float
    at_least: float
    target: float
    n_questions: int
    n_chunks: int
    at: float

    @property
    def is_enough(self) -> bool:
        return self.at_least >= self.target


@dataclass(frozen=True, slots=True)
class DerivedStatus:
    """The state of a derived index on disk, and how many chunks it holds (0 where it cannot be trusted).

    ``behind`` is normal after a crash, or beside a running writer: the next search catches up. ``recall`` is None
    where search is exact, or was not measured yet.
    """

    state: Literal["current", "behind", "missing", "damaged"]
    kind: str
    seq: int
    n_chunks: int
    agrees: bool
    recall: MeasuredRecall | None = None


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """A collection at a glance. Sizes are bytes on disk; ``changed_at`` is in Unix seconds, None before any change.

    ``n_unreadable`` counts the chunks that have no vector because the model cannot read them: keywords alone find
    them; ``n_with_warnings`` the documents that their reader had something to say of. ``agrees`` is True when both
    derived indexes hold what SQLite holds, or are merely behind or absent and will be caught up by the next search.
    ``n_unsealed`` documents and vectors were stored before there were checksums and have none yet, at most; the next
    writers add them.
    """

    name: str
    config: CollectionConfig
    n_documents: int
    n_chunks: int
    n_tokens: int
    n_unreadable: int
    ledger: Mapping[str, int]
    size_bytes: Mapping[str, int]
    changed_at: float | None
    seq: int
    vectors: DerivedStatus
    keywords: DerivedStatus
    writer: str | None
    n_unsealed: int = 0
    n_with_warnings: int = 0

    @property
    def agrees(self) -> bool:
        return self.vectors.agrees and self.keywords.agrees


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, in words; ``waiting`` are the paths that the next ingest reads again, by their folder.

    ``problems`` is what a deep check finds afterwards: what could not be mended, and what waits for that ingest.
    """

    done: tuple[str, ...]
    waiting: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]
