"""Rich text; the only importer of striprtf."""

from __future__ import annotations

import codecs
import re

from ingest.readers.draft import Draft
from ingest.readers.reading import Reading

__all__ = ["read_rtf"]

_CODE_PAGE = re.compile(rb"\\ansicpg(\d{3,5})")
_TITLE = re.compile(r"\{\\title\s+([^{}\\]+)\}")
_USUAL = "cp1252"


def read_rtf(data: bytes, name: str) -> Reading:
    """Read rich text: its paragraphs and tables, without pictures."""
    # Imported late: few folders hold rich text.
    from striprtf.striprtf import rtf_to_text

    declared = _CODE_PAGE.search(data[:4096])
    encoding = f"cp{int(declared[1])}" if declared else _USUAL
    try:
        codecs.lookup(encoding)
    except LookupError:
        encoding = "utf-8" if encoding == "cp65001" else _USUAL
    source = data.rstrip(b"\0").decode(encoding, "replace")
    title = _TITLE.search(source[:8192])
    draft = Draft()
    text: str = rtf_to_text(source, encoding=encoding, errors="replace")  # type: ignore[no-untyped-call]
    draft.add(text.strip())
    return draft.reading("application/rtf", title=title[1] if title else "")
