"""One ranking from two: a convex sum of the legs' normalised scores. Pure.

Ranks alone will not do: reciprocal rank fusion falls below its better leg where the other knows little, because it
throws away how much better the best is. Scores are put on [0, 1] from the leg's own top candidates first.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["fuse", "normalised"]


def fuse(
    vectors: Mapping[int, float] | None, keywords: Mapping[int, float] | None, *, vector_weight: float
) -> dict[int, float]:
    """Return the fused score in [0, 1] of every row that a leg found; in no order.

    Each leg maps rows to scores, higher is better. A leg of None has no vote: the other decides alone. A row that a leg
    did not find gets that leg's floor.

    >>> fuse({1: 0.9, 2: 0.5}, {2: 8.0}, vector_weight=0.5)
    {1: 0.5, 2: 0.5}
    """
    if not 0 <= vector_weight <= 1:
        raise ValueError(f"vector_weight must be in [0, 1], got {vector_weight}")
    if vectors is None or keywords is None:
        return normalised(vectors or keywords or {}, floor=0.0)
    by_vector, by_keyword = _min_max(vectors), normalised(keywords, floor=0.0)
    return {
        row: vector_weight * by_vector.get(row, 0.0) + (1 - vector_weight) * by_keyword.get(row, 0.0)
        for row in dict.fromkeys([*vectors, *keywords])
    }


def normalised(scores: Mapping[int, float], *, floor: float) -> dict[int, float]:
    """Return the scores on [0, 1]: the best at 1, ``floor`` and all below it at 0."""
    span = max(scores.values(), default=floor) - floor
    return {row: max(score - floor, 0.0) / span if span > 0 else 0.0 for row, score in scores.items()}


def _min_max(scores: Mapping[int, float]) -> dict[int, float]:
    return normalised(scores, floor=min(scores.values(), default=0.0))
