"""Pages and pictures that somebody else has read: what is made of their texts, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ingest.readers.lines import LINE_END_HYPHEN
from ingest.readers.media import Media
from rag.types import MediaText

__all__ = ["ADVICE", "as_lines", "coverage_of_read", "read_label"]

ADVICE = "install Tesseract, or name a vision model (vision.model), and run the same command again"
_PARTED_WORD = re.compile(r"(?<=[^\W\d_])-\n(?=[^\W\d_A-Z])")
_MAX_TOLD = 5


def as_lines(text: str) -> str:
    """Return what was read off a page as PDFium would give it: a word parted at a line end carries its mark.

    >>> as_lines("a sym-\\nbol") == f"a sym{LINE_END_HYPHEN}bol"
    True
    """
    return _PARTED_WORD.sub(LINE_END_HYPHEN, text.replace("\r\n", "\n"))


def read_label(number: int, text: MediaText) -> str:
    """Return what a page is called that was read so: its words may have been misread, and a footnote should say so."""
    return f"page {number} (read by {text.reader.split(' ')[0]})"


def coverage_of_read(texts: Mapping[int, MediaText], n_pages: int, media: Media) -> Iterator[str]:
    """Yield what is to be said of pages that others were asked to read: ``texts`` by place, counted from 0."""
    readers: dict[str, int] = {}
    for text in texts.values():
        if text.text and text.reader:
            readers[text.reader] = readers.get(text.reader, 0) + 1
    for reader, n in readers.items():
        yield f"{n} of {n_pages} pages were read by {_by(reader)}"
    yield from _told([(place, text.refusal) for place, text in texts.items() if text.refusal], " was not read: ")
    yield from _told([(place, text.note) for place, text in texts.items() if text.note], ": ")
    if media.given_up:
        yield f"some pages were not read: {media.given_up}"


def _told(said: Sequence[tuple[int, str]], before: str) -> Iterator[str]:
    for place, reason in said[:_MAX_TOLD]:
        yield f"page {place + 1}{before}{reason}"
    if len(said) > _MAX_TOLD:
        yield f"{len(said) - _MAX_TOLD} more pages likewise"


def _by(reader: str) -> str:
    return f"OCR ({reader})" if reader.startswith("tesseract") else f"the model {reader}"
