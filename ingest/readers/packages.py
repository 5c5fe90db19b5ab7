"""ZIP packages (Office, OpenDocument, EPUB): opened only within limits, and XML without a document type.

Nothing is unpacked to disk. The sizes that a ZIP directory tells are binding: ``zipfile`` never returns more of a
member than its directory says, so they can be judged before anything is unpacked.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree

from rag.errors import DocumentReadError

__all__ = ["Package", "may_unfold_to", "open_package"]

_MB = 1024 * 1024
_ALLOWED_BYTES = 64 * _MB
"""What any package may unfold to; a large one to more, in proportion to its size."""
_MAX_BYTES = 1024 * _MB
_MAX_RATIO = 100
"""Sheets of like rows are packed 20 to 50 times; a bomb 1,000 times."""
_MAX_MEMBERS = 20_000
_PROLOG_BYTES = 64 * 1024
_CORE = "docProps/core.xml"
_DC = "{http://purl.org/dc/elements/1.1/}"
_TERMS = "{http://purl.org/dc/terms/}"
_FACTS = {
    "title": f"{_DC}title",
    "author": f"{_DC}creator",
    "subject": f"{_DC}subject",
    "keywords": "{http://schemas.openxmlformats.org/package/2006/metadata/core-properties}keywords",
    "created": f"{_TERMS}created",
    "modified": f"{_TERMS}modified",
}
_ROOT = re.compile(rb"<[A-Za-z_]")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)


def may_unfold_to(n_bytes: int, *, at_most: int = _MAX_BYTES) -> int:
    """Return how many bytes a packed file of ``n_bytes`` may hold; ``at_most`` is for what is not held in memory."""
    return min(max(_ALLOWED_BYTES, _MAX_RATIO * n_bytes), at_most)


class Package:
    """An open package. ``name`` is the document's, for errors."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._name = name
        self.members = frozenset(archive.namelist())

    def read(self, member: str) -> bytes:
        """Return a member's bytes. Raises DocumentReadError where it is absent or damaged."""
        if member not in self.members:
            raise DocumentReadError(
                f"cannot read {self._name!r}: {member!r} is not in it; it is damaged or not what its name says, open "
                "it and save it again"
            )
        try:
            return self._archive.read(member)
        except _DAMAGED as error:
            raise _damaged(self._name, error) from error

    def xml(self, member: str) -> ElementTree.Element:
        """Return the root of a member that is XML. Raises DocumentReadError for what is not, or has a DTD."""
        data = self.read(member)
        _refuse_document_type(data, self._name, member)
        try:
            return ElementTree.fromstring(data)
        except ElementTree.ParseError as error:
            raise _damaged(self._name, f"{member}: {error}") from error

    def office_facts(self) -> dict[str, str]:
        """Return what an Office package says of itself: title, author, subject, keywords, created, modified.

        Read here, for the libraries put the present moment where a file is silent.
        """
        if _CORE not in self.members:
            return {}
        root = self.xml(_CORE)
        found = {name: root.find(tag) for name, tag in _FACTS.items()}
        facts = {name: (element.text or "").strip() for name, element in found.items() if element is not None}
        return {name: value[:10] if name in ("created", "modified") else value for name, value in facts.items()}

    def heads(self) -> Iterator[tuple[str, bytes]]:
        """Yield the beginning of each XML member."""
        for member in sorted(self.members):
            if member.lower().endswith((".xml", ".rels", ".opf", ".ncx")):
                try:
                    with self._archive.open(member) as stream:
                        yield member, stream.read(_PROLOG_BYTES)
                except _DAMAGED as error:
                    raise _damaged(self._name, error) from error


def open_package(data: bytes, name: str, *, part: str) -> Package:
    """Open a package that must hold ``part``. Raises DocumentReadError for what is damaged, locked or a bomb.

    An XML member with a document type is refused: no program writes one into a package, and it is what bombs of
    entities and the theft of local files are made of.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _DAMAGED as error:
        raise _damaged(name, error) from error
    members = archive.infolist()
    n_bytes = sum(member.file_size for member in members)
    limit = may_unfold_to(len(data))
    if n_bytes > limit or len(members) > _MAX_MEMBERS:
        raise DocumentReadError(
            f"cannot read {name!r}: {len(data):,} bytes would unfold to {n_bytes:,} in {len(members):,} parts, more "
            f"than the {limit:,} that a file of its size may; it is made to overwhelm its reader, or must be split"
        )
    if any(member.flag_bits & 1 for member in members):
        raise DocumentReadError(
            f"cannot read {name!r}: it is encrypted with a password; save a copy without one and ingest that"
        )
    package = Package(archive, name)
    if part not in package.members:
        raise DocumentReadError(
            f"cannot read {name!r}: it is a ZIP archive without {part!r}, so not what its name says; give it the "
            "ending of what it is"
        )
    for member, head in package.heads():
        _refuse_document_type(head, name, member)
    return package


def _refuse_document_type(data: bytes, name: str, member: str) -> None:
    head = data[:_PROLOG_BYTES].replace(b"\0", b"")  # UTF-16 too
    root = _ROOT.search(head)
    prolog = head[: root.start()] if root else head
    if b"<!DOCTYPE" in prolog or b"<!ENTITY" in prolog or (root is None and len(head) >= _PROLOG_BYTES // 2):
        if b"<!ENTITY" not in head and root is not None and member.lower().endswith(".ncx"):
            return  # books of the second EPUB version name a public type there, and define nothing
        raise DocumentReadError(
            f"cannot read {name!r}: its part {member!r} declares a document type or entities, which no Office program, "
            "word processor or e-book does; it is refused, for that can unfold without end or read local files"
        )


def _damaged(name: str, found: object) -> DocumentReadError:
    return DocumentReadError(f"cannot read {name!r}: the package is damaged ({found}); open it and save it again")
