"""HTML: what a reader sees, as paragraphs, headings, lists and tables; the only importer of selectolax."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import numpy as np

from ingest.normalise import normalise
from ingest.readers.draft import MAX_CAPTION
from ingest.readers.encoding import Decoded, decode
from ingest.readers.main_text import Choice, choose, is_unseen
from ingest.readers.reading import Reading, placed_table
from ingest.readers.table import is_header
from rag.types import Heading, Table

__all__ = ["LABELS", "read_html"]

_BLOCKS = frozenset(
    {
        *("html", "body", "main", "article", "section", "aside", "header", "footer", "nav", "search", "hgroup"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "p", "div", "pre", "blockquote", "center", "address", "hr", "figure"),
        *("figcaption", "ul", "ol", "menu", "dl", "dt", "dd", "table", "caption", "form", "fieldset", "details"),
        *("summary", "dialog"),
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_DATE_PUBLISHED = re.compile(r'"datePublished"\s*:\s*"([0-9][0-9T:.+Z -]{3,38})"')
_BLANKS = re.compile(r"[ \t\n\r\f]+")
# The names that pages give, and what browsers take them for (WHATWG Encoding Standard, section 4.2).
LABELS = {"gb2312": "gb18030", "gbk": "gb18030", "iso-8859-1": "cp1252", "us-ascii": "cp1252", "big5": "big5hkscs"}


def read_html(data: bytes, name: str, *, is_page: bool = True) -> Reading:
    """Read the visible text; of a page its main part, without what frames it: navigation, notices, lists of pages.

    ``is_page`` is False for HTML that frames nothing: the body of a mail, the chapter of a book. Hidden elements
    (``hidden``, ``aria-hidden``, ``display: none``) are left out: nobody who checks a citation could see them. Headings
    are h1 to h6; the title is the page's, else its first h1.
    """
    # Imported late: a run without HTML files does not need it.
    from selectolax.lexbor import LexborHTMLParser

    decoded = _decoded(data)
    tree = LexborHTMLParser(decoded.text)
    whole = Choice(() if tree.body is None else (tree.body,))
    writer = _Writer()
    writer.write(choose(tree) if is_page else whole)
    if not writer.has_text:
        writer.write(whole)
    normalised = normalise("".join(writer.pieces))
    headings = writer.headings(normalised.text, normalised.offsets)
    metadata = {"encoding": decoded.encoding} | _metadata(tree)
    named = tree.css_first("title")
    title = " ".join(named.text().split()) if named is not None else ""
    return Reading(
        normalised.text,
        "text/html",
        title=normalise(title).text or next((heading.title for heading in headings if heading.level == 1), ""),
        headings=headings,
        metadata=metadata,
        warnings=decoded.warnings if normalised.text else (*decoded.warnings, *_why_empty(tree)),
        tables=tuple(placed_table(table, normalised) for table in writer.tables),
    )


def _why_empty(tree: Any) -> tuple[str, ...]:
    scripts = tree.css("script:not([type*=json])")
    return ("no text: the page is written by a script in the browser, and scripts are not run",) if scripts else ()


def _decoded(data: bytes) -> Decoded:
    """Decode as the page says it is encoded where that holds; a byte-order mark and valid UTF-8 are stronger."""
    found = decode(data)
    declared = _CHARSET.search(data[:4096])
    if declared is None or found.encoding.startswith("utf"):
        return found
    label = declared[1].decode("ascii").lower()
    try:
        text = data.decode(LABELS.get(label, label))
    except (LookupError, UnicodeDecodeError):
        warning = f"the page says it is {label}, which does not hold; read as {found.encoding}"
        return Decoded(found.text, found.encoding, (*found.warnings, warning))
    return Decoded(text, LABELS.get(label, label))


def _metadata(tree: Any) -> dict[str, str]:
    """Return what the page says of itself: language, description, author, keywords, dates, its canonical address."""
    found = {}
    if tree.root is not None and (language := tree.root.attributes.get("lang")):
        found["language"] = language
    for meta in tree.css("meta[name][content]"):
        name, content = (meta.attributes.get("name") or "").lower(), meta.attributes.get("content") or ""
        if name in ("description", "author", "keywords", "date") and content.strip():
            found[name] = " ".join(content.split())
    if published := _published(tree):
        found["published"] = published
    if canonical := _canonical(tree):
        found["canonical"] = canonical
    return found


def _published(tree: Any) -> str:
    selectors = (
        "meta[property='article:published_time']",
        "meta[itemprop=datePublished]",
        "meta[name='dcterms.issued']",
    )
    for selector in selectors:
        meta = tree.css_first(selector)
        if meta is not None and (date := (meta.attributes.get("content") or "").strip()):
            return date[:40]
    for script in tree.css("script[type='application/ld+json']"):
        if date_found := _DATE_PUBLISHED.search(script.text() or ""):
            return date_found[1]
    return ""


def _canonical(tree: Any) -> str:
    """Return the address that the page gives as its own, if it is one; a relative one is completed by its base."""
    link, base = tree.css_first("link[rel=canonical][href]"), tree.css_first("base[href]")
    if link is None:
        return ""
    try:
        address = urljoin(
            (base.attributes.get("href") or "") if base else "", (link.attributes.get("href") or "").strip()
        )
    except ValueError:
        return ""
    return address if address.startswith(("http://", "https://")) else ""


@dataclass(slots=True)
class _OpenTable:
    """A table being written: where it begins, in characters and pieces, and its first rows as far as all are headers.

    A short caption belongs to its header.
    """

    start: int
    rows_start: int
    first_piece: int
    n_rows: int = 0
    n_header: int = 0
    header_end: int = 0


class _Writer:
    """Writes elements as text. Walks with a list instead of recursion: pages nest deeper than Python allows."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.has_text = False
        self.tables: list[Table] = []  # in the raw text
        self._table: _OpenTable | None = None
        self._n_chars = 0
        self._spans: list[tuple[int, int, int]] = []  # level, start, end of each heading in the raw text
        self._lists: list[int | None] = []  # the next number of each open list, None for bullets
        self._pre = 0
        self._cell = 0
        self._n_cells = 0
        self._layout: set[int] = set()
        self._pending = 0  # line feeds owed before the next text
        self._blank = False  # at least a space is owed
        self._fresh = False  # right after a mark: breaks are not written

    def headings(self, text: str, offsets: np.ndarray[Any, np.dtype[np.int32]]) -> tuple[Heading, ...]:
        """Return the headings at their places in the normalised text."""
        found = []
        for level, start, end in self._spans:
            first, last = np.searchsorted(offsets[:-1], (start, end))
            title = " ".join(text[first:last].split())
            if title:
                first += len(text[first:last]) - len(text[first:last].lstrip())
                found.append(Heading(level, title, int(first)))
        return tuple(found)

    def write(self, choice: Choice) -> None:
        """Write the chosen elements and all in them, but what is left out."""
        for root in choice.roots:
            self._write(root, choice.left_out)

    def _write(self, root: Any, left_out: frozenset[int]) -> None:
        self._layout = {table.mem_id for table in root.css("table") if _holds_table(table)}
        stack: list[tuple[Any, bool, int]] = [(root, False, 0)]
        while stack:
            node, leaving, mark = stack.pop()
            if leaving:
                self._leave(node, mark)
            elif node.is_text_node:
                self._text(node.text_content or "")
            elif node.is_element_node and node.mem_id not in left_out and not is_unseen(node):
                stack.append((node, True, self._enter(node)))
                child = node.last_child
                while child is not None:
                    stack.append((child, False, 0))
                    child = child.prev

    def _break(self, n_lines: int) -> None:
        """Ask for line feeds before the next text; inside a table cell for a space."""
        if not self._fresh:
            self._pending = max(self._pending, 0 if self._cell else min(n_lines, 1 if self._lists else 2))
            self._blank = True

    def _put(self, piece: str) -> None:
        if self._pending:
            piece = "\n" * self._pending + piece
        elif self._blank and self.pieces and not self._fresh:
            piece = " " + piece
        self.pieces.append(piece)
        self._n_chars += len(piece)
        self._pending, self._blank, self._fresh = 0, False, False

    def _mark(self, piece: str) -> None:
        """Write a list or cell mark; what follows stands on its line."""
        self._put(piece)
        self._fresh = True

    def _text(self, text: str) -> None:
        if not self._pre:
            text = _BLANKS.sub(" ", text)
            if self._pending or self._blank or self._fresh:
                text = text.lstrip(" ")
        if text:
            self._put(text)
            self.has_text = self.has_text or bool(text.strip())

    def _enter(self, node: Any) -> int:
        """Write what stands before an element; return where it begins."""
        tag = node.tag
        if tag == "br":
            self._break(1)
        elif tag == "li":
            self._enter_item()
        elif tag == "tr" and not self._is_layout(node):
            self._break(1)
            self._n_cells = 0
        elif tag in ("td", "th"):
            self._enter_cell(node)
        elif tag in _BLOCKS:
            self._break(2)
        if tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
        if tag == "table" and node.mem_id not in self._layout:
            self._table = _OpenTable(self._n_chars, self._n_chars, len(self.pieces))
        self._pre += tag == "pre"
        return self._n_chars

    def _enter_item(self) -> None:
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number + 1
        self._fresh = False
        self._break(1)
        self._mark("  " * (len(self._lists) - 1) + ("- " if number is None else f"{number}. "))

    def _enter_cell(self, node: Any) -> None:
        if self._is_layout(node):
            self._break(1)
            return
        if self._n_cells:
            self._blank = False
            self._mark(" | ")
        self._n_cells += 1
        self._cell += 1

    def _leave(self, node: Any, start: int) -> None:
        tag = node.tag
        if tag in _HEADINGS:
            self._spans.append((_HEADINGS[tag], start, self._n_chars))
        self._pre -= tag == "pre"
        if tag in ("ul", "ol"):
            self._lists.pop()
        if tag in ("td", "th") and not self._is_layout(node):
            self._cell -= 1
        elif tag == "tr":
            self._fresh = False
            self._break(1)
            self._leave_row(node, start)
        elif tag in _BLOCKS:
            self._break(2)
        if tag == "caption":
            self._leave_caption(start)
        elif tag == "table":
            self._leave_table()

    def _leave_caption(self, start: int) -> None:
        table = self._table
        if table is not None and not table.n_rows:
            is_short = self._n_chars - start <= MAX_CAPTION
            table.start, table.rows_start = start if is_short else self._n_chars, self._n_chars
            table.header_end, table.first_piece = self._n_chars, len(self.pieces)

    def _leave_row(self, row: Any, start: int) -> None:
        table = self._table
        if table is None or self._n_chars == start:
            return
        if table.n_header == table.n_rows and _is_header(row):
            table.n_header += 1
            table.header_end = self._n_chars
        table.n_rows += 1

    def _leave_table(self) -> None:
        table, self._table = self._table, None
        if table is None or not table.n_rows:
            return
        end = self._n_chars
        header_end = max(table.header_end, table.start) if table.n_header < table.n_rows else table.rows_start
        if not table.n_header:
            written = "".join(self.pieces[table.first_piece :])
            rows = written.strip("\n").split("\n", 2)
            if is_header([row.split(" | ") for row in rows]):
                header_end = table.rows_start + written.index(rows[0]) + len(rows[0])
        self.tables.append(Table(table.start, end, table.start, header_end))

    def _is_layout(self, node: Any) -> bool:
        """Tell whether the row or cell belongs to a table that holds another: such tables only place things."""
        while node is not None and node.tag != "table":
            node = node.parent
        return node is None or node.mem_id in self._layout


def _is_header(row: Any) -> bool:
    """Tell whether a row is marked as one of names: in the head of its table, or of nothing but header cells."""
    cells = [cell.tag for cell in row.iter() if cell.tag in ("td", "th")]
    return row.parent.tag == "thead" or (bool(cells) and "td" not in cells)


def _holds_table(table: Any) -> bool:
    return len(table.css("table")) > 1
