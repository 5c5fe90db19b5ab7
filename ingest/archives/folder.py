"""The side of the run: an archive as a folder of files, each with an id of its own, under the rules of a walk."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from ingest.archives.member import Member
from ingest.archives.names import clean, folders_of
from ingest.isolation import IsolatedReaders, ToRead
from ingest.sources import Found, Item, Settled, Sieve, Skipped, skipped_for_size
from rag.errors import DocumentReadError, UnsupportedFormatError

__all__ = ["Archives"]

_Key = tuple[object, ...]


class Archives:
    """The archives of one walk, opened in the processes of ``readers``. What is hashed is hashed once.

    Files of up to ``max_bytes`` are taken. ``prefix`` is what the ids of the walk begin with in the collection.
    """

    def __init__(self, readers: IsolatedReaders, *, max_bytes: int, prefix: str = "") -> None:
        self._readers = readers
        self._max_bytes = max_bytes
        self._prefix = prefix
        self._hashed: dict[_Key, dict[tuple[str, ...], Member] | DocumentReadError] = {}

    def enter(self, archive: Found, sieve: Sieve, *, hashed: bool) -> Iterator[Item]:
        """Yield the files in an archive in the order they lie in, or the archive where it cannot be read.

        ``hashed`` looks at their bytes at once: for an archive that has changed, or is new.
        """
        try:
            members = self._listed(archive, self._prefix + archive.id, hashed=hashed)
        except DocumentReadError as error:
            is_unsupported = isinstance(error, UnsupportedFormatError)
            yield Settled(archive.id, "unsupported" if is_unsupported else "failed", str(error), error.retriable)
            return
        if not members:
            yield Settled(archive.id, "empty", "the archive holds no files")
        left_out: dict[str, str] = {}
        for member in members:
            yield from self._items(member, archive, sieve, left_out)

    def sha256(self, file: Found) -> str:
        """Return the hash of a file in an archive. Raises DocumentReadError where its bytes cannot be had."""
        if (key := _key(file)) not in self._hashed:
            archive = replace(file, name=file.path.name, size=file.archive_size)
            with suppress(DocumentReadError):  # kept for all its files
                self._listed(archive, file.id.removesuffix("/" + "/".join(file.member)), hashed=True)
        members = self._hashed[key]
        if isinstance(members, DocumentReadError):
            raise members
        member = members.get(file.member)
        if member is None or member.state != "file":
            raise DocumentReadError(member.reason if member else "it is not in the archive any more; run it again")
        return member.sha256

    def _listed(self, archive: Found, document_id: str, *, hashed: bool) -> Sequence[Member]:
        asked = ToRead(archive.path, document_id, archive.size, name=archive.name)
        try:
            members = self._readers.members(asked, hashed=hashed, max_bytes=self._max_bytes)
        except DocumentReadError as error:
            self._hashed[_key(archive)] = error
            raise
        if hashed:
            self._hashed[_key(archive)] = {member.path: member for member in members}
        return members

    def _items(self, member: Member, archive: Found, sieve: Sieve, left_out: dict[str, str]) -> Iterator[Item]:
        """Yield what a member comes to: nothing where its folder is left out and was named before."""
        within = "/".join(member.path)
        if not clean(within):
            yield Skipped(f"{archive.id}/{within}", member.reason)
            return
        for folder in folders_of(within.rstrip("/")):
            if folder not in left_out:
                left_out[folder] = sieve.reason_to_skip(f"{archive.id}/{folder}", is_folder=True)
                if left_out[folder]:
                    yield Skipped(f"{archive.id}/{folder}/", left_out[folder])
            if left_out[folder]:
                return
        yield self._item(member, archive, sieve)

    def _item(self, member: Member, archive: Found, sieve: Sieve) -> Item:
        member_id = "/".join((archive.id, *member.path))
        reason = sieve.reason_to_skip(member_id.rstrip("/"), is_folder=member_id.endswith("/"))
        if reason or member.state == "skipped":
            return Skipped(member_id, reason or member.reason)
        if member.state != "file":
            return Settled(member_id, member.state, member.reason)
        if member.size > self._max_bytes:
            return skipped_for_size(member_id, member.size, self._max_bytes)
        return replace(
            archive,
            id=member_id,
            size=member.size,
            name=posixpath.basename(member.path[-1]),
            member=member.path,
            archive_size=archive.size,
        )


def _key(file: Found) -> _Key:
    return (file.path, file.mtime_ns, file.ctime_ns, file.inode)
