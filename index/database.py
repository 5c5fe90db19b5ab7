"""One SQLite file as this project opens it: WAL, many readers, one writer at a time, from any thread or process.

``synchronous=FULL``: a commit is on disk before anybody sees it. A derived index may therefore record any change it has
seen; after a power cut no change number or chunk row is ever given out a second time with another meaning. It costs one
fsync a transaction, which embedding dwarfs; documents that are ready together share one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from index.migrations import Step, migrate, require_current
from rag.errors import CollectionError, CollectionNotFoundError, DamagedDataError

__all__ = ["REPLACE", "Database", "integrity_problems", "sql_text"]

_BUSY_TIMEOUT_S = 60.0
REPLACE = "restore it from a backup, or build it again with `rag ingest --rebuild`"
"""What to do about a collection that cannot be mended."""


def sql_text(text: str) -> bytes:
    """Return a text as bytes, to be bound as ``CAST(? AS TEXT)``.

    File names and damaged files can hold lone surrogates, which sqlite3 refuses to bind; they are stored as three
    bytes each, and come back as they went in.
    """
    return text.encode("utf-8", "surrogatepass")


def integrity_problems(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with a file's structure, and rows whose document is not there; none when whole."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    orphans = Counter(row[0] for row in connection.execute("PRAGMA foreign_key_check"))
    lost = (f"{n} rows of {table} belong to nothing" for table, n in sorted(orphans.items()))
    return [*(problem for problem in found if problem != "ok"), *lost]


class Database:
    """A pool of connections to one file. Transactions are context managers; sqlite3's errors become CollectionError."""

    def __init__(
        self,
        path: Path,
        steps: Sequence[Step],
        *,
        create: bool = False,
        page_size: int = 4096,
        remedy: str = REPLACE,
    ) -> None:
        """Open a file and migrate it. Raises CollectionNotFoundError where it is absent and ``create`` is False.

        ``remedy`` says what to do about a file that SQLite cannot read.
        """
        self._remedy = remedy
        self.path = path.absolute()
        self._steps = steps
        self._idle: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        if not create and not self.path.exists():
            raise CollectionNotFoundError(f"{self.path} does not exist; run `rag ingest FOLDER` to make it")
        self.writable = os.access(self.path.parent, os.W_OK) and (create or os.access(self.path, os.W_OK))
        with self._translated():
            connection = self._connect(page_size=page_size)
            try:
                bring = migrate if self.writable else require_current
                bring(connection, steps, path=str(self.path))
            except BaseException:
                connection.close()
                raise
        self._idle.append(connection)
        self._inode = self.path.stat().st_ino

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction: all that it reads is of one moment."""
        with self._translated(), self._borrowed() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a write transaction: committed at the end, rolled back when anything is raised."""
        if not self.writable:
            raise CollectionError(f"{self.path} cannot be written; check the permissions of its folder")
        with self._translated(), self._borrowed() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has already rolled back by itself
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def outside_transactions(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for a statement that is a transaction of its own, as VACUUM is."""
        with self._translated(), self._borrowed() as connection:
            yield connection

    def close(self) -> None:
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        self._check_open()
        with self._guard:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            yield connection
        finally:
            with self._guard:
                if not self._closed:
                    self._idle.append(connection)
                    connection = None
            if connection is not None:
                connection.close()

    @property
    def is_in_place(self) -> bool:
        """Whether the file that was opened is still the one of its path: nobody deleted or replaced it."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _check_open(self) -> None:
        if self._closed:
            raise CollectionError(f"{self.path} was closed; open it again")
        if not self.is_in_place:
            raise CollectionNotFoundError(f"{self.path} was deleted or replaced by another process; open it again")

    def _connect(self, *, page_size: int | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path.as_uri() + self._mode(),
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,  # transactions are begun and ended here, in so many words
            check_same_thread=False,  # a connection is lent to one thread at a time
        )
        connection.text_factory = _decode
        if self.writable:
            if page_size is not None:
                connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _mode(self) -> str:
        if self.writable:
            return "?mode=rwc"
        # A WAL file that is not empty holds commits that an immutable reader would miss; SQLite can then read only
        # where the shared-memory file of a live writer is there too.
        wal = self.path.with_name(self.path.name + "-wal")
        return "?mode=ro" if wal.exists() and wal.stat().st_size > 0 else "?mode=ro&immutable=1"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CollectionError(
                f"{self.path}: SQLite says '{error}'; {_advice(error, self.writable, self._remedy)}"
            ) from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:  # of what is stored: the disk has altered it
            raise DamagedDataError(
                f"{self.path} holds what was never written to it: {error}; run `rag status --repair`, which says what"
                " to do then"
            ) from error


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _advice(error: sqlite3.Error, writable: bool, remedy: str) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"another process has held it for over {_BUSY_TIMEOUT_S:g} s; try again"
    if "full" in text or "disk I/O" in text:
        return "free some disk space and check the disk; what was committed before is safe"
    if "malformed" in text or "not a database" in text:
        return remedy
    if not writable:
        return "its folder is read-only and the last writer did not close it; make the folder writable once"
    return "run `rag doctor`"
