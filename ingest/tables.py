"""Tables in a text: those that Markdown draws with bars, and where the rows of any table begin."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from rag.types import Document, Table

__all__ = ["TableRows", "bar_tables", "tables_of"]

_Span = tuple[int, int]

# A bar and the dashes behind it: every delimiter row has them, and few other lines.
_HINT = re.compile(r"\|[ \t]*:?-")
_DELIMITERS = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?")
_WORD = re.compile(r"\w")
_CELL_END = re.compile(r"(?<!\\)\|")
# What ends a table, beside an empty line: the beginning of another block.
_OTHER_BLOCK = re.compile(
    r"[ \t]*(?:>|```|~~~|(?:#{1,6}|[-*+]|\d{1,9}[.)])(?=\s|\Z)|([-*_])[ \t]*(?:\1[ \t]*){2,}(?=\n|\Z))"
)

# Where a row begins: at a line with words in it; in grids below a border; in list tables at their bullets; and where
# empty lines part the rows, after those. All of it from the line end before on, so that a header's rest is no row.
_LINES = re.compile(r"\n[ \t]*(?=\S)(?=[^\n]*\w)")
_UNDER_BORDERS = re.compile(r"\n[ \t]*\+[-=+]+\n[ \t]*(?=\S)")
_BULLETS = re.compile(r"\n[ \t]*(?=\* +- )")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n[ \t]*(?=\S)")


def tables_of(document: Document, *, apart_from: Sequence[_Span] = ()) -> list[Table]:
    """Return the tables of a document, in order and apart: what its format marks, and what is drawn with bars.

    Those that touch one of the spans (fenced code, in order and apart) are left out.
    """
    found = sorted([*document.tables, *bar_tables(document.text)], key=lambda table: (table.start, -table.end))
    starts, ends = [start for start, _ in apart_from], [end for _, end in apart_from]
    apart: list[Table] = []
    for table in found:
        is_free = bisect_right(ends, table.start) == bisect_left(starts, table.end)
        if table.start < table.end and is_free and (not apart or table.start >= apart[-1].end):
            apart.append(table)
    return apart


def bar_tables(text: str) -> list[Table]:
    """Return the tables of Markdown, in order and apart: rows of cells between bars, to the next empty line.

    A header is the row above a row of dashes with as many cells, if it has words. Lines that begin with a bar are a
    table without one.
    """
    tables: list[Table] = []
    done = 0
    if "|" not in text:
        return tables
    for header_start, header_end, body in _headers(text):
        if header_start >= done:
            tables += _bare(text, done, header_start)
            done = _body_end(text, body)
            tables.append(Table(header_start, done, header_start, header_end))
    return [*tables, *_bare(text, done, len(text))]


def _headers(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield start and end of each row above a row of dashes that fits it, and the end of that one."""
    seen = 0
    for match in _HINT.finditer(text):
        if match.start() < seen:
            continue
        start = text.rfind("\n", seen, match.start()) + 1
        seen = _line_end(text, match.start())
        dashes = text[start:seen].strip(" \t")
        if start == 0 or not _DELIMITERS.fullmatch(dashes):
            continue
        above = text.rfind("\n", 0, start - 1) + 1
        header = text[above : start - 1].strip(" \t")
        if "|" in header and _n_cells(header) == _n_cells(dashes):
            first = text.index(header, above)
            yield first, first + len(header) if _WORD.search(header) else first, seen


def _n_cells(row: str) -> int:
    """Return the number of cells of a row without blanks around it; a bar behind a backslash belongs to its cell."""
    inner = row.removeprefix("|")
    is_closed = not inner or (inner.endswith("|") and not inner.endswith("\\|"))
    return len(_CELL_END.findall(inner)) + (not is_closed)


def _body_end(text: str, at: int) -> int:
    """Return the end of the table whose row of dashes ends here."""
    end = at
    while end < len(text):
        start = end + 1
        if start >= len(text) or text[start] == "\n" or (text[start] != "|" and _OTHER_BLOCK.match(text, start)):
            break
        following = _line_end(text, start)
        if text[start:following].isspace():
            break
        end = following
    return end


def _bare(text: str, low: int, high: int) -> Iterator[Table]:
    """Yield the runs of lines in [low, high) that begin with a bar."""
    at = text.find("|", low, high)
    while at >= 0:
        end = at
        if at == 0 or text[at - 1] == "\n":
            while end < high and text.startswith("|", end):
                end = _line_end(text, end) + 1
            yield Table(at, min(end - 1, high), at, at)
        else:
            end = _line_end(text, end)
        at = text.find("|", end, high)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


class TableRows:
    """Where the rows of a text's tables begin. ``tables`` are in order and apart."""

    def __init__(self, text: str, tables: Sequence[Table]) -> None:
        self._text = text
        self._tables = tables
        self._starts = [table.start for table in tables]
        self._known: tuple[Table | None, list[int]] = (None, [])

    def table_at(self, offset: int) -> Table | None:
        """Return the table that has ``offset`` inside, past its first character and before its end."""
        place = bisect_left(self._starts, offset) - 1
        return self._tables[place] if place >= 0 and offset < self._tables[place].end else None

    def header_at(self, offset: int) -> Table | None:
        """Return the table that ``offset`` lies in below the header; None outside of tables, and where it has none."""
        table = self.table_at(offset)
        return table if table and table.header_start < table.header_end <= offset else None

    def rows_at(self, offset: int) -> list[int]:
        """Return the start of the row that ``offset`` lies in, or begins; nothing outside of tables.

        Before the first row below a header comes the start of the table: a header alone says nothing.
        """
        table = self.table_at(offset)
        if table is None:
            return []
        if self._known[0] is not table:
            starts = [
                match.end() for match in _pattern(self._text, table).finditer(self._text, table.header_end, table.end)
            ]
            self._known = (table, [table.start, *starts])
        starts = self._known[1]
        place = bisect_right(starts, offset) - 1
        is_first = place == 1 and table.header_start < table.header_end
        return starts[place - is_first : place + 1]


def _pattern(text: str, table: Table) -> re.Pattern[str]:
    """Return how the rows of a table begin, from the look of it."""
    if text.startswith("+", table.start):
        return _UNDER_BORDERS
    if _BULLETS.search(text, table.header_start, table.end):
        return _BULLETS
    body = _LINES.search(text, table.header_end, table.end)
    if body and text.find("\n\n", body.end(), table.end) >= 0:
        return _PARAGRAPHS
    return _LINES
