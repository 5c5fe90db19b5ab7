"""Which folder or address names the documents of a run, and how a collection remembers it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.web.urls import canonical, is_url
from rag.errors import DocumentReadError

__all__ = [
    "Place",
    "Scope",
    "all_roots",
    "folder_of",
    "is_there",
    "is_under",
    "is_under_any",
    "place_of",
    "scope_of",
    "scope_of_url",
]

Place = Path | str
"""What is named for an ingest: a folder or file, or the canonical address of a page or sitemap."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The folder that names the documents, and the parts of it (none: all of it) that a run looks at.

    ``key`` is how the collection remembers the folder. ``absorbed`` are the keys of folders inside it that were
    ingested by themselves before: their documents become this folder's, under new names and at no cost. ``leave`` are
    paths that a run neither reads nor misses. An address is a root of its own: its documents are named by their
    addresses, and a part is one page.
    """

    root: Place
    key: str
    parts: tuple[str, ...] = ()
    absorbed: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()

    @property
    def is_url(self) -> bool:
        return isinstance(self.root, str)

    def holds(self, path: str) -> bool:
        if self.is_url:
            return not self.parts or path in self.parts
        if self.parts and not any(is_under(path, part) for part in self.parts):
            return False
        return not self.leave or not any(is_under(path, left) for left in self.leave)

    def narrowed(self, parts: Iterable[str], *, leave: Iterable[str] = ()) -> Scope:
        """Return the scope of a run that looks only at ``parts``; paths are relative to the path that was ingested."""
        base = f"{self.parts[0]}/" if self.parts else ""
        narrow = tuple(base + part for part in parts)
        left = frozenset(base + path for path in leave)
        if not narrow:
            return replace(self, leave=left)
        return replace(self, parts=narrow, absorbed=frozenset(), leave=left)


def scope_of(path: Path, *, library: Path, known: Iterable[str], alone: bool = False) -> Scope:
    """Return what an ingest of ``path`` covers: a part of a folder known already, or a folder of its own.

    So one file of a folder can be brought up to date without a second name, and without losing its neighbours.
    ``known`` are the keys of the collection's ledger. ``alone``: the path is a folder of its own, whatever lies above.
    Raises DocumentReadError for a path inside a file: an archive is read whole.
    """
    path, keys = path.resolve(), {key for key in known if not is_url(key)}
    if whole := next((parent for parent in path.parents if parent.is_file()), None):
        raise DocumentReadError(
            f"cannot read {str(path)!r}: {str(whole)!r} is a file, and is read whole; run: rag ingest {whole}"
        )
    folders = {_folder(key, library): key for key in keys}
    for root in (path,) if alone else (path, *path.parents):
        if root in folders:
            parts = () if root == path else (path.relative_to(root).as_posix(),)
            inside = frozenset() if parts else _inside(root, folders, library)
            return Scope(root, folders[root], parts, inside)
    if path.is_file():
        return Scope(path.parent, _key(path.parent, library), (path.name,))
    return Scope(path, _key(path, library), absorbed=frozenset() if alone else _inside(path, folders, library))


def scope_of_url(url: str, *, roots: Mapping[str, str]) -> Scope:
    """Return what an ingest of a canonical address covers: a page of a root known already, or a root of its own.

    ``roots`` maps the paths of the collection's ledger to the roots they belong to.
    """
    known = roots.get(url, url)
    return Scope(url, url) if known == url or not is_url(known) else Scope(known, known, (url,))


def place_of(named: Path | str) -> Place:
    """Return a path as such, and an address in its canonical spelling. Raises ConfigError for one that is not taken."""
    return canonical(named) if isinstance(named, str) and is_url(named) else Path(named)


def all_roots(runs: Iterable[Mapping[str, object]], places: Iterable[Place], *, library: Path) -> list[Place]:
    """Return the folders, files and addresses that earlier runs were of, and then these, each once."""
    former = [folder_of(str(run["root"]), library=library) for run in runs]
    return list(dict.fromkeys([*former, *(place if isinstance(place, str) else place.resolve() for place in places)]))


def folder_of(key: str, *, library: Path) -> Place:
    """Return the folder, or the address, that a collection remembers as ``key``."""
    return key if is_url(key) else _folder(key, library)


def is_there(place: Place) -> bool:
    """Tell whether a folder or file is there; an address always is: what it leads to is kept in the library."""
    return isinstance(place, str) or place.exists()


def is_under(path: str, folder: str) -> bool:
    """Tell whether a path with forward slashes is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_under_any(path: str, folders: Set[str]) -> bool:
    """Tell whether a path is one of the folders or lies in one.

    >>> is_under_any("a/b/c.txt", {"a/b"}), is_under_any("a/bc.txt", {"a/b"})
    (True, False)
    """
    return path in folders or any(char == "/" and path[:place] in folders for place, char in enumerate(path))


def _folder(key: str, library: Path) -> Path:
    return Path(os.path.normpath(library.resolve().parent / key))


def _key(root: Path, library: Path) -> str:
    """Return a path relative to the library's own folder where both lie together, so that both can move; else the path.

    A project that holds ``.footnote`` and ``docs`` can be moved or copied as a whole without reading anything again.
    """
    base = library.resolve().parent
    return root.relative_to(base).as_posix() if root.is_relative_to(base) else str(root)


def _inside(root: Path, folders: dict[Path, str], library: Path) -> frozenset[str]:
    kept_apart = library.resolve()  # uploads are files of the library, not of the folder that it happens to lie in
    return frozenset(
        key
        for folder, key in folders.items()
        if folder != root and folder.is_relative_to(root) and not folder.is_relative_to(kept_apart)
    )
