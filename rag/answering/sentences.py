"""Sentences as exact spans of a text, in English and Chinese.

Rules, not a model: fast, the same everywhere, and able to say of a growing text which ends can no longer move
(``settled_spans``), which a streamed answer needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rag.answering.markers import MARKER_OPENERS, MAX_MARKER_CHARS, marker_end

__all__ = ["sentence_spans", "settled_spans"]

_TERMINATOR = re.compile(r"[。！？｡]|[.!?…]")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_CJK_OR_MARK = re.compile(rf"[{_CJK}\u3000-\u303f\uff00-\uff65“‘]")
_FULL = "。！？｡"
_TAIL = "。！？｡.!?…\"'”’»)]）】」』》〉*_"
_NO_START = ",;:)]}，；：、）】」』》〉–—/"
_WORD_BEFORE = re.compile(r"[A-Za-z0-9.&]+$")
_WORD_AFTER = re.compile(r"[\"'“‘(\[]*([A-Za-z]+)")
_LINE_START = re.compile(r"(?:^|\n)[ \t]*(?:[-*•][ \t]+)?[(（]?$")
_ITEM_NUMBER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*|[A-Za-z]|[ivx]{1,5})")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Never the end of a sentence: a name, a number or an explanation follows.
_OPEN = _words(
    "mr mrs ms mx dr prof messrs gen col maj sgt lt capt cmdr adm rev hon pres gov sen rep st mt ft "
    "vs cf viz ca approx incl e.g eg i.e ie resp"
)
# Not the end where a number follows: "No. 5", but "He said no. Then".
_NUMBERED = _words(
    "no nos art arts fig figs eq eqs eqn sec secs sect ch chap vol vols p pp par para tab app ref refs ed eds ver "
    "jan feb mar apr jun jul aug sep sept oct nov dec"
)
# The end only where the next word opens sentences: "Apple Inc. The", but "Apple Inc. Chairman".
_EITHER = _words("inc ltd co corp llc plc jr sr al dept univ assn bros est ave blvd rd u.s u.k u.n d.c ph.d")
_STARTERS = _words(
    "a an the this that these those it its he she they we you i in on at by for from with when while where if as "
    "but and so or yet however therefore thus hence moreover furthermore additionally also although because since "
    "after before during there here his her their our my no not all some many most each every both such what who "
    "how why which then once one two first second third finally"
)

_BLANK_LINE = re.compile(r"\n[ \t\r\f\v]*(?=\n)|\f")
_ITEM_LINE = re.compile(
    r"[ \t]*(?:[-*+•‣◦▪–—][ \t]+|#{1,6}[ \t]|\||>|[(（]?(?:\d{1,3}|[A-Za-z])[.)）、](?:[ \t]|(?=[㐀-鿿])))"
)
_WIDE = re.compile(f"[{_CJK}]")
_SHORT_LINE = 0.6  # a line below this share of its block's widest was not broken by the margin


def sentence_spans(text: str, *, start: int = 0, wrapped: bool = True) -> list[tuple[int, int]]:
    """Return the ``[start, end)`` spans of the sentences, in order, without white space at their edges.

    Every character that is not white space lies in exactly one span. With ``wrapped`` a single line break may be only
    the margin of a page (PDF): it ends a sentence where the next line is a list item, heading or table row, or
    where the line before was clearly too short to be full. Without, every line break does, as in what models write.
    Citation markers after a full stop belong to the sentence before them. No text gives no spans. Reading begins at
    ``start``.

    >>> sentence_spans("Dr. Li paid 3.5 yuan. 很贵。[1] Why?")
    [(0, 21), (22, 28), (29, 33)]
    """
    spans: list[tuple[int, int]] = []
    for low, high in _blocks(text, start) if wrapped else [(start, len(text))]:
        spans += _trimmed(text, _ends(text, low, high, lines=not wrapped, final=True), low)
    return spans


def settled_spans(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Return the sentences from ``start`` on whose ends no further text can move, and where the next one begins.

    ``start`` is 0 or what the last call returned. Together with ``sentence_spans(..., wrapped=False)`` of the finished
    text: the settled spans are always its first ones.
    """
    ends = list(_ends(text, start, len(text), lines=True, final=False))
    return _trimmed(text, iter(ends), start), ends[-1] if ends else start


def _trimmed(text: str, ends: Iterator[int], start: int) -> list[tuple[int, int]]:
    spans = []
    for end in ends:
        piece = text[start:end]
        if body := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            spans.append((first, first + len(body)))
        start = end
    return spans


def _ends(text: str, start: int, end: int, *, lines: bool, final: bool) -> Iterator[int]:
    """Yield the sentence ends in ``text[start:end]``; where ``final`` is False, stop at the first one still open."""
    place = start
    pattern = re.compile(_TERMINATOR.pattern + r"|\n") if lines else _TERMINATOR
    while match := pattern.search(text, place, end):
        if match[0] == "\n":
            after = _marker_line(text, match.end(), end, final=final)
            decision: bool | None = None if after is None else True
        else:
            after = _tail(text, match.end(), end, final=final)
            decision = None if after is None else _is_end(text, match.start(), after, end, lines=lines, final=final)
        if decision is None or after is None:
            return
        if decision:
            yield after
        place = after
    if final and start < end:
        yield end


def _tail(text: str, place: int, end: int, *, final: bool) -> int | None:
    """Return where closing marks and citation markers after a terminator stop; None where more text is needed."""
    while True:
        while place < end and text[place] in _TAIL:
            place += 1
        after = place
        while after < end and text[after] in " \t\u00a0":
            after += 1
        if after == end:
            return place if final else None
        if text[after] not in MARKER_OPENERS:
            return place
        closed = marker_end(text, after, end)
        if closed is None:
            return None if not final and _may_be_marker(text, after, end) else place
        place = closed


def _may_be_marker(text: str, place: int, end: int) -> bool:
    rest = text[place : min(end, place + MAX_MARKER_CHARS)]
    return end - place < MAX_MARKER_CHARS and not any(mark in rest for mark in "]］】〕)）\n")


def _marker_line(text: str, place: int, end: int, *, final: bool) -> int | None:
    """Return the end of a line of nothing but markers that follows a line break, else ``place``."""
    after = place
    while True:
        while after < end and text[after].isspace():
            after += 1
        if after == end:
            return place if final else None
        if text[after] not in MARKER_OPENERS:
            return place
        stop = after
        while (closed := marker_end(text, stop, end)) is not None:
            stop = closed
            while stop < end and text[stop] in " \t":
                stop += 1
        if stop == end:
            return end if final else None
        if text[stop] == "\n":
            return stop
        return None if not final and text[stop] in MARKER_OPENERS and _may_be_marker(text, stop, end) else place


def _is_end(text: str, stop: int, after: int, end: int, *, lines: bool, final: bool) -> bool | None:
    """Decide whether the terminator at ``stop``, whose tail runs to ``after``, ends a sentence; None: not yet known."""
    following = after
    while following < end and text[following].isspace():
        if lines and text[following] == "\n":
            return False  # subtle: the line break itself will end it, after a line of markers, if one follows
        following += 1
    if following == end:
        return True if final else None
    if text[stop] in _FULL:
        return text[following] not in _NO_START
    if following == after and not _CJK_OR_MARK.match(text[after]) and text[after - 1] not in "]］】〕":
        return False
    if text[following].islower() or text[following] in _NO_START:
        return False
    if text[stop] == "…" and following == after:
        return False
    if text[stop] != ".":
        return True
    return _full_stop(text, stop, following, end, final=final)


def _full_stop(text: str, stop: int, following: int, end: int, *, final: bool) -> bool | None:
    """Tell a full stop from the dot of an abbreviation, an initial or a list number, by the words around it."""
    before = _WORD_BEFORE.search(text, max(0, stop - 24), stop)
    if before is None:
        return True
    word = before[0].lower().lstrip(".")
    if _ITEM_NUMBER.fullmatch(before[0]) and _LINE_START.search(text, max(0, before.start() - 24), before.start()):
        return False
    if word in _OPEN:
        return False
    if word in _NUMBERED:
        return not text[following].isdigit()
    initial = len(word) == 1 and before[0].isupper()
    if not (initial or word in _EITHER or re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", before[0]) is not None):
        return True
    if word in ("a.m", "p.m"):
        return True
    opener = _WORD_AFTER.match(text, following, end)
    if opener is None:
        return True
    if opener.end() == end and not final:
        return None
    return opener[1].lower() in _STARTERS and len(opener[1]) + initial > 1


def _blocks(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the spans within which a line break is only a margin."""
    for paragraph in [*(match.end() for match in _BLANK_LINE.finditer(text, start)), len(text)]:
        yield from _paragraph_blocks(text, start, paragraph)
        start = paragraph


def _paragraph_blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    lines = text[start:end].splitlines(keepends=True)
    width = max((_width(line) for line in lines), default=0)
    block = place = start
    before = ""
    for line in lines:
        if before.strip() and line.strip() and _breaks(before, line, width):
            yield block, place
            block = place
        place += len(line)
        before = line
    if block < end:
        yield block, end


def _breaks(before: str, line: str, width: int) -> bool:
    """Tell whether the break between two lines of a paragraph is meant."""
    if _ITEM_LINE.match(line) or before.lstrip().startswith(("#", "|")) or (" | " in before and " | " in line):
        return True
    return _width(before) < _SHORT_LINE * width and not line.lstrip()[0].islower()


def _width(line: str) -> int:
    """Return about how wide a line is printed, a CJK character counting two."""
    stripped = line.strip()
    return len(stripped) + len(_WIDE.findall(stripped))
