"""Makes hits of a ranking: the first ``k`` that are still there, are relevant enough and say something new. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from index.likeness import Wording, diversified
from rag.types import FloatArray, Hit

__all__ = ["Picked", "Picking", "pick"]

Key = TypeVar("Key", bound=Hashable)

_DIVERSIFIED = 50  # of a ranking; or five times as many as are wanted


@dataclass(frozen=True, slots=True)
class Picking:
    """How hits are picked: of a relevance of at least ``min_score``, near-duplicates as one, and spread out.

    ``diversity`` is from 0, by score alone, to below 1.
    """

    min_score: float = 0.0
    fold_duplicates: bool = False
    diversity: float = 0.0


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
    scores: Mapping[Key, float],
    order: Sequence[Key],
    *,
    k: int,
    read: Callable[[Sequence[Key]], Mapping[Key, Hit]],
    vectors: Callable[[Sequence[Key]], Sequence[FloatArray]],
    how: Picking,
) -> Picked:
    """Return the first ``k`` hits of an ``order``, best first.

    ``read`` returns the hits of some of it, without those whose document was replaced meanwhile: the next best takes
    their place, as it does for what is not relevant enough. A hit whose relevance cannot be told is let through. Of
    near-duplicates the best is a hit, and names the documents of the others that were met before there were enough.
    ``vectors`` returns the vectors of some of it.
    """
    if how.diversity:
        n_spread = max(_DIVERSIFIED, 5 * k)
        first = order[:n_spread]
        order = [*diversified(first, scores, vectors(first), diversity=how.diversity), *order[n_spread:]]
    hits: list[Hit] = []
    wordings: list[Wording] = []
    below: list[float] = []
    at, n = 0, k
    while len(hits) < k and at < len(order):
        some = order[at : at + n]
        at += len(some)
        n = max(k - len(hits), min(2 * n, 64))  # few are read in vain where most are let through, else in few turns
        found = read(some)
        for key in some:
            hit = found.get(key)
            if hit is None:
                continue
            if hit.relevance is not None and hit.relevance < how.min_score:
                below.append(hit.relevance)
                continue
            if how.fold_duplicates:
                wording = Wording(hit.chunk.embedded_text)
                twin = next((place for place, other in enumerate(wordings) if wording.is_like(other)), None)
                if twin is not None:
                    hits[twin] = _with(hits[twin], hit.chunk.document_id)
                    continue
                if len(hits) < k:
                    wordings.append(wording)
            if len(hits) < k:
                hits.append(hit)
    return Picked(tuple(hits), len(below), max(below, default=0.0))


def _with(hit: Hit, document_id: str) -> Hit:
    """Return a hit that names a document which says the same."""
    if document_id in (hit.chunk.document_id, *hit.duplicates):
        return hit
    return replace(hit, duplicates=(*hit.duplicates, document_id))
