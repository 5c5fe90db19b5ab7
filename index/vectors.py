"""Nearest neighbours with FAISS (imported here only): exact while small, one-bit codes with exact rescoring beyond.

Beyond ``EXACT_LIMIT`` chunks the index keeps RaBitQ codes (dimensions / 8 bytes a row, and 8 more) and rescores its
best candidates on the full-precision vectors, which the caller looks up: 1 M x 384 in about 60 MB. The plain RaBitQ
index is used rather than its FastScan twin because it takes selectors (filters) and is no slower for single queries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.exact import RowArray, checked_query, checked_rows
from index.filtering import AllowedRows
from index.records import EXACT_LIMIT
from rag.types import FloatArray

__all__ = ["FaissIndex", "Lookup"]

_RESCORED = 400  # candidates rescored at least, whatever k: recall@10 was 1.000 with 200 of 1 M
_OVERSAMPLING = 4  # and this many for each hit asked for
_PART = 4096  # rows of a flat index that are turned to codes at once
_BLOCK = 1024 * 1024  # bytes that are read and written at once
_CORE_FLAGS = {
    "SkylakeX": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "Haswell": {"avx2", "fma"},
}

Lookup = Callable[[RowArray], tuple[RowArray, FloatArray]]
"""Returns the full-precision vectors of rows, with the rows it found: those deleted meanwhile are left out."""


def _blas_core() -> str | None:
    """Return the kernel family OpenBLAS should use here, None to let it choose (no /proc, or an older CPU)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    flags = next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())
    return next((core for core, needed in _CORE_FLAGS.items() if needed <= flags), None)


# subtle: the OpenBLAS 0.3.15 inside faiss takes SSE3 kernels on CPUs newer than itself, and batch search is 4-5x slower
# for it. It reads this variable once, when faiss is loaded; other libraries and child processes do not get to see it.
_CORE = None if "OPENBLAS_CORETYPE" in os.environ else _blas_core()
if _CORE is not None:
    os.environ["OPENBLAS_CORETYPE"] = _CORE
try:
    import faiss
finally:
    if _CORE is not None:
        del os.environ["OPENBLAS_CORETYPE"]


class FaissIndex:
    """A VectorIndex over FAISS. Starts flat; turns to codes when it outgrows ``exact_limit``, and stays so."""

    def __init__(self, dimensions: int, *, lookup: Lookup, exact_limit: int = EXACT_LIMIT) -> None:
        self._dimensions = dimensions
        self._lookup = lookup
        self._exact_limit = exact_limit
        self._faiss = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions))
        self._coded = False

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    @property
    def kind(self) -> str:
        return "rabitq" if self._coded else "flat"

    def rows(self) -> RowArray:
        return np.sort(self._ids())

    def add(self, rows: RowArray, vectors: FloatArray) -> None:
        rows, vectors = checked_rows(rows, vectors, dimensions=self._dimensions)
        if not rows.size:
            return
        if not self._coded and len(self) + len(rows) > self._exact_limit:
            self._turn_to_codes(self._mean_with(vectors))
        self._faiss.add_with_ids(vectors, rows)

    def expect(self, n_rows: int, sample: Callable[[], FloatArray]) -> None:
        """Take notice that so many rows are coming: if they outgrow the exact index, it turns to codes before they do.

        So that it never holds more full vectors than the limit. ``sample`` returns some vectors (n, dim) of those to
        come, whose mean becomes the centre of the codes.
        """
        if self._coded or len(self) + n_rows <= self._exact_limit:
            return
        vectors = sample()
        if len(vectors):  # none where the model could read none of the texts
            self._turn_to_codes(vectors.mean(axis=0, dtype=np.float64))

    def remove(self, rows: RowArray) -> int:
        rows = np.ascontiguousarray(rows, np.int64)
        if not rows.size or not len(self):
            return 0
        return int(self._faiss.remove_ids(faiss.IDSelectorBatch(rows)))

    def search(self, vector: FloatArray, *, k: int, allowed: AllowedRows | None = None) -> list[tuple[int, float]]:
        query = checked_query(vector, dimensions=self._dimensions, k=k)
        if not len(self) or (allowed is not None and not len(allowed)):
            return []
        # One query is less than a millisecond of work: a second thread only adds waiting for it (p99 48 ms against 1 on
        # two busy cores). subtle: OpenMP keeps this number for each calling thread, so it is set here each time.
        faiss.omp_set_num_threads(1)
        wanted = max(_RESCORED, _OVERSAMPLING * k) if self._coded else k
        if self._coded and allowed is not None and len(allowed) <= wanted:
            rows = allowed.rows  # the full vectors of all of them are compared below: no code has a say
            cosines = np.empty(0, np.float32)
        else:
            scores, found = self._faiss.search(
                query[np.newaxis], min(wanted, len(self)), params=None if allowed is None else _selection(allowed)
            )
            real = found[0] >= 0  # FAISS pads with -1
            rows, cosines = found[0][real], scores[0][real]
        if self._coded:
            rows, vectors = self._lookup(rows)
            cosines = vectors @ query
        best = np.lexsort((rows, -cosines))[:k]
        return [(int(rows[place]), float(cosines[place])) for place in best]

    def dump(self, stream: BinaryIO) -> None:
        """Write the index as FAISS does: ``faiss.read_index`` reads it back from a file."""
        faiss.write_index(self._faiss, faiss.PyCallbackIOWriter(stream.write, _BLOCK))  # type: ignore[attr-defined]

    @classmethod
    def load(cls, stream: BinaryIO, *, dimensions: int, lookup: Lookup, exact_limit: int = EXACT_LIMIT) -> FaissIndex:
        """Return the index of a dump. Raises ValueError when it is not one of these dimensions.

        Check that the bytes are as they were written before calling this: FAISS trusts them.
        """
        try:
            loaded = faiss.read_index(faiss.PyCallbackIOReader(stream.read, _BLOCK))  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise ValueError(f"FAISS cannot read this index: {error}") from error
        if not isinstance(loaded, faiss.IndexIDMap2) or loaded.d != dimensions:
            raise ValueError(f"not an index of {dimensions} dimensions with row numbers")
        index = cls(dimensions, lookup=lookup, exact_limit=exact_limit)
        index._faiss = loaded
        index._coded = isinstance(faiss.downcast_index(loaded.index), faiss.IndexRaBitQ)
        return index

    def _ids(self) -> RowArray:
        return np.array(faiss.vector_to_array(self._faiss.id_map), np.int64)

    def _turn_to_codes(self, centre: NDArray[np.float64]) -> None:
        """Replace the flat index by codes around a centre, a part at a time: there may be no room for a second copy."""
        codes = faiss.IndexRaBitQ(self._dimensions, faiss.METRIC_INNER_PRODUCT)
        codes.train(centre.astype(np.float32)[np.newaxis])  # takes the mean of what it is given
        coded = faiss.IndexIDMap2(codes)
        ids = self._ids()
        for first, vectors in self._flat_parts():
            coded.add_with_ids(vectors, ids[first : first + len(vectors)])
        self._faiss, self._coded = coded, True

    def _mean_with(self, vectors: FloatArray) -> NDArray[np.float64]:
        total = vectors.sum(axis=0, dtype=np.float64)
        for _, others in self._flat_parts():
            total += others.sum(axis=0, dtype=np.float64)
        return np.asarray(total / (len(self) + len(vectors)))

    def _flat_parts(self) -> Iterator[tuple[int, FloatArray]]:
        flat = faiss.downcast_index(self._faiss.index)
        for first in range(0, flat.ntotal, _PART):
            yield first, flat.reconstruct_n(first, min(_PART, flat.ntotal - first))


def _selection(allowed: AllowedRows) -> faiss.SearchParameters:
    """Return the parameters of a search that looks at these rows only."""
    return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed.bitmap))  # type: ignore[call-arg, arg-type]
