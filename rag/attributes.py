"""The attributes of documents: what a value may be, which source wins, and when a text is a date. Pure.

A value is a text, a number, true or false, or a list of such. The limits are those of OpenAI's ``attributes``.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

__all__ = [
    "ACCESS",
    "BUILT_IN",
    "MAX_KEYS",
    "MAX_KEY_CHARACTERS",
    "MAX_LIST",
    "MAX_TEXT_CHARACTERS",
    "SOURCES",
    "Attribute",
    "Attributes",
    "Scalar",
    "checked_attributes",
    "date_span",
    "merged_attributes",
]

Scalar = str | int | float | bool
Attribute = Scalar | tuple[Scalar, ...]
Attributes = Mapping[str, Attribute]

ACCESS = "access"
"""The attribute that holds a document's access labels, always a list: who has one of them may read it."""

SOURCES = ("path", "front_matter", "sidecar", "api")
"""Where attributes come from; each key is taken from the last source that gives it."""

BUILT_IN = ("path", "folder", "extension", "format", "title", "modified", "created")
"""What every document has by itself. A user's key of such a name is asked for as ``attributes.NAME``."""

MAX_KEYS = 16
MAX_KEY_CHARACTERS = 64
MAX_TEXT_CHARACTERS = 512
MAX_LIST = 64

_DAY_S = 86_400.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_BEGINNING = re.compile(r"(\d{4})(?:-(\d\d))?", re.ASCII)


def checked_attributes(found: Mapping[object, object], *, where: str) -> tuple[dict[str, Attribute], list[str]]:
    """Return what can be used of a source's attributes, and in words what cannot.

    Access labels are looked at first, and unusable ones become an empty list, which is not equal to any label.
    """
    usable: dict[str, Attribute] = {}
    problems: list[str] = []
    for key in sorted(found, key=lambda key: key != ACCESS):
        problem = _key_problem(key)
        if not problem and len(usable) == MAX_KEYS:
            problem = f"is left out: {MAX_KEYS} are the most from one source"
        if not problem:
            assert isinstance(key, str)
            value, problem = _value(found[key])
            if key == ACCESS:
                value, problem = _labels(value, problem)
            if value is not None:
                usable[key] = value
        if problem:
            problems.append(f"attribute {_shown(key)} of {where} {problem}")
    return usable, problems


def merged_attributes(by_source: Mapping[str, Attributes]) -> dict[str, Attribute]:
    """Return each key with the value of the strongest source that has it.

    Access labels are those that all sources share, so that no file opens itself to more readers than the rules for its
    folder do; the API's replace them.

    >>> merged_attributes({"sidecar": {"a": 2}, "path": {"a": 1, "b": 1}})
    {'a': 2, 'b': 1}
    >>> merged_attributes({"path": {"access": ("hr", "law")}, "front_matter": {"access": ("hr", "all")}})
    {'access': ('hr',)}
    """
    merged: dict[str, Attribute] = {}
    for source in SOURCES:
        found = dict(by_source.get(source, {}))
        if source != "api" and ACCESS in merged and ACCESS in found:
            found[ACCESS] = tuple(label for label in _items(merged[ACCESS]) if label in _items(found[ACCESS]))
        merged.update(found)
    return merged


def _items(value: Attribute) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)


def date_span(text: str, *, whole: bool = False) -> tuple[float, float] | None:
    """Return [first, last) in epoch seconds of an ISO 8601 date, time, month or year; None for any other text.

    A time is a point: both are the same. Without an offset it is UTC. ``whole``: no months and years.

    >>> date_span("1970-01-02"), date_span("1970-01-01T01:00+01:00"), date_span("1970-01-02T"), date_span("1971")
    ((86400.0, 172800.0), (0.0, 0.0), None, (31536000.0, 63072000.0))
    """
    try:
        if _WHOLE_DATE.fullmatch(text):
            if len(text) == 10:
                first = _seconds(datetime.fromisoformat(text))
                return first, first + _DAY_S
            point = _seconds(datetime.fromisoformat(text))
            return point, point
        if not whole and (match := _BEGINNING.fullmatch(text)):
            year, month = int(match[1]), int(match[2] or 1)
            first = _seconds(datetime(year, month, 1))
            days = calendar.monthrange(year, month)[1] if match[2] else 365 + calendar.isleap(year)
            return first, first + days * _DAY_S
    except (ValueError, OverflowError):  # no such day
        return None
    return None


def _seconds(moment: datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH).total_seconds()


def _key_problem(key: object) -> str:
    if not isinstance(key, str) or not key.strip():
        return "is left out: a key must be a text"
    if len(key) > MAX_KEY_CHARACTERS:
        return f"is left out: its key has {len(key)} characters, {MAX_KEY_CHARACTERS} are the most"
    return "" if _is_utf8(key) else "is left out: its key is no valid text"


def _value(value: object) -> tuple[Attribute | None, str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > MAX_LIST:
            return None, f"is left out: its list has {len(value)} items, {MAX_LIST} are the most"
        items = [_scalar(item) for item in value]
        problem = next((problem for _, problem in items if problem), "")
        return (None, problem) if problem else (tuple(item for item, _ in items if item is not None), "")
    return _scalar(value)


def _scalar(value: object) -> tuple[Scalar | None, str]:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat(), ""
    if isinstance(value, str):
        if len(value) > MAX_TEXT_CHARACTERS:
            return None, f"is left out: its text has {len(value)} characters, {MAX_TEXT_CHARACTERS} are the most"
        return (value, "") if _is_utf8(value) else (None, "is left out: it is no valid text")
    if isinstance(value, bool):
        return value, ""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value, ""
    if isinstance(value, float) and math.isfinite(value):
        return value, ""
    kind = "nothing" if value is None else type(value).__name__
    return None, f"is left out: it must be a text, a number, true, false or a list of those, got {kind}"


def _labels(value: Attribute | None, problem: str) -> tuple[Attribute, str]:
    labels = (value,) if isinstance(value, str) else value
    if not problem and isinstance(labels, tuple) and all(isinstance(label, str) and label for label in labels):
        return labels, ""
    return (), "must be a label or a list of labels; until it is, the document counts as one without any label"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: object) -> str:
    shown = repr(key)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
