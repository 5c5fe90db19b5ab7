"""What an extractive answer may quote: the sentences of the sources, each with the words around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.answering.markers import find_markers
from rag.answering.sentences import sentence_spans
from rag.contracts import ABSTENTION
from rag.types import Source

__all__ = ["Candidate", "candidates"]

MAX_CHARS = 600
"""A longer sentence (a table, a list without full stops) is offered line by line; a longer line is not offered."""

_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_LINE = re.compile(r"[^\n]+")
_HEADING = re.compile(r"#{1,6}\s|[=\-*_~|:\s]+$")
_END = re.compile(r"[.!?。！？…:：;；][\"'”’»)\]）】」』*_`]*$")
_CODE = re.compile(r"[{}()<>=;|\\]")
_MAX_CODE_SHARE = 0.08  # of the characters; of the sentences of XQuAD 0.1 % (English) and 0.4 % (Chinese) have more
_WORDS = re.compile(r"[^\W_]")
_MIN_LETTERS = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sentence of a source.

    ``pieces`` is its text with white space collapsed, cut where the source itself has something that reads as a
    marker. ``around`` is what helps to understand it: title, headings, the header of the table that the source begins
    in, and the sentences before and after.
    ``is_prose`` is False for headings, table rows and code.
    """

    source: int
    place: int
    pieces: tuple[str, ...]
    around: str
    is_prose: bool

    @property
    def text(self) -> str:
        return " ".join(self.pieces)


def candidates(sources: Sequence[Source]) -> list[Candidate]:
    """Return all that can be quoted, in order; ``source`` counts the sources from 0, ``place`` their sentences."""
    return [candidate for number, source in enumerate(sources) for candidate in _of_source(number, source)]


def _of_source(number: int, source: Source) -> Iterator[Candidate]:
    spans = list(_spans(source.text))
    texts = [" ".join(source.text[start:end].split()) for start, end in spans]
    heading = " ".join((source.title, *source.headings, source.context))
    for place, (start, end) in enumerate(spans):
        pieces = _pieces(source.text, start, end)
        if pieces and _is_quotable(texts[place]):
            neighbours = texts[max(place - 1, 0) : place] + texts[place + 1 : place + 2]
            around = " \n".join((heading, *neighbours))
            yield Candidate(number, place, pieces, around, _is_prose(texts[place]))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield sentences of prose, and of what stands between code fences the lines."""
    edges = [0, *(edge for fence in _FENCE.finditer(text) for edge in fence.span()), len(text)]
    for order, (low, high) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        if order % 2:  # inside a fence
            yield from (line.span() for line in _LINE.finditer(text, low, high))
            continue
        for start, end in sentence_spans(text[low:high]):
            if end - start > MAX_CHARS:
                yield from (line.span() for line in _LINE.finditer(text, low + start, low + end))
            else:
                yield low + start, low + end


def _pieces(text: str, start: int, end: int) -> tuple[str, ...]:
    """Cut at what would be taken for markers of ours, and leave it out."""
    markers = find_markers(text[start:end])  # of the slice: a fence opened before it is not in the answer
    edges = [start, *(start + edge for marker in markers for edge in (marker.start, marker.end)), end]
    pieces = (" ".join(text[low:high].split()) for low, high in zip(edges[::2], edges[1::2], strict=True))
    return tuple(piece for piece in pieces if _WORDS.search(piece))


def _is_quotable(text: str) -> bool:
    if len(text) > MAX_CHARS or ABSTENTION in text or _HEADING.match(text):
        return False
    return len(_WORDS.findall(text)) >= _MIN_LETTERS


def _is_prose(text: str) -> bool:
    return bool(_END.search(text)) and len(_CODE.findall(text)) <= _MAX_CODE_SHARE * len(text)
