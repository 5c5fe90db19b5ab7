"""E-books in EPUB: the chapters in reading order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from ingest.readers.draft import Draft
from ingest.readers.html import read_html
from ingest.readers.packages import Package, open_package
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError

__all__ = ["read_epub"]

_CONTAINER = "META-INF/container.xml"
_OPF = "{http://www.idpf.org/2007/opf}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_ROOT_FILE = "{urn:oasis:names:tc:opendocument:xmlns:container}rootfile"
_CIPHER = "{http://www.w3.org/2001/04/xmlenc#}CipherReference"
_PAGES = ("application/xhtml+xml", "text/html")


def read_epub(data: bytes, name: str) -> Reading:
    """Read an e-book: the text of its chapters in reading order with their headings, without the table of contents."""
    package = open_package(data, name, part=_CONTAINER)
    root = next((found.get("full-path") for found in package.xml(_CONTAINER).iter(_ROOT_FILE)), None)
    if not root:
        raise DocumentReadError(f"cannot read {name!r}: it names no book inside; it is damaged, get it again")
    book = package.xml(root)
    chapters = _chapters(book.iter(f"{_OPF}item"), book.iter(f"{_OPF}itemref"), folder=posixpath.dirname(root))
    if _locked(package).intersection(chapters):
        raise DocumentReadError(
            f"cannot read {name!r}: its chapters are encrypted (a digital rights lock); ingest a copy without one"
        )
    draft = Draft()
    missing = [chapter for chapter in chapters if chapter not in package.members]
    for chapter in chapters:
        if chapter in package.members:
            draft.include(read_html(package.read(chapter), chapter, is_page=False))
    facts = {field: _first(book, field) for field in ("title", "creator", "language", "date", "publisher")}
    title = facts.pop("title")
    metadata = {"author" if field == "creator" else field: value for field, value in facts.items()}
    warnings = (f"{len(missing)} chapters are not in the file: {', '.join(missing)[:200]}",) if missing else ()
    return draft.reading("application/epub+zip", title=title, metadata=metadata, warnings=warnings)


def _chapters(items: Iterable[Element], references: Iterable[Element], *, folder: str) -> list[str]:
    """Return the members that the book is read through, in order."""
    paths = {}
    for item in items:
        is_contents = "nav" in (item.get("properties") or "").split()
        reference = item.get("href")
        if item.get("media-type") in _PAGES and not is_contents and reference:
            path = posixpath.normpath(posixpath.join(folder, unquote(reference.partition("#")[0])))
            paths[item.get("id")] = path
    wanted = [entry.get("idref") for entry in references]
    return list(dict.fromkeys(paths[identity] for identity in wanted if identity in paths))


def _locked(package: Package) -> set[str]:
    member = "META-INF/encryption.xml"
    if member not in package.members:
        return set()
    return {unquote(reference.get("URI") or "") for reference in package.xml(member).iter(_CIPHER)}


def _first(book: Element, field: str) -> str:
    found = book.find(f".//{_DC}{field}")
    return "" if found is None else "".join(found.itertext()).strip()
