"""What an approximate index finds of what exact search finds: measured on the collection's own vectors, then set by it.

Questions are not drawn from the chunks' vectors: they lie apart from all of them, and are harder. Two kinds of made
questions were found to be about as hard as real ones (``benchmarks/million.py`` compares them): the mean of four chunks
of the collection, which lies between cells, and a chunk with noise of twice its length, whose neighbours hardly differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from index.exact import RowArray
from rag.types import FloatArray

__all__ = ["Aim", "Calibration", "K", "Measured", "exact_neighbours", "made_questions", "measure"]

K = 10
N_QUESTIONS = 200
CANDIDATES = (200, 400, 800, 1200, 1600)
_NOISE = 2.0
_ONE_SIDED = 1.645  # standard errors below the mean: the recall is at least this with a confidence of 95 %


@dataclass(frozen=True, slots=True)
class Aim:
    """How hard an index looks: cells that are scanned (0 where it has none), candidates that are rescored."""

    n_probed: int
    n_candidates: int

    @property
    def effort(self) -> int:
        """What a search costs, in no unit: a cell is about as dear as four candidates, not all rescored."""
        return 4 * self.n_probed + self.n_candidates


@dataclass(frozen=True, slots=True)
class Measured:
    """What one aim finds: the mean recall@10, and what it is at least with a confidence of 95 %."""

    aim: Aim
    recall: float
    at_least: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of an index, when (Unix seconds), over how many questions, and how large it was.

    ``distance`` is 1 - cosine of chunks and their centres, on average, when the cells were trained; None without cells.
    """

    measured: tuple[Measured, ...]
    n_questions: int
    n_chunks: int
    at: float
    distance: float | None = None

    def chosen(self, target: float) -> Measured:
        """Return the cheapest aim that surely reaches a recall; where none does, the one that finds most.

        It may miss half of what the target allows, where that can be had: real questions find up to as much less than
        made ones where few cells are scanned (.977 for .984, ``benchmarks/growth.py``).
        """
        for least in ((1 + target) / 2, target):
            enough = [one for one in self.measured if one.at_least >= least]
            if enough:
                return min(enough, key=lambda one: (one.aim.effort, -one.recall))
        return max(self.measured, key=lambda one: (one.at_least, -one.aim.effort))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Calibration:
        """Undo ``to_json``. Raises KeyError or TypeError for anything else."""
        measured = tuple(Measured(Aim(**one["aim"]), one["recall"], one["at_least"]) for one in said["measured"])
        return cls(measured, int(said["n_questions"]), int(said["n_chunks"]), float(said["at"]), said.get("distance"))


def made_questions(vectors: FloatArray, *, n: int = N_QUESTIONS, seed: int) -> FloatArray:
    """Return ``n`` unit vectors (n, dimensions) about as hard to search for as questions, made of chunks' vectors."""
    rng = np.random.default_rng(seed)
    means = vectors[rng.integers(0, len(vectors), (n - n // 2, 4))].mean(axis=1)
    noise = rng.standard_normal((n // 2, vectors.shape[1])) * (_NOISE / np.sqrt(vectors.shape[1]))
    made = np.concatenate([means, vectors[rng.integers(0, len(vectors), n // 2)] + noise])
    norms = np.linalg.norm(made, axis=1, keepdims=True)
    return np.asarray(made / np.where(norms > 0, norms, 1), np.float32)


def exact_neighbours(questions: FloatArray, parts: Iterable[tuple[RowArray, FloatArray]], *, k: int = K) -> RowArray:
    """Return the rows of the ``k`` largest cosines of each question, (n, k); -1 where there are fewer rows."""
    rows = np.full((len(questions), k), -1, np.int64)
    cosines = np.full((len(questions), k), -np.inf, np.float32)
    for some_rows, vectors in parts:
        all_cosines = np.concatenate([cosines, questions @ vectors.T], axis=1)
        all_rows = np.concatenate([rows, np.broadcast_to(some_rows, (len(questions), len(some_rows)))], axis=1)
        best = np.argpartition(-all_cosines, k - 1, axis=1)[:, :k]
        cosines, rows = np.take_along_axis(all_cosines, best, 1), np.take_along_axis(all_rows, best, 1)
    return rows


def measure(
    search: Callable[[FloatArray, Aim], RowArray],
    questions: FloatArray,
    neighbours: RowArray,
    *,
    probes: Sequence[int],
    n_chunks: int,
) -> Calibration:
    """Measure an index that returns its candidates, best first, for a question and an aim.

    ``neighbours`` are those of ``exact_neighbours``. A neighbour that is among the candidates is found, as these are
    rescored exactly. With fewer candidates in its aim a search has the first of them.
    """
    limits = [n for n in CANDIDATES if n < n_chunks] + [min(CANDIDATES[-1], n_chunks)]
    measured: list[Measured] = []
    for n_probed in probes:
        shares = np.zeros((len(questions), len(limits)))
        for place, question in enumerate(questions):
            candidates = search(question, Aim(n_probed, limits[-1]))
            ranks = {row: rank for rank, row in enumerate(candidates.tolist())}
            found_at = np.array([ranks.get(row, limits[-1]) for row in neighbours[place].tolist() if row >= 0])
            shares[place] = (found_at[:, None] < limits).mean(axis=0) if found_at.size else 1.0
        means = shares.mean(axis=0)
        errors = shares.std(axis=0) / np.sqrt(max(len(questions), 1))
        for limit, mean, error in zip(limits, means.tolist(), errors.tolist(), strict=True):
            measured.append(Measured(Aim(n_probed, limit), mean, max(0.0, mean - _ONE_SIDED * error)))
    return Calibration(tuple(dict.fromkeys(measured)), len(questions), n_chunks, time.time())
