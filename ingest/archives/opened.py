"""The side of the reading process: lists the files of an archive, and reads them one after the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from ingest.archives.archive import Archive, Budget, Entry
from ingest.archives.formats import open_archive
from ingest.archives.member import Member, MemberState
from ingest.archives.names import archive_kind, folders_of
from ingest.archives.own_rules import sifted
from ingest.ignoring import IGNORE_FILE
from rag.errors import DocumentReadError, UnsupportedFormatError

__all__ = ["MAX_DEPTH", "OpenArchives", "list_members"]

MAX_DEPTH = 3
"""Archives inside archives: the outermost is the first."""
_MAX_IGNORE_BYTES = 64 * 1024


def list_members(path: Path, name: str, *, hashed: bool, max_bytes: int) -> tuple[Member, ...]:
    """Return the files of an archive, and of the archives in it, in the order they lie in.

    ``name`` is its document id. ``hashed`` unpacks those of up to ``max_bytes`` for their hash. Of several files of one
    name the last counts, as unpackers have it; those before it are skipped. Raises UnsupportedFormatError and
    DocumentReadError where the archive as a whole cannot be read.
    """
    with _file(path, name) as stream:
        lister = _Lister(Budget(os.fstat(stream.fileno()).st_size), hashed=hashed, max_bytes=max_bytes)
        members = list(lister.members(stream, name))
    last = {member.path: place for place, member in enumerate(members)}
    counting = (
        member if last[member.path] == place else _replaced(member, place) for place, member in enumerate(members)
    )
    return tuple(sifted(counting, lister.rules, name) if lister.rules else counting)


def _replaced(member: Member, place: int) -> Member:
    *folders, name = member.path
    reason = "a later file of the archive has the same name, and replaces it when it is unpacked"
    return Member((*folders, f"{name}#{place + 1}"), member.size, state="skipped", reason=reason)


class _Lister:
    """One look at an archive. ``rules`` are the texts of its ignore files, by the folder they lie in ("sub/")."""

    def __init__(self, budget: Budget, *, hashed: bool, max_bytes: int) -> None:
        self.rules: dict[str, str] = {}
        self._budget = budget
        self._hashed = hashed
        self._max_bytes = max_bytes
        self._folders: set[str] = set()

    def members(self, stream: IO[bytes], name: str, above: tuple[str, ...] = ()) -> Iterator[Member]:
        """Yield the members of one archive, ``above`` being its own path in those around it."""
        archive = open_archive(stream, name, self._budget)
        for entry in archive.entries():
            path = (*above, entry.path)
            self._count("/".join(path), name)
            if entry.path.rpartition("/")[2] == IGNORE_FILE:
                self.rules["/".join(path).removesuffix(IGNORE_FILE)] = _text(archive, entry, f"{name}/{entry.path}")
            if entry.state != "file":
                yield Member(path, entry.size, state=entry.state, reason=entry.reason)
            elif entry.size > self._max_bytes:
                yield Member(path, entry.size)  # whoever asked knows his limit
            elif archive_kind(entry.path):
                yield from self._inside(archive, entry, f"{name}/{entry.path}", path)
            else:
                yield self._member(archive, entry, path)

    def _count(self, path: str, name: str) -> None:
        """Take a file and its folders from the budget: each will be compared with the rules of a walk."""
        self._budget.count(name)
        for folder in folders_of(path):
            if folder not in self._folders:
                self._folders.add(folder)
                self._budget.count(name)

    def _inside(self, archive: Archive, entry: Entry, name: str, path: tuple[str, ...]) -> list[Member]:
        """Return the members of an archive in an archive, or what became of it: it alone pays for what it is."""
        if len(path) >= MAX_DEPTH:
            reason = f"cannot read {name!r}: it lies in {MAX_DEPTH} archives; unpack the outer ones"
            return [Member(path, entry.size, state="unsupported", reason=reason)]
        n_members = self._budget.n_members
        try:
            stream = BytesIO(b"".join(archive.blocks(entry)))
            found = list(self.members(stream, name, path))
        except DocumentReadError as error:
            self._budget.n_members = n_members
            state: MemberState = "unsupported" if isinstance(error, UnsupportedFormatError) else "failed"
            return [Member(path, entry.size, state=state, reason=str(error))]
        return found or [Member(path, entry.size, state="empty", reason="the archive holds no files")]

    def _member(self, archive: Archive, entry: Entry, path: tuple[str, ...]) -> Member:
        try:
            return Member(path, entry.size, sha256=_sha256(archive.blocks(entry)) if self._hashed else "")
        except DocumentReadError as error:
            return Member(path, entry.size, state="failed", reason=str(error))


def _text(archive: Archive, entry: Entry, name: str) -> str:
    """Return the text of an ignore file. Without it the archive is not read: it could be what was to be kept out."""
    if entry.state != "file" or entry.size > _MAX_IGNORE_BYTES:
        reason = entry.reason or f"it has more than {_MAX_IGNORE_BYTES:,} bytes"
        raise DocumentReadError(f"cannot read {name!r}: {reason}; without its rules nothing beside it is read")
    try:
        return b"".join(archive.blocks(entry)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentReadError(f"cannot read {name!r}: {error}; make it a readable UTF-8 file") from error


def _sha256(blocks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


class OpenArchives:
    """The archive that was read from last, with those inside it, kept open.

    Files are asked for in the order they lie in, so that each is unpacked once: in a TAR that is compressed as a whole,
    going back would mean to begin again.
    """

    def __init__(self) -> None:
        self._identity: tuple[object, ...] = ()
        self._stream: IO[bytes] | None = None
        self._levels: list[tuple[tuple[str, ...], Archive]] = []
        self._size = 0

    def read(self, path: Path, member: tuple[str, ...], *, document_id: str) -> bytes:
        """Return the bytes of a file in an archive. Raises DocumentReadError where they cannot be had."""
        try:
            self._enter(path, member[:-1], document_id.removesuffix("/" + "/".join(member)))
            return self._levels[-1][1].read(member[-1])
        except BaseException:
            self.close()  # where the stream stands is not known any more
            raise

    def close(self) -> None:
        """Let go of the archive."""
        self._identity = ()
        self._levels.clear()
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _enter(self, path: Path, inside: tuple[str, ...], name: str) -> None:
        self._open_file(path, name)
        while self._levels[-1][0] != inside[: len(self._levels) - 1]:
            self._levels.pop()
        while len(self._levels) <= len(inside):
            _, archive = self._levels[-1]
            here = inside[: len(self._levels)]
            stream = BytesIO(archive.read(here[-1]))
            self._levels.append((here, open_archive(stream, "/".join((name, *here)), Budget(self._size))))

    def _open_file(self, path: Path, name: str) -> None:
        stream = _file(path, name)
        status = os.fstat(stream.fileno())
        identity = (path, status.st_size, status.st_mtime_ns, status.st_ino)
        if identity == self._identity:
            stream.close()
            return
        self.close()
        self._stream = stream
        self._size = status.st_size
        self._levels.append(((), open_archive(stream, name, Budget(self._size))))
        self._identity = identity


def _file(path: Path, name: str) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise DocumentReadError(
            f"cannot read {name!r}: {error.strerror or error}; check that the file is there and readable",
            retriable=True,
        ) from error
