"""What says the same twice: near-duplicates among hits, and hits that lie close together. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from index.terms import UNSPACED
from rag.types import FloatArray

__all__ = ["Wording", "diversified"]

Key = TypeVar("Key", bound=Hashable)

_WORDS = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
_SHINGLE = 4  # words
_ALIKE = 0.9  # of the shingles of two texts, those that both have
_NEGATIONS = frozenset(
    {"no", "not", "nor", "never", "none", "without", "cannot", "t", *"不没無无未非勿否别"}
)  # "t" is what is left of "don't"


class Wording:
    """The words of a text, to tell whether another says the same in nearly the same words.

    Case, width, blanks and punctuation do not count. Nine tenths of the runs of four words must be the same, and a text
    that differs in a number or a negation says something else, however little that is of it.
    """

    def __init__(self, text: str) -> None:
        self._text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())

    def is_like(self, other: Wording) -> bool:
        """Return whether the two are near-duplicates.

        >>> Wording("The lamp is green.").is_like(Wording("the LAMP,  is green"))
        True
        >>> Wording("valid for 24 months " * 20).is_like(Wording("valid for 24 months " * 19 + "valid for 36 months"))
        False
        """
        if self._text == other._text or (self._words and self._words == other._words):
            return True
        common = len(self._shingles & other._shingles)
        if common < _ALIKE * (len(self._shingles) + len(other._shingles) - common) or not common:
            return False
        counts, others = Counter(self._words), Counter(other._words)
        differing = (counts - others) + (others - counts)
        return not any(word in _NEGATIONS or any(map(str.isdigit, word)) for word in differing)

    @cached_property
    def _words(self) -> list[str]:
        return _WORDS.findall(self._text)

    @cached_property
    def _shingles(self) -> frozenset[tuple[str, ...]]:
        words = self._words
        return frozenset(tuple(words[at : at + _SHINGLE]) for at in range(len(words) - _SHINGLE + 1))


def diversified(
    order: Sequence[Key], scores: Mapping[Key, float], vectors: Sequence[FloatArray], *, diversity: float
) -> list[Key]:
    """Return an ``order``, best first, in which what is close to an earlier one comes later.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): next comes what has the largest
    ``(1 - diversity) * score - diversity * cosine`` to the closest of those before it. ``vectors`` are theirs, in that
    order; of different models, which have different lengths, no two are close, nor is one of zeros to any.

    >>> vectors = [np.array([1, 0]), np.array([1, 0]), np.array([0, 1])]
    >>> diversified("abc", {"a": 1.0, "b": 0.9, "c": 0.5}, vectors, diversity=0.5)
    ['a', 'c', 'b']
    """
    if not 0 <= diversity < 1:
        raise ValueError(f"diversity must be in [0, 1), got {diversity}")
    values = np.array([scores[key] for key in order], np.float64)
    closest = np.zeros(len(order))
    left = np.ones(len(order), np.bool_)
    found: list[Key] = []
    while left.any():
        worth = np.where(left, (1 - diversity) * values - diversity * closest, -np.inf)
        best = int(np.argmax(worth))
        found.append(order[best])
        left[best] = False
        for place in map(int, np.flatnonzero(left)):
            if vectors[place].shape == vectors[best].shape:
                closest[place] = max(closest[place], float(vectors[place] @ vectors[best]))
    return found
