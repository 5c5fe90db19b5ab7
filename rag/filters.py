"""Filters over the attributes of documents: the words, and how they are read from JSON in OpenAI's shape. Pure.

``rag.filter_text`` reads the short form for a command line, ``index.filtering`` says which documents fit. What a
comparison means is written in docs/filters.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rag.attributes import Scalar
from rag.errors import FilterError

__all__ = [
    "Comparison",
    "Compound",
    "Filter",
    "Operator",
    "all_of",
    "checked_filter",
    "filter_from_json",
    "filter_to_json",
    "leaves",
]

Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "like", "exists"]

MAX_DEPTH = 8
MAX_VALUES = 256
OPERATORS: tuple[Operator, ...] = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "like", "exists")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute compared with a value: with several for ``in`` and ``nin``, with true or false for ``exists``."""

    type: Operator
    key: str
    value: Scalar | tuple[Scalar, ...]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The value as one of several."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


@dataclass(frozen=True, slots=True)
class Compound:
    """All or any of some filters; ``and`` of none holds, ``or`` of none does not."""

    type: Literal["and", "or"]
    filters: tuple[Filter, ...]


Filter = Comparison | Compound


def all_of(*filters: Filter | None) -> Filter | None:
    """Return the filter that holds where all of these do; None is no filter."""
    given = tuple(each for each in filters if each is not None)
    if len(given) <= 1:
        return given[0] if given else None
    return Compound("and", given)


def leaves(filter_: Filter) -> list[Comparison]:
    """Return the comparisons of a filter, in order."""
    if isinstance(filter_, Comparison):
        return [filter_]
    return [leaf for part in filter_.filters for leaf in leaves(part)]


def filter_from_json(written: object) -> Filter:
    """Return the filter that JSON values describe. Raises FilterError, which says what is wrong and where."""
    return checked_filter(_read(written, "filter", MAX_DEPTH))


def filter_to_json(filter_: Filter) -> dict[str, Any]:
    """Return a filter in OpenAI's shape."""
    if isinstance(filter_, Compound):
        return {"type": filter_.type, "filters": [filter_to_json(part) for part in filter_.filters]}
    value = list(filter_.value) if isinstance(filter_.value, tuple) else filter_.value
    return {"type": filter_.type, "key": filter_.key, "value": value}


def checked_filter(filter_: Filter) -> Filter:
    """Return a filter that was read, unless it is too large. Raises FilterError."""
    if (n := sum(len(leaf.values) for leaf in leaves(filter_))) > MAX_VALUES:
        raise FilterError(f"the filter has {n} values; {MAX_VALUES} are the most")
    return filter_


def too_deep() -> FilterError:
    return FilterError(f"the filter is nested more than {MAX_DEPTH} deep; make it flatter")


def value_problem(operator: Operator, value: object) -> str:
    """Return what is wrong with one value of a comparison, or nothing."""
    if operator == "exists":
        return "" if isinstance(value, bool) else "must be true or false for 'exists'"
    if operator == "like":
        return "" if isinstance(value, str) else "must be a text such as 'reports/**' for 'like'"
    if isinstance(value, bool) and operator in ("gt", "gte", "lt", "lte"):
        return "must be a text or a number: true and false have no order"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is no valid text"
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return ""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else "is a whole number of more than 64 bits"
    return "must be a text, a number, true or false"


def _read(value: object, place: str, depth: int) -> Filter:
    if not isinstance(value, Mapping):
        raise FilterError(f"{place} must be an object with a 'type', got {value!r:.60}")
    if depth == 0:
        raise too_deep()
    kind = value.get("type")
    if kind not in (*OPERATORS, "and", "or"):
        raise FilterError(f"{place}.type must be one of {', '.join((*OPERATORS, 'and', 'or'))}, got {kind!r:.60}")
    known = {"type", "filters"} if kind in ("and", "or") else {"type", "key", "value"}
    if unknown := sorted(str(name) for name in value.keys() - known):
        raise FilterError(f"{place} has an unknown {unknown[0]!r:.60}; {kind!r} takes {', '.join(sorted(known))}")
    if kind in ("and", "or"):
        parts = value.get("filters")
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise FilterError(f"{place}.filters must be a list of at least one filter, got {parts!r:.60}")
        return Compound(kind, tuple(_read(part, f"{place}.filters[{at}]", depth - 1) for at, part in enumerate(parts)))
    key = value.get("key")
    if not isinstance(key, str) or not key or value_problem("eq", key):
        raise FilterError(f"{place}.key must be the name of an attribute, got {key!r:.60}")
    return Comparison(kind, key, _operand(kind, value.get("value"), f"{place}.value"))


def _operand(operator: Operator, value: object, place: str) -> Scalar | tuple[Scalar, ...]:
    if operator in ("in", "nin"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise FilterError(f"{place} must be a list of at least one value for {operator!r}, got {value!r:.60}")
        return tuple(_scalar(operator, item, f"{place}[{at}]") for at, item in enumerate(value))
    return _scalar(operator, value, place)


def _scalar(operator: Operator, value: object, place: str) -> Scalar:
    if problem := value_problem(operator, value):
        raise FilterError(f"{place} {problem}, got {value!r:.60}")
    assert isinstance(value, Scalar)
    return value
