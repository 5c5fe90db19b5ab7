"""Keeping an approximate index good: when to measure it, when to train it anew; both beside searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from index.calibration import Aim, Calibration, exact_neighbours, made_questions, measure
from index.exact import RowArray
from index.records import CELLS_LIMIT, MeasuredRecall
from rag.types import FloatArray

if TYPE_CHECKING:
    from index.vectors import FaissIndex, Lookup

__all__ = ["Drift", "is_due", "measured_recall", "outgrown", "retrain", "take_measure"]

_MEASURED_AFTER = 0.1  # of the chunks have come or gone since the last time
_OUTGROWN = 1  # times the square of the cells: four times as many chunks as they were made for
_DRIFT_SHARE = 0.01  # of the chunks that must have come since the training before their distance says anything
_DRIFT_LEAST = 250  # and so many at least
_DRIFTED = 1.3  # times as far from their centres, on average, as chunks were when the cells were trained; others of the
# same subjects are up to 1.2 times as far, where the centres were fitted to few
_DRIFT_SAMPLE = 64  # vectors of a batch whose distance is taken
_PART = 4096
_FIRST_PROBES = 8
_SCANNED = 0.25  # of the cells at most: beyond, new cells pay
_FROM = 4000  # vectors that questions are made of

Guard = Callable[[], AbstractContextManager[None]]
"""Keeps an index from being changed: held for one look at it, never for long."""


@dataclass
class Drift:
    """How far what was added since the cells were trained lies from their centres: new subjects lie far from all."""

    n: int = 0
    distance: float = 0.0  # 1 - cosine to the nearest centre, summed over all n

    def note(self, index: FaissIndex, vectors: FloatArray) -> None:
        """Take notice of vectors (n, dimensions) that were added to an index; nothing where it has no cells."""
        if index.n_cells and len(vectors):
            self.n += len(vectors)
            self.distance += len(vectors) * index.distance(vectors[:: max(1, len(vectors) // _DRIFT_SAMPLE)])

    def is_far(self, calibration: Calibration, n_chunks: int) -> bool:
        """Return whether many came that lie farther off than chunks did when the cells were trained."""
        if calibration.distance is None or self.n < max(_DRIFT_LEAST, _DRIFT_SHARE * n_chunks):
            return False
        return self.distance / self.n > _DRIFTED * calibration.distance


def is_due(index: FaissIndex, calibration: Calibration | None, drift: Drift, *, n_changed: int) -> bool:
    """Return whether what is known of an index is out of date: ``n_changed`` rows came or went, or it has drifted."""
    if index.kind == "flat" or not len(index):
        return False
    if calibration is None or n_changed >= max(1, round(_MEASURED_AFTER * calibration.n_chunks)):
        return True
    return drift.is_far(calibration, len(index))


def outgrown(
    index: FaissIndex, calibration: Calibration, drift: Drift, target: float, *, cells_limit: int = CELLS_LIMIT
) -> bool:
    """Return whether new cells are wanted: too few of them, too far from what came since, or too little is found."""
    if len(index) <= cells_limit:
        return False
    if (
        drift.is_far(calibration, len(index))
        or index.kind == "rabitq"
        or len(index) > _OUTGROWN * max(index.n_cells, 1) ** 2
    ):
        return True
    return calibration.chosen(target).at_least < target


def measured_recall(calibration: Calibration, target: float) -> MeasuredRecall:
    """Return what a search with the aim for this target finds."""
    one = calibration.chosen(target)
    return MeasuredRecall(
        one.recall, one.at_least, target, calibration.n_questions, calibration.n_chunks, calibration.at
    )


def take_measure(index: FaissIndex, lookup: Lookup, reading: Guard, *, seed: int) -> Calibration:
    """Measure what the index finds of what exact search finds, reading every vector once."""
    with reading():
        rows = index.rows()
    rng = np.random.default_rng(seed)
    _, vectors = lookup(np.sort(rng.choice(rows, min(_FROM, len(rows)), replace=False)))
    distance = index.distance(vectors) if index.n_cells and len(vectors) else None
    questions = made_questions(vectors, seed=seed)
    neighbours = exact_neighbours(questions, _parts(rows, lookup))

    def search(question: FloatArray, aim: Aim) -> RowArray:
        with reading():
            return index.candidates(question, aim)

    found = measure(search, questions, neighbours, probes=_probes(index.n_cells), n_chunks=len(rows))
    return replace(found, distance=distance)


def retrain(index: FaissIndex, lookup: Lookup, reading: Guard, *, seed: int) -> FaissIndex:
    """Return an index of the same rows with new cells. What changes meanwhile is the caller's to bring over."""
    with reading():
        rows = index.rows()
    wanted = min(index.n_trained_by(len(rows)), len(rows))
    _, sample = lookup(np.sort(np.random.default_rng(seed).choice(rows, wanted, replace=False)))
    fresh = index.retrained(len(rows), sample)
    for some, vectors in _parts(rows, lookup):
        fresh.add(some, vectors)
    return fresh


def _parts(rows: RowArray, lookup: Lookup) -> Iterator[tuple[RowArray, FloatArray]]:
    for first in range(0, len(rows), _PART):
        yield lookup(rows[first : first + _PART])


def _probes(n_cells: int) -> list[int]:
    """Return the numbers of cells to try: each twice the one before, up to a share of all.

    >>> _probes(1000)
    [8, 16, 32, 64, 128, 250]
    >>> _probes(0)
    [0]
    """
    most = max(round(_SCANNED * n_cells), min(_FIRST_PROBES, n_cells))
    probes = []
    n = _FIRST_PROBES
    while n < most:
        probes.append(n)
        n *= 2
    return [*probes, most]
