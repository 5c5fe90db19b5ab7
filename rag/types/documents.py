"""Documents as they are read, and the chunks that they are cut into."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rag.types.media import MediaKind

__all__ = [
    "Chunk",
    "ChunkingSettings",
    "Document",
    "Heading",
    "Page",
    "Table",
    "chunk_id",
    "content_address",
    "in_context",
    "line_place",
]

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paged format: its printed place in the file, counted from 1, and its span in the text.

    ``label`` is what a person calls it where that is not "page N": "slide 3", "sheet 'Costs' A2:D40", "00:01:12".
    """

    number: int
    start: int
    end: int
    label: str = ""

    @property
    def place(self) -> str:
        """What the page is called in a footnote."""
        return self.label or f"page {self.number}"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 is the highest; ``start`` is the offset of its line in the text."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``[start, end)`` in the text, of which ``[header_start, header_end)`` names its columns.

    The header is one or more rows, with a short caption right above them where the format marks one; empty for none.
    """

    start: int
    end: int
    header_start: int
    header_end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One source file, after reading.

    ``id`` is the path relative to the ingested folder, with forward slashes. ``sha256`` is of the file's bytes, in hex.
    ``pages`` is empty for formats without pages; otherwise it is in order and covers the text (an empty page has
    start == end). ``headings`` is in order of ``start``. ``tables`` are those that the format marks, in order and
    apart; what is drawn with bars is found in the text. ``warnings`` are for the report: what was read only in part.
    ``unread`` names the kinds of media in it that nobody was there to read; it is not stored with the document.
    """

    id: str
    title: str
    text: str
    sha256: str
    media_type: str
    reader: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: _NO_METADATA)
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    unread: tuple[MediaKind, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """Return the number of the page that holds the character at ``offset``; None for formats without pages."""
        page = self._page_at(offset)
        return None if page is None else page.number

    def place_at(self, offset: int) -> str:
        """Return what a person calls the place of the character at ``offset``: its page, else its line."""
        page = self._page_at(offset)
        if page is not None:
            return page.place
        heading = bisect.bisect_right(self.headings, offset, key=lambda heading: heading.start) - 1
        title = self.headings[heading].title if heading >= 0 else ""
        return line_place(self.text.count("\n", 0, offset) + 1, heading=title)

    def _page_at(self, offset: int) -> Page | None:
        place = bisect.bisect_right(self.pages, offset, key=lambda page: page.start) - 1
        return self.pages[max(place, 0)] if self.pages else None

    def headings_at(self, offset: int) -> tuple[str, ...]:
        """Return the titles above ``offset``, outermost first."""
        path: list[Heading] = []
        for heading in self.headings:
            if heading.start > offset:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
        return tuple(heading.title for heading in path)


def line_place(line: int, *, heading: str) -> str:
    """Return what a place is called in a format without pages: its last heading ("" for none) and its line, from 1.

    >>> line_place(40, heading="Installation")
    '§ Installation, line 40'
    """
    return f"§ {heading}, line {line}" if heading else f"line {line}"


@dataclass(frozen=True, slots=True)
class ChunkingSettings:
    """How a collection cuts its documents: at most ``tokens`` a chunk, ``overlap`` of them shared with the one before.

    Tokens are those of the collection's tokenizer. ``overlap`` is below half of ``tokens``.
    """

    tokens: int
    overlap: int

    def __post_init__(self) -> None:
        if self.tokens < 16:
            raise ValueError(f"chunk tokens must be at least 16, got {self.tokens}")
        if not 0 <= self.overlap < self.tokens / 2:
            raise ValueError(f"chunk overlap must be in [0, {self.tokens / 2:g}), got {self.overlap}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document's text: ``text == document.text[start:end]``.

    ``page`` is the page of its first character (None without pages); ``headings`` the titles above it, outermost first.
    ``context`` is text from elsewhere in the document that it is read with, "" for none: to the rows of a table, its
    header. It begins at ``context_start`` and is the document's own words, as the chunk is. ``n_tokens`` are those of
    both, as they are embedded.
    """

    id: str
    document_id: str
    start: int
    end: int
    text: str
    n_tokens: int
    page: int | None = None
    headings: tuple[str, ...] = ()
    context: str = ""
    context_start: int = 0

    @property
    def embedded_text(self) -> str:
        """What is embedded and searched by words; what is quoted is ``text``."""
        return in_context(self.text, self.context)


def in_context(text: str, context: str) -> str:
    """Return a text below what it is read with, if there is any.

    >>> in_context("Ada | 36", "name | age")
    'name | age\\nAda | 36'
    """
    return f"{context}\n{text}" if context else text


def chunk_id(document_id: str, start: int, text: str) -> str:
    """Return the id shown to users: 16 hex digits of a hash of document, position and text."""
    digest = hashlib.sha256(f"{document_id}\0{start}\0{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def content_address(text: str) -> bytes:
    """Return the 32-byte SHA-256 of the exact text: with model and dimensions, the key of its vector."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
