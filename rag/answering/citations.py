"""From the markers of an answer to citations: the words of each source that support each statement.

A statement is a sentence of the answer. There is one citation per statement and source it names. The quote is cut from
the source's stored text: the sentence or two that share most with the statement, above all with its clause before the
marker. Where a statement shares nothing of weight with its source (an answer in another language, or a marker that is
wrong), no words are picked by guess: the citation then points at the whole source. One that shares words with nothing
but the header of the table that its source begins in points at that header. Numbers that name no source are reported,
neither dropped nor repaired.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answering.alignment import SourceWords
from rag.answering.markers import Marker, find_markers
from rag.answering.sentences import sentence_spans, settled_spans
from rag.contracts import DocumentStore
from rag.errors import DocumentNotFoundError
from rag.types import Citation, Source

__all__ = ["CitationStream", "Cited", "cite"]


@dataclass(frozen=True, slots=True)
class Cited:
    """The citations of a text, in its order, and the numbers in it that name no source, in order of first mention."""

    citations: tuple[Citation, ...]
    unknown_markers: tuple[int, ...]


def cite(text: str, sources: Sequence[Source], *, documents: DocumentStore) -> Cited:
    """Return the citations of a finished answer."""
    citer = _Citer(sources, documents)
    citations = [citation for span in sentence_spans(text, wrapped=False) for citation in citer.cite(text, *span)]
    return Cited(tuple(citations), citer.unknown_markers)


class CitationStream:
    """The citations of an answer that is still being written; in the end the same as those of ``cite``."""

    def __init__(self, sources: Sequence[Source], *, documents: DocumentStore) -> None:
        self._citer = _Citer(sources, documents)
        self._text = ""
        self._settled = 0

    @property
    def text(self) -> str:
        """The text fed so far."""
        return self._text

    @property
    def unknown_markers(self) -> tuple[int, ...]:
        return self._citer.unknown_markers

    def feed(self, delta: str) -> list[Citation]:
        """Take the next piece of text; return the citations of the statements that are now complete."""
        self._text += delta
        spans, self._settled = settled_spans(self._text, self._settled)
        return self._cite(spans)

    def finish(self) -> list[Citation]:
        """Return the citations of the last statement, which only the end of the text completes."""
        rest, self._settled = self._settled, len(self._text)
        return self._cite(sentence_spans(self._text, start=rest, wrapped=False))

    def _cite(self, spans: Sequence[tuple[int, int]]) -> list[Citation]:
        return [citation for span in spans for citation in self._citer.cite(self._text, *span)]


class _Citer:
    """Cites statement after statement; reads each source once."""

    def __init__(self, sources: Sequence[Source], documents: DocumentStore) -> None:
        self._sources = {source.marker: source for source in sources}
        self._documents = documents
        self._words: dict[int, SourceWords] = {}
        self._unknown: dict[int, None] = {}

    @property
    def unknown_markers(self) -> tuple[int, ...]:
        return tuple(self._unknown)

    def cite(self, text: str, start: int, end: int) -> list[Citation]:
        """Return one citation for each source that the statement ``text[start:end]`` names."""
        markers = find_markers(text, start, end)
        if not markers:
            return []
        sentence = _without(text, start, end, markers)
        citations = []
        for number, clause in _clauses(text, start, markers).items():
            source = self._sources.get(number)
            if source is None:
                self._unknown[number] = None
            else:
                citations.append(self._citation(source, clause, sentence, start, end))
        return citations

    def _citation(self, source: Source, clause: str, sentence: str, start: int, end: int) -> Citation:
        text, first = source.text, source.start
        if source.marker not in self._words:
            self._words[source.marker] = SourceWords(text)
        span = self._words[source.marker].support(clause, sentence)
        if span is None and source.context and (span := SourceWords(source.context).support(clause, sentence)):
            text, first = source.context, source.context_start
        low, high = span or (0, len(text))
        page, place = self._place(source, first + low)
        return Citation(
            marker=source.marker,
            document=source.document_id,
            page=page,
            place=place,
            start=first + low,
            end=first + high,
            quote=text[low:high],
            answer_start=start,
            answer_end=end,
            chunk_id=_chunk_at(source, first + low),
        )

    def _place(self, source: Source, offset: int) -> tuple[int | None, str]:
        """Return the page and the words for a place."""
        try:
            page = self._documents.page_at(source.document_id, offset)
            return page, self._documents.place_at(source.document_id, offset)
        except DocumentNotFoundError:  # removed meanwhile: the quote stands, its page is gone
            return None, ""


def _clauses(text: str, start: int, markers: Sequence[Marker]) -> dict[int, str]:
    """Return for each number the words it stands behind: from the marker before it, or the start, to its own.

    Markers in a row ("[1][2]") stand behind the same words; a number that comes twice stands behind both its clauses.
    """
    clauses: dict[int, str] = {}
    clause, last = "", start
    for marker in markers:
        between = text[last : marker.start]
        if between.strip(" \t\n,，、;；和及与") not in ("", "and"):
            clause = between
        for number in marker.numbers:
            known = clauses.get(number, "")
            clauses[number] = clause if clause in known or not known else f"{known} {clause}"
        last = marker.end
    return clauses


def _without(text: str, start: int, end: int, markers: Sequence[Marker]) -> str:
    edges = [start, *(edge for marker in markers for edge in (marker.start, marker.end)), end]
    return " ".join(text[low:high] for low, high in zip(edges[::2], edges[1::2], strict=True))


def _chunk_at(source: Source, offset: int) -> str:
    """Return the id of the last hit that begins at or before ``offset``; that of the first for what lies before it."""
    return source.chunk_ids[max(bisect.bisect_right(source.chunk_starts, offset) - 1, 0)]
