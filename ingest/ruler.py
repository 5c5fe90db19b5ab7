"""The number of tokens of any slice of a text, from one tokenization of the whole.

A slice can have more tokens than the whole has there: its first and last word were cut. But between the first and the
last seam inside it (see ``rag.seams``) its tokens are those of the whole, so only the ends are tokenized again: a word
or two, a microsecond each.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from rag.contracts import Tokenizer
from rag.seams import late_seam, next_seam

__all__ = ["Origin", "TokenRuler"]

_NEAR = 256
"""Characters in which a seam is looked for first; any text has one every ten or so."""


class Origin(NamedTuple):
    """Where a slice begins. ``base`` plus the place of a token after ``seam`` is its distance in tokens from ``start``.

    ``seam`` is the first one at or after ``start``, or None where the text has none within reach. ``before`` is text
    from elsewhere that is read in front of the slice; its tokens count.
    """

    start: int
    seam: int | None
    base: int
    before: str = ""


class TokenRuler:
    """Measures one text. ``reach`` and ``back`` are estimates, off by a token or two; ``count`` is exact."""

    __slots__ = ("_counts", "_n_tokens", "_starts", "_text", "_tokenizer")

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        starts = tokenizer.starts(text)
        self._text = text
        self._tokenizer = tokenizer
        self._n_tokens = len(starts) - 1
        self._counts: dict[str, int] = {}  # of the cut words: most slices begin and end alike
        self._starts = memoryview(starts.data)  # gives plain ints, three times as fast as the array does

    def origin(self, start: int, *, within: int, before: str = "") -> Origin:
        """Return the origin of slices that begin at ``start`` and have at most about ``within`` tokens."""
        # subtle: behind other text the start need not be a seam, even if it is one here.
        first = start + 1 if before else start
        near = min(start + _NEAR, len(self._text))
        seam = next_seam(self._text, first, near)
        if seam == near:
            far = self._starts[min(bisect_left(self._starts, start) + within, self._n_tokens)]
            seam = next_seam(self._text, first, far)
            if seam >= far:
                n_before = self._tokenizer.count(before) if before else 0
                return Origin(start, None, n_before - bisect_left(self._starts, start), before)
        head = 0 if seam == start else self._count(before + self._text[start:seam])
        return Origin(start, seam, head - bisect_left(self._starts, seam), before)

    def count(self, origin: Origin, end: int) -> int:
        """Return the tokens of the slice [origin.start, end), with what is read before it."""
        if origin.seam is not None and origin.seam <= end:
            seam = late_seam(self._text, origin.seam, end)
            tail = 0 if seam == end else self._count(self._text[seam:end])
            return origin.base + bisect_left(self._starts, seam) + tail
        return self._tokenizer.count(origin.before + self._text[origin.start : end])

    def remaining(self, origin: Origin) -> int:
        """Return about how many tokens there are from the origin to the end of the text."""
        return origin.base + self._n_tokens

    def reach(self, origin: Origin, n_tokens: int) -> int:
        """Return about how far a slice of ``n_tokens`` tokens goes."""
        return self._starts[min(max(n_tokens - origin.base, 0), self._n_tokens)]

    def back(self, end: int, n_tokens: int) -> int:
        """Return about where a slice of ``n_tokens`` tokens begins that goes to ``end``."""
        return self._starts[max(bisect_left(self._starts, end) - n_tokens, 0)]

    def between(self, start: int, end: int) -> int:
        """Return about how many tokens the slice [start, end) has."""
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def _count(self, word: str) -> int:
        n_tokens = self._counts.get(word)
        if n_tokens is None:
            n_tokens = self._counts[word] = self._tokenizer.count(word)
        return n_tokens
