"""OpenDocument texts: what LibreOffice writes."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ingest.readers.draft import Draft, one_line
from ingest.readers.packages import open_package
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError

__all__ = ["read_odt"]

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_UNSEEN = frozenset({f"{_TEXT}tracked-changes", f"{_TEXT}note", f"{_OFFICE}annotation", f"{_OFFICE}forms"})
_MAX_SPACES = 100


def read_odt(data: bytes, name: str) -> Reading:
    """Read an OpenDocument text: headings, paragraphs, lists, tables and notes; no headers, footers, or deletions."""
    package = open_package(data, name, part="content.xml")
    body = package.xml("content.xml").find(f"{_OFFICE}body/{_OFFICE}text")
    if body is None:
        raise DocumentReadError(
            f"cannot read {name!r}: it is an OpenDocument file, but no text; give it the ending of what it is"
        )
    writer = _Writer()
    writer.write(body)
    facts = {}
    if "meta.xml" in package.members:
        meta = package.xml("meta.xml")
        for field in ("title", "creator", "subject", "date", "language"):
            found = meta.find(f".//{_DC}{field}")
            facts[field] = (found.text or "") if found is not None else ""
    title = facts.pop("title", "")
    metadata = {"author" if field == "creator" else field: value for field, value in facts.items()}
    return writer.draft.reading("application/vnd.oasis.opendocument.text", title=title, metadata=metadata)


class _Writer:
    def __init__(self) -> None:
        self.draft = Draft()
        self._in_list = False

    def write(self, body: Element) -> None:
        """Write the blocks of the body; depth is that of the lists around."""
        stack: list[tuple[Element, int]] = [(body, 0)]
        while stack:
            element, depth = stack.pop()
            if element.tag == f"{_TEXT}h":
                level = element.get(f"{_TEXT}outline-level", "1")
                self.draft.heading(int(level) if level.isdigit() else 1, _text(element))
                self._in_list = False
            elif element.tag == f"{_TEXT}p":
                self._paragraph(element, depth)
            elif element.tag == f"{_TABLE}table":
                self._table(element)
            elif element.tag not in _UNSEEN:
                inner = depth + (element.tag == f"{_TEXT}list")
                stack += [(child, inner) for child in reversed(element)]

    def _paragraph(self, element: Element, depth: int) -> None:
        text = _text(element)
        if text.strip():
            mark = "  " * (min(depth, 9) - 1) + "- " if depth else ""
            self.draft.add(mark + text, gap="\n" if mark and self._in_list else "\n\n")
            self._in_list = bool(mark)
        for note in element.iter(f"{_TEXT}note"):
            citation, words = note.find(f"{_TEXT}note-citation"), note.find(f"{_TEXT}note-body")
            number = (citation.text or "") if citation is not None else ""
            if words is not None:
                self.draft.add(f"Footnote {number}: {one_line(' '.join(words.itertext()))}")
                self._in_list = False

    def _table(self, table: Element) -> None:
        marked = table.find(f"{_TABLE}table-header-rows")
        n_header = 0 if marked is None else len(marked.findall(f"{_TABLE}table-row"))
        self.draft.table([_cells(row) for row in table.iter(f"{_TABLE}table-row")], n_header=n_header)
        self._in_list = False


def _cells(row: Element) -> list[str]:
    """Return the text of each cell, without empty ones at the end."""
    cells = [
        one_line(" ".join(_text(paragraph) for paragraph in cell.iter(f"{_TEXT}p")))
        for cell in row.iterfind(f"{_TABLE}table-cell")
    ]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _text(paragraph: Element) -> str:
    """Return the text of a paragraph, without notes."""
    pieces: list[str] = []
    stack: list[Element | str] = [paragraph]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            pieces.append(item)
            continue
        if item.tag == f"{_TEXT}s":
            n_spaces = item.get(f"{_TEXT}c", "1")
            pieces.append(" " * min(int(n_spaces) if n_spaces.isdigit() else 1, _MAX_SPACES))
        elif item.tag == f"{_TEXT}tab":
            pieces.append("\t")
        elif item.tag == f"{_TEXT}line-break":
            pieces.append("\n")
        elif item.tag not in _UNSEEN:
            for child in reversed(item):
                # The file's own line ends are blanks: a real one is an element.
                stack += [child.tail.replace("\n", " ") if child.tail else "", child]
            pieces.append((item.text or "").replace("\n", " "))
    return "".join(pieces)
