"""A text put together block by block, with its headings and pages; for formats that hold no text as it is printed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ingest.normalise import normalise
from ingest.readers.reading import Reading
from rag.types import Heading, Page

__all__ = ["Draft", "one_line"]


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
        self._put(text)

    def heading(self, level: int, title: str) -> None:
        """Add a heading as a block of its own."""
        title = one_line(title)
        if title:
            self.add(title)
            self._headings.append((level, title, self._length - len(title)))

    def include(self, reading: Reading, *, gap: str = "\n\n") -> None:
        """Add the text of another reading with its headings, without its pages."""
        if reading.text:
            self.add(reading.text, gap=gap)
            start = self._length - len(reading.text.strip("\r\n"))
            self._headings += [(heading.level, heading.title, start + heading.start) for heading in reading.headings]

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
        )

    def _put(self, piece: str) -> None:
        self._pieces.append(piece)
        self._length += len(piece)
