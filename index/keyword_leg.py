"""The keyword index of a collection: one folder that all processes share, caught up by whichever notices first."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from index import store
from index.database import Database
from index.exact import RowArray
from index.filtering import AllowedRows
from index.history import Pending, pending_changes
from index.locks import file_lock
from index.records import DerivedStatus
from index.snapshot import DamagedIndexError
from index.texts import embedded_texts
from rag.errors import CollectionError

if TYPE_CHECKING:
    from index.keywords import KeywordIndex

__all__ = ["KeywordLeg"]

_COMMITTING = ".tmp*"  # what tantivy calls a file that it is about to rename
_PATIENCE_S = 10.0  # for another process that is catching up, where an older state can answer meanwhile
_REBUILD_PATIENCE_S = 600.0  # where there is nothing to answer with until it is done


class KeywordLeg:
    """Finds rows by words. In a folder that cannot be written the index is built in memory instead."""

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder = folder
        self._database = database
        self._index: KeywordIndex | None = None
        self._inode: int | None = None
        self._updating = threading.Lock()

    def search(
        self, query: str, *, k: int, allowed: AllowedRows | None = None, required: Sequence[str] = ()
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, BM25), best first. The rows are to be confirmed against SQLite."""
        return self._current().search(query, k=k, allowed=allowed, required=required)

    def worths(self, query: str) -> dict[str, float]:
        """Return what each term of a query is worth (``KeywordIndex.worths``)."""
        return self._current().worths(query)

    def rows(self) -> RowArray:
        """Return the rows the index holds, ascending, after catching up."""
        return self._current().rows()

    def refresh(self) -> None:
        """Catch up with SQLite; cheap when nothing has changed."""
        self._current()

    def rebuild(self) -> None:
        """Make the index anew, whatever it held. Raises CollectionError while another process does so."""
        with self._updating, file_lock(self._lock_path, timeout_s=_REBUILD_PATIENCE_S) as held:
            if not held:
                raise CollectionError(f"{self._folder} is being rebuilt by another process; try again in a minute")
            with self._database.reading() as connection:
                self._rebuilt(connection)

    def status(self, connection: sqlite3.Connection, *, n_expected: int) -> DerivedStatus:
        """Return the state of the index on disk; ``n_expected`` is how many chunks there are."""
        from index.keywords import KeywordIndex  # see `_reloaded`

        try:
            index = KeywordIndex.open(self._folder)
        except FileNotFoundError:
            return DerivedStatus("missing", "none", 0, 0, agrees=True)
        except DamagedIndexError:
            return DerivedStatus("damaged", "none", 0, 0, agrees=False)
        position = index.position
        if position is None or not store.history_holds(connection, position):
            return DerivedStatus("damaged", "bm25", position.seq if position else 0, len(index), agrees=False)
        if position != store.last_position(connection):
            return DerivedStatus("behind", "bm25", position.seq, len(index), agrees=True)
        return DerivedStatus("current", "bm25", position.seq, len(index), agrees=len(index) == n_expected)

    def _current(self) -> KeywordIndex:
        with self._database.reading() as connection:
            target = store.last_position(connection)
        index = self._index
        if index is not None and index.position == target:
            return index
        with self._updating:
            if not self._database.writable:
                self._index = self._in_memory()
                return self._index
            index = self._reloaded()
            if index is not None and index.position == target:
                return index
            patience = _REBUILD_PATIENCE_S if index is None else _PATIENCE_S
            with file_lock(self._lock_path, timeout_s=patience) as held:
                if held:
                    return self._caught_up()
            if index is None:
                raise CollectionError(f"{self._folder} is being rebuilt by another process; try again in a minute")
            return index  # older by what the other process is adding now

    def _reloaded(self) -> KeywordIndex | None:
        """Return the index on disk as it is now, None when there is none that can be trusted."""
        from index.keywords import KeywordIndex  # tantivy loads in 25 ms: not before a search needs it

        try:
            inode = self._folder.stat().st_ino
            if self._index is not None and inode == self._inode:
                self._index.reload()
            else:  # never opened, or another process has built a new one in its place
                self._index, self._inode = KeywordIndex.open(self._folder), inode
        except (FileNotFoundError, DamagedIndexError):
            self._index = None
        return self._index

    def _caught_up(self) -> KeywordIndex:
        """Bring the index on disk up to date, under the lock between processes."""
        index = self._reloaded()
        with self._database.reading() as connection:
            pending = pending_changes(connection, None if index is None else index.position)
            if pending is None and index is not None:
                return index
            if index is None or pending is None or pending.rebuild:
                return self._rebuilt(connection)
            try:
                self._apply(connection, index, pending)
                return index
            except DamagedIndexError:
                return self._rebuilt(connection)

    def _rebuilt(self, connection: sqlite3.Connection) -> KeywordIndex:
        """Build the index anew beside the old one, and put it in its place."""
        from index.keywords import KeywordIndex  # see `_reloaded`

        fresh, old = self._leftovers
        try:
            self._sweep()
            pending = pending_changes(connection, None)
            assert pending is not None
            self._apply(connection, KeywordIndex.create(fresh), pending)
            with suppress(FileNotFoundError):
                os.replace(self._folder, old)
            os.replace(fresh, self._folder)
            shutil.rmtree(old, ignore_errors=True)
            self._index, self._inode = KeywordIndex.open(self._folder), self._folder.stat().st_ino
        except (OSError, DamagedIndexError) as error:
            self._sweep()
            raise CollectionError(
                f"the keyword index {self._folder} cannot be built: {error}; check disk space and permissions"
            ) from error
        return self._index

    def tidy(self) -> None:
        """Delete what a process that was killed left of a rebuild or a commit, unless another is at it."""
        if any(leftover.exists() for leftover in self._leftovers) or any(self._folder.glob(_COMMITTING)):
            with file_lock(self._lock_path, timeout_s=0.0) as held:
                if held:
                    self._sweep()
                    for leftover in self._folder.glob(_COMMITTING):
                        leftover.unlink(missing_ok=True)

    @property
    def _lock_path(self) -> Path:
        return self._folder.with_name("keywords.lock")

    @property
    def _leftovers(self) -> tuple[Path, Path]:
        return self._folder.with_name("keywords.new"), self._folder.with_name("keywords.old")

    def _sweep(self) -> None:
        for leftover in self._leftovers:
            shutil.rmtree(leftover, ignore_errors=True)

    def _in_memory(self) -> KeywordIndex:
        from index.keywords import KeywordIndex  # see `_reloaded`

        index = self._index or KeywordIndex.create(None)
        with self._database.reading() as connection:
            pending = pending_changes(connection, index.position)
            if pending is not None:
                if pending.rebuild:
                    index = KeywordIndex.create(None)
                self._apply(connection, index, pending)
        return index

    def _apply(self, connection: sqlite3.Connection, index: KeywordIndex, pending: Pending) -> None:
        texts = (
            record for first, last in pending.added for record in embedded_texts(connection, first=first, last=last)
        )
        index.update(remove=pending.removed, add=texts, position=pending.target)
