"""From the markers of an answer to citations: the words of each source that support each statement.

A statement is a sentence of the answer. There is one citation per statement and source it names. The quote is cut from
the source's stored text: the sentence or two that share most with the statement, above all with its clause before the
marker. Where a statement shares nothing of weight with its source (an answer in another language, or a marker that is
wrong), no words are picked by guess: the citation then points at the whole source. One that shares words with nothing
but the header of the table that its source begins in points at that header. Numbers that name no source are reported,
neither dropped nor repaired. Each citation and each statement carries a verdict (``verdicts``): whether the words cited
bear it out.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rag.answering.alignment import SourceWords, features
from rag.answering.markers import Marker, find_markers
from rag.answering.sentences import sentence_spans, settled_spans
from rag.answering.verdicts import Evidence, Judgement, judge
from rag.contracts import DocumentStore
from rag.errors import DocumentNotFoundError
from rag.types import Citation, Source, Statement

__all__ = ["CitationStream", "Cited", "Judged", "LeafCiter", "cite", "is_statement"]

_WORST = ("supported", "partly", "unsupported")
_LEAST_FEATURES = 3  # words, or pairs of CJK characters: "Yes." and "如下" state nothing to be checked
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cited:
    """The citations and statements of a text, in its order, and the numbers in it that name no source."""

    citations: tuple[Citation, ...]
    statements: tuple[Statement, ...]
    unknown_markers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A sentence at ``[start, end)`` of the text: its citations, what was found of it, its numbers without a source.

    ``statement`` is None where it states nothing that could be checked.
    """

    start: int
    end: int
    citations: tuple[Citation, ...]
    statement: Statement | None
    unknown_markers: tuple[int, ...] = ()


def cite(text: str, sources: Sequence[Source], *, documents: DocumentStore) -> Cited:
    """Return the citations of a finished answer."""
    citer = _Citer(sources, documents)
    sentences = [citer.judged(text, *span) for span in sentence_spans(text, wrapped=False)]
    return Cited(
        tuple(citation for sentence in sentences for citation in sentence.citations),
        tuple(sentence.statement for sentence in sentences if sentence.statement is not None),
        tuple(dict.fromkeys(number for sentence in sentences for number in sentence.unknown_markers)),
    )


class CitationStream:
    """The sentences of an answer that is still being written, judged; in the end the same as ``cite`` finds."""

    def __init__(self, sources: Sequence[Source], *, documents: DocumentStore) -> None:
        self._citer = _Citer(sources, documents)
        self._text = ""
        self._settled = 0

    @property
    def text(self) -> str:
        """The text fed so far."""
        return self._text

    def feed(self, delta: str) -> list[Judged]:
        """Take the next piece of text; return the sentences that are now complete."""
        self._text += delta
        spans, self._settled = settled_spans(self._text, self._settled)
        return [self._citer.judged(self._text, *span) for span in spans]

    def finish(self) -> list[Judged]:
        """Return the last sentence, which only the end of the text completes."""
        rest, self._settled = self._settled, len(self._text)
        return [self._citer.judged(self._text, *span) for span in sentence_spans(self._text, start=rest, wrapped=False)]


class LeafCiter:
    """Cites and judges single values, each with the numbers of the sources it is said to rest on."""

    def __init__(self, sources: Sequence[Source], *, documents: DocumentStore) -> None:
        self._citer = _Citer(sources, documents)

    def judged(self, value: str | int | float | bool, numbers: Sequence[int]) -> Judged:
        """Return what is found of a value. The spans in it are those of its own text.

        True and false stand in no text: what they rest on is cited, and their verdict is "partly" at best.
        """
        text = str(value)
        if not numbers:
            return Judged(0, len(text), (), Statement(0, len(text), (), "uncited", (), "it names no source"))
        marked = text + " " + "".join(f"[{number}]" for number in numbers)
        judged = self._citer.judged(marked, 0, len(marked))
        if not isinstance(value, bool) or judged.statement is None or not judged.statement.markers:
            return judged
        reason = "true or false cannot be compared with the words of a source"
        return replace(
            judged,
            citations=tuple(
                replace(citation, verdict="partly", missing=(), reason=reason) for citation in judged.citations
            ),
            statement=replace(judged.statement, verdict="partly", missing=(), reason=reason),
        )


@dataclass(frozen=True, slots=True)
class _Span:
    """The words that a citation points at, and where they stand in the document."""

    start: int
    end: int
    quote: str


class _Citer:
    """Cites statement after statement; reads each source once."""

    def __init__(self, sources: Sequence[Source], documents: DocumentStore) -> None:
        self._sources = {source.marker: source for source in sources}
        self._documents = documents
        self._words: dict[int, SourceWords] = {}
        self._evidence: dict[int, Evidence] = {}

    def judged(self, text: str, start: int, end: int) -> Judged:
        """Return the sentence ``text[start:end]`` with one citation for each source that it names."""
        markers = find_markers(text, start, end)
        if not markers:
            states = is_statement(text[start:end]) and not _in_code(text, start)
            said = Statement(start, end, (), "uncited", (), "it names no source") if states else None
            return Judged(start, end, (), said)
        sentence = _without(text, start, end, markers)
        clauses = _clauses(text, start, markers)
        found = {
            number: self._span(self._sources[number], clause, sentence)
            for number, clause in clauses.items()
            if number in self._sources
        }
        tail = text[markers[-1].end : end].strip(" \t\n.。!！?？")
        judged = self._judged(clauses, markers[-1].numbers, tail, found)
        return Judged(
            start,
            end,
            tuple(self._citation(self._sources[n], span, judged[n], start, end) for n, span in found.items()),
            _statement(start, end, clauses, judged),
            tuple(number for number in clauses if number not in found),
        )

    def _span(self, source: Source, clause: str, sentence: str) -> _Span:
        text, first = source.text, source.start
        if source.marker not in self._words:
            self._words[source.marker] = SourceWords(text)
        span = self._words[source.marker].support(clause, sentence)
        if span is None and source.context and (span := SourceWords(source.context).support(clause, sentence)):
            text, first = source.context, source.context_start
        low, high = span or (0, len(text))
        return _Span(first + low, first + high, text[low:high])

    def _judged(
        self, clauses: Mapping[int, str], last: Sequence[int], tail: str, found: Mapping[int, _Span]
    ) -> dict[int, Judgement]:
        """Return a judgement for each source named: of its clause, by its words and those of all beside it.

        Words after the last marker belong to its clause.
        """
        judged: dict[int, Judgement] = {}
        others = [self._cited(number) for number in self._sources if number not in found]
        for number in found:
            beside = [other for other in found if clauses[other] == clauses[number]]
            clause = f"{clauses[number]} {tail}" if tail and number in last else clauses[number]
            if beside[0] != number:
                judged[number] = judged[beside[0]]
                continue
            cited = [self._cited(other, found[other].quote) for other in beside]
            judged[number] = judge(clause.strip(), cited, others)
        return judged

    def _cited(self, number: int, quote: str = "") -> Evidence:
        """Return a source as evidence, read once, with the words cited from it."""
        if number not in self._evidence:
            source = self._sources[number]
            about = "\n".join((source.title, *source.headings, source.context))
            self._evidence[number] = Evidence("", source.text, about)
        whole = self._evidence[number]
        return Evidence(quote, whole.source, whole.about) if quote else whole

    def _citation(self, source: Source, span: _Span, judgement: Judgement, start: int, end: int) -> Citation:
        page, place = self._place(source, span.start)
        return Citation(
            marker=source.marker,
            document=source.document_id,
            page=page,
            place=place,
            start=span.start,
            end=span.end,
            quote=span.quote,
            answer_start=start,
            answer_end=end,
            chunk_id=_chunk_at(source, span.start),
            verdict=judgement.verdict,
            missing=judgement.missing,
            reason=judgement.reason,
        )

    def _place(self, source: Source, offset: int) -> tuple[int | None, str]:
        """Return the page and the words for a place."""
        try:
            page = self._documents.page_at(source.document_id, offset)
            return page, self._documents.place_at(source.document_id, offset)
        except DocumentNotFoundError:  # removed meanwhile: the quote stands, its page is gone
            return None, ""


def _statement(start: int, end: int, clauses: Mapping[int, str], judged: Mapping[int, Judgement]) -> Statement:
    """Return the statement with the worst verdict of its clauses; a number that names no source bears nothing out."""
    markers = tuple(judged)
    unknown = [number for number in clauses if number not in judged]
    if unknown and any(clauses[number] not in [clauses[known] for known in judged] for number in unknown):
        names = ", ".join(f"[{number}]" for number in unknown)
        return Statement(start, end, markers, "unknown marker", (), f"{names} names no source")
    worst = max(judged.values(), key=lambda judgement: _WORST.index(judgement.verdict))
    missing = tuple(dict.fromkeys(one for judgement in judged.values() for one in judgement.missing))
    reasons = dict.fromkeys(judgement.reason for judgement in judged.values() if judgement.reason)
    return Statement(start, end, markers, worst.verdict, missing, "; ".join(reasons))


def is_statement(sentence: str) -> bool:
    """Tell whether a sentence without a marker states something that should bear one.

    Headings, questions, words that announce a list, and what has fewer than three words or six CJK characters do not.

    >>> is_statement("It was built in 1889."), is_statement("## Sources"), is_statement("There are two ways:")
    (True, False, False)
    """
    body = sentence.strip().strip("*_ ")
    if body.startswith(("#", "|", "```", "~~~", "---")) or body.endswith(("?", "？", ":", "：")):
        return False
    return len(features(body)) >= _LEAST_FEATURES


def _in_code(text: str, place: int) -> bool:
    return sum(1 for _ in _FENCE.finditer(text, 0, place)) % 2 == 1


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
