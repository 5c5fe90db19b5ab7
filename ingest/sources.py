"""The files of a folder: what is found, what is skipped and why, what cannot be looked at.

Nothing disappears: every path that is seen comes out as exactly one item, a skipped folder as one for all it holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ingest.archives.names import archive_kind
from ingest.attributes import described_by
from ingest.ignoring import IGNORE_FILE, IgnoreRules
from rag.errors import ConfigError, DocumentReadError

__all__ = [
    "DEFAULT_IGNORES",
    "IGNORE_FILE",
    "Enter",
    "Found",
    "Item",
    "NameRules",
    "Settled",
    "Sieve",
    "Skipped",
    "Unreadable",
    "WalkRules",
    "skipped_for_size",
    "walk",
]

DEFAULT_IGNORES = (
    *("node_modules/", "__pycache__/", "site-packages/", "*.egg-info/", "__MACOSX/"),  # code of others, build products
    *("*.pyc", "*.pyo", "*.class", "*.o", "*.so", "*.dll", "*.exe"),
    *("*.lock", "package-lock.json", "pnpm-lock.yaml", "go.sum"),  # lock files: long, and nobody asks about them
    *("~$*", "*~", "*.swp", "*.tmp", "*.part", "*.crdownload", "Thumbs.db", "desktop.ini"),  # half-written, desktop
)


_Ignores = tuple[tuple[str, IgnoreRules], ...]
"""Ignore rules from the root downwards, each with the id prefix of the folder they stand in."""
_DEFAULTS: _Ignores = (("", IgnoreRules(DEFAULT_IGNORES, where="built-in rules")),)


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

    def without(self, library: Path, root: Path | str) -> WalkRules:
        """Return the rules for a walk through ``root`` that also leave out the library, where it lies in there."""
        library = library.resolve()
        if isinstance(root, str) or library == root or not library.is_relative_to(root):
            return self
        return replace(self, exclude=(*self.exclude, f"/{library.relative_to(root).as_posix()}/"))


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read. ``id`` is its path relative to the root, with forward slashes, exactly as the disk spells it.

    The ending of ``name`` says what it is. ``member`` is empty, or for a file inside an archive its path there (one for
    each archive inside another); ``path``, ``archive_size``, times and inode are then the archive's.
    """

    path: Path
    id: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    name: str
    member: tuple[str, ...] = ()
    archive_size: int = 0


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
class Settled:
    """What ends in a state without being read: an archive that is not entered, a file in one, a page that is not there.

    ``is_gone``: what was read of it before must not answer any more, although it failed.
    """

    id: str
    state: Literal["empty", "failed", "unsupported", "skipped"]
    reason: str
    retriable: bool = False
    is_gone: bool = False

    @property
    def drops_document(self) -> bool:
        """Whether a former version of it goes: a failed one keeps answering, unless what it was of is gone."""
        return self.state != "failed" or self.is_gone


Item = Found | Skipped | Unreadable | Settled


@dataclass(frozen=True, slots=True)
class Sieve:
    """The rules that hold in an archive: those of the folder it lies in."""

    judge: Callable[[str, str, _Ignores, bool], str]
    ignores: _Ignores

    def reason_to_skip(self, entry_id: str, *, is_folder: bool) -> str:
        """Return the rule that leaves out a file or folder, whose own folders are not left out, or nothing."""
        return self.judge(entry_id.rpartition("/")[2], entry_id, self.ignores, is_folder)


Enter = Callable[[Found, Sieve], Iterable[Item]]
"""Yields what is in an archive."""


def walk(
    root: Path, *, rules: WalkRules | None = None, parts: Iterable[str] = (), enter: Enter | None = None
) -> Iterator[Item]:
    """Yield every path under ``root`` once, in the order of its parts' code points.

    Archives are folders where ``enter`` opens them, else files. With ``parts``, only those paths and what lies in them,
    and a skipped folder that they lie in; the folders on the way to them are listed, others are not touched.

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
        return _Walk(root, rules, _wanted(parts), enter).items()
    return iter([_file(root, root.name, status, rules)])


class NameRules:
    """Tells of a path, without a walk, whether its name or that of a folder above leaves it out of one.

    Looks at no file but ``.ragignore``, and at each of those once: for a moment's questions, not for keeps.
    """

    def __init__(self, root: Path, rules: WalkRules) -> None:
        self._root = root
        self._walk = _Walk(root, rules, None, None)
        self._folders: dict[str, _Ignores | None] = {"": self._rules_in("", _DEFAULTS)}

    def leaves_out(self, entry_id: str, *, is_folder: bool = False) -> bool:
        """Return whether a path, relative to the root, is left out. Raises ConfigError as a walk does."""
        above, _, name = entry_id.rpartition("/")
        ignores = self._folder(above)
        return ignores is None or bool(self._walk.reason_to_skip(name, entry_id, ignores, is_folder=is_folder))

    def _folder(self, folder: str) -> _Ignores | None:
        """Return the ignore rules that hold in a folder, None where it is left out."""
        if folder not in self._folders:
            above, _, name = folder.rpartition("/")
            ignores = self._folder(above)
            if ignores is None or self._walk.reason_to_skip(name, folder, ignores, is_folder=True):
                self._folders[folder] = None
            else:
                self._folders[folder] = self._rules_in(f"{folder}/", ignores)
        return self._folders[folder]

    def _rules_in(self, prefix: str, ignores: _Ignores) -> _Ignores:
        path = self._root / prefix / IGNORE_FILE
        return (*ignores, (prefix, _ignore_file(path, prefix + IGNORE_FILE))) if path.is_file() else ignores


class _Wanted(dict[str, "_Wanted | None"]):
    """The names of a folder that are wanted, and what of each: None is all of it."""


def _wanted(parts: Iterable[str]) -> _Wanted | None:
    """Return paths as a tree of names; None, which is everything, where there are none.

    >>> _wanted(["a/b", "a/c", "d/e", "d"])
    {'a': {'b': None, 'c': None}, 'd': None}
    """
    tree = _Wanted()
    for part in sorted(parts, key=len, reverse=True):  # the shortest last: it has the last word
        *above, name = part.split("/")
        at: _Wanted | None = tree
        for folder in above:
            at = at.setdefault(folder, _Wanted()) if at is not None else None
        if at is not None:
            at[name] = None
    return tree or None


class _Walk:
    """One walk through one folder, or through what is wanted of it."""

    def __init__(self, root: Path, rules: WalkRules, wanted: _Wanted | None, enter: Enter | None) -> None:
        self._wanted = wanted
        self._root = root
        self._enter = enter
        self._real_root = root.resolve()
        self._rules = rules
        self._include = IgnoreRules(rules.include, where="include") if rules.include else None
        self._exclude = IgnoreRules(rules.exclude, where="exclude") if rules.exclude else None
        self._visited: set[tuple[int, int]] = set()

    def items(self) -> Iterator[Item]:
        """Walk depth first with a stack of our own: folders can be nested deeper than Python's recursion allows."""
        stack = [iter(self._entries(self._root, "", _DEFAULTS, self._wanted))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, _Folder):
                stack.append(iter(self._entries(entry.path, entry.id + "/", entry.ignores, entry.wanted)))
            elif isinstance(entry, _Archive):
                assert self._enter is not None
                yield from self._enter(entry.file, Sieve(self.reason_to_skip, entry.ignores))
            else:
                yield entry

    def _entries(
        self, folder: Path, prefix: str, ignores: _Ignores, wanted: _Wanted | None
    ) -> Iterator[Found | Skipped | Unreadable | _Folder | _Archive]:
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
        for name in names if wanted is None else [name for name in names if name in wanted]:
            described = described_by(name)
            if described in names:
                yield Skipped(prefix + name, f"sidecar: it gives the attributes of {described!r}")
                continue
            yield self._entry(folder / name, prefix + name, ignores, None if wanted is None else wanted[name])

    def _entry(
        self, path: Path, entry_id: str, ignores: _Ignores, wanted: _Wanted | None
    ) -> Found | Skipped | Unreadable | _Folder | _Archive:
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
        is_archive = not is_folder and self._enter is not None and archive_kind(path.name) is not None
        shown = entry_id + "/" if is_folder else entry_id
        if reason := self.reason_to_skip(path.name, entry_id, ignores, is_folder or is_archive):
            return Skipped(shown, reason)
        if is_link and (reason := self._reason_not_to_follow(path, status, is_folder=is_folder)):
            return Skipped(shown, reason)
        if is_folder:
            return _Folder(path, entry_id, ignores, wanted)
        file = _file(path, entry_id, status, self._rules)
        return _Archive(file, ignores) if is_archive and isinstance(file, Found) else file

    def reason_to_skip(self, name: str, entry_id: str, ignores: _Ignores, is_folder: bool) -> str:
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
    """A folder to enter, with the ignore rules that hold around it."""

    path: Path
    id: str
    ignores: _Ignores
    wanted: _Wanted | None


@dataclass(frozen=True, slots=True)
class _Archive:
    """An archive to enter, with the ignore rules that hold around it."""

    file: Found
    ignores: _Ignores


def _file(path: Path, entry_id: str, status: os.stat_result, rules: WalkRules) -> Found | Skipped:
    if not stat.S_ISREG(status.st_mode):
        return Skipped(entry_id, f"not a file but {_kind(status.st_mode)}")
    if status.st_size > rules.max_bytes:
        return skipped_for_size(entry_id, status.st_size, rules.max_bytes)
    return Found(path, entry_id, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, path.name)


def skipped_for_size(entry_id: str, size: int, max_bytes: int) -> Skipped:
    """Return a file left out because it is too large."""
    return Skipped(entry_id, f"{size:,} bytes, more than the limit of {max_bytes:,} (max_bytes)")


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
