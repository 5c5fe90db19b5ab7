"""How likely a chunk bears on a query, from 0 to 1: one scale for all queries and collections. Pure.

The score that orders hits is relative: the best of a query is near 1 even where nothing in the collection bears on it.
Relevance is not. It is a logistic function of two measures that mean the same whatever was asked:

- **closeness**: how far a chunk's cosine is on the way from an unrelated chunk's with this query (0), told by a sample
  of the collection, to identity (1). Raw cosines cannot be compared: models differ, and so do queries of one model.
  Counted in deviations of the sample, it told less on collections about one subject, where all chunks are alike.
- **coverage**: which share of the query's words the chunk holds, each word by its rarity in the collection. A word that
  no chunk holds is the rarest of all, so what asks for something else is covered badly everywhere.

``benchmarks/relevance.py --fit`` fits the weights, and without it shows, on each set with weights fitted on the others,
how well they tell. They were fitted with the embedded model; another one's cosines may lie otherwise between unrelated
and equal, and then the order of relevances holds better than their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["BY_BOTH", "BY_CLOSENESS", "BY_COVERAGE", "Background", "Measures", "covered", "relevance"]

_FEWEST = 8  # chunks in a sample whose mean is worth something

BY_BOTH = (4.84, 4.28, -5.41)
"""Weights of closeness and coverage, and the bias."""
BY_CLOSENESS = (7.13, -4.74)
"""Weight of closeness, and the bias: where the query has no words."""
BY_COVERAGE = (5.96, -3.77)
"""Weight of coverage, and the bias: where the model cannot read the query or the chunk."""


@dataclass(frozen=True, slots=True)
class Background:
    """What unrelated chunks have in common with a query: mean and deviation of the cosines of ``n`` of them."""

    mean: float = 0.0
    deviation: float = 0.0
    n: int = 0

    @property
    def floor(self) -> float:
        """The cosine that says nothing: one standard deviation below the mean (``index.fusion``)."""
        return self.mean - self.deviation

    def closeness(self, cosine: float) -> float | None:
        """Return how far a cosine is on the way from the mean to 1; None where too few chunks are known to tell.

        >>> Background(0.2, 0.1, 100).closeness(0.6)
        0.5
        """
        if self.n < _FEWEST or self.mean >= 1:
            return None
        return (cosine - self.mean) / (1 - self.mean)


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of a chunk and a query; None is what cannot be told."""

    closeness: float | None
    coverage: float | None


def covered(words: Mapping[str, float], held: Iterable[str]) -> float | None:
    """Return the share of the ``words``, each by its worth, among what is held; None where there are none.

    >>> covered({"zebra": 3.0, "the": 1.0}, {"the", "lion"})
    0.25
    """
    total = sum(words.values())
    return sum(words[word] for word in words.keys() & set(held)) / total if total > 0 else None


def relevance(measures: Measures) -> float | None:
    """Return how likely a chunk with these measures bears on the query, in [0, 1]; None where neither is known."""
    closeness, coverage = measures.closeness, measures.coverage
    if closeness is not None and coverage is not None:
        by_closeness, by_coverage, bias = BY_BOTH
        return _logistic(by_closeness * closeness + by_coverage * coverage + bias)
    if closeness is not None:
        by_closeness, bias = BY_CLOSENESS
        return _logistic(by_closeness * closeness + bias)
    if coverage is not None:
        by_coverage, bias = BY_COVERAGE
        return _logistic(by_coverage * coverage + bias)
    return None


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
