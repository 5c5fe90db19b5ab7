"""Copies of a collection, and snapshots: what it was at points in time, to which it can be taken back.

    <library>/snapshots/<key>/<label>/    collection.db, and snapshot.json that says when and of what

``key`` is the collection's own (``index.identity``), so that snapshots follow it through a new name, a rebuild and a
restore. Vectors are shared with the library and kept by ``prune`` while a snapshot uses them; derived indexes are not
part of a snapshot and are built anew.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from index.collection import Collection
from index.files import sync_folder, write_whole
from index.identity import copy_database
from index.library import Library, check_collection_name
from rag.errors import CollectionError, CollectionExistsError, CollectionNotFoundError

__all__ = ["Snapshot", "copy", "delete_snapshot", "prune_snapshots", "restore", "snapshots", "take_snapshot"]

_DESCRIPTION = "snapshot.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A collection at a point in time. ``made_at`` is in Unix seconds; ``size_bytes`` on disk, without its vectors.

    ``collection`` is the name it had then; ``why`` says what made the snapshot.
    """

    label: str
    collection: str
    made_at: float
    n_documents: int
    n_chunks: int
    model: str
    size_bytes: int
    why: str


def copy(library: Library, name: str, to: str) -> None:
    """Make a second collection with the documents of one, as of one moment; both share their vectors.

    A running writer of the first is not disturbed. Its uploads stay the first's. Raises CollectionNotFoundError,
    CollectionExistsError and CollectionError.
    """
    source = library.database_of(name)
    library.place(to, lambda folder: copy_database(source, folder / "collection.db"))


def take_snapshot(library: Library, name: str, label: str = "", *, why: str = "asked for") -> Snapshot:
    """Keep what a collection is at this moment, under a label; without one that is the time, as 20261124-190211.

    A running writer is not disturbed: what it has committed is in. Raises CollectionNotFoundError,
    CollectionExistsError where the label is taken, and CollectionError.
    """
    if label:
        check_collection_name(label)
    with library.making():  # so that no pruning takes vectors away that the writer gives up meanwhile
        return _kept(library, name, label, why)


def _kept(library: Library, name: str, label: str, why: str) -> Snapshot:
    shelf = library.folder / "snapshots" / library.identity(name).key
    label = label or _dated(shelf)
    temporary = shelf / f".new-{secrets.token_hex(8)}"
    try:
        temporary.mkdir(parents=True)
        copy_database(library.database_of(name), temporary / "collection.db")
        with Collection(temporary, library.vectors) as collection:
            status = collection.status()
        kept = Snapshot(
            label=label,
            collection=name,
            made_at=time.time(),
            n_documents=status.n_documents,
            n_chunks=status.n_chunks,
            model=status.config.model,
            size_bytes=(temporary / "collection.db").stat().st_size,
            why=why,
        )
        write_whole(temporary / _DESCRIPTION, json.dumps(asdict(kept)).encode())
        if (shelf / label).exists():
            raise CollectionExistsError(
                f"collection {name!r} has a snapshot {label!r} already; choose another label, or delete that one"
            )
        os.rename(temporary, shelf / label)
        sync_folder(shelf)
    except OSError as error:
        raise CollectionError(
            f"cannot keep a snapshot of {name!r} in {shelf}: {error}; free some disk space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return kept


def snapshots(library: Library, name: str) -> list[Snapshot]:
    """Return the snapshots of a collection, oldest first. Raises CollectionNotFoundError."""
    return sorted((_described(folder) for folder in _folders(library, name)), key=lambda kept: kept.made_at)


def restore(library: Library, name: str, label: str, *, keep: bool = True) -> Snapshot | None:
    """Make a collection what it was, in one step; it answers as it is until then.

    What it is now is kept as a snapshot, which is returned, unless ``keep`` is False. Raises CollectionNotFoundError,
    CollectionLockedError while somebody writes to it, and CollectionError where what it is now cannot be read and is
    to be kept.
    """
    folder = _folder(library, name, label)
    replaced: list[Snapshot] = []

    def fill(new: Path) -> None:
        if keep:
            replaced.append(_kept(library, name, "", f"replaced by {label}"))
        copy_database(folder / "collection.db", new / "collection.db")
        # Its indexes are made here, so that the first question after the switch does not wait for them.
        with Collection(new, library.vectors) as collection, collection.writer(f"restoring {name}"):
            pass

    library.place(name, fill, replace=True)
    return replaced[0] if replaced else None


def delete_snapshot(library: Library, name: str, label: str) -> None:
    """Delete a snapshot; its vectors stay until the library is pruned. Raises CollectionNotFoundError."""
    folder = _folder(library, name, label)
    doomed = folder.with_name(f".deleted-{secrets.token_hex(8)}")
    try:
        os.rename(folder, doomed)
    except OSError as error:
        raise CollectionError(f"cannot delete snapshot {label!r}: {error}; check the folder's permissions") from error
    shutil.rmtree(doomed, ignore_errors=True)


def prune_snapshots(library: Library, name: str, *, keep: int) -> list[str]:
    """Delete all but the newest ``keep`` snapshots of a collection, and return their labels, oldest first."""
    if keep < 0:
        raise ValueError(f"keep must be at least 0, got {keep}")
    found = snapshots(library, name)
    doomed = [kept.label for kept in found[: max(0, len(found) - keep)]]
    for label in doomed:
        delete_snapshot(library, name, label)
    return doomed


def _folders(library: Library, name: str) -> list[Path]:
    """Return the folders of a collection's snapshots; of one that cannot be read, those that were made of its name."""
    try:
        key = library.identity(name).key
    except CollectionNotFoundError:
        raise
    except CollectionError:
        return [folder for folder in library.snapshot_folders() if _described(folder).collection == name]
    return [folder for folder in library.snapshot_folders() if folder.parent.name == key]


def _folder(library: Library, name: str, label: str) -> Path:
    folders = {folder.name: folder for folder in _folders(library, name)}
    if label not in folders:
        there = ", ".join(folders) or "none yet"
        raise CollectionNotFoundError(f"collection {name!r} has no snapshot {label!r}; there are: {there}")
    return folders[label]


def _described(folder: Path) -> Snapshot:
    with suppress(OSError, ValueError, TypeError):
        return Snapshot(**json.loads((folder / _DESCRIPTION).read_bytes()))
    raise CollectionError(f"{folder / _DESCRIPTION} cannot be read; delete {folder}, or restore the file from a backup")


def _dated(shelf: Path) -> str:
    """Return the time as a label that is free."""
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    label, n = now, 1
    while (shelf / label).exists():
        n += 1
        label = f"{now}-{n}"
    return label
