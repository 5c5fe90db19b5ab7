"""A page of a PDF with quoted words marked: the stored words are found again among the page's own characters.

What is stored is not what the page says letter by letter: ligatures are undone, words parted at a line's end are put
together, blanks and line ends are set anew. Letters and digits come through all of that in their order, so these are
compared: in compatibility forms, without accents. A quote that stands on the page more often than once is told apart
by which of its occurrences in the stored page it is; where the page and its stored text do not agree on how many there
are, nothing is marked: a mark at a wrong place is worse than none.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.readers.pdfium import PdfNotOpenedError, coloured_page
from ingest.readers.pictures import png_of_colours
from rag.errors import DocumentReadError
from rag.types import MediaLimits

__all__ = ["MarkedPage", "Marking", "draw_marked", "found_again", "marked"]

_YELLOW = np.array([255, 224, 64], dtype=np.float32)
_PAD_PX = 2.0


@dataclass(frozen=True, slots=True)
class Marking:
    """What to draw: ``page`` counts from 1, ``[start, end)`` is of ``stored``, the text that is kept of that page.

    ``sha256`` is of the file that was read, in hex. ``limits`` bound the picture.
    """

    page: int
    stored: str
    start: int
    end: int
    sha256: str
    limits: MediaLimits


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """A picture of the page, as PNG, and how many of its characters are marked."""

    png: bytes
    n_marked: int


def draw_marked(path: Path, marking: Marking, *, document_id: str) -> MarkedPage:
    """Draw a page of the file. Raises DocumentReadError where it has changed or the words are not found."""
    failed = f"cannot draw page {marking.page} of {document_id!r}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DocumentReadError(f"{failed}: its file cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != marking.sha256:
        raise DocumentReadError(f"{failed}: the file has changed since it was ingested; run 'rag ingest' again")
    try:
        page = coloured_page(data, marking.page - 1, marking.limits)
    except PdfNotOpenedError as error:
        raise DocumentReadError(f"{failed}: {error}") from error
    places: list[int] = []
    if marking.start < marking.end:
        places = found_again(marking.stored, marking.start, marking.end, page.characters) or []
        if not places:
            raise DocumentReadError(
                f"{failed}: the quoted words cannot be told for certain on the page, so none are marked; read them in "
                "the stored text"
            )
    return MarkedPage(png_of_colours(marked(page.pixels, page.boxes[places])), len(places))


def found_again(stored: str, start: int, end: int, characters: Sequence[str]) -> list[int] | None:
    """Return which of the page's characters are ``stored[start:end]``; None where that is not certain.

    >>> found_again("an effect", 3, 9, list("an e\\ufb00-\\nect"))
    [3, 4, 7, 8, 9]
    """
    page, owners = _folded(characters)
    before, words = _folded(stored[:start])[0], _folded(stored[start:end])[0]
    if not words:
        return None
    here = _occurrences(_folded(stored)[0], words)
    there = _occurrences(page, words)
    if len(before) not in here or len(here) != len(there):
        return None
    first = there[here.index(len(before))]
    return sorted(set(owners[first : first + len(words)]))


def marked(pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with boxes (n, 4: left, top, right, bottom, in pixels) marked as with a pen.

    Black stays black and white becomes yellow; boxes that overlap are marked once.
    """
    height, width = pixels.shape[:2]
    pen = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in boxes:
        rows = slice(max(int(top - _PAD_PX), 0), max(int(np.ceil(bottom + _PAD_PX)), 0))
        pen[rows, max(int(left - _PAD_PX), 0) : max(int(np.ceil(right + _PAD_PX)), 0)] = True
    out = pixels.copy()
    out[pen] = (pixels[pen].astype(np.float32) * (_YELLOW / 255.0)).astype(np.uint8)
    return out


def _folded(characters: Sequence[str]) -> tuple[str, list[int]]:
    """Return letters and digits in compatibility forms, without accents, and which character each is of."""
    kept: list[str] = []
    owners: list[int] = []
    for place, character in enumerate(characters):
        for part in unicodedata.normalize("NFKD", character):
            if part.isalnum():
                kept.append(part)
                owners.append(place)
    return "".join(kept), owners


def _occurrences(text: str, words: str) -> list[int]:
    """Return where words stand in a text, those that overlap too."""
    found, place = [], text.find(words)
    while place >= 0:
        found.append(place)
        place = text.find(words, place + 1)
    return found
