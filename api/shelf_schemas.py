"""What goes over the wire about collections as a whole: copies, names, files, snapshots."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import CollectionName

__all__ = [
    "Imported",
    "NewName",
    "NewSnapshot",
    "Pruned",
    "Pruning",
    "Restored",
    "Restoring",
    "Snapshot",
    "SnapshotList",
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewName(_Request):
    to: Annotated[CollectionName, Field(examples=["handbooks"])]


class NewSnapshot(_Request):
    label: Annotated[CollectionName | None, Field(description="without one, the time of day")] = None


class Restoring(_Request):
    keep: Annotated[bool, Field(description="keep what is replaced as a snapshot")] = True


class Pruning(_Request):
    keep: Annotated[int, Field(ge=0, le=10_000, description="how many of the newest stay")]


class Imported(_Reply):
    """What an imported file held."""

    collection: str
    n_documents: int
    n_chunks: int
    n_vectors: int
    model: str


class Snapshot(_Reply):
    """A collection at a point in time; ``made_at`` is in Unix seconds, the size is without vectors."""

    label: str
    collection: Annotated[str, Field(description="the name it had then")]
    made_at: float
    n_documents: int
    n_chunks: int
    model: str
    size_bytes: int
    why: str


class SnapshotList(_Reply):
    collection: str
    snapshots: list[Snapshot]


class Restored(_Reply):
    """``replaced`` is the label of the snapshot that holds what was replaced, null where none was kept."""

    collection: str
    restored: str
    replaced: str | None


class Pruned(_Reply):
    collection: str
    deleted: list[str]
