"""PDF pages by PDFium; the only importer of pypdfium2.

PDFium is not thread-safe: every call into it happens under one lock, held for a whole file.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["OutlineEntry", "PdfContent", "PdfNotOpenedError", "extract"]

# One lock for the process is the point: the library's own state is one for the process.
_PDFIUM = threading.Lock()
_MAX_OUTLINE = 10_000
_PASSWORD = 4  # FPDF_ERR_PASSWORD in fpdfview.h


class PdfNotOpenedError(Exception):
    """PDFium cannot open the file; ``encrypted`` tells whether a password is missing."""

    def __init__(self, message: str, *, encrypted: bool) -> None:
        super().__init__(message)
        self.encrypted = encrypted


@dataclass(frozen=True, slots=True)
class OutlineEntry:
    """A bookmark: level 1 is the highest, ``page`` counts from 0."""

    level: int
    title: str
    page: int


@dataclass(frozen=True, slots=True)
class PdfContent:
    """What PDFium sees: the raw text of each page, None for a page that cannot be loaded."""

    pages: tuple[str | None, ...]
    metadata: dict[str, str]
    outline: tuple[OutlineEntry, ...]


def extract(data: bytes) -> PdfContent:
    """Return texts, metadata and outline of a PDF. An empty user password is tried. Raises PdfNotOpenedError."""
    # Imported late: it loads a library of several megabytes.
    import pypdfium2

    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise PdfNotOpenedError(str(error), encrypted=error.err_code == _PASSWORD) from error
        try:
            pages = tuple(_page_text(pdf, place, pypdfium2.PdfiumError) for place in range(len(pdf)))
            return PdfContent(pages, dict(pdf.get_metadata_dict(skip_empty=True)), _outline(pdf))
        finally:
            pdf.close()


def _page_text(pdf: Any, place: int, failure: type[Exception]) -> str | None:
    try:
        page = pdf[place]
    except failure:
        return None
    try:
        text_page = page.get_textpage()
    except failure:
        return None
    else:
        text = text_page.get_text_range()
        text_page.close()
        return str(text)
    finally:
        page.close()


def _outline(pdf: Any) -> tuple[OutlineEntry, ...]:
    entries: list[OutlineEntry] = []
    for bookmark in pdf.get_toc(max_depth=15):
        destination = bookmark.get_dest()
        page = destination.get_index() if destination is not None else None
        if page is not None and 0 <= page < len(pdf):
            entries.append(OutlineEntry(bookmark.level + 1, bookmark.get_title(), page))
        if len(entries) >= _MAX_OUTLINE:
            break
    return tuple(entries)
