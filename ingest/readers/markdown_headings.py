"""The headings of Markdown: from its lines where these cannot mislead, else by markdown-it, imported only here."""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING

from rag.types import Heading

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["headings_of"]

_ANCHOR = re.compile(r"\s*\{#[^}]*\}\s*$")

# What makes a line with a hash no heading, or another line one: HTML, an underline, and headings, fences and HTML that
# are indented or stand in a list or a quotation. Code by indentation begins with a blank, so none of it looks plain.
# subtle: with the line feed first, ``re`` skips from line to line.
_MISLEADING = re.compile(
    r"\n(?: {0,3}<[A-Za-z/!?]"
    r"|(?<![\n]\n) {0,3}(?:=+|-+)[ \t]*(?![^\n])"
    r"|[ \t>*+\-\d.)]+(?:#{1,6}(?![^ \t\n])|```|~~~|<[A-Za-z/!?]))"
)
_LINE = re.compile(r"\n(?:(#{1,6})(?![^ \t\n])([^\n]*)|(`{3,})[^`\n]*(?![^\n])|(~{3,})[^\n]*)")
_CLOSING = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_MARKED_UP = re.compile(r"[\\`*_\[\]!<&\n]")  # what may be more than text within a line


def headings_of(text: str, start: int = 0) -> tuple[Heading, ...]:
    """Return the headings of the Markdown that begins at ``start``: ATX and setext ones, outside code and HTML."""
    lines = "\n" + text[start:]
    found = _by_parser(text, start) if _MISLEADING.search(lines) else _by_lines(lines, start)
    return tuple(heading for heading in found if heading.title)


def _by_lines(lines: str, start: int) -> list[Heading]:
    """Return the headings of a text in which every line that begins with hashes is one, unless it is in a fence.

    ``lines`` has a line feed before the first line, which is at ``start``.
    """
    found: list[Heading] = []
    fence = ""
    for match in _LINE.finditer(lines):
        hashes, content, ticks, tildes = match.groups()
        if fence:
            mark = ticks or tildes or ""
            if mark.startswith(fence) and not match[0][1 + len(mark) :].strip():
                fence = ""
        elif hashes:
            found.append(Heading(len(hashes), _title(_CLOSING.sub("", content.strip(" \t"))), start + match.start()))
        else:
            fence = ticks or tildes
    return found


def _by_parser(text: str, start: int) -> list[Heading]:
    line_starts = [start, *(match.end() for match in re.compile("\n").finditer(text, start))]
    found: list[Heading] = []
    for opening, content in itertools.pairwise(_parser(only_blocks=True).parse(text[start:])):
        if opening.type == "heading_open" and opening.map is not None:
            found.append(Heading(int(opening.tag[1:]), _title(content.content), line_starts[opening.map[0]]))
    return found


def _title(content: str) -> str:
    """Return what is read of a heading: its text without emphasis, links and the like, and without its anchor."""
    content = _ANCHOR.sub("", content)
    if not _MARKED_UP.search(content):
        return content.strip()
    parts = _parser(only_blocks=False).parseInline(content)[0].children or []
    return "".join(" " if part.type in ("softbreak", "hardbreak") else part.content for part in parts).strip()


@functools.cache
def _parser(*, only_blocks: bool) -> MarkdownIt:
    # Imported late: a run without Markdown files does not need it. Made once: that takes longer than most texts do.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    if only_blocks:
        parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
