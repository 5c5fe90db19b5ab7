"""The vector index of a collection: in memory, caught up from SQLite, with a snapshot on disk for the next start."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index import store
from index.database import Database
from index.exact import RowArray
from index.files import sweep_temporary
from index.filtering import AllowedRows
from index.history import Pending, pending_changes
from index.locks import ReadersWriterLock
from index.records import DerivedStatus, Position
from index.snapshot import DamagedIndexError, opened_snapshot, write_snapshot
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError
from rag.types import FloatArray

if TYPE_CHECKING:
    from index.vectors import FaissIndex

__all__ = ["VectorLeg"]

_FORMAT = 1
_BATCH = 4096  # rows read from the vector store at once
_SAMPLE = 256  # chunks that tell what an unrelated one scores: its mean is then good to a sixteenth of its deviation
_TRAINED_BY = 4096  # chunks that tell the centre of all, where they are too many to be looked at twice
_SAVED_WHEN_BEHIND = 1000  # rows that are caught up before a new snapshot is written for the next process
_SAVED_ANYWAY_BYTES = 16_000_000  # vectors that a writer saves after any change: one file must not cost all of them


class VectorLeg:
    """Finds rows by vector. Any thread may search; the first to see that SQLite has moved on catches up for all."""

    def __init__(
        self, path: Path, database: Database, vectors: VectorStore, *, space: VectorSpace, exact_limit: int
    ) -> None:
        self._path = path
        self._database = database
        self._vectors = vectors
        self._space = space
        self._exact_limit = exact_limit
        self._index: FaissIndex | None = None
        self._position: Position | None = None
        self._saved: Position | None = None
        self._n_unsaved = 0
        self._sample: tuple[Position | None, FloatArray] = (None, np.empty((0, space.dimensions), np.float32))
        self._updating = threading.Lock()
        self._lock = ReadersWriterLock()

    def search(self, vector: FloatArray, *, k: int, allowed: AllowedRows | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, cosine), best first. The rows are to be confirmed against SQLite."""
        self.refresh()
        with self._lock.reading():
            index = self._index
            if index is None:  # another thread failed to catch up, and has said so to its caller
                raise CollectionError(f"{self._path} could not be brought up to date; search again")
            return index.search(vector, k=k, allowed=allowed)

    def rows(self) -> RowArray:
        """Return the rows the index holds, ascending, after catching up."""
        self.refresh()
        with self._lock.reading():
            return np.empty(0, np.int64) if self._index is None else self._index.rows()

    def cosine_floor(self, vector: FloatArray) -> float:
        """Return one standard deviation below the mean cosine of a sample; 0 in an empty collection."""
        with self._database.reading() as connection:
            position, sample = self._sample
            if position != store.last_position(connection):
                addresses = store.sample_addresses(connection, _SAMPLE)
                position = store.last_position(connection)
                sample = self._vectors_of(addresses)
                self._sample = (position, sample)
        cosines = sample @ vector
        return float(cosines.mean() - cosines.std()) if cosines.size else 0.0

    def refresh(self) -> None:
        """Catch up with SQLite; cheap when nothing has changed."""
        with self._database.reading() as connection:
            if self._index is not None and store.last_position(connection) == self._position:
                return
        with self._updating:
            first_time = self._index is None
            if self._index is None:
                self._load()
            n_rows = self._catch_up()
            self._n_unsaved += n_rows
        if first_time and n_rows > _SAVED_WHEN_BEHIND:
            with suppress(CollectionError):  # a read-only folder or a full disk: it was a favour to the next process
                self.save()

    def rebuild(self) -> None:
        """Make the index anew, whatever it or its snapshot held."""
        with self._updating:
            with self._lock.writing():
                self._index, self._position, self._saved = self._empty(), None, None
            self._catch_up()
        self.save()

    def save(self) -> None:
        """Write a snapshot, unless the one on disk is of this position, or large and nearly so.

        What it lacks is caught up by whoever loads it. Raises CollectionError.
        """
        with self._updating, self._lock.reading():
            if self._index is None or self._position is None or self._position == self._saved:
                return
            is_large = len(self._index) * self._space.dimensions * 4 > _SAVED_ANYWAY_BYTES
            if is_large and self._saved is not None and self._n_unsaved < _SAVED_WHEN_BEHIND:
                return
            description = {
                "format": _FORMAT,
                "model": self._space.model,
                "dimensions": self._space.dimensions,
                "kind": self._index.kind,
                "n_chunks": len(self._index),
                "seq": self._position.seq,
                "mark": self._position.mark,
            }
            try:
                write_snapshot(self._path, self._index.dump, description)
            except OSError as error:
                raise CollectionError(
                    f"the vector index {self._path} cannot be written: {error}; free some disk space and check the"
                    " disk. The documents are stored, and the next search works without it"
                ) from error
            self._saved, self._n_unsaved = self._position, 0

    def tidy(self) -> None:
        """Delete what processes that were killed left of their snapshots; for the writer, when it has written its own.

        A reader that is writing one at this moment loses it, which is no loss: the writer's is as new.
        """
        sweep_temporary(self._path)

    def status(self, connection: sqlite3.Connection, *, n_expected: int) -> DerivedStatus:
        """Return the state of the snapshot; ``n_expected`` is how many chunks have a vector."""
        try:
            with opened_snapshot(self._path) as (_, description):
                pass
            position = Position(description["seq"], description["mark"])
            kind, n_chunks = str(description["kind"]), int(description["n_chunks"])
        except FileNotFoundError:
            return DerivedStatus("missing", "none", 0, 0, agrees=True)
        except DamagedIndexError:
            return DerivedStatus("damaged", "none", 0, 0, agrees=False)
        if not store.history_holds(connection, position):
            return DerivedStatus("damaged", kind, position.seq, n_chunks, agrees=False)
        if position != store.last_position(connection):
            return DerivedStatus("behind", kind, position.seq, n_chunks, agrees=True)
        return DerivedStatus("current", kind, position.seq, n_chunks, agrees=n_chunks == n_expected)

    def _load(self) -> None:
        """Take the snapshot if it is whole and of this vector space, else start from nothing."""
        from index.vectors import FaissIndex  # importing faiss takes 0.3 s: not before a search needs it

        with self._lock.writing():
            self._index, self._position = self._empty(), None
            try:
                with opened_snapshot(self._path) as (content, said):
                    if (said["format"], said["model"], said["dimensions"]) != (
                        _FORMAT,
                        self._space.model,
                        self._space.dimensions,
                    ):
                        return
                    index = FaissIndex.load(
                        content,
                        dimensions=self._space.dimensions,
                        lookup=self._look_up,
                        exact_limit=self._exact_limit,
                    )
            except (FileNotFoundError, DamagedIndexError, ValueError, KeyError):
                return
            self._index, self._position = index, Position(said["seq"], said["mark"])
            self._saved = self._position

    def _catch_up(self) -> int:
        """Apply what SQLite has that the index has not; returns how many rows came or went."""
        with self._database.reading() as connection:
            pending = pending_changes(connection, self._position)
            if pending is None:
                return 0
            try:
                return self._apply(connection, pending)
            except BaseException:
                # subtle: some rows may be in already; adding them again would double them. Start over next time.
                self._index = self._position = None
                raise

    def _apply(self, connection: sqlite3.Connection, pending: Pending) -> int:
        n_rows = len(pending.removed)
        with self._lock.writing():
            if pending.rebuild:
                self._index = self._empty()
            assert self._index is not None
            self._index.remove(np.array(pending.removed, np.int64))
            n_coming = sum(store.n_readable(connection, first=first, last=last) for first, last in pending.added)
            self._index.expect(n_coming, lambda: self._vectors_of(store.sample_addresses(connection, _TRAINED_BY)))
        for first, last in pending.added:
            records = store.readable_rows(connection, first=first, last=last)
            while batch := list(islice(records, _BATCH)):
                vectors = self._vectors_of([address for _, address in batch])
                with self._lock.writing():
                    self._index.add(np.array([row for row, _ in batch], np.int64), vectors)
                n_rows += len(batch)
        self._position = pending.target
        return n_rows

    def _vectors_of(self, addresses: Sequence[bytes]) -> FloatArray:
        found = self._vectors.get(self._space, addresses)
        vectors = [found.get(address) for address in addresses]
        present = [vector for vector in vectors if vector is not None]
        if len(present) != len(addresses):
            raise CollectionError(
                f"vectors.db lacks {len(addresses) - len(present)} vectors that documents of {self._path.parent.name!r}"
                " use; it was altered or replaced: run `rag status --repair`"
            )
        return np.stack(present) if present else np.empty((0, self._space.dimensions), np.float32)

    def _look_up(self, rows: RowArray) -> tuple[RowArray, FloatArray]:
        with self._database.reading() as connection:
            addresses = store.addresses_of(connection, rows.tolist())
        there = [row for row in rows.tolist() if row in addresses]
        return np.array(there, np.int64), self._vectors_of([addresses[row] for row in there])

    def _empty(self) -> FaissIndex:
        from index.vectors import FaissIndex  # see `_load`

        return FaissIndex(self._space.dimensions, lookup=self._look_up, exact_limit=self._exact_limit)
