"""Plain text in any encoding."""

from __future__ import annotations

from ingest.readers.encoding import decode
from ingest.readers.reading import Reading, normalised_text

__all__ = ["read_text"]


def read_text(data: bytes, name: str) -> Reading:
    """Read plain text; the encoding found stands in the metadata."""
    decoded = decode(data)
    text, warnings = normalised_text(decoded.text)
    return Reading(text, "text/plain", metadata={"encoding": decoded.encoding}, warnings=(*decoded.warnings, *warnings))
