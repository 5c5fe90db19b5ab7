"""Markdown: the source text stays, its headings are found."""

from __future__ import annotations

import re

from ingest.readers.encoding import decode
from ingest.readers.markdown_headings import headings_of
from ingest.readers.reading import Reading, normalised_text

__all__ = ["read_markdown"]

_FRONT_MATTER = re.compile(r"---\n(.*?)^(?:---|\.\.\.)$\n?", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^([A-Za-z][\w-]*):[ ]+(\S.*)$", re.MULTILINE)
# An embedded image is a megabyte of letters that say nothing to a reader; 100 leaves examples in prose alone.
_EMBEDDED = re.compile(r"(data:[\w.+-]+/[\w.+-]+;base64,)[A-Za-z0-9+/=]{100,}")


def read_markdown(data: bytes, name: str) -> Reading:
    """Read Markdown. The text is the source, normalised; only the bytes of embedded images are left out.

    Headings are ATX and setext ones outside code. Front matter between ``---`` lines stays in the text; its plain
    ``key: value`` lines are metadata. The title is that of the front matter, else the first heading of level 1.
    """
    decoded = decode(data)
    raw, n_embedded = _EMBEDDED.subn(r"\1", decoded.text)
    text, warnings = normalised_text(raw)
    if n_embedded:
        warnings = (*warnings, f"{n_embedded} embedded images were left out")
    metadata = {"encoding": decoded.encoding}
    front_matter = _FRONT_MATTER.match(text)
    if front_matter:
        metadata |= {key.lower(): value.strip("\"' ") for key, value in _FIELD.findall(front_matter[1])}
    headings = headings_of(text, front_matter.end() if front_matter else 0)
    first = next((heading.title for heading in headings if heading.level == 1), "")
    return Reading(
        text,
        "text/markdown",
        title=metadata.get("title", first),
        headings=headings,
        metadata=metadata,
        warnings=(*decoded.warnings, *warnings),
    )
