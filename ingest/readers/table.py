"""CSV and TSV: each row becomes a paragraph of ``column: value`` lines, found and quoted with its names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence

from ingest.readers.encoding import decode
from ingest.readers.reading import Reading, normalised_text

__all__ = ["header_names", "is_header", "read_csv", "read_tsv", "record"]

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_CHARS = 64 * 1024
_YEAR = re.compile(r"(?:19|20)\d\d")
_CORNER = "(corner)"
_MAX_NAME = 60
_NUMBER = re.compile(r"[-+]?[\d.,\s]+%?")


def read_csv(data: bytes, name: str) -> Reading:
    """Read a table whose delimiter (comma, semicolon, tab, bar) is found from its first rows."""
    decoded = decode(data)
    return _reading(decoded.text, _delimiter(decoded.text), "text/csv", decoded.encoding, decoded.warnings)


def read_tsv(data: bytes, name: str) -> Reading:
    """Read a table of tab-separated values."""
    decoded = decode(data)
    return _reading(decoded.text, "\t", "text/tab-separated-values", decoded.encoding, decoded.warnings)


def _reading(raw: str, delimiter: str, media_type: str, encoding: str, doubts: tuple[str, ...]) -> Reading:
    rows = [row for row in _rows(raw, delimiter) if any(cell.strip() for cell in row)]
    header = header_names(rows)
    body = rows[1:] if header else rows
    width = len(header) if header else Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    names = header or ([f"column {place}" for place in range(1, width + 1)] if width > 1 else [""])
    text, warnings = normalised_text("\n\n".join(record(row, names) for row in body or rows))
    n_odd = sum(len(row) != width for row in body)
    if n_odd:
        warnings = (*warnings, f"{n_odd} of {len(body)} rows do not have {width} columns")
    if raw.count('"') % 2:
        warnings = (*warnings, "a quotation mark is not closed: rows after it may hang together")
    metadata = {"encoding": encoding, "rows": str(len(body)), "columns": ", ".join(header)}
    return Reading(text, media_type, metadata=metadata, warnings=(*doubts, *warnings))


def _rows(raw: str, delimiter: str) -> list[list[str]]:
    # The limit is one for the whole process and 128 KiB at first, less than real cells hold.
    csv.field_size_limit(2**31 - 1)
    return list(csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter))


def _delimiter(raw: str) -> str:
    """Return the delimiter that cuts the first rows most evenly, the one with more columns where two are even."""
    sample = raw[:_SAMPLE_CHARS]
    if len(raw) > len(sample):
        sample = sample[: sample.rfind("\n") + 1] or sample

    def evenness(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in _rows(sample, delimiter) if row)
        if not widths:
            return 0.0, 0
        width, n_rows = widths.most_common(1)[0]
        return (n_rows / widths.total(), width) if width > 1 else (0.0, 1)

    return max(_DELIMITERS, key=evenness)


def header_names(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the first row where it reads as names: each filled, none a number, none twice, and more rows follow."""
    if len(rows) < 2 or len(rows[0]) < 2:
        return []
    names = [" ".join(cell.split()) for cell in rows[0]]
    is_header = all(names) and len(set(names)) == len(names) and not any(map(_NUMBER.fullmatch, names))
    return names if is_header else []


def is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first row of a printed table reads as names, as above.

    They are short there; the first cell may be empty, and years are names too.
    """
    corner, *others = [cell.strip() or _CORNER for cell in rows[0]] if rows else [""]
    names = [corner, *(f"in {cell}" if _YEAR.fullmatch(cell) else cell for cell in others)]
    return _CORNER not in others and max(map(len, names)) <= _MAX_NAME and bool(header_names([names, *rows[1:]]))


def record(row: Sequence[str], names: Sequence[str]) -> str:
    """Return ``column: value`` lines; cells beyond the last name get their number, empty cells are left out."""
    lines = []
    for place, cell in enumerate(row):
        value = re.sub(r"\n\s*\n", "\n", cell.strip().replace("\r\n", "\n"))
        column = names[place] if place < len(names) else f"column {place + 1}"
        if value:
            lines.append(f"{column}: {value}" if column else value)
    return "\n".join(lines)
