"""A second opinion on PDF pages that PDFium finds empty or cannot load; the only importer of pypdf.

pypdf is pure Python and slow, and single pages can keep it busy for minutes, so it is asked about few and small pages,
and no longer than some seconds: pages on which PDFium found nothing are scans as a rule, and pypdf finds nothing there
either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from io import BytesIO
from typing import Any

__all__ = ["second_opinion"]

_MAX_PAGES = 20
_MAX_SECONDS = 5.0  # looked at between pages
_MAX_CONTENT_BYTES = 1_000_000  # of one page's raw content streams


def second_opinion(data: bytes, places: Sequence[int] | None) -> dict[int, str]:
    """Return the text of those pages (counted from 0; None: all) that have any by pypdf; the first 20 are tried.

    A page or a file that pypdf cannot read has no text: the caller already knows that something is wrong with it.
    """
    # Imported late: few files need it, and it takes longer to load than most take to read.
    from pypdf import PdfReader

    logging.getLogger("pypdf").addHandler(logging.NullHandler())  # its remarks on odd files are not for the terminal
    found: dict[int, str] = {}
    deadline = time.monotonic() + _MAX_SECONDS
    try:
        pages = PdfReader(BytesIO(data), strict=False).pages
        tried = range(len(pages)) if places is None else [place for place in places if place < len(pages)]
        for place in tried[:_MAX_PAGES]:
            if time.monotonic() > deadline:
                break
            if (text := _text(pages[place])).strip():
                found[place] = text
    except Exception:  # strangers' bytes can raise anything
        return found
    return found


def _text(page: Any) -> str:
    """Return the text of a page that has fonts and is small enough to try."""
    try:
        resources = page.get("/Resources")
        fonts = resources.get_object().get("/Font") if resources is not None else None
        contents = page.get("/Contents")
        if not fonts or contents is None:
            return ""
        streams = contents.get_object()
        parts = streams if isinstance(streams, list) else [streams]
        size = sum(len(getattr(part.get_object(), "_data", b"")) for part in parts)
        return str(page.extract_text()) if size <= _MAX_CONTENT_BYTES else ""
    except Exception:  # strangers' bytes can raise anything
        return ""
