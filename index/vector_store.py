"""Vectors addressed by content: (model, dimensions, SHA-256 of the exact text). What was paid for is kept here.

All collections of a library share one store, so a renamed file, a second copy or a second collection costs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.checksums import vector_checksum
from index.database import Database, integrity_problems
from index.migrations import VECTORS_STEPS
from rag.errors import DamagedDataError, EmbeddingError
from rag.types import Embeddings, FloatArray

__all__ = ["SpaceStats", "VectorSpace", "VectorStore", "VectorStoreStats"]

_PAGE_SIZE = 16_384  # bytes: ten vectors of 384, two of 1536 or one of 3072 to a page with little to spare
_PARAMETERS = 900  # below the 999 that SQLite before 3.32 allows in a statement
_BATCH = 4096  # vectors read or sealed at once
_REPLACE = (
    "restore it from a backup, or move it away, and run `rag ingest`, `rag status --repair` and `rag ingest` again:"
    " everything is embedded anew"
)
_MEND = "the disk has altered vectors.db; run `rag status --repair`, which says what to do then"
_NORM_TOLERANCE = 1e-3  # float32 rows normalised by the embedder are within 1e-6; a row that is not is not normalised


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The vectors that may be compared with each other."""

    model: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class SpaceStats:
    """What the store holds of one space; unreadable texts are not counted as vectors."""

    space: VectorSpace
    n_vectors: int
    n_unreadable: int


@dataclass(frozen=True, slots=True)
class VectorStoreStats:
    """What the store holds, and its size on disk in bytes."""

    spaces: tuple[SpaceStats, ...]
    size_bytes: int


class VectorStore:
    """``vectors.db`` of a library. Every method may be called from any thread, in several processes at once."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._database = Database(path, VECTORS_STEPS, create=create, page_size=_PAGE_SIZE, remedy=_REPLACE)

    @property
    def path(self) -> Path:
        return self._database.path

    def missing(self, space: VectorSpace, addresses: Sequence[bytes]) -> list[bytes]:
        """Return the addresses that were never put, in their order, each once."""
        known = self.readable(space, addresses)
        return [address for address in dict.fromkeys(addresses) if address not in known]

    def readable(self, space: VectorSpace, addresses: Sequence[bytes]) -> dict[bytes, bool]:
        """Return whether the model could read each text; addresses that were never put are left out."""
        with self._database.reading() as connection:
            rows = _select(connection, space, addresses, column="embedding IS NOT NULL")
            return {address: bool(readable) for address, readable in rows}

    def get(self, space: VectorSpace, addresses: Sequence[bytes]) -> dict[bytes, FloatArray | None]:
        """Return the vectors that are there, read-only, (dimensions,) each; None stands for an unreadable text.

        Raises DamagedDataError where one is not as it was written.
        """
        with self._database.reading() as connection:
            rows = _select(connection, space, addresses, column="embedding, checksum")
            return {address: _vector(address, embedding, checksum, space) for address, embedding, checksum in rows}

    def put(self, space: VectorSpace, addresses: Sequence[bytes], embeddings: Embeddings) -> None:
        """Store one batch in one transaction, on disk when this returns. What is already there stays as it is.

        Raises EmbeddingError, and stores nothing, when the batch is not one finite row of unit length per address.
        """
        _check(space, addresses, embeddings)
        blobs = [
            row.tobytes() if readable else None
            for row, readable in zip(embeddings.vectors.astype("<f4", copy=False), embeddings.readable, strict=True)
        ]
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO spaces (model, dimensions) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (space.model, space.dimensions),
            )
            number = _number(connection, space)
            connection.executemany(
                "INSERT INTO vectors (space, address, embedding, checksum) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (number, address, blob, vector_checksum(address, blob))
                    for address, blob in zip(addresses, blobs, strict=True)
                ],
            )

    def spaces(self) -> list[VectorSpace]:
        """Return the spaces that were ever written to, by model and dimensions."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT model, dimensions FROM spaces ORDER BY 1, 2").fetchall()
        return [VectorSpace(model, dimensions) for model, dimensions in rows]

    def stats(self) -> VectorStoreStats:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT model, dimensions, count(embedding), count(*) - count(embedding)"
                " FROM spaces JOIN vectors ON vectors.space = spaces.number GROUP BY spaces.number ORDER BY 1, 2"
            ).fetchall()
        spaces = tuple(SpaceStats(VectorSpace(model, dimensions), n, unread) for model, dimensions, n, unread in rows)
        path = self._database.path
        files = (path, path.with_name(path.name + "-wal"))
        return VectorStoreStats(spaces, sum(file.stat().st_size for file in files if file.exists()))

    def prune(self, keep: Mapping[VectorSpace, Iterable[bytes]]) -> int:
        """Delete the vectors that are not in ``keep``, and return how many they were.

        The caller sees to it that nobody is writing documents meanwhile: see ``Library.prune``.
        """
        with self._database.writing() as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (space INTEGER, address BLOB)")
            connection.execute("DELETE FROM temp.kept")
            for space, addresses in keep.items():
                number = _number(connection, space)
                rows = ((number, address) for address in addresses)
                connection.executemany("INSERT INTO temp.kept VALUES (?, ?)", rows)
            gone = connection.execute(
                "DELETE FROM vectors WHERE (space, address) NOT IN (SELECT space, address FROM temp.kept"
                " WHERE space IS NOT NULL)"
            ).rowcount
            connection.execute("DROP TABLE temp.kept")
        return int(gone)

    def copy_to(self, path: Path) -> None:
        """Write all vectors, of one moment and without gaps, to a new SQLite file with the same tables."""
        with self._database.outside_transactions() as connection:
            connection.execute("VACUUM INTO ?", (str(path),))

    def compact(self) -> None:
        """Give the space of deleted vectors back to the disk; takes as much again while it works."""
        with self._database.outside_transactions() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with the file, in words; nothing when it is whole."""
        with self._database.reading() as connection:
            return [f"vectors.db: {problem}" for problem in integrity_problems(connection)]

    def damaged(self) -> list[int]:
        """Return the numbers of the vectors that are not as they were written, of all spaces, reading every one."""
        numbers: list[int] = []
        with self._database.reading() as connection:
            dimensions = dict(connection.execute("SELECT number, dimensions FROM spaces"))
            (first, last) = connection.execute("SELECT first, last FROM unsealed").fetchone() or (1, 0)
            found = connection.execute("SELECT number, space, address, embedding, checksum FROM vectors")
            while rows := found.fetchmany(_BATCH):
                numbers += (
                    number
                    for number, space, address, embedding, checksum in rows
                    if not (
                        _is_unsealed_vector(embedding, dimensions.get(space))
                        if checksum is None and first <= number <= last
                        else _is_as_written(address, embedding, checksum)
                    )
                )
        return numbers

    def drop(self, numbers: Sequence[int]) -> None:
        """Delete vectors by number: their texts are embedded anew when they are next met."""
        with self._database.writing() as connection:
            connection.executemany("DELETE FROM vectors WHERE number = ?", ((number,) for number in numbers))

    def reindex(self) -> None:
        """Make SQLite's own indexes anew from the rows."""
        with self._database.outside_transactions() as connection:
            connection.execute("REINDEX")

    @property
    def n_unsealed(self) -> int:
        """How many vectors were stored before there were checksums and have none yet, at most."""
        with self._database.reading() as connection:
            (n,) = connection.execute("SELECT coalesce(sum(last - first + 1), 0) FROM unsealed").fetchone()
        return int(n)

    def seal_some(self) -> bool:
        """Give the next few thousand vectors of before their checksums; return whether any are left."""
        if not self.n_unsealed:
            return False
        with self._database.writing() as connection:
            unsealed = connection.execute("SELECT first, last FROM unsealed").fetchone()
            if unsealed is None:  # another process was faster
                return False
            rows = connection.execute(
                "SELECT number, address, embedding, checksum FROM vectors WHERE number BETWEEN ? AND ? ORDER BY number"
                " LIMIT ?",
                (*unsealed, _BATCH),
            ).fetchall()
            connection.executemany(
                "UPDATE vectors SET checksum = ? WHERE number = ?",
                ((vector_checksum(row[1], row[2]), row[0]) for row in rows if row[3] is None),
            )
            if len(rows) == _BATCH:
                connection.execute("UPDATE unsealed SET first = ?", (rows[-1][0] + 1,))
            else:
                connection.execute("DELETE FROM unsealed")
        return len(rows) == _BATCH

    def close(self) -> None:
        self._database.close()


def _number(connection: sqlite3.Connection, space: VectorSpace) -> int | None:
    row = connection.execute(
        "SELECT number FROM spaces WHERE model = ? AND dimensions = ?", (space.model, space.dimensions)
    ).fetchone()
    return None if row is None else int(row[0])


def _select(
    connection: sqlite3.Connection, space: VectorSpace, addresses: Sequence[bytes], *, column: str
) -> Iterator[tuple[Any, ...]]:
    number = _number(connection, space)
    if number is None:
        return
    for first in range(0, len(addresses), _PARAMETERS):
        some = addresses[first : first + _PARAMETERS]
        marks = ",".join("?" * len(some))
        yield from connection.execute(
            f"SELECT address, {column} FROM vectors WHERE space = ? AND address IN ({marks})", (number, *some)
        )


def _vector(address: bytes, embedding: bytes | None, checksum: int | None, space: VectorSpace) -> FloatArray | None:
    if checksum is not None and not _is_as_written(address, embedding, checksum):
        raise DamagedDataError(f"a stored vector of {space.model!r} is not as it was written: {_MEND}")
    if embedding is None:
        return None
    vector = np.frombuffer(embedding, "<f4")
    if vector.shape != (space.dimensions,):
        raise DamagedDataError(
            f"a stored vector of {space.model!r} has {vector.size} dimensions instead of {space.dimensions}: {_MEND}"
        )
    return vector


def _is_as_written(address: bytes, embedding: bytes | None, checksum: int | None) -> bool:
    try:
        return vector_checksum(address, embedding) == checksum
    except TypeError:  # of another type than any that is stored
        return False


def _is_unsealed_vector(embedding: bytes | None, dimensions: int | None) -> bool:
    """Tell whether what was stored without a checksum can be a vector: of the right length, and of unit length."""
    if embedding is None:
        return True
    if not isinstance(embedding, bytes) or dimensions is None or len(embedding) != 4 * dimensions:
        return False
    return bool(abs(np.linalg.norm(np.frombuffer(embedding, "<f4").astype(np.float64)) - 1.0) <= _NORM_TOLERANCE)


def _check(space: VectorSpace, addresses: Sequence[bytes], embeddings: Embeddings) -> None:
    vectors, readable = embeddings.vectors, embeddings.readable
    wanted = (len(addresses), space.dimensions)
    if vectors.shape != wanted or readable.shape != (len(addresses),):
        raise EmbeddingError(
            f"model {space.model!r} gave vectors of shape {vectors.shape} and {readable.shape} marks for"
            f" {len(addresses)} texts, wanted {wanted}; check the model and its dimensions setting"
        )
    norms = np.linalg.norm(vectors[readable].astype(np.float64), axis=1)
    if not np.all(np.abs(norms - 1.0) <= _NORM_TOLERANCE):  # subtle: NaN and infinity fail this too
        worst = norms[np.argmax(~(np.abs(norms - 1.0) <= _NORM_TOLERANCE))]
        raise EmbeddingError(
            f"model {space.model!r} gave a vector of length {worst:g} instead of 1; nothing of this batch was stored"
        )
