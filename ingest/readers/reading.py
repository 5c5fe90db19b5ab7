"""What every reader returns: the text and its structure, before the file's name and hash are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ingest.normalise import Normalised, normalise
from rag.types import Heading, Page, Table

__all__ = ["Reading", "normalised_text", "placed_table"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One file as a reader sees it. ``title`` is empty where the file names none."""

    text: str
    media_type: str
    title: str = ""
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def normalised_text(raw: str) -> tuple[str, tuple[str, ...]]:
    """Return the normalised text, with a warning when it held halves of characters."""
    normalised = normalise(raw)
    if normalised.n_surrogates:
        return normalised.text, (f"{normalised.n_surrogates} halves of characters were replaced by U+FFFD",)
    return normalised.text, ()


def placed_table(table: Table, normalised: Normalised) -> Table:
    """Return the place in the normalised text of a table in the raw one; without the blanks around each part."""
    text, places = normalised.text, normalised.offsets[:-1]

    def span(start: int, end: int) -> tuple[int, int]:
        first, last = (int(place) for place in np.searchsorted(places, (start, end)))
        words = text[first:last]
        return first + len(words) - len(words.lstrip()), first + len(words.rstrip())

    start, end = span(table.start, table.end)
    header_start, header_end = span(table.header_start, table.header_end)
    return Table(start, end, header_start, header_end) if header_start < header_end else Table(start, end, start, start)
