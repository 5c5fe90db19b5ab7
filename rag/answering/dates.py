"""Reads the dates of a text, however they are written: ``20 July 1969``, ``July 20th, 1969``, ``1969-07-20``,
``1969年7月20日``, ``一九六九年七月二十日``. A year alone is a number, not a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag.answering.numerals import CHINESE_DIGITS, chinese_value, fold

__all__ = ["Date", "dates_in"]

_MONTH_NAMES_LISTED = "january february march april may june july august september october november december"
_MONTH_NAMES = _MONTH_NAMES_LISTED.split()
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MONTHS |= {name[:3]: number for name, number in _MONTHS.items()} | {"sept": 9}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?(?!\d)"
_CN = rf"(?:\d{{1,2}}|[{CHINESE_DIGITS}]{{1,3}})"
_YEAR = r"(?P<year>\d{4})(?!\d)"
_FORMS = [
    re.compile(r"(?<![\d.])(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})(?!\d)"),
    re.compile(r"(?<![\d.])(?P<day>\d{1,2})(?P<sep>[/.])(?P<month>\d{1,2})(?P=sep)(?P<year>\d{4})(?!\d)"),
    re.compile(
        rf"(?P<year>(?<!\d)\d{{4}}|[{CHINESE_DIGITS}]{{4}})\s?年\s?(?P<month>{_CN})\s?月(?:\s?(?P<day>{_CN})\s?[日号])?"
    ),
    re.compile(rf"(?<!\d)(?P<month>{_CN})\s?月\s?(?P<day>{_CN})\s?[日号]"),
    re.compile(rf"(?<![\w]){_DAY}(?:\s+of)?\s+{_MONTH}(?:,?\s+{_YEAR})?(?![A-Za-z])", re.I),
    re.compile(rf"\b{_MONTH},?\s+(?:of\s+)?{_YEAR}", re.I),
    re.compile(rf"\b{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?", re.I),
]


@dataclass(frozen=True, slots=True)
class Date:
    """A date at ``[start, end)``; a part that is not written is None.

    ``is_swappable``: 07/08/1969 may be read either way round.
    """

    year: int | None
    month: int | None
    day: int | None
    start: int
    end: int
    is_swappable: bool = False

    def is_met_by(self, other: Date, *, years: frozenset[int] = frozenset()) -> bool:
        """Tell whether ``other`` says all this date says; a year it leaves out may be one of ``years`` around it."""
        month_day = {(other.month, other.day)}
        if other.is_swappable or self.is_swappable:
            month_day.add((other.day, other.month))
        if not any(self.month in (None, m) and self.day in (None, d) for m, d in month_day):
            return False
        return self.year in (None, other.year) or (other.year is None and self.year in years)


def dates_in(text: str) -> list[Date]:
    """Return the dates of a text that have at least a month and one more part, in its order.

    >>> [(d.year, d.month, d.day) for d in dates_in("From July 20, 1969 to 1970年3月")]
    [(1969, 7, 20), (1970, 3, None)]
    """
    folded = fold(text)
    found: list[Date] = []
    for form in _FORMS:
        for match in form.finditer(folded):
            if any(date.start < match.end() and match.start() < date.end for date in found):
                continue
            parts = match.groupdict()
            year, month, day = _part(parts.get("year")), _part(parts["month"]), _part(parts.get("day"))
            swappable = form is _FORMS[1]
            if swappable and month is not None and month > 12:
                month, day = day, month
            if month is None or not 1 <= month <= 12 or not (day is None or 1 <= day <= 31):
                continue
            found.append(Date(year, month, day, *match.span(), swappable and day is not None and day <= 12))
    return sorted(found, key=lambda date: date.start)


def _part(written: str | None) -> int | None:
    if not written:
        return None
    if written.isdigit():
        return int(written)
    return _MONTHS.get(written.lower().rstrip(".")) or chinese_value(written)
