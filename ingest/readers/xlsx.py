"""Excel workbooks: rows as records of ``column: value`` lines; the only importer of openpyxl."""

from __future__ import annotations

import datetime
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from ingest.readers.draft import Draft
from ingest.readers.packages import open_package
from ingest.readers.reading import Reading
from ingest.readers.table import header_names, record
from rag.errors import DocumentReadError

__all__ = ["read_xlsx"]

_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_ROWS = 10
"""Rows to a page: a footnote names the cells of one."""

_Row = tuple[int, list[str]]  # the row's number in the sheet, its cells


def read_xlsx(data: bytes, name: str) -> Reading:
    """Read the values of the visible sheets as records; a place is a sheet and its cells, "sheet 'Costs' A2:D11"."""
    # Imported late: it takes longer to load than most workbooks to read.
    import openpyxl

    package = open_package(data, name, part="xl/workbook.xml")
    draft = Draft()
    hidden: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drawings and validations, which are not read anyway
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            for sheet in book.worksheets:
                if sheet.sheet_state != "visible":
                    hidden.append(sheet.title)
                    continue
                _write(draft, sheet.title, list(_rows(sheet)))
        except (ValueError, KeyError, TypeError, SyntaxError, AttributeError) as error:
            raise DocumentReadError(
                f"cannot read {name!r}: it is not a whole workbook ({type(error).__name__}: {error}); open it and save "
                "it again"
            ) from error
    doubts = (f"{len(hidden)} hidden sheets were left out: {', '.join(hidden)[:200]}",) if hidden else ()
    facts = package.office_facts()
    title = facts.pop("title", "") or PurePosixPath(name).stem  # not that of its first sheet
    return draft.reading(_MEDIA_TYPE, title=title, metadata=facts, warnings=doubts)


def _rows(sheet: Any) -> Iterator[_Row]:
    sheet.reset_dimensions()  # what a file says of its own size need not hold
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        values = [_shown(cell) for cell in cells]
        if any(values):
            yield number, values


def _shown(value: object) -> str:
    """Return a cell's value as a person would type it."""
    match value:
        case None:
            return ""
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return f"{value:.15g}"
        case datetime.datetime() if (value.hour, value.minute, value.second) == (0, 0, 0):
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case _:
            return str(value).strip()


def _write(draft: Draft, title: str, rows: Sequence[_Row]) -> None:
    """Write a sheet: tables that empty rows part, each with the names of its own first row."""
    begun = False
    for table in _tables(rows):
        first, names, body = _columns(table)
        for at in range(0, len(body), _ROWS):
            some = body[at : at + _ROWS]
            last = max(first + len(cells) for _, cells in some)
            start = table[0][0] if at == 0 else some[0][0]
            draft.page(f"sheet '{title}' {_letters(first)}{start}:{_letters(last - 1)}{some[-1][0]}")
            if not begun:
                draft.heading(1, title)
                begun = True
            for _, cells in some:
                filled = sum(map(bool, cells))
                columns = names or [f"column {_letters(first + place)}" for place in range(len(cells))]
                draft.add(" ".join(filter(None, cells)) if filled == 1 and not names else record(cells, columns))


def _tables(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Yield the runs of rows without a gap; titles (one cell) that stand over a table are runs of their own."""
    table: list[_Row] = []
    for number, cells in rows:
        is_wider = bool(table) and sum(map(bool, cells)) > 1 and all(sum(map(bool, row)) == 1 for _, row in table)
        if table and (number > table[-1][0] + 1 or is_wider):
            yield table
            table = []
        table.append((number, cells))
    if table:
        yield table


def _columns(table: Sequence[_Row]) -> tuple[int, list[str], list[_Row]]:
    """Return the first column in use, the names of the columns ([""] for none), and the rows from that column on."""
    first = min(next(place for place, cell in enumerate(cells) if cell) for _, cells in table)
    body = []
    for number, cells in table:
        while not cells[-1]:
            cells = cells[:-1]
        body.append((number, cells[first:]))
    names = header_names([cells for _, cells in body])
    return first, names, body[1:] if names else body


def _letters(column: int) -> str:
    """Return a column's letters; ``column`` counts from 0.

    >>> _letters(27)
    'AB'
    """
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
