"""A library: a folder of collections that share their vectors.

<library>/vectors.db                      vectors by content, for all collections
<library>/readings.db                     what was read of media, likewise; there once something was
<library>/threads.db                      conversations (``index.threads``); there once one was
<library>/collections/<name>/             one folder a collection
    collection.db                         the truth: documents, chunks, ledger
    vectors.faiss, keywords/              derived: may be deleted at any time
<library>/snapshots/<key>/<label>/        what a collection was at a point in time (``index.points``)
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from index.collection import Collection, create_collection_files
from index.files import sync_folder
from index.identity import Identity, identity_of, set_identity
from index.locks import WriterLock, file_lock
from index.reading_store import ReadingStore
from index.records import CELLS_LIMIT, EXACT_LIMIT, RECALL_TARGET, CollectionConfig, RepairReport
from index.repair import Mended, mend_vectors
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError, CollectionExistsError, CollectionNotFoundError

__all__ = ["Library", "check_collection_name"]

_NAME = re.compile(r"\w[\w.-]*")
_MAX_NAME_BYTES = 100
_NEW, _DELETED, _ASIDE = ".new-", ".deleted-", ".superseded-"  # no collection can have such a name
_REPAIRING = "rag status --repair"
_MAKING_PATIENCE_S = 60.0
_PUTTING_PATIENCE_S = 5.0


class Library:
    """Opens, makes and deletes collections; a context manager that closes what it opened."""

    def __init__(
        self,
        folder: Path,
        vectors: VectorStore,
        *,
        exact_limit: int = EXACT_LIMIT,
        cells_limit: int = CELLS_LIMIT,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        self.folder = folder
        self.vectors = vectors
        self._exact_limit = exact_limit
        self._cells_limit = cells_limit
        self._recall_target = recall_target
        self._opened: list[Collection] = []
        self._readings: ReadingStore | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        create: bool = False,
        exact_limit: int = EXACT_LIMIT,
        cells_limit: int = CELLS_LIMIT,
        recall_target: float = RECALL_TARGET,
    ) -> Library:
        """Open a library; ``create`` makes it where there is none, else that is a CollectionNotFoundError.

        A collection of more than ``exact_limit`` chunks is searched through codes, with exact rescoring, and one of
        more than ``cells_limit`` through codes in cells; so that ``recall_target`` of the nearest are found.
        """
        if not create and not (folder / "vectors.db").exists():
            raise CollectionNotFoundError(f"no library in {folder}; run `rag ingest FOLDER` to make one")
        if create:
            try:
                (folder / "collections").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CollectionError(f"cannot make a library in {folder}: {error}; choose another folder") from error
        return cls(
            folder,
            VectorStore(folder / "vectors.db", create=create),
            exact_limit=exact_limit,
            cells_limit=cells_limit,
            recall_target=recall_target,
        )

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
        self.place(name, lambda folder: create_collection_files(folder, config))
        return self.open_collection(name)

    def place(self, name: str, fill: Callable[[Path], object], *, replace: bool = False) -> None:
        """Let ``fill`` write ``collection.db`` into an empty folder, and give that the name, whole or not at all.

        With ``replace`` it takes the place of a collection of this name, and its identity: that one answers until
        then. Raises CollectionExistsError, CollectionLockedError where somebody writes to the old one, or
        CollectionError.
        """
        path = self._path(name)
        self._put_back(name)
        temporary = path.with_name(f"{_NEW}{secrets.token_hex(8)}")
        with self.making():
            try:
                self._sweep()
                if path.exists() and not replace:
                    raise CollectionExistsError(f"collection {name!r} is already there; choose another name")
                temporary.mkdir(parents=True)
                fill(temporary)
                if path.exists():
                    self._exchange(name, temporary)
                else:
                    set_identity(temporary, Identity.new(self.folder, name))
                    os.rename(temporary, path)
                    sync_folder(path.parent)
            except OSError as error:
                raise CollectionError(f"cannot make collection {name!r} in {self.folder}: {error}") from error
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def open_collection(self, name: str) -> Collection:
        """Open a collection. Raises CollectionNotFoundError, which says what there is."""
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        collection = Collection(
            path,
            self.vectors,
            exact_limit=self._exact_limit,
            cells_limit=self._cells_limit,
            recall_target=self._recall_target,
        )
        self._opened.append(collection)
        return collection

    def delete(self, name: str) -> None:
        """Delete a collection, its files and its snapshots; their vectors stay until ``prune``.

        Raises CollectionNotFoundError, and CollectionLockedError while somebody is writing to it.
        """
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        doomed = path.with_name(f"{_DELETED}{secrets.token_hex(8)}")
        with self._locked(name, path, f"deleting {name}"):
            try:
                os.rename(path, doomed)  # one step: there is never half a collection under the name
            except OSError as error:
                raise CollectionError(f"cannot delete collection {name!r}: {error}") from error
        with suppress(CollectionError):  # one that cannot be read is deleted all the same; `prune` finds what is left
            self._forget_snapshots(identity_of(doomed, name).key)
        shutil.rmtree(doomed, ignore_errors=True)

    def rename(self, name: str, to: str) -> None:
        """Give a collection another name, in one step; its snapshots and uploads stay its own.

        Open handles end with that, as with ``delete``. Raises CollectionNotFoundError, CollectionExistsError, and
        CollectionLockedError while somebody is writing to it.
        """
        path, new = self._path(name), self._path(to)
        for one in (name, to):
            self._put_back(one)
        if not _is_collection(path):
            raise self._not_found(name)
        with self.making(), self._locked(name, path, f"renaming {name} to {to}"):
            if new.exists():
                raise CollectionExistsError(f"collection {to!r} is already there; choose another name")
            set_identity(path, identity_of(path, name))  # before the name goes by which they were known
            try:
                os.rename(path, new)
                sync_folder(new.parent)
            except OSError as error:
                raise CollectionError(f"cannot rename collection {name!r} to {to!r}: {error}") from error

    def supersede(self, name: str, *, by: str, unchanged_since: int | None = None) -> None:
        """Put the collection ``by`` in the place of ``name``, which is deleted; open handles of both end with that.

        The old one answers until this is called; it comes back when this is interrupted. Raises CollectionLockedError
        while somebody is writing to either.
        """
        new = self._path(by)
        self._put_back(name)
        if not _is_collection(new):
            raise self._not_found(by)
        self._exchange(name, new, unchanged_since=unchanged_since)

    def _exchange(self, name: str, new: Path, *, unchanged_since: int | None = None) -> None:
        """Put the collection in the folder ``new`` in the place of ``name``, with its identity; delete the old one.

        Raises CollectionError where the old one is no longer that of the change ``unchanged_since``.
        """
        old = self._path(name)
        aside = old.with_name(f"{_ASIDE}{name}")
        shutil.rmtree(aside, ignore_errors=True)
        words = f"putting {new.name} in the place of {name}"
        with self._locked(name, old, words), self._locked(new.name, new, words):
            if unchanged_since is not None and self._last_change(old) != unchanged_since:
                raise CollectionError(f"collection {name!r} was changed meanwhile, and stays; run the command again")
            with suppress(CollectionError):  # the old one cannot be read: the new one is another then
                set_identity(new, identity_of(old, name))
            try:
                os.rename(old, aside)
                os.rename(new, old)
                sync_folder(old.parent)
            except OSError as error:
                with suppress(OSError):
                    os.rename(aside, old)
                raise CollectionError(f"cannot put {new.name!r} in the place of {name!r}: {error}") from error
        shutil.rmtree(aside, ignore_errors=True)

    def _last_change(self, path: Path) -> int:
        with Collection(path, self.vectors) as collection:
            return collection.status().seq

    def identity(self, name: str) -> Identity:
        """Return which collection it is that has this name. Raises CollectionNotFoundError and CollectionError."""
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        return identity_of(path, name)

    def uploads(self, name: str) -> Path:
        """Return where the uploads of a collection lie: under its name, or under that which it had when they came."""
        try:
            return self.folder / "uploads" / self.identity(name).uploads
        except CollectionError:  # it cannot be read, or is not there yet
            return self.folder / "uploads" / name

    def database_of(self, name: str) -> Path:
        """Return the path of a collection's database. Raises CollectionNotFoundError."""
        path = self._path(name)
        self._put_back(name)
        if not _is_collection(path):
            raise self._not_found(name)
        return path / "collection.db"

    @contextmanager
    def _locked(self, name: str, path: Path, holder: str) -> Iterator[None]:
        lock = WriterLock(path, name=name)
        lock.acquire(holder)
        try:
            yield
        finally:
            lock.release()

    def repair(self, name: str) -> RepairReport:
        """Mend a collection and the vectors as far as can be, and say exactly what was done; see ``index.repair``.

        Where vectors are damaged, every collection is mended, for all share them. Raises CollectionLockedError while
        somebody is writing.
        """
        chosen = self.open_collection(name)
        mended = Mended()
        with ExitStack() as stack:
            stack.enter_context(chosen.writer(_REPAIRING))
            others = []
            if self.vectors.problems() or self.vectors.damaged():
                others = [self.open_collection(other) for other in self.collections() if other != name]
                for other in others:
                    stack.enter_context(other.writer(_REPAIRING))
                mend_vectors(self.vectors, mended)
            chosen.mend(mended)
            for other in others:
                beside = Mended()
                other.mend(beside)
                mended.done += [f"collection {other.name!r}: {line}" for line in beside.done]
        return chosen.repair_report(mended)

    def prune(self) -> int:
        """Delete the vectors and readings that no collection or snapshot uses, and what interrupted deletions left.

        Returns how many vectors and readings. A reading is kept while a ledger names a file that has its medium, in
        whatever state: one that has failed half-way will be read again.

        Takes the writer lock of every collection: CollectionLockedError while somebody is writing.
        """
        keep: dict[VectorSpace, set[bytes]] = {}
        with ExitStack() as stack:
            stack.enter_context(self.making())  # a copy that is under way needs its vectors
            for name in self.collections():
                stack.enter_context(self._locked(name, self._path(name), "pruning the library"))
            for collection in self._all():
                keep.setdefault(collection.space, set()).update(collection.addresses())
            n_pruned = self.vectors.prune(keep)
            if (readings := self.readings()) is not None:
                n_pruned += readings.prune(self.known_files())
            self._sweep()
            self._sweep_snapshots()
        return n_pruned

    def known_files(self) -> set[str]:
        """Return the SHA-256 of every file that a collection holds, or that its ledger names in whatever state."""
        found: set[str] = set()
        for collection in self._all():
            found.update(info.sha256 for info in collection.documents())
            found.update(entry.sha256 for entry in collection.ledger().values() if entry.sha256)
        return found

    def snapshot_folders(self) -> list[Path]:
        """Return the folder of every snapshot of every collection, sorted."""
        return sorted(
            path for path in (self.folder / "snapshots").glob("*/*") if _is_name(path.name) and _is_collection(path)
        )

    def _all(self) -> Iterator[Collection]:
        """Yield every collection and every snapshot, open until the next is asked for."""
        for path in [*(self._path(name) for name in self.collections()), *self.snapshot_folders()]:
            with Collection(path, self.vectors) as collection:
                yield collection

    @contextmanager
    def making(self) -> Iterator[None]:
        """Keep other processes from making, renaming and pruning. Raises CollectionError where one does not end."""
        with self._making() as held:
            if not held:
                raise CollectionError(
                    f"another process is making a collection in {self.folder} and does not end; stop it"
                )
            yield

    def _making(self) -> AbstractContextManager[bool]:
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

    def _forget_snapshots(self, key: str) -> None:
        """Delete the snapshots of a collection that is gone, unless its folder was copied by hand and is here twice."""
        if key not in {identity_of(self._path(name), name).key for name in self.collections()}:
            shutil.rmtree(self.folder / "snapshots" / key, ignore_errors=True)

    def _sweep_snapshots(self) -> None:
        """Delete the snapshots of collections that are gone, and what was left of such as were made or deleted."""
        keys = {identity_of(self._path(name), name).key for name in self.collections()}
        for folder in (self.folder / "snapshots").glob("*"):
            if folder.name not in keys:
                shutil.rmtree(folder, ignore_errors=True)
            for leftover in folder.glob(".*"):
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
