"""PDF pages by PDFium, as text and as pictures; the only importer of pypdfium2.

PDFium is not thread-safe: every call into it happens under one lock, held for a whole file.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.types import MediaLimits

__all__ = ["ColouredPage", "DrawnPages", "OutlineEntry", "PdfContent", "PdfNotOpenedError", "coloured_page", "extract"]

# One lock for the process is the point: the library's own state is one for the process.
_PDFIUM = threading.Lock()
_MAX_OUTLINE = 10_000
_PASSWORD = 4  # FPDF_ERR_PASSWORD in fpdfview.h
_IMAGE = 3  # FPDF_PAGEOBJ_IMAGE in fpdf_edit.h
_POINTS_PER_INCH = 72
DPI = 200
"""What is enough for print of the usual sizes, and half the pixels of the 300 that scanners like to use."""
FEW_LETTERS = 100
"""A page with fewer letters and digits may be a scan with a stamp on it: its pictures are looked at."""


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
    """What PDFium sees: the raw text of each page, None for a page that cannot be loaded.

    ``image_share`` is the share of each page that its largest picture covers, looked at where there is little text (0
    elsewhere).
    """

    pages: tuple[str | None, ...]
    metadata: dict[str, str]
    outline: tuple[OutlineEntry, ...]
    image_share: tuple[float, ...] = ()


def extract(data: bytes) -> PdfContent:
    """Return texts, metadata and outline of a PDF. An empty user password is tried. Raises PdfNotOpenedError."""
    # Imported late: it loads a library of several megabytes.
    import pypdfium2

    with _opened(data) as pdf:
        found = [_page_text(pdf, place, pypdfium2.PdfiumError) for place in range(len(pdf))]
        pages, shares = tuple(text for text, _ in found), tuple(share for _, share in found)
        return PdfContent(pages, dict(pdf.get_metadata_dict(skip_empty=True)), _outline(pdf), shares)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    """Open a PDF under the lock, and close it. Raises PdfNotOpenedError."""
    import pypdfium2  # late, as above

    with _PDFIUM:
        try:
            pdf = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise PdfNotOpenedError(str(error), encrypted=error.err_code == _PASSWORD) from error
        try:
            yield pdf
        finally:
            pdf.close()


@dataclass(frozen=True, slots=True)
class ColouredPage:
    """A drawn page: ``pixels`` uint8 (height, width, 3), red first; its characters in the order of the file.

    ``boxes`` float32 (n, 4) are where the characters stand, in pixels: left, top, right, bottom.
    """

    pixels: NDArray[np.uint8]
    characters: tuple[str, ...]
    boxes: NDArray[np.float32]


def coloured_page(data: bytes, place: int, limits: MediaLimits) -> ColouredPage:
    """Draw page ``place`` (from 0) as a person sees it, turned as the file says. Raises PdfNotOpenedError."""
    import pypdfium2  # late, as above

    with _opened(data) as pdf:
        try:
            if not 0 <= place < len(pdf):
                raise PdfNotOpenedError(f"it has {len(pdf)} pages", encrypted=False)
            page = pdf[place]
            width, height = page.get_size()
            bitmap = page.render(scale=_scale(width, height, limits), rev_byteorder=True, maybe_alpha=False)
            pixels: NDArray[np.uint8] = bitmap.to_numpy()[:, :, :3].copy()
            characters, boxes = _placed_characters(page, bitmap.get_posconv(page))
            return ColouredPage(pixels, characters, boxes)
        except pypdfium2.PdfiumError as error:
            raise PdfNotOpenedError(str(error), encrypted=False) from error


def _placed_characters(page: Any, to_pixels: Any) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return the characters of a page and their boxes in the picture; a box without area for what has none."""
    from pypdfium2 import raw

    text = page.get_textpage()
    n_characters = text.count_chars()
    boxes = np.zeros((n_characters, 4), dtype=np.float32)
    characters = []
    for index in range(n_characters):
        code = raw.FPDFText_GetUnicode(text, index)
        characters.append(chr(code) if 0 < code <= 0x10FFFF else "")
        left, bottom, right, top = text.get_charbox(index)
        corners = np.array([to_pixels.to_bitmap(left, bottom), to_pixels.to_bitmap(right, top)])
        boxes[index] = (*corners.min(axis=0), *corners.max(axis=0))
    text.close()
    return tuple(characters), boxes


class DrawnPages:
    """The pages of a PDF as grey pictures. The file is opened by the first that is drawn; ``close`` it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pdf: Any = None

    def draw(self, place: int, limits: MediaLimits) -> NDArray[np.uint8]:
        """Return page ``place`` (from 0), (height, width): at 200 dots an inch, or as many as the limits allow."""
        import pypdfium2  # late, as above

        with _PDFIUM:
            if self._pdf is None:
                self._pdf = pypdfium2.PdfDocument(self._data)
            page = self._pdf[place]
            try:
                width, height = page.get_size()
                bitmap = page.render(scale=_scale(width, height, limits), grayscale=True)
                try:
                    pixels: NDArray[np.uint8] = bitmap.to_numpy().copy()
                finally:
                    bitmap.close()
            finally:
                page.close()
        return pixels.reshape(pixels.shape[:2])

    def close(self) -> None:
        if self._pdf is not None:
            with _PDFIUM:
                self._pdf.close()
            self._pdf = None


def _scale(width: float, height: float, limits: MediaLimits) -> float:
    """Return how many pixels a point becomes."""
    width, height = max(width, 1.0), max(height, 1.0)
    return min(
        DPI / _POINTS_PER_INCH, math.sqrt(limits.max_pixels / (width * height)), limits.max_side / max(width, height)
    )


def _page_text(pdf: Any, place: int, failure: type[Exception]) -> tuple[str | None, float]:
    """Return the text of a page, and the share of it that a picture covers, where there is little text."""
    try:
        page = pdf[place]
    except failure:
        return None, 0.0
    try:
        text_page = page.get_textpage()
    except failure:
        return None, 0.0
    else:
        text = str(text_page.get_text_range())
        text_page.close()
        is_short = len(text) < 20 * FEW_LETTERS and sum(map(str.isalnum, text)) < FEW_LETTERS
        return text, _image_share(page, failure) if is_short else 0.0
    finally:
        page.close()


def _image_share(page: Any, failure: type[Exception]) -> float:
    """Return the share of the page that its largest picture covers, at most 1."""
    width, height = page.get_size()
    largest = 0.0
    try:
        for image in page.get_objects(filter=[_IMAGE], max_depth=3):
            left, bottom, right, top = image.get_bounds()
            largest = max(largest, (right - left) * (top - bottom))
    except failure:  # a picture that cannot be placed is none that we could judge by
        return 0.0
    return float(min(1.0, largest / max(width * height, 1.0)))


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
