"""A collection in one file, for another library or another machine: a ZIP archive that is checked before it is trusted.

    manifest.json   what it is, and the size and SHA-256 of each other member
    collection.db   the whole database, of one moment
    vectors.db      the vectors that its chunks use, with the tables of the library's own

Source files, uploads and derived indexes are not in it. Nothing of the archive chooses a path: members are read by
these names into files that are named here, up to the size that the manifest says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np

from index.cache import import_cache
from index.collection import Collection
from index.files import put_in_place, temporary_beside
from index.identity import copy_database
from index.library import Library, check_collection_name
from index.migrations import COLLECTION_STEPS, migrate
from index.vector_store import VectorStore
from rag.errors import CollectionError, CollectionExistsError, IndexMismatchError
from rag.types import Embeddings

__all__ = ["Exported", "export_collection", "import_collection"]

_KIND, _VERSION = "footnote-collection", 1
_MANIFEST, _MEMBERS = "manifest.json", ("collection.db", "vectors.db")
_MAX_MANIFEST_BYTES = 100_000
_MAX_RATIO = 100  # text and tables pack to a tenth at best; what unpacks to more than this was made to fill a disk
_SPARE_BYTES = 64 * 1024 * 1024
_BLOCK = 1024 * 1024
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Exported:
    """What an archive holds: the name the collection had, and how much."""

    collection: str
    n_documents: int
    n_chunks: int
    n_vectors: int
    model: str


def export_collection(library: Library, name: str, path: Path) -> Exported:
    """Write a collection with its vectors to a new file, whole or not at all; a running writer is not disturbed.

    Raises CollectionNotFoundError, and CollectionError where ``path`` is taken or cannot be written.
    """
    if path.exists():
        raise CollectionError(f"{path} is there already; name a new file, or delete it first")
    source = library.database_of(name)
    temporary = temporary_beside(path)
    try:
        with TemporaryDirectory(prefix=".export-", dir=library.folder) as scratch:
            folder = Path(scratch)
            with library.making():  # no pruning takes its vectors away meanwhile
                copy_database(source, folder / "collection.db")
                exported = _copy_vectors(library, folder, name)
            _pack(folder, temporary, exported)
        put_in_place(temporary, path)
    except OSError as error:
        raise CollectionError(
            f"cannot export {name!r} to {path}: {error}; name a file in a folder with room"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return exported


def _copy_vectors(library: Library, folder: Path, name: str) -> Exported:
    with (
        Collection(folder, library.vectors) as collection,
        closing(VectorStore(folder / "vectors.db", create=True)) as store,
    ):
        status, space, n_vectors = collection.status(), collection.space, 0
        addresses = sorted(collection.addresses())
        for first in range(0, len(addresses), _BATCH):
            batch = addresses[first : first + _BATCH]
            readable = library.vectors.readable(space, batch)
            if len(readable) != len(batch):
                raise CollectionError(f"vectors of {name!r} are missing; run `rag status --repair -c {name}`")
            found = library.vectors.get(space, batch)
            vectors = np.zeros((len(batch), space.dimensions), np.float32)
            marks = np.array([readable[address] for address in batch], np.bool_)
            for place, address in enumerate(batch):
                if (vector := found.get(address)) is not None:
                    vectors[place] = vector
            store.put(space, batch, Embeddings(vectors, marks, 0))
            n_vectors += len(batch)
    return Exported(name, status.n_documents, status.n_chunks, n_vectors, space.model)


def _pack(folder: Path, target: Path, exported: Exported) -> None:
    members = {name: {"size": (folder / name).stat().st_size, "sha256": _digest(folder / name)} for name in _MEMBERS}
    manifest = {
        "kind": _KIND,
        "version": _VERSION,
        "collection": exported.collection,
        "n_documents": exported.n_documents,
        "n_chunks": exported.n_chunks,
        "n_vectors": exported.n_vectors,
        "model": exported.model,
        "members": members,
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        archive.write(folder / "collection.db", "collection.db")
        archive.write(folder / "vectors.db", "vectors.db", zipfile.ZIP_STORED)  # numbers hardly pack


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_collection(library: Library, path: Path, name: str = "", *, replace: bool = False) -> Exported:
    """Make a collection of an exported file, under the name it had or another one; nothing is embedded or paid for.

    All of the file is checked before anything is kept. A collection of the name is left alone unless ``replace``, which
    puts the new one in its place, and its snapshots stay. Returns what was imported, under its new name. Raises
    CollectionExistsError, CollectionLockedError, IndexMismatchError for a file of a newer Footnote, and
    CollectionError for one that is damaged or was not exported. Nothing can tell whether texts and vectors are what
    they are said to be: import what you or somebody you trust has exported.
    """
    with _opened(path) as (archive, manifest):
        exported = _exported(manifest, path)
        name = name or exported.collection
        check_collection_name(name)
        if name in library.collections() and not replace:
            raise CollectionExistsError(
                f"collection {name!r} is already there; import under another name, or replace it (--replace)"
            )

        def fill(folder: Path) -> None:
            for member in _MEMBERS:
                _unpack(archive, member, manifest["members"][member], folder / member, path)
            _check_database(folder / "collection.db", path)
            _take_vectors(library, folder / "vectors.db", path)
            (folder / "vectors.db").unlink()
            _check_collection(library, folder, path)

        library.place(name, fill, replace=replace)
    return Exported(name, exported.n_documents, exported.n_chunks, exported.n_vectors, exported.model)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _manifest(archive, path)
    except FileNotFoundError as error:
        raise CollectionError(f"{path} is not there; check its name") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _bad(path, str(error)) from error
    except OSError as error:
        raise CollectionError(f"{path} cannot be read: {error.strerror or error}; check its name") from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return the manifest, once the archive was found to hold what it says and nothing else."""
    infos = {info.filename: info for info in archive.infolist()}
    if _MANIFEST not in infos or infos[_MANIFEST].file_size > _MAX_MANIFEST_BYTES:
        raise CollectionError(f"{path} is no file that `rag collections export` wrote: it has no {_MANIFEST}")
    try:
        manifest = json.loads(_contents(archive.open(_MANIFEST)))
        kind, version, members = manifest["kind"], manifest["version"], manifest["members"]
        sizes = {name: int(member["size"]) for name, member in members.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad(path, f"its {_MANIFEST} is none ({error})") from error
    if kind != _KIND:
        raise CollectionError(f"{path} is no file that `rag collections export` wrote: it calls itself {kind!r}")
    if version != _VERSION:
        raise IndexMismatchError(
            f"{path} has format {version!r}, this version of Footnote reads {_VERSION}; upgrade Footnote"
        )
    if sorted(info.filename for info in archive.infolist()) != sorted((_MANIFEST, *_MEMBERS)) or set(sizes) != set(
        _MEMBERS
    ):
        raise _bad(path, f"it holds {sorted(infos)[:5]} instead of {[_MANIFEST, *_MEMBERS]}")
    for name, size in sizes.items():
        if infos[name].file_size != size or infos[name].flag_bits & 1:
            raise _bad(path, f"{name} has not the size that its manifest says")
    total, room = sum(sizes.values()), shutil.disk_usage(path.absolute().parent).free
    if min(sizes.values()) < 0 or total > _SPARE_BYTES + _MAX_RATIO * path.stat().st_size:
        raise _bad(path, f"it would unpack to {total:,} bytes, more than an export of its size can hold")
    if total > room:
        raise CollectionError(f"{path} unpacks to {total:,} bytes and there are {room:,}; free some disk space")
    return dict(manifest)


def _contents(stream: Any) -> bytes:
    with stream:
        return bytes(stream.read(_MAX_MANIFEST_BYTES + 1))


def _exported(manifest: dict[str, Any], path: Path) -> Exported:
    try:
        return Exported(
            str(manifest["collection"]),
            int(manifest["n_documents"]),
            int(manifest["n_chunks"]),
            int(manifest["n_vectors"]),
            str(manifest["model"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(path, f"its {_MANIFEST} lacks {error}") from error


def _unpack(archive: zipfile.ZipFile, name: str, said: dict[str, Any], target: Path, path: Path) -> None:
    """Write a member to a file of ours, not a byte more than its manifest says, and compare its checksum."""
    sha256, left = hashlib.sha256(), int(said["size"])
    with archive.open(name) as packed, target.open("wb") as file:
        while block := packed.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise _bad(path, f"{name} is longer than its manifest says")
            sha256.update(block)
            _write(file, block)
    if left or sha256.hexdigest() != said.get("sha256"):
        raise _bad(path, f"{name} is not as it was written (its checksum differs)")


def _write(file: BinaryIO, block: bytes) -> None:
    file.write(block)


def _check_database(database: Path, path: Path) -> None:
    """Raise unless a database is whole and has the tables of its version, and no triggers or views."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as found:
            found.execute("PRAGMA trusted_schema = OFF")
            version = int(found.execute("PRAGMA user_version").fetchone()[0])
            if version > len(COLLECTION_STEPS):
                raise IndexMismatchError(
                    f"{path} holds a collection of format {version}, this version of Footnote knows up to"
                    f" {len(COLLECTION_STEPS)}; upgrade Footnote"
                )
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
                migrate(model, COLLECTION_STEPS[:version], path=":memory:")
                if version < 1 or _schema(found) != _schema(model):
                    raise _bad(path, "its tables are not those of a collection")
            problems = [str(row[0]) for row in found.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as error:
        raise _bad(path, f"SQLite says '{error}'") from error
    if problems != ["ok"]:
        raise _bad(path, problems[0])


def _schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'")
    return sorted(tuple(" ".join(str(value).split()) for value in row) for row in found)


def _take_vectors(library: Library, vectors: Path, path: Path) -> None:
    try:
        import_cache(library.vectors, vectors)
    except CollectionError as error:
        raise _bad(path, f"its vectors: {str(error).replace(str(vectors), 'vectors.db')}") from error


def _check_collection(library: Library, folder: Path, path: Path) -> None:
    """Read what was imported as a search and a check do, and make its indexes."""
    try:
        with Collection(folder, library.vectors) as collection:
            addresses = sorted(collection.addresses())
            if lacking := library.vectors.missing(collection.space, addresses):
                raise _bad(path, f"it lacks {len(lacking):,} of the vectors that its documents use")
            if problems := collection.check(deep=False):
                raise _bad(path, problems[0])
            with collection.writer("importing"):
                pass
    except (ValueError, KeyError, TypeError) as error:  # a configuration that is none
        raise _bad(path, str(error)) from error


def _bad(path: Path, found: str) -> CollectionError:
    return CollectionError(
        f"{path} is damaged, or was not exported by Footnote: {found}; nothing was kept, export again"
    )
