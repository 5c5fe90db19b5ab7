"""What an extractive answer may quote: the sentences of the sources, each with the words around it."""

from __future__ import annotations

import re
from bisect import bisect_left
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
_EDGES = re.compile(r"^\s*\||\|\s*$")  # around a row


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sentence of a source.

    ``pieces`` is its text with white space collapsed, cut where the source itself has something that reads as a
    marker. ``around`` is what helps to understand it: title, headings, and the sentences before and after.
    ``is_prose`` is False for headings, code, and rows of tables without a header. A row below one is ``read_as`` pairs
    of column and cell; its neighbours say nothing of it. What is quoted is the row.
    """

    source: int
    place: int
    pieces: tuple[str, ...]
    around: str
    is_prose: bool
    read_as: str = ""

    @property
    def text(self) -> str:
        return " ".join(self.pieces)

    @property
    def meant(self) -> str:
        """What is compared with the question."""
        return self.read_as or self.text


def candidates(sources: Sequence[Source]) -> list[Candidate]:
    """Return all that can be quoted, in order; ``source`` counts the sources from 0, ``place`` their sentences."""
    return [candidate for number, source in enumerate(sources) for candidate in _of_source(number, source)]


def _of_source(number: int, source: Source) -> Iterator[Candidate]:
    spans = list(_spans(source.text))
    texts = [" ".join(source.text[start:end].split()) for start, end in spans]
    records = _records(source, spans, texts)
    heading = " ".join((source.title, *source.headings))
    for place, (start, end) in enumerate(spans):
        pieces = _pieces(source.text, start, end)
        if not pieces or not _is_quotable(texts[place]):
            continue
        if records[place]:
            yield Candidate(number, place, pieces, heading, True, records[place])
            continue
        neighbours = texts[max(place - 1, 0) : place] + texts[place + 1 : place + 2]
        around = " \n".join((heading, source.context, *neighbours))
        yield Candidate(number, place, pieces, around, _is_prose(texts[place]))


def _records(source: Source, spans: Sequence[tuple[int, int]], texts: Sequence[str]) -> list[str]:
    """Return for each text what it says as a row below a header, "" for what is none.

    The header is what the source is read with, for the rows it begins with; elsewhere the first row of a run.
    """
    fences = [fence.start() for fence in _FENCE.finditer(source.text)]
    header, records = source.context.split("\n")[-1], []
    for (start, _), text in zip(spans, texts, strict=True):
        is_row = "|" in text and bisect_left(fences, start) % 2 == 0
        records.append(_record(text, header) if is_row and header else "")
        header = (header or text) if is_row else ""
    return records


def _record(row: str, header: str) -> str:
    """Return a row's cells with the names of their columns, "" where they do not fit each other.

    >>> _record("| Ada | 36 |", "| name | age |")
    'name: Ada; age: 36'
    """
    names, cells = ([cell.strip() for cell in _EDGES.sub("", line).split("|")] for line in (header, row))
    if len(names) != len(cells):
        return ""
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=True) if cell)


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
