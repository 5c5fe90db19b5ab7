"""Reading stored text: in segments, each compared with its checksum before anybody sees a word of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from index.checksums import bytes_checksum
from index.migrations import SEGMENT
from rag.errors import DamagedDataError
from rag.types import in_context

__all__ = ["Segment", "damaged", "embedded_texts", "segments", "text_slice"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a document's text as it is stored, with the line it begins in; None where there is no such row."""

    place: int
    raw: bytes
    line: int | None
    checksum: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is as it was written; True where that cannot be told, as it was written without a checksum."""
        return isinstance(self.raw, bytes) and self.checksum in (None, bytes_checksum(self.raw))

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "surrogatepass")


def segments(connection: sqlite3.Connection, number: int, *, first: int = 0, last: int = 2**62) -> list[Segment]:
    """Return the segments [first, last] of a document as they are, in order."""
    found = connection.execute(
        "SELECT s.place, CAST(s.text AS BLOB), l.line, l.checksum FROM segments s LEFT JOIN segment_lines l"
        " ON l.document = s.document AND l.place = s.place"
        " WHERE s.document = ? AND s.place BETWEEN ? AND ? ORDER BY s.place",
        (number, first, last),
    )
    return [Segment(*row) for row in found]


def text_slice(connection: sqlite3.Connection, number: int, start: int, end: int) -> str:
    """Return the characters [start, end) of a document. Raises DamagedDataError."""
    if start < 0:
        raise ValueError(f"a span starts at 0 or later, got {start}")
    if end <= start:
        return ""
    first, last = start // SEGMENT, (end - 1) // SEGMENT
    pieces = segments(connection, number, first=first, last=last)
    _require_whole(connection, number, pieces)
    return "".join(piece.text for piece in pieces)[start - first * SEGMENT : end - first * SEGMENT]


def embedded_texts(
    connection: sqlite3.Connection, *, first: int = 0, last: int = 2**63 - 1
) -> Iterator[tuple[int, str]]:
    """Yield (row, text as embedded) of the chunks in [first, last], ascending.

    Each document is read once, not once a chunk, and so is each context. Raises DamagedDataError.
    """
    query = (
        'SELECT "row", document, start, "end", context_start, context_end FROM chunks'
        ' WHERE "row" BETWEEN ? AND ? ORDER BY "row"'
    )
    window: dict[int, str] = {}
    current = None
    context_of = lru_cache(maxsize=1)(partial(text_slice, connection))
    for row, number, start, end, context_start, context_end in connection.execute(query, (first, last)):
        if number != current:
            current, window = number, {}
        places = range(start // SEGMENT, max(end - 1, start) // SEGMENT + 1)
        for place in set(window) - set(places):
            del window[place]
        for place in places:
            if place not in window:
                window[place] = text_slice(connection, number, place * SEGMENT, (place + 1) * SEGMENT)
        joined = "".join(window[place] for place in places)
        words = joined[start - places[0] * SEGMENT : end - places[0] * SEGMENT]
        yield row, in_context(words, context_of(number, context_start, context_end))


def damaged(connection: sqlite3.Connection, number: int, what: str) -> DamagedDataError:
    """Return the error that says that ``what`` of a document is not as it was written, and what to do."""
    row = connection.execute("SELECT CAST(id AS BLOB) FROM documents WHERE number = ?", (number,)).fetchone()
    name = "?" if row is None else bytes(row[0]).decode("utf-8", "replace")
    return DamagedDataError(
        f"{what} of document {name!r} is not as it was written: the disk has altered the database; run `rag status"
        " --repair`, which says what to do then"
    )


def _require_whole(connection: sqlite3.Connection, number: int, pieces: list[Segment]) -> None:
    if not all(piece.is_whole for piece in pieces):
        raise damaged(connection, number, "the stored text")
