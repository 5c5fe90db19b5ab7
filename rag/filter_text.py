"""The short form of filters, for a command line: ``year >= 2020 and department in ("hr", "legal")``. Pure.

``KEY SIGN VALUE`` joined by ``and``, ``or`` (``and`` binds closer) and parentheses. Signs: = != > >= < <=, ``in (..)``,
``not in (..)``, ``like "reports/**"``, ``is missing``, ``is present``. A word without quotes that is no number,
``true`` or ``false`` is a text; quotes make anything one, with a backslash before a quote inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from rag.attributes import Scalar
from rag.errors import FilterError
from rag.filters import MAX_DEPTH, Comparison, Compound, Filter, Operator, checked_filter, filter_from_json, too_deep
from rag.filters import value_problem as _value_problem

__all__ = ["FilterLike", "as_filter", "filter_from_text", "parse_filter"]

FilterLike = str | Mapping[str, object] | Filter
"""A filter as a caller may give it: the short form, JSON values, or read already."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<sign>==|!=|>=|<=|=|>|<|\(|\)|,)
    | (?P<word>[^\s"'()=!<>,]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS: Mapping[str, Operator] = {
    "=": "eq",
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "in": "in",
    "like": "like",
    "is": "exists",
}
_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_MAX_CHARACTERS = 32_000


def parse_filter(written: object) -> Filter:
    """Return the filter that a text or JSON values describe; a text that begins with "{" is JSON. Raises FilterError.

    >>> parse_filter("年份 >= 2020 and 部门 = 人事").type
    'and'
    """
    if not isinstance(written, str):
        return filter_from_json(written)
    if not written.lstrip().startswith("{"):
        return filter_from_text(written)
    try:
        return filter_from_json(json.loads(written))
    except (ValueError, RecursionError) as error:
        said = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise FilterError(f"the filter begins like JSON and is none: {said}") from error


def as_filter(given: FilterLike) -> Filter:
    """Return a filter that may still have to be read. Raises FilterError."""
    return given if isinstance(given, Comparison | Compound) else parse_filter(given)


def filter_from_text(text: str) -> Filter:
    """Return the filter that a text describes. Raises FilterError with the place, as a character from 1."""
    if len(text) > _MAX_CHARACTERS:
        raise FilterError(f"the filter has {len(text):,} characters; {_MAX_CHARACTERS:,} are the most")
    parser = _Parser(text)
    found = parser.any_of(MAX_DEPTH)
    parser.expect_end()
    return checked_filter(found)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                problem = "has a quote that is never closed" if text[at] in "\"'" else "is not understood"
                raise self._error(problem, at)
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind], match.start(kind)))
            at = match.end()

    def any_of(self, depth: int) -> Filter:
        parts = [self._all_of(depth)]
        while self._takes("or"):
            parts.append(self._all_of(depth))
        return parts[0] if len(parts) == 1 else Compound("or", tuple(parts))

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise self._error("comes where 'and', 'or' or the end was expected", self._tokens[self._at][2])

    def _all_of(self, depth: int) -> Filter:
        parts = [self._part(depth)]
        while self._takes("and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else Compound("and", tuple(parts))

    def _part(self, depth: int) -> Filter:
        if depth == 0:
            raise too_deep()
        if not self._takes("("):
            return self._comparison()
        found = self.any_of(depth - 1)
        if not self._takes(")"):
            raise self._error("lacks a closing parenthesis", self._place())
        return found

    def _comparison(self) -> Comparison:
        key, _ = self._next("the name of an attribute", "word", "quoted")
        at = self._place()
        negated = self._takes("not")
        sign, is_quoted = self._next("a sign such as = or >=", "sign", "word")
        operator = None if is_quoted else _SIGNS.get(sign.lower())
        if operator is None or (negated and operator != "in"):
            raise self._error("is no sign; use =, !=, >, >=, <, <=, in, not in, like, is missing or is present", at)
        if operator == "in":
            return Comparison("nin" if negated else "in", key, self._values())
        if operator == "exists":
            at = self._place()
            word, _ = self._next("'missing' or 'present'", "word")
            if word.lower() not in ("missing", "present"):
                raise self._error("must be 'missing' or 'present' after 'is'", at)
            return Comparison("exists", key, word.lower() == "present")
        return Comparison(operator, key, self._value(operator))

    def _values(self) -> tuple[Scalar, ...]:
        if not self._takes("("):
            raise self._error("must be values in parentheses, as in (2023, 2024)", self._place())
        values = [self._value("in")]
        while self._takes(","):
            values.append(self._value("in"))
        if not self._takes(")"):
            raise self._error("comes where ',' or ')' was expected", self._place())
        return tuple(values)

    def _value(self, operator: Operator) -> Scalar:
        at = self._place()
        word, is_quoted = self._next("a value", "word", "quoted")
        value: Scalar = word
        if not is_quoted and operator != "like":
            if word.lower() in ("true", "false"):
                value = word.lower() == "true"
            elif _WHOLE.fullmatch(word) and len(word) < 32:
                value = int(word)
            elif _NUMBER.fullmatch(word):
                value = float(word)
        if problem := _value_problem(operator, value):
            raise self._error(problem, at)
        return value

    def _takes(self, word: str) -> bool:
        if self._at < len(self._tokens):
            kind, found, _ = self._tokens[self._at]
            if kind != "quoted" and found.lower() == word:
                self._at += 1
                return True
        return False

    def _next(self, wanted: str, *kinds: str) -> tuple[str, bool]:
        kind, found, _ = self._tokens[self._at] if self._at < len(self._tokens) else ("", "", 0)
        if kind not in kinds or (kind == "sign" and found in "(),") or (kind == "word" and found in ("and", "or")):
            raise self._error(f"must go on with {wanted}", self._place())
        self._at += 1
        return (re.sub(r"\\(.)", r"\1", found[1:-1], flags=re.DOTALL), True) if kind == "quoted" else (found, False)

    def _place(self) -> int:
        return self._tokens[self._at][2] if self._at < len(self._tokens) else len(self._text)

    def _error(self, problem: str, at: int) -> FilterError:
        rest = self._text[at : at + 30].strip()
        where = f"at character {at + 1}, {rest!r}," if rest else "at its end"
        return FilterError(f"the filter {self._text!r:.200} {where} {problem}")
