"""One ranking from two: a convex sum of the legs' normalised scores. Pure.

Ranks alone will not do: reciprocal rank fusion falls below its better leg where the other knows little, because it
throws away how much better the best is. So each leg's scores are put on [0, 1], between a floor and the best of this
query. For BM25 the floor is 0, no word in common. For cosines it is what an unrelated text gets from this model and
query, estimated from a sample of the collection (``Collection.background``): models differ, and some never go below
0.7. Neither depends on how many candidates were asked for, or on the length of the query.

nDCG@10, mean of four English sets with the embedded model (``benchmarks/retrieval.py``), weight 0.7: floor at the
worst of the top 100 .880, at 0 .890, at the sample's mean .887, **one standard deviation below it .891**, two below
.890; weights 0.6 and 0.8 with it .888 and .882. The true cosines of what only the keywords found add nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["fuse", "normalised"]


def fuse(
    vectors: Mapping[int, float] | None,
    keywords: Mapping[int, float] | None,
    *,
    vector_weight: float,
    cosine_floor: float = 0.0,
) -> dict[int, float]:
    """Return the fused score in [0, 1] of every row that a leg found; in no order.

    Each leg maps rows to scores, higher is better. A leg of None has no vote: the other decides alone. A row that a leg
    did not find gets that leg's floor.

    >>> fuse({1: 0.9, 2: 0.45}, {2: 8.0}, vector_weight=0.5)
    {1: 0.5, 2: 0.75}
    """
    if not 0 <= vector_weight <= 1:
        raise ValueError(f"vector_weight must be in [0, 1], got {vector_weight}")
    by_vector = None if vectors is None else normalised(vectors, floor=cosine_floor)
    by_keyword = None if keywords is None else normalised(keywords, floor=0.0)
    if by_vector is None or by_keyword is None:
        return by_vector or by_keyword or {}
    return {
        row: vector_weight * by_vector.get(row, 0.0) + (1 - vector_weight) * by_keyword.get(row, 0.0)
        for row in dict.fromkeys([*by_vector, *by_keyword])
    }


def normalised(scores: Mapping[int, float], *, floor: float) -> dict[int, float]:
    """Return the scores on [0, 1], in the same order: the best at 1, the floor (or the worst, if below) at 0.

    Where all are equal, all are best.
    """
    if not scores:
        return {}
    worst, best = min(scores.values()), max(scores.values())
    floor = min(floor, worst)
    if best == worst:
        return dict.fromkeys(scores, 1.0)
    return {row: (score - floor) / (best - floor) for row, score in scores.items()}
