"""What was fetched, kept in the library: bodies as files, and in SQLite what the servers said of them.

    LIBRARY/web/pages.db          which address has which file, and when and how it came
    LIBRARY/web/HOST/NAME         a body; its name holds the hashes of address and bytes, and tells the format

A body is written beside its place, synced and renamed before the record that names it is committed; so a record always
has a whole body, and what a crash leaves is a file that no record names. Collections of a library share the mirror. It
may be deleted at any time: pages are then fetched anew.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from index.database import Database
from index.files import write_whole
from ingest.sources import Found
from ingest.web.urls import host_of, path_of

__all__ = ["Listing", "Mirror", "MirroredPage"]

_STEPS = (
    (
        """CREATE TABLE pages (
            url TEXT PRIMARY KEY,
            file TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            size INTEGER NOT NULL,
            content_type TEXT NOT NULL,
            final_url TEXT NOT NULL,
            etag TEXT NOT NULL,
            last_modified TEXT NOT NULL,
            fetched_at REAL NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE roots (root TEXT PRIMARY KEY, is_sitemap INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE listed (root TEXT, url TEXT, PRIMARY KEY (root, url)) WITHOUT ROWID",
        "CREATE INDEX listed_urls ON listed (url)",
    ),
)
_COLUMNS = "url, file, sha256, size, content_type, final_url, etag, last_modified, fetched_at"


@dataclass(frozen=True, slots=True)
class MirroredPage:
    """A page as it was fetched. ``file`` is its body, ``final_url`` where redirects led, times are Unix seconds."""

    url: str
    file: str
    sha256: str
    size: int
    content_type: str
    final_url: str
    etag: str
    last_modified: str
    fetched_at: float


@dataclass(frozen=True, slots=True)
class Listing:
    """What an address that was ingested led to: itself, or the pages of a sitemap, in order."""

    urls: tuple[str, ...]
    is_sitemap: bool


class Mirror:
    """The mirror in a folder, which is made when first written to.

    ``behind`` is a mirror that is read where this one holds nothing, and never changed: a dry run keeps what it fetches
    in a mirror of its own, before that of the library.
    """

    def __init__(self, folder: Path, *, behind: Mirror | None = None) -> None:
        self._folder = folder
        self._behind = behind
        self._opened: Database | None = None
        self._dropped: set[str] = set()

    def close(self) -> None:
        """Close the file of records; it is opened again when it is needed."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self._behind is not None:
            self._behind.close()

    def page(self, url: str) -> MirroredPage | None:
        """Return the page kept for an address; None where there is none, or its file is not what was written."""
        page = self._page(url)
        if page is not None and self._size_of(page) == page.size:
            return page
        return self._behind.page(url) if self._behind is not None and url not in self._dropped else None

    def found(self, page: MirroredPage) -> Found:
        """Return a kept page as a file to read, whose id is its address."""
        path = self._path(page)
        status = path.stat()
        return Found(path, page.url, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, path.name)

    def store(
        self, url: str, body: bytes, *, ending: str, content_type: str, final_url: str, etag: str, last_modified: str
    ) -> MirroredPage:
        """Keep a page as it is now. Bytes that are kept already are not written again: the file stays untouched."""
        sha256 = hashlib.sha256(body).hexdigest()
        known = self.page(url)
        file = f"{_folder_name(host_of(url))}/{_file_name(url, sha256)}{ending}"
        page = MirroredPage(url, file, sha256, len(body), content_type, final_url, etag, last_modified, time.time())
        if known is None or known.file != file:
            (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / file, body)
        with self._database().writing() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO pages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [getattr(page, name) for name in _COLUMNS.split(", ")],
            )
        if known is not None and known.file != file:
            (self._folder / known.file).unlink(missing_ok=True)
        return page

    def drop(self, urls: Sequence[str]) -> None:
        """Forget pages, and delete their files."""
        self._dropped.update(urls)
        if not self._exists():
            return
        files = [page.file for page in map(self._page, urls) if page is not None]
        with self._database().writing() as connection:
            connection.executemany("DELETE FROM pages WHERE url = ?", [(url,) for url in urls])
        for file in files:
            (self._folder / file).unlink(missing_ok=True)

    def listing(self, root: str) -> Listing | None:
        """Return what an address led to when it was last looked at; None for one never seen."""
        if self._exists():
            with self._database().reading() as connection:
                found = connection.execute("SELECT is_sitemap FROM roots WHERE root = ?", (root,)).fetchone()
                urls = connection.execute("SELECT url FROM listed WHERE root = ? ORDER BY url", (root,)).fetchall()
            if found is not None:
                return Listing(tuple(url for (url,) in urls), bool(found[0]))
        return self._behind.listing(root) if self._behind is not None else None

    def keep_listing(self, root: str, urls: Iterable[str], *, is_sitemap: bool, is_complete: bool = True) -> None:
        """Remember what an address leads to; a complete list takes the place of the former one.

        Pages that no address leads to any more are dropped. Call it before the pages are fetched: a run of another
        process would take them for such pages.
        """
        with self._database().writing() as connection:
            if is_complete:
                connection.execute("DELETE FROM listed WHERE root = ?", (root,))
            connection.execute("INSERT OR REPLACE INTO roots (root, is_sitemap) VALUES (?, ?)", (root, is_sitemap))
            connection.executemany(
                "INSERT OR IGNORE INTO listed (root, url) VALUES (?, ?)", [(root, url) for url in urls]
            )
            lost = connection.execute("SELECT url FROM pages WHERE url NOT IN (SELECT url FROM listed)").fetchall()
        if lost:
            self.drop([url for (url,) in lost])

    def _page(self, url: str) -> MirroredPage | None:
        if not self._exists():
            return None
        with self._database().reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM pages WHERE url = ?", (url,)).fetchone()
        return None if row is None else MirroredPage(*row)

    def _path(self, page: MirroredPage) -> Path:
        own = self._folder / page.file
        return own if self._behind is None or own.exists() else self._behind._path(page)

    def _size_of(self, page: MirroredPage) -> int:
        try:
            return self._path(page).stat().st_size
        except OSError:
            return -1

    def _exists(self) -> bool:
        return self._opened is not None or (self._folder / "pages.db").exists()

    def _database(self) -> Database:
        if self._opened is None or not self._opened.is_in_place:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._opened = Database(self._folder / "pages.db", _STEPS, create=True)
        return self._opened


def _folder_name(host: str) -> str:
    return re.sub(r"[^a-z0-9.-]", "_", host.lower())[:100].strip(".") or "host"


def _file_name(url: str, sha256: str) -> str:
    """Return a name that a person can place, that no other address has, and that changes with the bytes."""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", path_of(url).rpartition(".")[0] or path_of(url)).strip("-")[-40:] or "index"
    return f"{stem}-{hashlib.sha256(url.encode()).hexdigest()[:12]}-{sha256[:16]}"
