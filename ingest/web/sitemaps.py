"""Sitemaps: XML of the sitemaps.org protocol, an index of such, or a text with an address a line. Pure.

XML is read without a document type: no entity is ever expanded, and nothing outside is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat

from rag.errors import DocumentReadError

__all__ = ["MAX_BYTES", "MAX_LOCATIONS", "Sitemap", "is_named_sitemap", "looks_like_sitemap", "parse_sitemap"]

MAX_BYTES = 50 * 1024 * 1024
MAX_LOCATIONS = 50_000
"""Both are the protocol's own limits on one sitemap."""

_NAMED = re.compile(r"sitemap[^/]*\.(xml|txt)(\.gz)?$|sitemap[^/]*\.gz$", re.IGNORECASE)
_ROOT = re.compile(rb"<\s*(?:[\w.-]+:)?(urlset|sitemapindex)[\s>/]")
_KINDS: dict[str, Literal["pages", "sitemaps"]] = {"urlset": "pages", "sitemapindex": "sitemaps"}
_ENTRIES = {"pages": "url", "sitemaps": "sitemap"}


@dataclass(frozen=True, slots=True)
class Sitemap:
    """The addresses of a sitemap in its order, as it spells them: of pages, or of further sitemaps."""

    lists: Literal["pages", "sitemaps"]
    locations: tuple[str, ...]


def is_named_sitemap(path: str) -> bool:
    """Tell whether a path is named as sitemaps are, so that a reply that is none is an error.

    >>> [is_named_sitemap(path) for path in ("sitemap.xml", "docs/sitemap-2.xml.gz", "sitemap.html", "feed.xml")]
    [True, True, False, False]
    """
    return bool(_NAMED.search(path))


def looks_like_sitemap(body: bytes) -> bool:
    """Tell whether bytes begin as an XML sitemap does."""
    return bool(_ROOT.search(body[:4096].replace(b"\0", b"")))


def parse_sitemap(body: bytes, url: str) -> Sitemap:
    """Return what a sitemap lists. Raises DocumentReadError for what is none, or larger than the protocol allows."""
    if not body.strip():
        raise DocumentReadError(f"the sitemap {url} is empty")
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return _text(body, url)
    parser = _Parser()
    try:
        parser.expat.Parse(body, True)
    except expat.ExpatError as error:
        raise DocumentReadError(f"the sitemap {url} is not valid XML: {error}") from error
    if parser.lists is None:
        raise DocumentReadError(f"{url} is no sitemap: its outermost element is {parser.outermost!r}")
    return Sitemap(parser.lists, tuple(parser.locations))


class _Parser:
    """Collects the ``loc`` of each entry, whatever its namespace; those of images and videos are not pages."""

    def __init__(self) -> None:
        self.lists: Literal["pages", "sitemaps"] | None = None
        self.outermost = ""
        self.locations: list[str] = []
        self._path: list[str] = []
        self._text: list[str] = []
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartDoctypeDeclHandler = self._refuse
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._text.append

    def _refuse(self, *declared: object) -> None:
        raise DocumentReadError(
            "the sitemap declares a document type, which none needs; it is refused, for that can unfold without end or "
            "read local files"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if not self._path:
            self.outermost, self.lists = local, _KINDS.get(local)
        self._path.append(local)
        self._text.clear()

    def _end(self, name: str) -> None:
        if self.lists and self._path[1:] == [_ENTRIES[self.lists], "loc"]:
            if location := "".join(self._text).strip():
                self.locations.append(location)
            _refuse_too_many(self.locations)
        self._path.pop()
        self._text.clear()


def _text(body: bytes, url: str) -> Sitemap:
    try:
        lines = [line.strip() for line in body.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DocumentReadError(f"{url} is no sitemap: neither XML nor text in UTF-8") from error
    locations = [line for line in lines if line]
    if odd := next((line for line in locations if not line.lower().startswith(("http://", "https://"))), None):
        raise DocumentReadError(f"{url} is no sitemap: its line {odd[:80]!r} is no address")
    _refuse_too_many(locations)
    return Sitemap("pages", tuple(locations))


def _refuse_too_many(locations: list[str]) -> None:
    if len(locations) > MAX_LOCATIONS:
        raise DocumentReadError(f"the sitemap lists more than {MAX_LOCATIONS:,} addresses, which its protocol forbids")
