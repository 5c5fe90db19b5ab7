"""reStructuredText, AsciiDoc, Org and LaTeX: the source stays, its headings are found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ingest.readers.encoding import decode
from ingest.readers.markup_tables import asciidoc_tables, latex_tables, org_tables, rst_tables
from ingest.readers.reading import Reading, normalised_text
from rag.types import Heading, Table

__all__ = ["read_asciidoc", "read_latex", "read_org", "read_rst"]

_RST = re.compile(r"^(?:(?P<over>([^\w\s])\2{1,})\n)?(?P<title>[^\n]+)\n(?P<under>([^\w\s])\5{1,})$", re.MULTILINE)
_ASCIIDOC = re.compile(
    r"^(?P<block>(?:-{4,}|\.{4,}|`{3,}|/{4,}))$|^(?P<marks>={1,6})[ ](?P<title>\S[^\n]*)$", re.MULTILINE
)
_ORG = re.compile(r"^(?P<marks>\*+)[ ](?:TODO |DONE )?(?P<title>\S[^\n]*?)(?:[ ]+:[\w:@]+:)?$", re.MULTILINE)
_LATEX = re.compile(
    r"^[^%\n]*?\\(?P<kind>title|part|chapter|section|subsection|subsubsection|paragraph)\*?"
    r"(?:\[[^\]\n]*\])?\{(?P<title>(?:[^{}]|\{(?:[^{}]|\{[^{}]{0,99}\}){0,99}\}){0,300})\}",
    re.MULTILINE,
)
_LATEX_LEVELS = {"title": 0, "part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_COMMAND = re.compile(r"\\[A-Za-z]+\*?[ ]?|[{}~$]")


def read_rst(data: bytes, name: str) -> Reading:
    """Read reStructuredText. The text is the source; headings are the underlined lines."""
    return _reading(data, "text/x-rst", _rst_headings, rst_tables)


def read_asciidoc(data: bytes, name: str) -> Reading:
    """Read AsciiDoc. The text is the source; headings are the lines after equals signs, outside blocks."""
    return _reading(data, "text/asciidoc", _asciidoc_headings, asciidoc_tables)


def read_org(data: bytes, name: str) -> Reading:
    """Read Org. The text is the source; headings are the lines after stars."""
    return _reading(data, "text/org", _org_headings, org_tables)


def read_latex(data: bytes, name: str) -> Reading:
    """Read LaTeX. The text is the source; headings are its parts, chapters and sections."""
    return _reading(data, "application/x-tex", _latex_headings, latex_tables)


def _reading(
    data: bytes,
    media_type: str,
    find: Callable[[str], Iterator[Heading]],
    find_tables: Callable[[str], tuple[Table, ...]],
) -> Reading:
    decoded = decode(data)
    text, warnings = normalised_text(decoded.text)
    found = list(find(text))
    title = next((heading.title for heading in found if heading.level <= 1), "")
    return Reading(
        text,
        media_type,
        title=title,
        headings=tuple(heading for heading in found if heading.level > 0),
        metadata={"encoding": decoded.encoding},
        warnings=(*decoded.warnings, *warnings),
        tables=find_tables(text),
    )


def _rst_headings(text: str) -> Iterator[Heading]:
    """Yield the headings; levels are in the order in which the kinds of lines first come, as the format has it."""
    levels: dict[tuple[str, bool], int] = {}
    for match in _RST.finditer(text):
        title, under, over = match["title"], match["under"], match["over"]
        is_framed = over is not None and over[0] == under[0]
        if title.strip() and (is_framed or (len(under) >= len(title) and title[0] != " ")):
            level = levels.setdefault((under[0], is_framed), len(levels) + 1)
            yield Heading(level, title.strip(), match.start("title"))


def _asciidoc_headings(text: str) -> Iterator[Heading]:
    block = None
    for match in _ASCIIDOC.finditer(text):
        if match["block"]:
            block = None if block == match["block"] else block or match["block"]
        elif block is None:
            yield Heading(len(match["marks"]), match["title"], match.start())


def _org_headings(text: str) -> Iterator[Heading]:
    for match in _ORG.finditer(text):
        yield Heading(len(match["marks"]), match["title"], match.start())


def _latex_headings(text: str) -> Iterator[Heading]:
    for match in _LATEX.finditer(text):
        title = " ".join(_COMMAND.sub(" ", match["title"]).split())
        if title:
            yield Heading(_LATEX_LEVELS[match["kind"]], title, match.start())
