"""Makes hits of a ranking: the first ``k`` that are still there and bear on the query enough. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rag.types import Hit

__all__ = ["Picked", "pick"]

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Picked:
    """Hits in the order of the ranking. ``n_below`` others were too little relevant, at most ``best_below``."""

    hits: tuple[Hit, ...]
    n_below: int = 0
    best_below: float = 0.0

    def note(self, min_score: float) -> str:
        """Return in words why nothing was found, where that is because nothing was relevant enough; "" else."""
        if self.hits or not self.n_below:
            return ""
        return (
            f"no passage is relevant enough: the best of {self.n_below:,} has {self.best_below:.2f}, and min_score asks"
            f" for {min_score:g}"
        )


def pick(
    order: Sequence[Key], read: Callable[[Sequence[Key]], Mapping[Key, Hit]], *, k: int, min_score: float = 0.0
) -> Picked:
    """Return the first ``k`` hits of an ``order``, best first, that have a relevance of at least ``min_score``.

    ``read`` returns the hits of some of it, without those whose document was replaced meanwhile: the next best takes
    their place. A hit whose relevance cannot be told is let through.
    """
    hits: list[Hit] = []
    below: list[float] = []
    at, n = 0, k
    while len(hits) < k and at < len(order):
        some = order[at : at + n]
        at += len(some)
        n = max(k - len(hits), min(2 * n, 64))  # few are read in vain where most are let through, else in few turns
        found = read(some)
        for key in some:
            hit = found.get(key)
            if hit is None or len(hits) == k:
                continue
            if hit.relevance is not None and hit.relevance < min_score:
                below.append(hit.relevance)
            else:
                hits.append(hit)
    return Picked(tuple(hits), len(below), max(below, default=0.0))
