"""The vector index of a collection: in memory, caught up from SQLite, with a snapshot on disk for the next start.

Where it is approximate, what it finds is measured against exact search (``index.vector_upkeep``), and how hard it looks
is set by that. ``keep_up`` measures, and trains anew where that is due, in a thread of its own: neither searches nor
writers wait for it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index import store
from index.calibration import Calibration
from index.database import Database
from index.exact import RowArray
from index.files import sweep_temporary
from index.filtering import AllowedRows
from index.history import Pending, pending_changes
from index.locks import ReadersWriterLock, file_lock
from index.records import RECALL_TARGET, DerivedStatus, Position
from index.relevance import Background
from index.snapshot import DamagedIndexError, opened_snapshot, write_snapshot
from index.upkeep import Upkeep
from index.vector_rows import RowFile
from index.vector_store import VectorSpace, VectorStore
from index.vector_upkeep import Drift, is_due, measured_recall, outgrown, retrain, take_measure
from rag.errors import CollectionError
from rag.types import FloatArray

if TYPE_CHECKING:
    from index.vectors import FaissIndex

__all__ = ["VectorLeg"]

_FORMAT = 3
_BATCH = 4096  # rows read from the vector store at once
_SAMPLE = 256  # chunks that tell what an unrelated one scores: its mean is then good to a sixteenth of its deviation
_SAVED_WHEN_BEHIND = 1000  # rows that are caught up before a new snapshot is written for the next process
_SAVED_SHARE = 0.01  # and this share of a very large index, which is as soon caught up as it is written
_SAVED_ANYWAY_BYTES = 16_000_000  # vectors that a writer saves after any change: one file must not cost all of them


class VectorLeg:
    """Finds rows by vector. Any thread may search; the first to see that SQLite has moved on catches up for all."""

    def __init__(
        self,
        path: Path,
        database: Database,
        vectors: VectorStore,
        *,
        space: VectorSpace,
        exact_limit: int,
        cells_limit: int,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        self._path = path
        self._cells_limit = cells_limit
        self._recall_target = recall_target
        self._calibration: Calibration | None = None
        self._n_changed = 0  # rows that came or went since the calibration
        self._drift = Drift()
        self._upkeep = Upkeep(self._kept_up, name=f"upkeep of {path}")
        self._snapshot: tuple[int, int] | None = None  # inode and time of the snapshot that is loaded or was written
        self._row_file: RowFile | None = None
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

    def background(self, vector: FloatArray) -> Background:
        """Return what unrelated chunks have in common with a query, told by a sample of the collection."""
        with self._database.reading() as connection:
            position, sample = self._sample
            if position != store.last_position(connection):
                addresses = store.sample_addresses(connection, _SAMPLE)
                position = store.last_position(connection)
                sample = self._vectors_of(addresses)
                self._sample = (position, sample)
        cosines = sample @ vector
        return Background(float(cosines.mean()), float(cosines.std()), cosines.size) if cosines.size else Background()

    def refresh(self) -> None:
        """Catch up with SQLite; cheap when nothing has changed."""
        with self._database.reading() as connection:
            is_current = self._index is not None and store.last_position(connection) == self._position
        if is_current and self._is_snapshot_known():
            return
        with self._updating:
            first_time = self._index is None
            if first_time or not self._is_snapshot_known():
                self._load()
            n_rows = self._catch_up()
            self._n_unsaved += n_rows
            self._n_changed += n_rows
        if first_time and n_rows > _SAVED_WHEN_BEHIND:
            with suppress(CollectionError):  # a read-only folder or a full disk: it was a favour to the next process
                self.save()
                self.keep_up()

    def rebuild(self) -> None:
        """Make the index anew, whatever it or its snapshot held."""
        with self._updating:
            with self._lock.writing():
                self._index, self._position, self._saved = self._empty(), None, None
                self._calibration, self._drift = None, Drift()
            if self._row_file is not None:
                self._row_file.discard()
            self._catch_up()
        self.save()
        self.keep_up()

    def keep_up(self) -> None:
        """Have an approximate index measured where that is due, and trained anew where it finds too little.

        Returns at once. It takes seconds, and a minute or two for a million chunks; searches go on, and find what is
        committed meanwhile, as do writers. One process at a time does it: another leaves it to that one.
        """
        index = self._index
        if index is not None and is_due(index, self._calibration, self._drift, n_changed=self._n_changed):
            self._upkeep.ask()

    def wait(self) -> None:
        """Return when what ``keep_up`` began is done."""
        self._upkeep.wait()

    def _kept_up(self) -> None:
        self._maintain()
        self.save()

    def _maintain(self) -> None:
        index, drift = self._index, self._drift
        if index is None or not is_due(index, self._calibration, drift, n_changed=self._n_changed):
            return
        with file_lock(self._path.with_name("vectors.lock"), timeout_s=0.0) as held:
            if not held:
                return
            n_changed = self._n_changed
            calibration = take_measure(index, self._look_up, self._lock.reading, seed=n_changed)
            if self._calibration is not None and self._calibration.distance is not None:  # when they were trained
                calibration = replace(calibration, distance=self._calibration.distance)
            is_new = outgrown(index, calibration, drift, self._recall_target, cells_limit=self._cells_limit)
            if is_new:
                fresh = retrain(index, self._look_up, self._lock.reading, seed=n_changed)
                calibration = take_measure(fresh, self._look_up, self._lock.reading, seed=n_changed)
            with self._updating:
                if self._index is not index:  # rebuilt, or given up, meanwhile: what was measured is gone
                    return
                if is_new or self._calibration is None:
                    self._drift = Drift()
                if is_new:
                    self._bring_over(index, fresh)
                with self._lock.writing():
                    self._index = fresh if is_new else index
                    self._take(calibration)
                self._n_changed -= n_changed
                self._saved = None  # so that the next `save` writes it, whatever the position

    def _bring_over(self, index: FaissIndex, fresh: FaissIndex) -> None:
        """Apply to a new index what changed in the old one since its rows were listed; nobody else changes it now."""
        held, wanted = fresh.rows(), index.rows()
        fresh.remove(np.setdiff1d(held, wanted, assume_unique=True))
        coming = np.setdiff1d(wanted, held, assume_unique=True)
        for first in range(0, len(coming), _BATCH):
            fresh.add(*self._look_up(coming[first : first + _BATCH]))

    def _take(self, calibration: Calibration | None) -> None:
        self._calibration = calibration
        if calibration is not None and self._index is not None:
            self._index.aim = calibration.chosen(self._recall_target).aim

    def save(self) -> None:
        """Write a snapshot, unless the one on disk is of this position, or large and nearly so.

        What it lacks is caught up by whoever loads it. Raises CollectionError.
        """
        with self._updating, self._lock.reading():
            if self._index is None or self._position is None or self._position == self._saved:
                return
            is_large = len(self._index) * self._space.dimensions * 4 > _SAVED_ANYWAY_BYTES
            n_wanted = max(_SAVED_WHEN_BEHIND, _SAVED_SHARE * len(self._index))
            if is_large and self._saved is not None and self._n_unsaved < n_wanted:
                return
            description = {
                "format": _FORMAT,
                "model": self._space.model,
                "dimensions": self._space.dimensions,
                "kind": self._index.kind,
                "n_chunks": len(self._index),
                "seq": self._position.seq,
                "mark": self._position.mark,
                "n_changed": self._n_changed,
                "drift": [self._drift.n, self._drift.distance],
                "calibration": None if self._calibration is None else self._calibration.to_json(),
            }
            try:
                write_snapshot(self._path, self._index.dump, description)
            except OSError as error:
                raise CollectionError(
                    f"the vector index {self._path} cannot be written: {error}; free some disk space and check the"
                    " disk. The documents are stored, and the next search works without it"
                ) from error
            self._saved, self._n_unsaved = self._position, 0
            self._snapshot = self._stamp()

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
            said = description.get("calibration")
            recall = None if said is None else measured_recall(Calibration.from_json(said), self._recall_target)
        except FileNotFoundError:
            return DerivedStatus("missing", "none", 0, 0, agrees=True)
        except DamagedIndexError:
            return DerivedStatus("damaged", "none", 0, 0, agrees=False)
        if not store.history_holds(connection, position):
            return DerivedStatus("damaged", kind, position.seq, n_chunks, agrees=False)
        if position != store.last_position(connection):
            return DerivedStatus("behind", kind, position.seq, n_chunks, agrees=True, recall=recall)
        return DerivedStatus("current", kind, position.seq, n_chunks, agrees=n_chunks == n_expected, recall=recall)

    def size_bytes(self) -> int:
        """Return what the snapshot and the full vectors beside it take on disk."""
        with suppress(OSError):
            return self._path.stat().st_size + self._rows_on_disk().size_bytes()
        return self._rows_on_disk().size_bytes()

    def _load(self) -> None:
        """Take the snapshot if it is whole and of this vector space, else start from nothing."""
        from index.vectors import FaissIndex  # importing faiss takes 0.3 s: not before a search needs it

        stamp = self._stamp()
        is_first = self._index is None
        with self._lock.writing():
            self._snapshot = stamp
            if is_first:
                self._index, self._position, self._calibration = self._empty(), None, None
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
                        cells_limit=self._cells_limit,
                    )
                    described = said["calibration"]
                    calibration = None if described is None else Calibration.from_json(described)
                    position, n_changed = Position(said["seq"], said["mark"]), int(said["n_changed"])
                    drift = Drift(*said.get("drift", ()))
            except (FileNotFoundError, DamagedIndexError, ValueError, KeyError, TypeError):
                return
            if not is_first and (calibration is None or self._is_as_good(calibration)):
                return  # of another process, and no better than what is here
            self._index, self._position, self._n_changed, self._drift = index, position, n_changed, drift
            self._saved = self._position
            self._take(calibration)

    def _is_as_good(self, other: Calibration) -> bool:
        return self._calibration is not None and self._calibration.at >= other.at

    def _stamp(self) -> tuple[int, int] | None:
        """Return what tells versions of the snapshot apart without reading it; None where there is none."""
        try:
            stat = os.stat(self._path)
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def _is_snapshot_known(self) -> bool:
        """Return whether the snapshot on disk is the one that was loaded or written here, or is of no use.

        Another process may have put one there whose cells are better. Of an exact index there is no better one.
        """
        if self._index is None or self._index.kind == "flat":
            return True
        stamp = self._stamp()
        return stamp is None or stamp == self._snapshot

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
            self._index.expect(n_coming, lambda n: self._vectors_of(store.sample_addresses(connection, n)))
        for first, last in pending.added:
            records = store.readable_rows(connection, first=first, last=last)
            while batch := list(islice(records, _BATCH)):
                vectors = self._vectors_of([address for _, address in batch])
                rows = np.array([row for row, _ in batch], np.int64)
                if self._index.kind != "flat" or len(self._index) + len(rows) > self._exact_limit:
                    self._rows_on_disk().write(rows, vectors)  # always: what is there may be of another history
                with self._lock.writing():
                    self._index.add(rows, vectors)
                    self._drift.note(self._index, vectors)
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
        """Return the vectors of rows, and which have one: from the file beside the index, else from SQLite."""
        file = self._rows_on_disk()
        there, vectors = file.read(rows)
        if there.all():
            return rows, vectors
        missing = rows[~there]
        with self._database.reading() as connection:
            addresses = store.addresses_of(connection, missing.tolist())
        found = np.array([row for row in missing.tolist() if row in addresses], np.int64)
        if not found.size:
            return rows[there], vectors
        others = self._vectors_of([addresses[row] for row in found.tolist()])
        if self._database.writable:
            file.write(found, others)
        return np.concatenate([rows[there], found]), np.concatenate([vectors, others])

    def _rows_on_disk(self) -> RowFile:
        if self._row_file is None:
            with self._database.reading() as connection:
                mark = store.collection_mark(connection)
            path = self._path.with_name("vectors.f32")
            self._row_file = RowFile(path, model=self._space.model, dimensions=self._space.dimensions, mark=mark)
        return self._row_file

    def _empty(self) -> FaissIndex:
        from index.vectors import FaissIndex  # see `_load`

        return FaissIndex(
            self._space.dimensions,
            lookup=self._look_up,
            exact_limit=self._exact_limit,
            cells_limit=self._cells_limit,
        )
