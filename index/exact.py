"""Exact search in numpy: the slow, obvious index that the fast one is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.types import FloatArray

if TYPE_CHECKING:
    from index.filtering import AllowedRows

__all__ = ["ExactIndex", "RowArray", "VectorIndex", "checked_query", "checked_rows"]

RowArray = NDArray[np.int64]


class VectorIndex(Protocol):
    """Finds the rows whose vectors have the largest inner product with a query: cosines, as all are of unit length.

    Searches may run in several threads at once, but not beside ``add`` or ``remove``.
    """

    def __len__(self) -> int: ...

    def rows(self) -> RowArray:
        """Return the rows it holds, ascending."""
        ...

    def add(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add unit vectors (n, dimensions) under new, non-negative rows."""
        ...

    def remove(self, rows: RowArray) -> int:
        """Remove rows, for good; rows it does not hold are ignored. Returns how many it held."""
        ...

    def search(self, vector: FloatArray, *, k: int, allowed: AllowedRows | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, cosine), best first, ties by row; of the ``allowed`` rows, where not all are."""
        ...


class ExactIndex:
    """A matrix and its row numbers."""

    def __init__(self, dimensions: int) -> None:
        self._rows: RowArray = np.empty(0, np.int64)
        self._vectors: FloatArray = np.empty((0, dimensions), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> RowArray:
        return np.sort(self._rows)

    def add(self, rows: RowArray, vectors: FloatArray) -> None:
        rows, vectors = checked_rows(rows, vectors, dimensions=self._vectors.shape[1])
        self._rows = np.concatenate([self._rows, rows])
        self._vectors = np.concatenate([self._vectors, vectors])

    def remove(self, rows: RowArray) -> int:
        stays = ~np.isin(self._rows, rows)
        self._rows, self._vectors = self._rows[stays], self._vectors[stays]
        return int(np.count_nonzero(~stays))

    def search(self, vector: FloatArray, *, k: int, allowed: AllowedRows | None = None) -> list[tuple[int, float]]:
        query = checked_query(vector, dimensions=self._vectors.shape[1], k=k)
        seen = slice(None) if allowed is None else np.isin(self._rows, allowed.rows)
        rows, scores = self._rows[seen], self._vectors[seen] @ query
        best = np.lexsort((rows, -scores))[:k]
        return [(int(rows[place]), float(scores[place])) for place in best]


def checked_rows(rows: RowArray, vectors: FloatArray, *, dimensions: int) -> tuple[RowArray, FloatArray]:
    """Return rows as int64 and vectors as float32, both C-contiguous. Raises ValueError for a bad shape."""
    rows = np.ascontiguousarray(rows, np.int64)
    if rows.ndim != 1 or vectors.shape != (len(rows), dimensions):
        raise ValueError(f"{rows.shape} rows need vectors of ({len(rows)}, {dimensions}), got {vectors.shape}")
    if rows.size and rows.min() < 0:
        raise ValueError(f"rows must not be negative, got {rows.min()}")
    return rows, np.ascontiguousarray(vectors, np.float32)


def checked_query(vector: FloatArray, *, dimensions: int, k: int) -> FloatArray:
    """Return the query as C-contiguous float32. Raises ValueError for a bad shape or a ``k`` below 1."""
    if vector.shape != (dimensions,):
        raise ValueError(f"a query must be ({dimensions},), got {vector.shape}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return np.ascontiguousarray(vector, np.float32)
