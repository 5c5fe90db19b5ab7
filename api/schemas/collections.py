"""What is said of collections as a whole: what they hold, copies, names, files, snapshots; and of the service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import CollectionName, Reply, Request

__all__ = [
    "Collection",
    "CollectionList",
    "CollectionSettings",
    "Created",
    "Health",
    "Imported",
    "ModelChange",
    "NewCollection",
    "NewName",
    "NewSettings",
    "NewSnapshot",
    "Pruned",
    "Pruning",
    "Rebuilding",
    "ReembedReport",
    "Restored",
    "Restoring",
    "Snapshot",
    "SnapshotList",
]


class NewCollection(Request):
    name: Annotated[CollectionName, Field(examples=["handbooks"])]


class Collection(Reply):
    """A collection at a glance; ``changed_at`` is in Unix seconds."""

    name: str
    n_documents: int
    n_chunks: int
    n_tokens: int
    n_unreadable: Annotated[int, Field(description="chunks that the embedding model cannot read")]
    model: str
    dimensions: int
    chunk_tokens: int
    chunk_overlap: int
    size_bytes: int
    files: Annotated[dict[str, int], Field(description="how many input files ended in which state")]
    changed_at: float | None
    writer: Annotated[str | None, Field(description="who is writing to it now")]


class CollectionList(Reply):
    collections: list[str]
    default: str


class Created(Reply):
    name: str


class NewSettings(Request):
    answer: Annotated[
        dict[str, Any],
        Field(
            description="settings of `[answer]` by name, as in rag.toml; null is none",
            examples=[{"temperature": 0, "language": "French"}],
            max_length=100,
        ),
    ]


class CollectionSettings(Reply):
    """The settings that a collection has of its own."""

    collection: str
    answer: Annotated[dict[str, Any], Field(description="settings of `[answer]` by name")]


class NewName(Request):
    to: Annotated[CollectionName, Field(examples=["handbooks"])]


class NewSnapshot(Request):
    label: Annotated[CollectionName | None, Field(description="without one, the time of day")] = None


class Restoring(Request):
    keep: Annotated[bool, Field(description="keep what is replaced as a snapshot")] = True


class Pruning(Request):
    keep: Annotated[int, Field(ge=0, le=10_000, description="how many of the newest stay")]


class Rebuilding(Request):
    dry_run: Annotated[bool, Field(description="only say what it would cost")] = False


class ReembedReport(Reply):
    """What was embedded, or would be: texts that have no vector of the model yet."""

    collection: str
    model: str
    n_documents: int
    n_chunks: int
    n_texts: int
    n_tokens: int
    cost: Annotated[float | None, Field(description="null where the price is not known")]
    currency: str
    is_switched: Annotated[bool, Field(description="whether the new one answers")]


class ModelChange(Reply):
    """How far it is, in documents; ``report`` at its end, ``error`` where it failed."""

    collection: str
    state: Literal["running", "done", "cancelled", "failed"]
    n_done: int
    n_all: int
    error: str
    report: ReembedReport | None


class Imported(Reply):
    """What an imported file held."""

    collection: str
    n_documents: int
    n_chunks: int
    n_vectors: int
    model: str


class Snapshot(Reply):
    """A collection at a point in time; ``made_at`` is in Unix seconds, the size is without vectors."""

    label: str
    collection: Annotated[str, Field(description="the name it had then")]
    made_at: float
    n_documents: int
    n_chunks: int
    model: str
    size_bytes: int
    why: str


class SnapshotList(Reply):
    collection: str
    snapshots: list[Snapshot]


class Restored(Reply):
    """``replaced`` is the label of the snapshot that holds what was replaced, null where none was kept."""

    collection: str
    restored: str
    replaced: str | None


class Pruned(Reply):
    collection: str
    deleted: list[str]


class Health(Reply):
    status: Literal["ok"]
    version: str
    n_collections: int
