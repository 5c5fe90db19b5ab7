"""Finds the words of a source that support a statement: one or two neighbouring sentences that share most with it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from rag.answering.sentences import sentence_spans

__all__ = ["CJK", "STOP_WORDS", "SourceWords", "features"]

MAX_UNIT_CHARS = 400
"""A longer sentence (a table, a list without full stops) is offered in pieces of at most about this size."""

_MIN_GAIN = 0.15  # a second sentence joins the quote only if it adds this share of the statement's weight
_CONTEXT_WEIGHT = 0.25  # of words elsewhere in the sentence, beside those of the clause that carries the marker
CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTER = rf"[^\W\d_{CJK}]"
_WORD = re.compile(rf"(?P<number>[0-9]+(?:[.,:/][0-9]+)*)|(?P<word>{_LETTER}+(?:['’]{_LETTER}+)?)|(?P<cjk>[{CJK}]+)")
_BREAK = re.compile(r"\n|(?<=[;；，,|])\s?")
_NUMBER_WEIGHT = 2.0
_STOP_WEIGHT = 0.1
_STOP_LIST = (
    "a an the and or but if of in on at to for from by with as is are was were be been being it its this that these "
    "those there he she they them his her their we our you your i not no do does did has have had will would can "
    "could may might must shall should which who whom what when where how than then so such also into about over "
    "的 了 是 在 和 与 及 或 也 都 就 而 但 为 于 中 之 其 这 那 有 个 一个 可以 以及 因此 所以 但是 这个 以下"
)
STOP_WORDS = frozenset(_STOP_LIST.split())


def features(text: str) -> frozenset[str]:
    """Return what two texts are compared by: words without their endings, numbers, and pairs of CJK characters.

    >>> sorted(features("1,200 Dogs, 红色的"))
    ['1200', 'dog', '红色', '色的']
    """
    found: set[str] = set()
    for match in _WORD.finditer(text):
        if match["number"]:
            found.add(match["number"].replace(",", ""))
        elif match["word"]:
            found.add(_stem(match["word"].casefold()))
        else:
            run = match["cjk"]
            found.update(first + second for first, second in pairwise(run))
            if len(run) == 1:
                found.add(run)
    return frozenset(found)


def _stem(word: str) -> str:
    """Return a word without a common English ending: crude, and the same on both sides of a comparison."""
    word = word.replace("’", "'").removesuffix("'s")
    if word in STOP_WORDS:
        return word
    for ending in ("ies", "ing", "ed", "es", "s", "ly", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word.removesuffix(ending)
    return word


class SourceWords:
    """The sentences of one source, read once and compared with many statements.

    A shared word weighs more the fewer of the source's sentences hold it, a number double, a function word little.
    """

    def __init__(self, text: str) -> None:
        self._units = [piece for span in sentence_spans(text) for piece in _pieces(text, *span)]
        self._features = [features(text[start:end]) for start, end in self._units]
        self._counts = Counter(feature for unit in self._features for feature in unit)

    def support(self, clause: str, sentence: str) -> tuple[int, int] | None:
        """Return the span of the source's text that shares most with a statement; None if nothing of weight.

        ``clause`` is the part of ``sentence`` that carries the marker. Of equal spans the shorter and earlier wins.
        """
        wanted = self._wanted(clause, sentence)
        total = sum(wanted.values())
        scores = [sum(wanted.get(feature, 0.0) for feature in unit) for unit in self._features]
        if not scores or total == 0:
            return None
        best = max(range(len(scores)), key=lambda place: (scores[place], -len(self._features[place]), -place))
        if not any(feature in wanted and _kind_weight(feature) >= 1 for feature in self._features[best]):
            return None
        return self._widened(best, scores[best], wanted, total)

    def _wanted(self, clause: str, sentence: str) -> Mapping[str, float]:
        near, far = features(clause), features(sentence)
        weights = {feature: _CONTEXT_WEIGHT * self._weight(feature) for feature in far - near}
        return weights | {feature: self._weight(feature) for feature in near}

    def _weight(self, feature: str) -> float:
        rarity = math.log(1 + (len(self._units) + 1) / (self._counts[feature] + 1))
        return rarity * _kind_weight(feature)

    def _widened(self, best: int, score: float, wanted: Mapping[str, float], total: float) -> tuple[int, int]:
        """Return the span of the best unit, with the neighbour that adds most if it adds enough."""
        gain, neighbour = 0.0, best
        for other in (best - 1, best + 1):
            if 0 <= other < len(self._units):
                both = self._features[best] | self._features[other]
                added = sum(wanted.get(feature, 0.0) for feature in both) - score
                if added > gain:
                    gain, neighbour = added, other
        first, last = sorted((best, neighbour if gain >= _MIN_GAIN * total else best))
        return self._units[first][0], self._units[last][1]


def _kind_weight(feature: str) -> float:
    if feature in STOP_WORDS:
        return _STOP_WEIGHT
    return _NUMBER_WEIGHT if feature[0].isdigit() else 1.0


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Cut an over-long sentence at its line breaks and clause marks; pieces cover it but for white space."""
    if end - start <= MAX_UNIT_CHARS:
        return [(start, end)]
    pieces: list[tuple[int, int]] = []
    first, last = start, start
    for stop in [*(match.end() for match in _BREAK.finditer(text, start, end)), end]:
        if last > first and stop - first > MAX_UNIT_CHARS:
            pieces.append((first, last))
            first = last
        last = stop
    pieces.append((first, last))
    trimmed = ((low, text[low:high]) for low, high in pieces)
    return [
        (low + len(piece) - len(piece.lstrip()), low + len(piece.rstrip())) for low, piece in trimmed if piece.strip()
    ]
