"""Sources that contradict each other: the same sentence, but for one number or date, in two documents.

Only sentences are compared whose other words are the same, order and endings aside: that misses a contradiction in
other words, and hardly ever takes two different statements for one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rag.answering.alignment import STOP_WORDS, features
from rag.answering.claims import claims_of
from rag.answering.dates import Date, dates_in
from rag.answering.numerals import Number, numbers_in
from rag.answering.sentences import sentence_spans
from rag.types import Contradiction, Source

__all__ = ["DatesOf", "contradictions_in", "told"]

DatesOf = Callable[[Sequence[str]], Mapping[str, str]]
"""The dates of documents by id, as text; those that have none are left out."""

_LEAST_WORDS = 2
_SENTENCE_ENDS = (".", "!", "。", "！")  # without one it is a heading, a cell or a label, which many documents share
_MAX_SENTENCE = 400
_HEDGES = features("about around approximately nearly almost roughly exactly only just now currently still today circa")


@dataclass(frozen=True, slots=True)
class _Said:
    source: Source
    text: str
    numbers: tuple[Number, ...]
    dates: tuple[Date, ...]


def contradictions_in(sources: Sequence[Source], *, dates_of: DatesOf | None = None) -> tuple[Contradiction, ...]:
    """Return what the sources say differently, in the order of the sources; the dates are those of the documents."""
    frames: defaultdict[frozenset[str], list[_Said]] = defaultdict(list)
    for source in sources:
        for start, end in sentence_spans(source.text):
            sentence = source.text[start:end]
            said = _said(source, sentence)
            if end - start <= _MAX_SENTENCE and (said.numbers or said.dates) and (frame := _frame(sentence)):
                frames[frame].append(said)
    found = [differing for alike in frames.values() if (differing := _differing(alike))]
    named = {said.source.document_id for group in found for said, _ in group}
    dates = dates_of(sorted(named)) if dates_of is not None and named else {}
    return tuple(
        Contradiction(
            markers=tuple(said.source.marker for said, _ in group),
            values=tuple(value for _, value in group),
            quotes=tuple(" ".join(said.text.split()) for said, _ in group),
            dates=tuple(dates.get(said.source.document_id, "") for said, _ in group),
        )
        for group in found
    )


def told(contradictions: Sequence[Contradiction]) -> tuple[str, ...]:
    """Return each contradiction on one line, as the model and the reader are told.

    >>> told([Contradiction((1, 3), ("40", "45"), ("", ""), ("2020-01-01", ""))])
    ('[1] says 40 (document of 2020-01-01), [3] says 45',)
    """
    lines = []
    for one in contradictions:
        parts = [
            f"[{marker}] says {value}" + (f" (document of {date})" if date else "")
            for marker, value, date in zip(one.markers, one.values, one.dates, strict=True)
        ]
        lines.append(", ".join(parts))
    return tuple(lines)


def _said(source: Source, sentence: str) -> _Said:
    """Return what a sentence says; the numbers of a date are the date's."""
    dates = tuple(dates_in(sentence))
    numbers = (
        number
        for number in numbers_in(sentence)
        if not any(date.start < number.end and number.start < date.end for date in dates)
    )
    return _Said(source, sentence, tuple(numbers), dates)


def _frame(sentence: str) -> frozenset[str]:
    """Return the words of a sentence but for numbers, dates and hedges; none where these are too few to compare."""
    if not sentence.endswith(_SENTENCE_ENDS):
        return frozenset()
    bare = claims_of(sentence).bare_words
    words = frozenset(word for word in features(bare) - STOP_WORDS - _HEDGES if not word[0].isdigit())
    return words if len(words) >= _LEAST_WORDS else frozenset()


def _differing(alike: Sequence[_Said]) -> list[tuple[_Said, str]]:
    """Return those of one frame that differ from the first in one value, with it; nothing where none does."""
    first = alike[0]
    found: dict[int, tuple[_Said, str]] = {}
    for other in alike[1:]:
        if other.source.document_id == first.source.document_id:
            continue
        values = _one_difference(first, other)
        if values is not None:
            found.setdefault(first.source.marker, (first, values[0]))
            found.setdefault(other.source.marker, (other, values[1]))
    return list(found.values())


def _one_difference(one: _Said, other: _Said) -> tuple[str, str] | None:
    """Return the two values where exactly one number or date differs, as they are written; else None."""
    if len(one.numbers) != len(other.numbers) or len(one.dates) != len(other.dates):
        return None
    pairs: list[tuple[str, str]] = []
    for mine, theirs in zip(one.numbers, other.numbers, strict=True):
        if not (mine.is_met_by(theirs) or theirs.is_met_by(mine)):
            if not (mine.is_sure and theirs.is_sure):
                return None
            pairs.append((one.text[mine.start : mine.end], other.text[theirs.start : theirs.end]))
    for day, their_day in zip(one.dates, other.dates, strict=True):
        if not (day.is_met_by(their_day) or their_day.is_met_by(day)):
            pairs.append((one.text[day.start : day.end], other.text[their_day.start : their_day.end]))
    return pairs[0] if len(pairs) == 1 else None
