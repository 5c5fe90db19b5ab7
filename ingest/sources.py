"""The files of a folder: what is found, what is skipped and why, what cannot be looked at.

Nothing disappears: every path that is seen comes out as exactly one item, a skipped folder as one for all it holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ingest.ignoring import IgnoreRules
from rag.errors import ConfigError, DocumentReadError

__all__ = ["DEFAULT_IGNORES", "IGNORE_FILE", "Closed", "Found", "Skipped", "Unreadable", "WalkRules", "walk"]

IGNORE_FILE = ".ragignore"
DEFAULT_IGNORES = (
    *("node_modules/", "__pycache__/", "site-packages/", "*.egg-info/", "__MACOSX/"),  # code of others, build products
    *("*.pyc", "*.pyo", "*.class", "*.o", "*.so", "*.dll", "*.exe"),
    *("*.lock", "package-lock.json", "pnpm-lock.yaml", "go.sum"),  # lock files: long, and nobody asks about them
    *("~$*", "*~", "*.swp", "*.tmp", "*.part", "*.crdownload", "Thumbs.db", "desktop.ini"),  # half-written, desktop
)


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What a walk takes. Patterns are in gitignore syntax, relative to the root.

    ``include``: only files that match are taken (no patterns: all). ``exclude`` is stronger than any ignore file.
    ``hidden`` takes names that begin with a dot. ``follow_outside`` follows symbolic links that leave the root.
    ``max_bytes`` is the largest file taken.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    follow_outside: bool = False
    max_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {self.max_bytes}")


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read. ``id`` is its path relative to the root, with forward slashes, exactly as the disk spells it.

    The ending of ``name`` says what it is. ``member`` is empty, or for a file inside an archive its path there (one for
    each archive inside another); ``path``, times and inode are then the archive's.
    """

    path: Path
    id: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    name: str
    member: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that a rule leaves out; the id of a folder ends with a slash."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path that could not be looked at; it may work another time. For a folder, nothing in it was seen."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A path whose state is known without reading it. ``drop_document``: a former version must not answer any more."""

    id: str
    state: Literal["failed", "unsupported", "skipped"]
    reason: str
    retriable: bool = False
    drop_document: bool = False


def walk(root: Path, *, rules: WalkRules | None = None) -> Iterator[Found | Skipped | Unreadable]:
    """Yield every path under ``root`` once, in the order of its parts' code points.

    A file as root is taken as it is, whatever its name. Ignore rules: those built in, then ``.ragignore`` files from
    the root downwards, the last that speaks wins; a folder that is ignored is not entered. A symbolic link to a file is
    taken when the target lies inside the root; one to a folder inside the root is skipped, since the folder is walked
    under its own name. Raises DocumentReadError when the root is missing or not readable, ConfigError for a pattern or
    ignore file that cannot be read (walking on without it could read what it was to keep out).
    """
    rules = rules or WalkRules()
    root = Path(os.path.abspath(root))
    try:
        status = root.stat()
    except OSError as error:
        raise DocumentReadError(
            f"cannot read {str(root)!r}: {_cause(error)}; check the path, it must be a folder or a file", retriable=True
        ) from error
    if stat.S_ISDIR(status.st_mode):
        return _Walk(root, rules).items()
    return iter([_file(root, root.name, status, rules)])


class _Walk:
    """One walk through one folder."""

    def __init__(self, root: Path, rules: WalkRules) -> None:
        self._root = root
        self._real_root = root.resolve()
        self._rules = rules
        self._include = IgnoreRules(rules.include, where="include") if rules.include else None
        self._exclude = IgnoreRules(rules.exclude, where="exclude") if rules.exclude else None
        self._visited: set[tuple[int, int]] = set()

    def items(self) -> Iterator[Found | Skipped | Unreadable]:
        """Walk depth first with a stack of our own: folders can be nested deeper than Python's recursion allows."""
        defaults = ("", IgnoreRules(DEFAULT_IGNORES, where="built-in rules"))
        stack = [iter(self._entries(self._root, "", (defaults,)))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, _Folder):
                stack.append(iter(self._entries(entry.path, entry.id + "/", entry.ignores)))
            else:
                yield entry

    def _entries(
        self, folder: Path, prefix: str, ignores: tuple[tuple[str, IgnoreRules], ...]
    ) -> Iterator[Found | Skipped | Unreadable | _Folder]:
        try:
            status = folder.stat()
            with os.scandir(folder) as scan:
                names = sorted(entry.name for entry in scan)
        except OSError as error:
            if not prefix:
                raise DocumentReadError(
                    f"cannot list {str(folder)!r}: {_cause(error)}; check its permissions", retriable=True
                ) from error
            yield Unreadable(prefix.rstrip("/"), f"folder cannot be listed: {_cause(error)}; check its permissions")
            return
        self._visited.add((status.st_dev, status.st_ino))
        if IGNORE_FILE in names:
            ignores = (*ignores, (prefix, _ignore_file(folder / IGNORE_FILE, prefix + IGNORE_FILE)))
        for name in names:
            yield self._entry(folder / name, prefix + name, ignores)

    def _entry(
        self, path: Path, entry_id: str, ignores: tuple[tuple[str, IgnoreRules], ...]
    ) -> Found | Skipped | Unreadable | _Folder:
        try:
            entry_id.encode("utf-8")
        except UnicodeEncodeError:
            shown = os.fsencode(entry_id).decode("utf-8", "backslashreplace")
            return Unreadable(shown, "the name is not valid UTF-8; rename it, so that it can be cited")
        try:
            status = path.lstat()
        except OSError as error:
            return Unreadable(entry_id, f"cannot be looked at: {_cause(error)}")
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            try:
                status = path.stat()
            except OSError as error:
                return self._broken_link(entry_id, path, error)
        is_folder = stat.S_ISDIR(status.st_mode)
        shown = entry_id + "/" if is_folder else entry_id
        if reason := self._reason_to_skip(path.name, entry_id, ignores, is_folder=is_folder):
            return Skipped(shown, reason)
        if is_link and (reason := self._reason_not_to_follow(path, status, is_folder=is_folder)):
            return Skipped(shown, reason)
        return _Folder(path, entry_id, ignores) if is_folder else _file(path, entry_id, status, self._rules)

    def _reason_to_skip(
        self, name: str, entry_id: str, ignores: tuple[tuple[str, IgnoreRules], ...], *, is_folder: bool
    ) -> str:
        """Return the rule that leaves an entry out, or nothing."""
        if name.startswith(".") and (name in (".git", IGNORE_FILE) or not self._rules.hidden):
            return "hidden: the name begins with a dot"
        if self._exclude and (found := self._exclude.verdict(entry_id, is_folder=is_folder)) and found[0]:
            return f"excluded by {found[1]!r}"
        for prefix, rules in reversed(ignores):
            if found := rules.verdict(entry_id[len(prefix) :], is_folder=is_folder):
                if found[0]:
                    return f"ignored by {found[1]!r} in {rules.where}"
                break
        if self._include and not is_folder:
            found = self._include.verdict(entry_id, is_folder=False)
            if found is None or not found[0]:
                return "not among the files to include"
        return ""

    def _reason_not_to_follow(self, path: Path, status: os.stat_result, *, is_folder: bool) -> str:
        """Return why a working symbolic link is not followed, or nothing."""
        inside = path.resolve().is_relative_to(self._real_root)
        if not inside and not self._rules.follow_outside:
            return "symbolic link that leaves the folder; allow it with follow_outside"
        if is_folder and (inside or (status.st_dev, status.st_ino) in self._visited):
            return "symbolic link to a folder that is walked under its own name"
        return ""

    def _broken_link(self, entry_id: str, path: Path, error: OSError) -> Skipped | Unreadable:
        if error.errno == errno.ELOOP:
            return Skipped(entry_id, "symbolic link that leads back to itself")
        if isinstance(error, FileNotFoundError):
            return Skipped(entry_id, f"symbolic link to {os.readlink(path)!r}, which does not exist")
        return Unreadable(entry_id, f"symbolic link cannot be followed: {_cause(error)}")


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to enter, with the ignore rules that hold in it: (id prefix of the folder they stand in, rules)."""

    path: Path
    id: str
    ignores: tuple[tuple[str, IgnoreRules], ...]


def _file(path: Path, entry_id: str, status: os.stat_result, rules: WalkRules) -> Found | Skipped:
    if not stat.S_ISREG(status.st_mode):
        return Skipped(entry_id, f"not a file but {_kind(status.st_mode)}")
    if status.st_size > rules.max_bytes:
        return Skipped(entry_id, f"{status.st_size:,} bytes, more than the limit of {rules.max_bytes:,} (max_bytes)")
    return Found(path, entry_id, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, path.name)


def _ignore_file(path: Path, entry_id: str) -> IgnoreRules:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {entry_id}: {_cause(error)}; make it a readable UTF-8 file") from error
    return IgnoreRules(lines, where=entry_id)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISBLK, "a block device"))
    return next((name for test, name in kinds if test(mode)), "a device")


def _cause(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
