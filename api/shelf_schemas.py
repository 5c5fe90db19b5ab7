"""What goes over the wire about collections as a whole: copies, names, files, snapshots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas import CollectionName

__all__ = [
    "Imported",
    "ModelChange",
    "NewName",
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


class Rebuilding(_Request):
    dry_run: Annotated[bool, Field(description="only say what it would cost")] = False


class ReembedReport(_Reply):
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


class ModelChange(_Reply):
    """How far it is, in documents; ``report`` at its end, ``error`` where it failed."""

    collection: str
    state: Literal["running", "done", "cancelled", "failed"]
    n_done: int
    n_all: int
    error: str
    report: ReembedReport | None


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
