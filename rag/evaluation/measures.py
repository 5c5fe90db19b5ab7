"""How well a ranking answers a question: recall, nDCG, reciprocal rank, and the share of its text that answers. Pure.

A *target* is a span of a document that answers the question, or all of the document. A hit covers a target when the two
share at least half of the shorter one: a quote mostly inside the chunk, or a chunk mostly inside the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlap", "Span", "Target", "covered", "ndcg", "overlap", "recall", "reciprocal_rank"]


@dataclass(frozen=True, slots=True)
class Span:
    """The characters [start, end) of a document."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Target:
    """What answers a question, and how well: 1, or more for better. Without a ``span`` all of the document does."""

    document: str
    grade: int = 1
    span: Span | None = None

    def is_covered_by(self, found: Span) -> bool:
        """Tell whether a hit counts as having found this."""
        if found.document != self.document or self.span is None:
            return found.document == self.document
        shared = min(found.end, self.span.end) - max(found.start, self.span.start)
        shorter = min(found.end - found.start, self.span.end - self.span.start)
        return shared > 0 and 2 * shared >= shorter


def covered(ranking: Sequence[Span], targets: Sequence[Target]) -> list[frozenset[int]]:
    """Return, for each rank, the places in ``targets`` of what is covered there for the first time.

    Where whole documents answer, a document ranks where its first hit does and its other hits take no rank.
    """
    if all(target.span is None for target in targets):
        ranking = list({found.document: found for found in reversed(ranking)}.values())[::-1]
    left = set(range(len(targets)))
    new: list[frozenset[int]] = []
    for found in ranking:
        new.append(frozenset(place for place in left if targets[place].is_covered_by(found)))
        left -= new[-1]
    return new


def recall(new: Sequence[frozenset[int]], n_targets: int, *, k: int) -> float:
    """Return the share of the targets that the first ``k`` ranks cover.

    >>> recall([frozenset({1}), frozenset(), frozenset({0})], 4, k=2)
    0.25
    """
    return sum(map(len, new[:k])) / n_targets


def reciprocal_rank(new: Sequence[frozenset[int]]) -> float:
    """Return 1 over the first rank (from 1) that covers a target; 0 where none does. Its mean is the MRR.

    >>> reciprocal_rank([frozenset(), frozenset({0})])
    0.5
    """
    return next((1 / rank for rank, places in enumerate(new, start=1) if places), 0.0)


def ndcg(new: Sequence[frozenset[int]], grades: Sequence[int], *, k: int) -> float:
    """Return the normalised discounted cumulative gain of the first ``k`` ranks, in [0, 1].

    A rank gains the grades it covers, over the logarithm of 1 + rank (Järvelin and Kekäläinen, TOIS 2002, with the
    discount of trec_eval); the ideal covers one target a rank, best grades first. A rank that covers several at once
    cannot lift it above 1.

    >>> round(ndcg([frozenset(), frozenset({0})], [1], k=10), 3)
    0.631
    """
    gained = sum(sum(grades[place] for place in places) * _discount(rank) for rank, places in enumerate(new[:k]))
    ideal = sum(grade * _discount(rank) for rank, grade in enumerate(sorted(grades, reverse=True)[:k]))
    return min(gained / ideal, 1.0)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 2)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the tokens that answer: the share retrieved (recall). Of the tokens retrieved: the share that answers
    (precision). Of both together: the share that is both (iou)."""

    recall: float
    precision: float
    iou: float


def overlap(found: Sequence[Span], wanted: Iterable[Span], starts: Mapping[str, NDArray[np.int64]]) -> Overlap:
    """Return how the retrieved tokens and the answering ones overlap; all 0 where nothing answers.

    ``starts`` are the offsets at which the tokens of each document begin. A token retrieved twice answers once but is
    retrieved twice, so that overlapping chunks pay for what they repeat (Smith and Troynikov, "Evaluating Chunking
    Strategies for Retrieval", 2024).
    """
    answers, got = set(_tokens(wanted, starts)), _tokens(found, starts)
    n_both = len(answers.intersection(got))
    if not n_both:
        return Overlap(0.0, 0.0, 0.0)
    return Overlap(n_both / len(answers), n_both / len(got), n_both / (len(got) + len(answers) - n_both))


def _tokens(spans: Iterable[Span], starts: Mapping[str, NDArray[np.int64]]) -> list[tuple[str, int]]:
    """Return the tokens that begin inside the spans, span by span."""
    tokens: list[tuple[str, int]] = []
    for span in spans:
        first, last = np.searchsorted(starts[span.document], [span.start, span.end])
        tokens += [(span.document, place) for place in range(int(first), int(last))]
    return tokens
