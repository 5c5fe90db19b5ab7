"""Nearest neighbours with FAISS (imported here only): exact while small, one-bit codes with exact rescoring beyond.

Beyond ``EXACT_LIMIT`` chunks the index keeps RaBitQ codes (dimensions / 8 bytes a row, and 8 more) and rescores its
best candidates on the full-precision vectors, which the caller looks up: 1 M x 384 in about 70 MB. Beyond
``CELLS_LIMIT`` the codes lie in cells around centres (IVF), of which only the nearest are scanned, many codes at once
(FastScan). Two bits a number would halve the candidates, but take twice the memory and longer to scan.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index.calibration import Aim, K
from index.exact import RowArray, checked_query, checked_rows
from index.filtering import AllowedRows
from index.records import CELLS_LIMIT, EXACT_LIMIT
from rag.types import FloatArray

__all__ = ["FaissIndex", "Lookup"]

_UNMEASURED = Aim(64, 800)  # until a calibration has said better
_OVERSAMPLING = 4  # candidates rescored for each hit asked for, where that is more
_FIRST = 200  # candidates that are rescored before the spread of their errors says how many more may matter
_STEP = 200
_SURE = 2.0  # standard errors above its estimate: a candidate that is still worse there than the best ten is left alone
_SUBSET = 20_000  # rows of a filter that are all scored exactly; 1 % of 2 M
_TRAINED_BY = 40  # vectors a cell
_MIN_TRAINED_BY = 4096
_ITERATIONS = 8  # of k-means: more change nothing that a search would notice
_QUERY_BITS = 4  # of a query's numbers beside codes: 8 take twice as long and find hardly more
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
    """A VectorIndex over FAISS. Starts flat; turns to codes when it outgrows ``exact_limit``, and stays so.

    Cells come where more than ``cells_limit`` rows are expected, or by ``retrained``: they need a sample to learn from.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        lookup: Lookup,
        exact_limit: int = EXACT_LIMIT,
        cells_limit: int = CELLS_LIMIT,
    ) -> None:
        self._dimensions = dimensions
        self._lookup = lookup
        self._exact_limit = exact_limit
        self._cells_limit = cells_limit
        self._faiss: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions))
        self._kind = "flat"
        self.aim = _UNMEASURED
        """How hard ``search`` looks, where it is not exact; set by whoever has measured it."""

    def __len__(self) -> int:
        return int(self._faiss.ntotal)

    @property
    def kind(self) -> str:
        """ "flat" (exact), "rabitq" (codes) or "ivf-rabitq" (codes in cells)."""
        return self._kind

    @property
    def n_cells(self) -> int:
        """How many cells there are; 0 where there are none."""
        return int(self._faiss.nlist) if self._kind == "ivf-rabitq" else 0

    def n_trained_by(self, n_rows: int) -> int:
        """Return how many vectors tell the centres of an index of so many rows."""
        return max(_MIN_TRAINED_BY, _TRAINED_BY * _n_cells(n_rows))

    def rows(self) -> RowArray:
        return np.sort(self._ids())

    def add(self, rows: RowArray, vectors: FloatArray) -> None:
        rows, vectors = checked_rows(rows, vectors, dimensions=self._dimensions)
        if not rows.size:
            return
        if self._kind == "flat" and len(self) + len(rows) > self._exact_limit:
            self._turn_to_codes(self._mean_with(vectors))
        self._faiss.add_with_ids(vectors, rows)

    def expect(self, n_rows: int, sample: Callable[[int], FloatArray]) -> None:
        """Take notice that so many rows are coming: if they outgrow the exact index, it turns to codes before they do.

        So that it never holds more full vectors than the limit. ``sample`` returns about so many vectors (n, dim) of
        what is and comes, which tell the centre of the codes, or the centres of the cells.
        """
        n_all = len(self) + n_rows
        if self._kind != "flat" or n_all <= self._exact_limit:
            return
        vectors = sample(self.n_trained_by(n_all) if n_all > self._cells_limit else _MIN_TRAINED_BY)
        if not len(vectors):  # the model could read none of the texts
            return
        if n_all > self._cells_limit:
            self._replace_flat_by(self._cells(vectors, n_all), "ivf-rabitq")
        else:
            self._turn_to_codes(vectors.mean(axis=0, dtype=np.float64))

    def retrained(self, n_rows: int, sample: FloatArray) -> FaissIndex:
        """Return an empty index with cells for so many rows, whose centres come from a sample (n, dim)."""
        fresh = FaissIndex(
            self._dimensions, lookup=self._lookup, exact_limit=self._exact_limit, cells_limit=self._cells_limit
        )
        fresh._faiss, fresh._kind = fresh._cells(sample, n_rows), "ivf-rabitq"
        return fresh

    def remove(self, rows: RowArray) -> int:
        rows = np.ascontiguousarray(rows, np.int64)
        if not rows.size or not len(self):
            return 0
        return int(self._faiss.remove_ids(faiss.IDSelectorBatch(rows)))

    def search(self, vector: FloatArray, *, k: int, allowed: AllowedRows | None = None) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, cosine), best first, ties by row; of ``allowed`` rows only, where given.

        Where these are few, every one of them is scored exactly: a row that has a vector but has left the index may
        then be among the hits.
        """
        query = checked_query(vector, dimensions=self._dimensions, k=k)
        if not len(self) or (allowed is not None and not len(allowed)):
            return []
        if self._kind == "flat":
            rows, cosines = self._nearest(query, k, self.aim.n_probed, allowed)
        elif allowed is not None and len(allowed) <= _SUBSET:
            rows, cosines = self._scored(allowed.rows, query)
        else:
            n_candidates = max(self.aim.n_candidates, _OVERSAMPLING * k)
            rows, estimates = self._nearest(query, n_candidates, self._probes(allowed), allowed)
            rows, cosines = self._rescored(rows, estimates, query, first=max(_FIRST, _OVERSAMPLING * k))
        best = np.lexsort((rows, -cosines))[:k]
        return [(int(rows[place]), float(cosines[place])) for place in best]

    def distance(self, vectors: FloatArray) -> float:
        """Return 1 - cosine of unit vectors (n, dimensions) and the nearest centre, on average; there must be cells."""
        cosines, _ = self._faiss.quantizer.search(np.ascontiguousarray(vectors, np.float32), 1)
        return float(1 - cosines.mean())

    def candidates(self, vector: FloatArray, aim: Aim) -> RowArray:
        """Return the rows that a search for ten with this aim rescores, best by their codes first.

        With fewer candidates in the aim it would rescore so many of them, and no others.
        """
        query = checked_query(vector, dimensions=self._dimensions, k=aim.n_candidates)
        rows, estimates = self._nearest(query, aim.n_candidates, aim.n_probed, None)
        rescored = set(self._rescored(rows, estimates, query, first=_FIRST)[0].tolist())
        return np.array([row for row in rows.tolist() if row in rescored], np.int64)

    def dump(self, stream: BinaryIO) -> None:
        """Write the index as FAISS does: ``faiss.read_index`` reads it back from a file."""
        faiss.write_index(self._faiss, faiss.PyCallbackIOWriter(stream.write, _BLOCK))  # type: ignore[attr-defined]

    @classmethod
    def load(
        cls,
        stream: BinaryIO,
        *,
        dimensions: int,
        lookup: Lookup,
        exact_limit: int = EXACT_LIMIT,
        cells_limit: int = CELLS_LIMIT,
    ) -> FaissIndex:
        """Return the index of a dump. Raises ValueError when it is not one of these dimensions.

        Check that the bytes are as they were written before calling this: FAISS trusts them.
        """
        try:
            loaded = faiss.read_index(faiss.PyCallbackIOReader(stream.read, _BLOCK))  # type: ignore[attr-defined]
        except RuntimeError as error:
            raise ValueError(f"FAISS cannot read this index: {error}") from error
        if not isinstance(loaded, faiss.IndexIDMap2 | faiss.IndexIVFRaBitQFastScan) or loaded.d != dimensions:
            raise ValueError(f"not an index of {dimensions} dimensions with row numbers")
        index = cls(dimensions, lookup=lookup, exact_limit=exact_limit, cells_limit=cells_limit)
        index._faiss = loaded
        if isinstance(loaded, faiss.IndexIVFRaBitQFastScan):
            index._kind = "ivf-rabitq"
        elif isinstance(faiss.downcast_index(loaded.index), faiss.IndexRaBitQ):
            index._kind = "rabitq"
        return index

    def _nearest(
        self, query: FloatArray, k: int, n_probed: int, allowed: AllowedRows | None
    ) -> tuple[RowArray, NDArray[np.float32]]:
        """Return the rows and scores that FAISS finds: cosines where it is flat, else of the codes."""
        # One query is less than a millisecond of work: a second thread only adds waiting for it (p99 48 ms against 1 on
        # two busy cores). subtle: OpenMP keeps this number for each calling thread, so it is set here each time.
        faiss.omp_set_num_threads(1)
        settings: Any = None
        if self._kind == "ivf-rabitq":
            settings = faiss.IVFRaBitQSearchParameters()
            settings.nprobe, settings.qb = max(1, min(n_probed, self.n_cells)), _QUERY_BITS
        elif allowed is not None:
            settings = faiss.RaBitQSearchParameters() if self._kind == "rabitq" else faiss.SearchParameters()
        if allowed is not None:
            bits = np.ascontiguousarray(allowed.bitmap)  # it lives as long as the selector, which only points at it
            settings.sel = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        scores, found = self._faiss.search(query[np.newaxis], min(k, len(self)), params=settings)
        real = found[0] >= 0  # FAISS pads with -1
        return found[0][real], scores[0][real]

    def _rescored(
        self, rows: RowArray, estimates: NDArray[np.float32], query: FloatArray, *, first: int
    ) -> tuple[RowArray, NDArray[np.float32]]:
        """Return those candidates that may be among the best ten, with their cosines; in no order.

        ``estimates`` are the cosines by their codes, best first. How far these are off is seen from the ``first``; the
        next ones are rescored for as long as one could, by its estimate and ``_SURE`` standard errors, be among the
        best ten so far. Where a question has near neighbours that is soon over, and reading vectors is half the work.
        """
        found, cosines = self._scored(np.sort(rows[:first]), query)  # neighbours on disk are read at once
        by_row = np.argsort(rows[:first])
        places = by_row[np.searchsorted(rows[:first], found, sorter=by_row)]
        margin = _SURE * float(np.std(cosines - estimates[places])) if found.size else math.inf
        for at in range(first, len(rows), _STEP):
            if len(cosines) >= K and estimates[at] + margin < np.partition(cosines, -K)[-K]:
                break
            some, others = self._scored(np.sort(rows[at : at + _STEP]), query)
            found, cosines = np.concatenate([found, some]), np.concatenate([cosines, others])
        return found, cosines

    def _scored(self, rows: RowArray, query: FloatArray) -> tuple[RowArray, NDArray[np.float32]]:
        """Return the rows that have a vector, and their cosines, a part at a time."""
        parts = [self._lookup(rows[first : first + _PART]) for first in range(0, len(rows), _PART)]
        there = [found for found, _ in parts] or [np.empty(0, np.int64)]
        cosines = [vectors @ query for _, vectors in parts] or [np.empty(0, np.float32)]
        return np.concatenate(there), np.concatenate(cosines)

    def _probes(self, allowed: AllowedRows | None) -> int:
        """Return how many cells to scan: a filter spreads the neighbours over more of them."""
        if allowed is None:
            return self.aim.n_probed
        return round(self.aim.n_probed * math.sqrt(max(1.0, len(self) / len(allowed))))

    def _ids(self) -> RowArray:
        if self._kind != "ivf-rabitq":
            return np.array(faiss.vector_to_array(self._faiss.id_map), np.int64)
        cells = self._faiss.invlists
        sizes = ((cell, int(cells.list_size(cell))) for cell in range(self._faiss.nlist))
        parts = [faiss.rev_swig_ptr(cells.get_ids(cell), size).copy() for cell, size in sizes if size]
        return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)

    def _cells(self, sample: FloatArray, n_rows: int) -> Any:
        """Return an empty index with cells around centres of a sample."""
        sample = np.ascontiguousarray(sample, np.float32)
        n_cells = max(1, min(_n_cells(n_rows), len(sample)))
        settings: dict[str, Any] = {"niter": _ITERATIONS, "spherical": True, "min_points_per_centroid": 1, "seed": 1}
        faiss.omp_set_num_threads(max(1, (os.cpu_count() or 1) - 1))  # searches go on meanwhile
        means = faiss.Kmeans(self._dimensions, n_cells, max_points_per_centroid=10 * _TRAINED_BY, **settings)
        means.train(sample)
        centres: Any = faiss.IndexFlatIP(self._dimensions)
        centres.add(means.centroids)
        cells: Any = faiss.IndexIVFRaBitQFastScan(centres, self._dimensions, n_cells, faiss.METRIC_INNER_PRODUCT)
        centres.this.disown()  # the other one owns it from here on
        cells.own_fields = True
        cells.train(sample[:1])  # the centres are trained already; codes need no more
        return cells

    def _turn_to_codes(self, centre: NDArray[np.float64]) -> None:
        codes = faiss.IndexRaBitQ(self._dimensions, faiss.METRIC_INNER_PRODUCT)
        codes.train(centre.astype(np.float32)[np.newaxis])  # takes the mean of what it is given
        self._replace_flat_by(faiss.IndexIDMap2(codes), "rabitq")

    def _replace_flat_by(self, coded: Any, kind: str) -> None:
        """Turn the flat index to codes, a part at a time: there may be no room for a second copy."""
        ids = self._ids()
        for first, vectors in self._flat_parts():
            coded.add_with_ids(vectors, ids[first : first + len(vectors)])
        self._faiss, self._kind = coded, kind

    def _mean_with(self, vectors: FloatArray) -> NDArray[np.float64]:
        total = vectors.sum(axis=0, dtype=np.float64)
        for _, others in self._flat_parts():
            total += others.sum(axis=0, dtype=np.float64)
        return np.asarray(total / (len(self) + len(vectors)))

    def _flat_parts(self) -> Iterator[tuple[int, FloatArray]]:
        flat = faiss.downcast_index(self._faiss.index)
        for first in range(0, flat.ntotal, _PART):
            yield first, flat.reconstruct_n(first, min(_PART, flat.ntotal - first))


def _n_cells(n_rows: int) -> int:
    """Return into how many cells so many rows go: twice the root, so that finding cells costs less than scanning them.

    Measured at a million (``docs/design.md``): with 2000 cells, 64 of them scanned find what 128 of 1000 do not.
    """
    return min(2 * math.isqrt(max(n_rows, 1)), 8192)
