"""A text put together block by block, with its headings and pages; for formats that hold no text as it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ingest.normalise import normalise
from ingest.readers.reading import Reading, placed_table
from ingest.readers.table import is_header
from rag.types import Heading, Page, Table

__all__ = ["MAX_CAPTION", "Draft", "one_line"]

MAX_CAPTION = 160
"""Characters of a caption that is read with a table's header; a longer one is prose."""


def one_line(text: str) -> str:
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


class Draft:
    """Takes blocks in reading order; ``reading`` normalises the whole and finds headings and pages in it again.

    Once a page has begun, everything belongs to one: begin the first page before the first block, or none at all.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[tuple[int, str, int]] = []
        self._labels: list[str] = []
        self._starts: list[int] = []  # of the pages that have text after them
        self._tables: list[Table] = []
        self._last = 0  # where the last block begins

    @property
    def has_text(self) -> bool:
        return self._length > 0

    def page(self, label: str = "") -> None:
        """Begin a page; the gap before its first block belongs to the page before."""
        self._labels.append(label)

    def add(self, text: str, *, gap: str = "\n\n") -> None:
        """Add a block, ``gap`` after the one before; one without text is left out."""
        text = text.strip("\r\n")
        if not text or text.isspace():
            return
        if self._length:
            self._put(gap)
        self._starts += [self._length] * (len(self._labels) - len(self._starts))
        self._last = self._length
        self._put(text)

    def table(self, rows: Sequence[Sequence[str]], *, n_header: int = 0, captioned: bool = False) -> None:
        """Add a table as lines of cells between bars; rows without words are left out.

        The first ``n_header`` rows name the columns; with 0 the first one does if it reads as names. ``captioned`` says
        that the block before is the table's caption.
        """
        caption = self._last
        captioned = captioned and self._length - caption <= MAX_CAPTION
        shown = [row for row in rows if any(row)]
        if not shown:
            return
        n_header = sum(map(any, rows[:n_header])) or int(is_header(shown))
        lines = [" | ".join(row) for row in shown]
        self.add("\n".join(lines))
        start = caption if captioned else self._last
        n_chars = len("\n".join(lines[:n_header])) if n_header < len(lines) else 0
        self._tables.append(Table(start, self._length, start, self._last + n_chars))

    def heading(self, level: int, title: str) -> None:
        """Add a heading as a block of its own."""
        title = one_line(title)
        if title:
            self.add(title)
            self._headings.append((level, title, self._length - len(title)))

    def include(self, reading: Reading, *, gap: str = "\n\n") -> None:
        """Add the text of another reading with its headings and tables, without its pages."""
        if reading.text:
            self.add(reading.text, gap=gap)
            start = self._last
            self._headings += [(heading.level, heading.title, start + heading.start) for heading in reading.headings]
            self._tables += [_shifted(table, start) for table in reading.tables]

    def reading(
        self,
        media_type: str,
        *,
        title: str = "",
        metadata: Mapping[str, str] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> Reading:
        """Return what was put together. The title is the one given, else the first heading of level 1."""
        normalised = normalise("".join(self._pieces))
        text, places = normalised.text, normalised.offsets[:-1]
        starts = self._starts + [self._length] * (len(self._labels) - len(self._starts))
        edges = [*(int(np.searchsorted(places, start)) for start in starts), len(text)]
        if normalised.n_surrogates:
            warnings = (*warnings, f"{normalised.n_surrogates} halves of characters were replaced by U+FFFD")
        headings = tuple(
            Heading(level, normalise(name).text, int(np.searchsorted(places, start)))
            for level, name, start in self._headings
            if not normalise(name).text.isspace() and normalise(name).text
        )
        first = next((heading.title for heading in headings if heading.level == 1), "")
        return Reading(
            text,
            media_type,
            title=normalise(one_line(title)).text or first,
            pages=tuple(Page(n + 1, edges[n], edges[n + 1], label) for n, label in enumerate(self._labels)),
            headings=headings,
            metadata={key: normalise(value).text for key, value in (metadata or {}).items() if value.strip()},
            warnings=warnings,
            tables=tuple(placed_table(table, normalised) for table in self._tables),
        )

    def _put(self, piece: str) -> None:
        self._pieces.append(piece)
        self._length += len(piece)


def _shifted(table: Table, by: int) -> Table:
    return Table(table.start + by, table.end + by, table.header_start + by, table.header_end + by)
