"""Says of a statement whether the words it cites bear it out. Rules, not a model: the same every time, in milliseconds.

``supported``: every number, date, name, quoted string and negation of the statement occurs in the cited words, and
enough of its other words do. ``partly``: something of it stands in the source, but not in the words cited, or too few
of its words do. ``unsupported``: something of it stands nowhere in its source. What is missing is listed.
``python benchmarks/verdicts.py`` measures how often that is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rag.answering.alignment import CJK, STOP_WORDS, features
from rag.answering.claims import Claims, claims_of, is_name_in, negations_in, plain, quote_parts
from rag.answering.dates import Date, dates_in
from rag.answering.numerals import Number, fold, numbers_in
from rag.types import Missing, MissingKind, Verdict

__all__ = ["LEAST_FOR_PARTLY", "LEAST_SHARED", "Evidence", "Judgement", "judge"]

LEAST_SHARED = 0.5
"""Share of a statement's words that a supported one has in its cited words at least: chosen on the tuning half."""
LEAST_FOR_PARTLY = 0.2
_SCOPE_SHARED = 0.5  # of what one side denies, this much must be denied on the other for the denials to be one
_OTHER_LANGUAGE = 0.15  # a text with less than this share of CJK letters is no Chinese

_CJK = re.compile(f"[{CJK}]")
_LETTERS = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class Evidence:
    """The words cited, the source that they were cut from, and what heads it: title, headings, table header."""

    cited: str
    source: str
    about: str = ""

    @cached_property
    def in_cited(self) -> _Said:
        return _Said(self.cited)

    @cached_property
    def in_source(self) -> _Said:
        return _Said(f"{self.about}\n{self.source}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, what it misses, and that in one sentence."""

    verdict: Verdict
    missing: tuple[Missing, ...]
    reason: str


class _Said:
    """What a text says, read when asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> frozenset[str]:
        return features(self.text) | frozenset(re.findall(r"[^\W_]+(?:[-'’.][^\W_]+)*", self.folded))

    @cached_property
    def folded(self) -> str:
        return fold(self.text).casefold()

    @cached_property
    def plain(self) -> str:
        return plain(self.text)

    @cached_property
    def numbers(self) -> list[Number]:
        return numbers_in(self.text)

    @cached_property
    def dates(self) -> list[Date]:
        return dates_in(self.text)

    @cached_property
    def initials(self) -> list[str]:
        runs = re.findall(r"[A-Z][\w'’-]*(?:\s+(?:of|and|the|for)?\s*[A-Z][\w'’-]*)+", self.text)
        return ["".join(word[0] for word in run.split() if word[0].isupper()) for run in runs]

    def has_number(self, number: Number) -> bool:
        return any(number.is_met_by(other) for other in self.numbers) or any(
            number.value in (date.year, date.month, date.day) for date in self.dates
        )

    def has_date(self, date: Date) -> bool:
        years = frozenset(int(number.value) for number in self.numbers if 1000 <= number.value <= 2100)
        return any(date.is_met_by(other, years=years) for other in self.dates)

    def has_name(self, name: str) -> bool:
        return is_name_in(name, self.words, self.folded, self.initials)

    def has_quote(self, quote: str) -> bool:
        place = 0
        for part in quote_parts(quote):
            if (found := self.plain.find(part, place)) < 0:
                return False
            place = found + len(part)
        return True


def judge(statement: str, cited: Sequence[Evidence], others: Sequence[Evidence] = ()) -> Judgement:
    """Judge a statement, written without its markers, by the words it cites; ``others`` are the sources it does not.

    What several sources say together supports it; a quoted string must stand in one of them, at one place. Raises
    ValueError without cited words.
    """
    if not cited:
        raise ValueError("a statement is judged by the words it cites, got none")
    claims = claims_of(statement)
    words = _Said("\n".join(evidence.cited for evidence in cited))
    whole = _Said("\n".join(f"{evidence.about}\n{evidence.source}" for evidence in cited))
    about = _Said("\n".join(evidence.about for evidence in cited))
    missing = [
        *_missing_facts(claims, words, whole, about),
        *_missing_quotes(claims, cited, others),
        *_missing_negations(statement, claims, words),
    ]
    share = _shared(claims.bare_words, words, about)
    foreign = _is_foreign(statement, words.text)
    return _judged(claims, missing, share, foreign=foreign)


def _missing_facts(claims: Claims, words: _Said, whole: _Said, about: _Said) -> list[Missing]:
    missing = []
    for number in claims.numbers:
        if not words.has_number(number):
            missing.append(_missed("number", _shown(number.value), whole.has_number(number)))
    for date in claims.dates:
        if not words.has_date(date):
            missing.append(_missed("date", _shown_date(date), whole.has_date(date)))
    for name in claims.names:
        if not (words.has_name(name) or about.has_name(name)):
            missing.append(_missed("name", name, whole.has_name(name)))
    return missing


def _missing_quotes(claims: Claims, cited: Sequence[Evidence], others: Sequence[Evidence]) -> list[Missing]:
    missing = []
    for quote in claims.quotes:
        if any(evidence.in_source.has_quote(quote) for evidence in cited):
            continue
        if any(evidence.in_source.has_quote(quote) for evidence in others):
            missing.append(Missing("quote", quote, "another source"))
        elif any(features(quote) <= evidence.in_source.words for evidence in cited):
            missing.append(Missing("quote", quote, "stitched"))
        else:
            missing.append(Missing("quote", quote, "nowhere"))
    return missing


def _missing_negations(statement: str, claims: Claims, words: _Said) -> list[Missing]:
    """Return what one side denies and the other does not; one denial answers to one."""
    missing = []
    theirs = negations_in(words.text)
    free = list(theirs)
    for negation in claims.negations:
        alike = next((other for other in free if _overlap(negation.scope, other.scope) >= _SCOPE_SHARED), None)
        if alike is not None:
            free.remove(alike)
        elif negation.scope & words.words:
            missing.append(Missing("negation", statement[negation.start : negation.end], "nowhere"))
    said = features(claims.own_words)
    for other in theirs:
        denied = [negation for negation in claims.negations if _overlap(other.scope, negation.scope) > 0]
        if not denied and _overlap(other.scope, said) >= 0.99 and other.scope - STOP_WORDS:
            missing.append(Missing("negation", words.text[other.start : other.end], "dropped"))
    return missing


def _overlap(wanted: frozenset[str], held: frozenset[str]) -> float:
    content = wanted - STOP_WORDS or wanted
    return len(content & held) / len(content) if content else 0.0


def _shared(bare: str, words: _Said, about: _Said) -> float:
    """Return the share of the words of a statement without numbers, but function words, that its cited words hold."""
    wanted = {word for word in features(bare) - STOP_WORDS if not word[0].isdigit()}
    return len(wanted & (words.words | about.words)) / len(wanted) if wanted else 1.0


def _is_foreign(statement: str, cited: str) -> bool:
    """Tell whether one side is Chinese and the other is not, so that their words cannot be compared."""
    shares = [len(_CJK.findall(text)) / max(len(_LETTERS.findall(text)), 1) for text in (statement, cited)]
    return (min(shares) < _OTHER_LANGUAGE) and max(shares) > 0.5


def _judged(claims: Claims, missing: list[Missing], share: float, *, foreign: bool) -> Judgement:
    if foreign:
        missing = [one for one in missing if one.kind in ("number", "date") and one.where == "nowhere"]
        if not missing:
            missing = [Missing("language", "", "nowhere")]
    elif share < LEAST_SHARED and not (claims.quotes and not missing):
        missing = [*missing, Missing("words", f"{share:.0%}", "nowhere")]
    if not missing:
        return Judgement("supported", (), "")
    lost = [one for one in missing if one.kind not in ("words", "language") and one.where != "elsewhere"]
    unsupported = bool(lost) or (not foreign and share < LEAST_FOR_PARTLY)
    return Judgement("unsupported" if unsupported else "partly", tuple(missing), _reason(missing))


def _reason(missing: Sequence[Missing]) -> str:
    """Return one sentence on what is missing."""
    return "; ".join(_phrase(one) for one in missing)


def _phrase(one: Missing) -> str:
    match one.kind, one.where:
        case "words", _:
            return f"only {one.text} of its words are in the words cited"
        case "language", _:
            return "the source is in another language: only numbers and dates could be compared"
        case "negation", "dropped":
            return f"the words cited say “{one.text}”, the statement does not"
        case "negation", _:
            return f"the statement says “{one.text}”, the words cited do not"
        case "quote", "another source":
            return f"the quote “{one.text}” stands in another source"
        case "quote", "stitched":
            return f"the quote “{one.text}” is put together from words of the source that do not stand like this"
        case _, "elsewhere":
            return f"the {one.kind} {one.text} stands elsewhere in the source, not in the words cited"
        case _:
            return f"the {one.kind} {one.text} does not stand in the source"


def _missed(kind: MissingKind, text: str, elsewhere: bool) -> Missing:
    return Missing(kind, text, "elsewhere" if elsewhere else "nowhere")


def _shown(value: object) -> str:
    text = f"{value:f}" if hasattr(value, "as_tuple") else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown_date(date: Date) -> str:
    return "-".join(f"{part:02}" for part in (date.year, date.month, date.day) if part is not None)
