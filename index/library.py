"""A library: a folder of collections that share their vectors.

<library>/vectors.db                      vectors by content, for all collections
<library>/readings.db                     what was read of media, likewise; there once something was
<library>/collections/<name>/             one folder a collection
    collection.db                         the truth: documents, chunks, ledger
    vectors.faiss, keywords/              derived: may be deleted at any time
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import unicodedata
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import TracebackType

from index.collection import Collection, create_collection_files
from index.locks import WriterLock, file_lock
from index.reading_store import ReadingStore
from index.records import EXACT_LIMIT, CollectionConfig
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError, CollectionExistsError, CollectionNotFoundError

__all__ = ["CollectionConfig", "Library", "check_collection_name"]

_NAME = re.compile(r"\w[\w.-]*")
_MAX_NAME_BYTES = 100
_NEW, _DELETED, _ASIDE = ".new-", ".deleted-", ".superseded-"  # no collection can have such a name
_MAKING_PATIENCE_S = 60.0
_PUTTING_PATIENCE_S = 5.0


class Library:
    """Opens, makes and deletes collections; a context manager that closes what it opened."""

    def __init__(self, folder: Path, vectors: VectorStore, *, exact_limit: int = EXACT_LIMIT) -> None:
        self.folder = folder
        self.vectors = vectors
        self._exact_limit = exact_limit
        self._opened: list[Collection] = []
        self._readings: ReadingStore | None = None

    @classmethod
    def open(cls, folder: Path, *, create: bool = False, exact_limit: int = EXACT_LIMIT) -> Library:
        """Open a library; ``create`` makes it where there is none, else that is a CollectionNotFoundError.

        A collection of more than ``exact_limit`` chunks is searched through codes, with exact rescoring.
        """
        if not create and not (folder / "vectors.db").exists():
            raise CollectionNotFoundError(f"no library in {folder}; run `rag ingest FOLDER` to make one")
        if create:
            try:
                (folder / "collections").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CollectionError(f"cannot make a library in {folder}: {error}; choose another folder") from error
        return cls(folder, VectorStore(folder / "vectors.db", create=create), exact_limit=exact_limit)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the vector store and every collection opened through this library."""
        opened, self._opened = self._opened, []
        for collection in opened:
            collection.close()
        self.vectors.close()
        if self._readings is not None:
            self._readings.close()
            self._readings = None

    def readings(self, *, create: bool = False) -> ReadingStore | None:
        """Return what was read of media; None where nothing ever was, unless ``create`` makes a place for it."""
        path = self.folder / "readings.db"
        if self._readings is None and (create or path.exists()):
            self._readings = ReadingStore(path, create=create)
        return self._readings

    def collections(self) -> list[str]:
        """Return the names of the collections, sorted."""
        folder = self.folder / "collections"
        if not folder.is_dir():
            return []
        for aside in list(folder.glob(f"{_ASIDE}*")):
            self._put_back(aside.name.removeprefix(_ASIDE))
        return sorted(path.name for path in folder.iterdir() if _is_name(path.name) and _is_collection(path))

    def create(self, name: str, config: CollectionConfig) -> Collection:
        """Make an empty collection and open it. Raises CollectionExistsError, or CollectionError for a bad name."""
        path = self._path(name)
        self._put_back(name)
        temporary = path.with_name(f"{_NEW}{secrets.token_hex(8)}")
        with self._making() as held:
            if not held:
                raise CollectionError(
                    f"another process is making a collection in {self.folder} and does not end; stop it"
                )
            try:
                self._sweep()
                temporary.mkdir(parents=True)
                create_collection_files(temporary, config)
                os.rename(temporary, path)  # subtle: fails where a folder of this name has files; that is the check
            except OSError as error:
                if path.exists():
                    raise CollectionExistsError(f"collection {name!r} is already there; choose another name") from error
                raise CollectionError(f"cannot make collection {name!r} in {self.folder}: {error}") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return self.open_collection(name)

    def open_collection(self, name: str) -> Collection:
        """Open a collection. Raises CollectionNotFoundError, which says what there is."""
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        collection = Collection(path, self.vectors, exact_limit=self._exact_limit)
        self._opened.append(collection)
        return collection

    def delete(self, name: str) -> None:
        """Delete a collection and its files; its vectors stay until ``prune``.

        Raises CollectionNotFoundError, and CollectionLockedError while somebody is writing to it.
        """
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        doomed = path.with_name(f"{_DELETED}{secrets.token_hex(8)}")
        lock = WriterLock(path, name=name)
        lock.acquire(f"deleting {name}")
        try:
            os.rename(path, doomed)  # one step: there is never half a collection under the name
        except OSError as error:
            raise CollectionError(f"cannot delete collection {name!r}: {error}") from error
        finally:
            lock.release()
        shutil.rmtree(doomed, ignore_errors=True)

    def supersede(self, name: str, *, by: str) -> None:
        """Put the collection ``by`` in the place of ``name``, which is deleted; open handles of both end with that.

        The old one answers until this is called; it comes back when this is interrupted. Raises CollectionLockedError
        while somebody is writing to either.
        """
        old, new = self._path(name), self._path(by)
        self._put_back(name)
        if not _is_collection(new):
            raise self._not_found(by)
        aside = old.with_name(f"{_ASIDE}{name}")
        shutil.rmtree(aside, ignore_errors=True)
        with ExitStack() as stack:
            for path, label in ((old, name), (new, by)):
                lock = WriterLock(path, name=label)
                lock.acquire(f"putting {by} in the place of {name}")
                stack.callback(lock.release)
            try:
                os.rename(old, aside)
                os.rename(new, old)
            except OSError as error:
                with suppress(OSError):
                    os.rename(aside, old)
                raise CollectionError(f"cannot put collection {by!r} in the place of {name!r}: {error}") from error
        shutil.rmtree(aside, ignore_errors=True)

    def prune(self) -> int:
        """Delete the vectors and readings that no collection uses, and what interrupted deletions left.

        Returns how many vectors and readings. A reading is kept while a ledger names a file that has its medium, in
        whatever state: one that has failed half-way will be read again.

        Takes the writer lock of every collection: CollectionLockedError while somebody is writing.
        """
        keep: dict[VectorSpace, set[bytes]] = {}
        with ExitStack() as stack:
            for name in self.collections():
                lock = WriterLock(self._path(name), name=name)
                lock.acquire("pruning the library")
                stack.callback(lock.release)
                with Collection(self._path(name), self.vectors) as collection:
                    keep.setdefault(collection.space, set()).update(collection.addresses())
            n_pruned = self.vectors.prune(keep)
            if (readings := self.readings()) is not None:
                n_pruned += readings.prune(self.known_files())
            if stack.enter_context(self._making()):
                self._sweep()
        return n_pruned

    def known_files(self) -> set[str]:
        """Return the SHA-256 of every file that a collection holds, or that its ledger names in whatever state."""
        found: set[str] = set()
        for name in self.collections():
            with Collection(self._path(name), self.vectors) as collection:
                found.update(info.sha256 for info in collection.documents())
                found.update(entry.sha256 for entry in collection.ledger().values() if entry.sha256)
        return found

    def _making(self) -> AbstractContextManager[bool]:
        """Keep other processes from making a collection; False where one does not come to an end."""
        return file_lock(self.folder / "making.lock", timeout_s=_MAKING_PATIENCE_S)

    def _put_back(self, name: str) -> None:
        """Give a collection its name back that a ``supersede`` had put aside when its process was killed."""
        path = self._path(name)
        aside = path.with_name(f"{_ASIDE}{name}")
        if path.exists() or not _is_collection(aside):
            return
        # One that is still at work holds this lock, and puts the new collection in place in a moment.
        with file_lock(aside / "writer.lock", timeout_s=_PUTTING_PATIENCE_S) as held:
            if held and not path.exists():
                try:
                    os.rename(aside, path)
                except FileNotFoundError:  # another process was faster
                    return
                except OSError as error:
                    raise CollectionError(f"cannot give {aside} its name {name!r} back: {error}") from error

    def _sweep(self) -> None:
        """Delete what was left where collections were made, deleted or superseded by a process that was killed.

        The caller holds ``_making``.
        """
        for leftover in (self.folder / "collections").glob(".*"):
            name = leftover.name.removeprefix(_ASIDE)
            replaced = name != leftover.name and leftover.with_name(name).exists()
            if replaced or leftover.name.startswith((_NEW, _DELETED)):
                shutil.rmtree(leftover, ignore_errors=True)

    def _path(self, name: str) -> Path:
        check_collection_name(name)
        return self.folder / "collections" / name

    def _not_found(self, name: str) -> CollectionNotFoundError:
        there = ", ".join(map(repr, self.collections())) or "none yet"
        return CollectionNotFoundError(f"no collection {name!r} in {self.folder}; there are: {there}")


def check_collection_name(name: str) -> None:
    """Raise CollectionError unless a name is letters, digits, ``-_.``, beginning with a letter or digit."""
    if not _is_name(name):
        raise CollectionError(
            f"{name!r} cannot be the name of a collection: use letters, digits, '-', '_' and '.', a letter or digit"
            f" first, at most {_MAX_NAME_BYTES} bytes"
        )


def _is_name(name: str) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and not name.endswith(".")
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode()) <= _MAX_NAME_BYTES
    )


def _is_collection(path: Path) -> bool:
    return (path / "collection.db").is_file()
