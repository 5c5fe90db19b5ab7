"""The parts of a question that an answer leaves open: the line by which a generator names them, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answering.alignment import STOP_WORDS, features
from rag.types import Source

__all__ = ["MISSING", "OpenParts", "parts_without_words"]

MISSING = "MISSING:"
"""Begins the line, the last of an answer, that names what the sources leave open; parts are divided by semicolons."""

_MARK = "MISSING"
_LINE = re.compile(r"[ \t]*[*_>#-]*[ \t]*MISSING[*_]*[:：][*_]*(?P<parts>[^\n]*)")
_DRESSING = " \t*_>#-"
_ASKS_EN = r"(?:who|whom|whose|what|when|where|which|why|how)"
_NEXT_PART = re.compile(
    rf"[?？;；]\s*(?:and|以及|并且|还有)?|,?\s+(?:and|or)\s+(?={_ASKS_EN}\b)|[,，]\s*(?=以及|还有|并且|{_ASKS_EN}\b)|(?:以及|还有|并且)",
    re.IGNORECASE,
)
_ASKING = features(
    "who whom whose what when where which why how many much long far old tall high big often please tell name list "
    "什么 什么时候 哪里 哪个 哪些 谁是 多少 为什么 怎么 如何 多久 几个"
)


class OpenParts:
    """Takes a text as it grows and gives it back without its MISSING lines, whose parts are kept in ``parts``."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._line = ""  # held: it may become such a line
        self._gap = ""  # line breaks that are shown with the next text
        self._is_begun = False  # some of the current line was shown

    def feed(self, delta: str) -> str:
        """Return what is surely no part of such a line, nor the line breaks before one."""
        shown = ""
        *lines, rest = (self._line + delta).split("\n")
        for line in lines:
            if not self._is_begun and self._takes(line):
                continue
            shown += self._with_gap(line)
            self._gap += "\n"
            self._is_begun = False
        self._line = ""
        if not self._is_begun and (_LINE.match(rest) or _may_begin(rest)):
            self._line = rest
        elif rest:
            shown += self._with_gap(rest)
            self._is_begun = True
        return shown

    def finish(self) -> str:
        """Return what was held back; line breaks before a MISSING line at the end are dropped with it."""
        line, self._line = self._line, ""
        if self._takes(line):
            return ""
        gap = "" if self.parts and not line else self._gap
        return gap + line

    def _takes(self, line: str) -> bool:
        found = _LINE.match(line)
        if found is None:
            return False
        parts = (part.strip(" \t*_.。") for part in re.split("[;；]", found["parts"]))
        self.parts += [part for part in parts if part]
        return True

    def _with_gap(self, text: str) -> str:
        if not text:
            return ""
        gap, self._gap = self._gap, ""
        return gap + text


def _may_begin(line: str) -> bool:
    """Tell whether a line that is not at its end may still become a MISSING line."""
    body = line.lstrip(_DRESSING)
    return len(body) <= len(_MARK) + 2 and _MARK.startswith(body.rstrip("*_")) and bool(line)


def parts_without_words(question: str, sources: Sequence[Source]) -> list[str]:
    """Return the parts of a question of several parts of which no word stands in the sources.

    >>> source = Source(1, "d", "", 0, 19, "The pump is red.", None, (), 1.0, ("c",))
    >>> parts_without_words("What colour is the pump, and who designed the lighthouse?", [source])
    ['who designed the lighthouse']
    """
    parts = [part.strip(" ,，。.") for part in _NEXT_PART.split(question)]
    asked = [(part, features(part) - STOP_WORDS - _ASKING) for part in parts]
    asked = [(part, words) for part, words in asked if words]
    if len(asked) < 2:
        return []
    held = frozenset(
        word
        for source in sources
        for word in features("\n".join((source.title, *source.headings, source.context, source.text)))
    )
    return [part for part, words in asked if not words & held]
