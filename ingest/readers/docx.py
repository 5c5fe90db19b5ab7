"""Word documents; the only importer of python-docx.

The XML is walked here: python-docx's own paragraph text leaves out insertions that are not yet accepted, text boxes,
equations and content controls. What a reader of the page does not see is left out: deletions, hidden runs, field codes.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ingest.readers.draft import Draft, one_line
from ingest.readers.packages import open_package
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError

__all__ = ["read_docx"]

_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_UNSEEN = frozenset({f"{_W}del", f"{_W}moveFrom", f"{_W}rPr", f"{_W}pPr", f"{_W}txbxContent", _FALLBACK})
_MARKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_FIGURE = re.compile(r"\s*(?:fig|图|圖)", re.IGNORECASE)
_OFF = ("0", "false", "off")


def read_docx(data: bytes, name: str) -> Reading:
    """Read a Word document: headings, paragraphs, lists, tables, notes and comments; not headers and footers."""
    # Imported late: with lxml it takes longer to load than most documents to read.
    import docx

    package = open_package(data, name, part="word/document.xml")
    try:
        document = docx.Document(io.BytesIO(data))
    except (ValueError, KeyError, SyntaxError) as error:  # lxml's errors are SyntaxErrors
        raise DocumentReadError(
            f"cannot read {name!r}: it is not a whole Word document ({error}); open it and save it again"
        ) from error
    writer = _Writer(document)
    writer.write(document.element.body)
    writer.write_comments(document.comments)
    facts = package.office_facts()
    title = facts.pop("title", "")
    return writer.draft.reading(
        _MEDIA_TYPE, title=writer.title if title in ("", "Word Document") else title, metadata=facts
    )


class _Writer:
    """Writes the body's blocks to a draft."""

    def __init__(self, document: Any) -> None:
        self.draft = Draft()
        self.title = ""
        self._levels, self._titles = _heading_styles(document)
        self._style_lists = _list_styles(document)
        self._formats = _number_formats(document)
        self._notes = {**_notes(document, "footnote"), **_notes(document, "endnote")}
        self._counts: Counter[tuple[str, int]] = Counter()
        self._in_list = False
        self._captioned = False  # whether the last block was a caption
        self._captions = {identity for identity, named in _style_names(document) if named.lower() == "caption"}

    def write(self, body: Any) -> None:
        """Write paragraphs and tables; content controls and text boxes are looked into."""
        stack = [body]
        while stack:
            element = stack.pop()
            if element.tag == f"{_W}p":
                self._paragraph(element)
                stack += reversed(_text_boxes(element))
            elif element.tag == f"{_W}tbl":
                self._table(element)
            elif element.tag not in _UNSEEN or element.tag == f"{_W}txbxContent":
                stack += reversed(list(element))

    def write_comments(self, comments: Any) -> None:
        """Write the comments in the margin, with their authors, at the end."""
        lines = [(comment.author, one_line(comment.text)) for comment in comments]
        for place, (author, text) in enumerate(line for line in lines if line[1]):
            if place == 0:
                self.draft.heading(1, "Comments")
            self.draft.add(f"{author}: {text}" if author else text)

    def _paragraph(self, element: Any) -> None:
        text = _text(element)
        style = _value(element, "pPr/pStyle") or ""
        level = self._levels.get(style)
        outline = _value(element, "pPr/outlineLvl")
        if outline is not None and outline.isdigit() and int(outline) < 9:
            level = int(outline) + 1
        if style in self._titles and not self.title:
            self.title = one_line(text)
        if level is not None and text.strip():
            self.draft.heading(level, text)
            self._in_list = False
        elif text.strip():
            mark = self._mark(element, style)
            self.draft.add(mark + text, gap="\n" if mark and self._in_list else "\n\n")
            self._in_list = bool(mark)
        if text.strip():  # that of a figure stands below it, and perhaps above a table by chance
            self._captioned = style in self._captions and not _FIGURE.match(text)
        for note in (*element.iter(f"{_W}footnoteReference"), *element.iter(f"{_W}endnoteReference")):
            kind = "footnote" if note.tag.endswith("footnoteReference") else "endnote"
            number = note.get(f"{_W}id")
            if words := self._notes.get((kind, number)):
                self.draft.add(f"{kind.capitalize()} {number}: {words}")
                self._in_list = self._captioned = False

    def _mark(self, element: Any, style: str) -> str:
        """Return the bullet or number before a list item, "" for what is none."""
        number = _value(element, "pPr/numPr/numId") or self._style_lists.get(style)
        if number in (None, "0"):
            return ""
        depth = _value(element, "pPr/numPr/ilvl") or "0"
        level = int(depth) if depth.isdigit() else 0
        indent = "  " * min(level, 8)
        if self._formats.get((str(number), level), "bullet") in ("bullet", "none"):
            return f"{indent}- "
        self._counts[str(number), level] += 1
        for counted in list(self._counts):
            if counted[0] == number and counted[1] > level:
                del self._counts[counted]
        return f"{indent}{self._counts[str(number), level]}. "

    def _table(self, element: Any) -> None:
        lines = list(_children(element, f"{_W}tr"))
        rows = [[_cell(cell) for cell in _children(line, f"{_W}tc")] for line in lines]
        n_header = sum(1 for _ in itertools.takewhile(_is_header, lines))
        self.draft.table(rows, n_header=n_header, captioned=self._captioned)
        self._in_list = self._captioned = False


def _text(paragraph: Any) -> str:
    """Return the visible text of a paragraph, without that of text boxes in it."""
    pieces: list[str] = []
    stack = [paragraph]
    while stack:
        element = stack.pop()
        if element.tag in (f"{_W}t", _MATH_TEXT):
            pieces.append(element.text or "")
        elif element.tag in _MARKS:
            pieces.append(_MARKS[element.tag])
        elif element.tag not in _UNSEEN and not (element.tag == f"{_W}r" and _is_hidden(element)):
            stack += reversed(list(element))
    return "".join(pieces)


def _cell(cell: Any) -> str:
    return one_line(" ".join(_text(paragraph) for paragraph in cell.iter(f"{_W}p")))


def _is_header(row: Any) -> bool:
    """Tell whether a row is marked to be repeated on each page."""
    return _is_on(row.find(f"{_W}trPr/{_W}tblHeader"))


def _is_hidden(run: Any) -> bool:
    return _is_on(run.find(f"{_W}rPr/{_W}vanish"))


def _is_on(mark: Any) -> bool:
    return mark is not None and mark.get(f"{_W}val", "1") not in _OFF


def _text_boxes(paragraph: Any) -> list[Any]:
    boxes = paragraph.iter(f"{_W}txbxContent")
    return [box for box in boxes if not any(True for _ in box.iterancestors(_FALLBACK))]


def _children(element: Any, tag: str) -> Iterator[Any]:
    """Yield the children of a tag, also those wrapped in a content control."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag == f"{_W}sdt":
            yield from child.iterfind(f"{_W}sdtContent/{tag}")


def _value(element: Any, path: str) -> str | None:
    found = element.find("/".join(f"{_W}{step}" for step in path.split("/")))
    value = None if found is None else found.get(f"{_W}val")
    return None if value is None else str(value)


def _heading_styles(document: Any) -> tuple[dict[str, int], set[str]]:
    """Return the level of each style that makes a heading, by the style's id, and the ids of the title's style."""
    levels: dict[str, int] = {}
    titles = set()
    for style in document.styles.element.iterfind(f"{_W}style"):
        identity, named = style.get(f"{_W}styleId") or "", _value(style, "name") or ""
        outline = _value(style, "pPr/outlineLvl")
        if match := _HEADING.fullmatch(named):
            levels[identity] = int(match[1])
        elif named.lower() == "title":
            levels[identity] = 1
            titles.add(identity)
        elif outline is not None and outline.isdigit() and int(outline) < 9:
            levels[identity] = int(outline) + 1
    return levels, titles


def _style_names(document: Any) -> Iterator[tuple[str, str]]:
    for style in document.styles.element.iterfind(f"{_W}style"):
        yield style.get(f"{_W}styleId") or "", _value(style, "name") or ""


def _list_styles(document: Any) -> dict[str, str]:
    styles = document.styles.element.iterfind(f"{_W}style")
    found = {style.get(f"{_W}styleId") or "": _value(style, "pPr/numPr/numId") for style in styles}
    return {identity: number for identity, number in found.items() if number is not None}


def _number_formats(document: Any) -> dict[tuple[str, int], str]:
    """Return how each level of each list is numbered ("bullet", "decimal", ...), by the list's number."""
    root = _related(document, "/numbering")
    if root is None:
        return {}
    abstract = {}
    for definition in root.iterfind(f"{_W}abstractNum"):
        abstract[definition.get(f"{_W}abstractNumId")] = [
            _value(level, "numFmt") or "decimal" for level in definition.iterfind(f"{_W}lvl")
        ]
    return {
        (str(number.get(f"{_W}numId")), level): kind
        for number in root.iterfind(f"{_W}num")
        for level, kind in enumerate(abstract.get(_value(number, "abstractNumId"), ()))
    }


def _notes(document: Any, kind: str) -> dict[tuple[str, str], str]:
    root = _related(document, f"/{kind}s")
    if root is None:
        return {}
    notes = {(kind, note.get(f"{_W}id")): _cell(note) for note in root.iterfind(f"{_W}{kind}")}
    return {number: words for number, words in notes.items() if words}


def _related(document: Any, ending: str) -> Any:
    """Return the root of a part beside the document, None where there is none."""
    from docx.oxml import parse_xml

    for relation in document.part.rels.values():
        if relation.reltype.endswith(ending) and not relation.is_external:
            return parse_xml(relation.target_part.blob)
    return None
