"""The markers by which an answer names its sources: ``[1]``, ``[1][2]``, ``[1, 3]``, ``[1-3]``, ``【1】``, ``(doc 2)``.

Models write what they have seen elsewhere, so the grammar is wider than what the prompt asks for. Numbers are read and
never repaired: whether a number names a source is for the caller to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["MARKER_OPENERS", "MAX_MARKER_CHARS", "Marker", "find_markers", "marker_end"]

MARKER_OPENERS = "[［【(（〔"
MAX_MARKER_CHARS = 120
"""No marker is longer: a bracket still open after that many characters is ordinary text."""

_MAX_RANGE = 50  # "[1-400]" is no list of sources: only its ends are reported

_GAP = r"[^\S\n]{0,3}"  # bounded: a marker is short, and a run of spaces must not cost quadratic time
_WORD = r"(?:sources?|refs?\.?|references?|docs?|documents?|citations?|passages?|来源|资料|文献|出处|参考|引用|文档)"
_NUMBER = r"[0-9０-９]{1,4}"
_ITEM = rf"(?:{_WORD}{_GAP}(?:[:：#]{_GAP})?)?[\^#]?{_NUMBER}"
_DASH = rf"{_GAP}(?:[-‐‑–—~～至]|to){_GAP}"
_COMMA = rf"{_GAP}(?:[,，、;；&和及与]|and){_GAP}"
_LIST = rf"{_ITEM}(?:(?:{_DASH}|{_COMMA}){_ITEM}){{0,30}}"
# "[1, p. 3]", "[1：第3页]", "【1†source】": where in the source; read over, for the quote says it better
_PAGE = rf"(?:pp?\.|pages?|第){_GAP}[0-9０-９]{{1,5}}(?:[-–][0-9]{{1,5}})?{_GAP}页?"
_LOCATOR = rf"(?:{_GAP}[,，:：]{_GAP}{_PAGE}|†[^】\]\n]{{0,40}})?"

_MARKER = re.compile(
    rf"(?:[\[［【〔]{_GAP}(?P<list>{_LIST}){_LOCATOR}{_GAP}[\]］】〕]"
    rf"|[(（]{_GAP}(?P<worded>{_WORD}{_GAP}(?:[:：#]{_GAP})?{_LIST}){_LOCATOR}{_GAP}[)）])",
    re.IGNORECASE,
)
# Round brackets need a word, for "(2)" is everyday text.

_PIECE = re.compile(rf"(?P<first>{_NUMBER})(?:{_DASH}[\^#]?(?P<last>{_NUMBER}))?")
_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)
_INLINE_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)[^`\n]+(?<!`)\1(?!`)")
_ASSIGNED = re.compile(r"\s*(?:[-+*/|&]?=(?!=)|\.[A-Za-z_]|\[[^\]\d])")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class Marker:
    """The numbers one bracket names, in the order written, without repeats, and the bracket's span in the text."""

    numbers: tuple[int, ...]
    start: int
    end: int


def find_markers(text: str, start: int = 0, end: int | None = None) -> list[Marker]:
    """Return the markers in ``text[start:end]``, leaving out those in code.

    Code is what stands in backticks within the span, in a fence opened before or in it, or reads ``name[1] = ...``.

    >>> [marker.numbers for marker in find_markers("Blue [1][3-5], not `a[2]`.")]
    [(1,), (3, 4, 5)]
    """
    end = len(text) if end is None else end
    code = [match.span() for match in _INLINE_CODE.finditer(text, start, end)]
    found = []
    for match in _MARKER.finditer(text, start, end):
        if match.end() - match.start() > MAX_MARKER_CHARS or _is_index(text, match, end):
            continue
        if any(low <= match.start() < high for low, high in code) or _in_fence(text, match.start()):
            continue
        found.append(Marker(_numbers(match["list"] or match["worded"]), *match.span()))
    return found


def marker_end(text: str, place: int, end: int) -> int | None:
    """Return where the marker that begins at ``place`` ends; None where none does."""
    match = _MARKER.match(text, place, min(end, place + MAX_MARKER_CHARS))
    return None if match is None else match.end()


def _in_fence(text: str, offset: int) -> bool:
    """Tell whether a code fence is open at ``offset``."""
    if "```" not in text and "~~~" not in text:
        return False
    return sum(1 for _ in _FENCE.finditer(text, 0, offset)) % 2 == 1


def _is_index(text: str, match: re.Match[str], end: int) -> bool:
    """Tell whether the bracket indexes a name: an identifier right before it and an operator or member after it."""
    before = _IDENTIFIER.search(text, max(0, match.start() - 40), match.start())
    return before is not None and _ASSIGNED.match(text, match.end(), min(end, match.end() + 8)) is not None


def _numbers(listed: str) -> tuple[int, ...]:
    numbers: dict[int, None] = {}
    for piece in _PIECE.finditer(listed):
        first = int(piece["first"])
        last = first if piece["last"] is None else int(piece["last"])
        if first <= last < first + _MAX_RANGE:
            numbers.update(dict.fromkeys(range(first, last + 1)))
        else:
            numbers.update({first: None, last: None})
    return tuple(numbers)
