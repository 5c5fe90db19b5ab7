"""Opens archives: ZIP, TAR, and single compressed files, within bounds.

What an archive says of itself is not believed: sizes are bounded before and while it unfolds, paths that leave it are
no paths, and links are not followed.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

from ingest.archives.archive import Archive, Budget, Entry, damage_told
from ingest.archives.member import MemberState
from ingest.archives.names import archive_kind, clean, unpacked_name, zip_names
from rag.errors import DocumentReadError, UnsupportedFormatError

__all__ = ["open_archive"]

_MAX_NAME_CHARS = 255  # as file systems have it
_MAX_PATH_CHARS = 1024
_MAX_FOLDERS = 64
_BLOCK_BYTES = 1024 * 1024
_HEADER_BYTES = 512  # of TAR
_SHOWN_CHARS = 200

_Opener = Callable[[IO[bytes]], IO[bytes]]


class _Readable(Protocol):
    def read(self, n_bytes: int, /) -> bytes: ...


def _zstd(stream: IO[bytes]) -> IO[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd")  # of Python 3.14
    except ImportError as error:
        raise UnsupportedFormatError(
            "it is packed with Zstandard, which Python reads from 3.14 on; unpack it, or pack it with gzip"
        ) from error
    return cast(IO[bytes], zstd.ZstdFile(stream))


_COMPRESSIONS: dict[bytes, _Opener] = {
    b"\x1f\x8b": lambda stream: cast(IO[bytes], gzip.GzipFile(fileobj=stream)),
    b"BZh": lambda stream: cast(IO[bytes], bz2.BZ2File(stream)),
    b"\xfd7zXZ\x00": lambda stream: cast(IO[bytes], lzma.LZMAFile(stream)),  # noqa: SIM115 - lives with its archive
    b"\x28\xb5\x2f\xfd": _zstd,
}
_ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED = "encrypted with a password; unpack it and ingest the files"


def open_archive(stream: IO[bytes], name: str, budget: Budget) -> Archive:
    """Open an archive by the ending of its name. Raises DocumentReadError where it is something else, or broken."""
    with damage_told(name):
        match archive_kind(name):
            case "zip":
                return _Zip(stream, name, budget)
            case "tar":
                return _Tar(stream, name, budget)
            case _:
                return _Packed(stream, name, budget)


class _Zip(Archive):
    def __init__(self, stream: IO[bytes], name: str, budget: Budget) -> None:
        super().__init__(name)
        head = stream.read(2)
        if head != b"PK":
            raise _not_one(name, "a ZIP archive", is_empty=not head)
        self._zip = zipfile.ZipFile(stream)
        self._infos = self._zip.infolist()
        budget.spend(sum(info.file_size for info in self._infos), name)
        if files := [info for info in self._infos if not info.is_dir()]:
            if len(files) > budget.n_members:
                raise budget.too_many(name)
            if all(info.flag_bits & 1 for info in files):
                raise DocumentReadError(f"cannot read {name!r}: it is {_ENCRYPTED}")

    def entries(self) -> Iterator[Entry]:
        for info, path in zip(self._infos, zip_names(self._infos), strict=True):
            if not path.endswith("/"):
                yield _entry(path, info.file_size, _zip_trouble(info), info)

    def _blocks(self, entry: Entry) -> Iterator[bytes]:
        with self._zip.open(entry.source) as stream:
            yield from _blocks(stream)


def _zip_trouble(info: zipfile.ZipInfo) -> tuple[MemberState, str] | None:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "skipped", "symbolic link"
    if info.flag_bits & 1:
        return "failed", f"it is {_ENCRYPTED}"
    if info.compress_type not in _ZIP_METHODS:
        return "unsupported", (
            f"it is packed by a method that is not read (number {info.compress_type}); pack it again as ordinary ZIP"
        )
    return None


class _Tar(Archive):
    def __init__(self, stream: IO[bytes], name: str, budget: Budget) -> None:
        super().__init__(name)
        self._budget = budget
        unpacking = _unpacking(stream, name)
        self._is_packed = unpacking is not None
        self._stream = _Limited(unpacking or stream, budget, name)
        if not self._stream.read(_HEADER_BYTES):
            raise _not_one(name, "a TAR archive", is_empty=True)
        self._stream.seek(0)
        try:
            self._tar = tarfile.open(  # noqa: SIM115 - lives with its archive
                fileobj=cast(IO[bytes], self._stream), mode="r:", encoding="utf-8", errors="surrogateescape"
            )
        except tarfile.ReadError as error:
            raise _not_one(name, "a TAR archive") from error

    def entries(self) -> Iterator[Entry]:
        with damage_told(self._name):
            for info in self._tar:
                self._budget.spend(info.size, self._name)
                if not info.isdir():
                    yield _entry(info.name, info.size, _tar_trouble(info), info)
            # subtle: tarfile ends in silence at a header that is damaged or missing
            if self._stream.last != bytes(_HEADER_BYTES):
                raise EOFError("its end is missing")
            if self._is_packed:  # to the end, where its checksum is
                sum(map(len, _blocks(self._stream)))

    def _blocks(self, entry: Entry) -> Iterator[bytes]:
        stream = self._tar.extractfile(entry.source)
        assert stream is not None, "what is no file is not read"
        yield from _blocks(stream)


def _tar_trouble(info: tarfile.TarInfo) -> tuple[MemberState, str] | None:
    if info.issym() or info.islnk():
        return "skipped", f"link to {_shown(info.linkname)!r}"
    return None if info.isreg() else ("skipped", "not a file but a device")


class _Packed(Archive):
    def __init__(self, stream: IO[bytes], name: str, budget: Budget) -> None:
        super().__init__(name)
        opened = _unpacking(stream, name)
        if opened is None:
            raise _not_one(name, "a compressed file", is_empty=not stream.read(1))
        self._stream = _Limited(opened, budget, name)
        self._size = sum(map(len, _blocks(self._stream)))
        budget.spend(self._size, name)

    def entries(self) -> Iterator[Entry]:
        yield _entry(unpacked_name(self._name), self._size, None, None)

    def _blocks(self, entry: Entry) -> Iterator[bytes]:
        self._stream.seek(0)
        yield from _blocks(self._stream)


class _Limited:
    """An unpacking stream that is read no further than a budget goes. ``last`` are the bytes that were read last."""

    def __init__(self, stream: IO[bytes], budget: Budget, name: str) -> None:
        self._stream = stream
        self._budget = budget
        self._name = name
        self._end = budget.n_bytes
        self.last = b""

    def read(self, n_bytes: int = -1) -> bytes:
        left = self._end - self._stream.tell()
        data = self._stream.read(left + 1 if n_bytes < 0 else min(n_bytes, left + 1))
        if len(data) > left:
            raise self._budget.too_much(self._name)
        self.last = data
        return data

    def seek(self, offset: int) -> int:
        if offset > self._end:
            raise self._budget.too_much(self._name)
        return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _blocks(stream: _Readable) -> Iterator[bytes]:
    while block := stream.read(_BLOCK_BYTES):
        yield block


def _unpacking(stream: IO[bytes], name: str) -> IO[bytes] | None:
    """Return the stream of what a compressed one holds, None for one that is not compressed. The content decides."""
    head = stream.read(8)
    stream.seek(0)
    opener = next((opener for mark, opener in _COMPRESSIONS.items() if head.startswith(mark)), None)
    try:
        return opener(stream) if opener else None
    except UnsupportedFormatError as error:
        raise UnsupportedFormatError(f"cannot read {name!r}: {error}") from error


def _entry(path: str, size: int, trouble: tuple[MemberState, str] | None, source: object) -> Entry:
    """Return an entry under its cleaned path, or under what can be shown of a path that is none."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Entry(_shown(path), size, "failed", "the name is not valid UTF-8; rename it, so that it can be cited")
    cleaned = clean(path)
    parts = cleaned.split("/")
    if len(path) > _MAX_PATH_CHARS or max(map(len, parts)) > _MAX_NAME_CHARS or len(parts) > _MAX_FOLDERS:
        return Entry(
            _shown(path),
            size,
            "failed",
            f"the path of {len(path):,} characters and {len(parts)} names is too long; shorten it",
        )
    if not cleaned:
        return Entry(path or "(no name)", size, "skipped", "the path leaves the archive, or names nothing")
    state, reason = trouble or ("file", "")
    return Entry(cleaned, size, state, reason, source)


def _shown(path: str) -> str:
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."


def _not_one(name: str, promised: str, *, is_empty: bool = False) -> DocumentReadError:
    found = "is empty" if is_empty else f"is not {promised}"
    return DocumentReadError(f"cannot read {name!r}: it {found}; get it again, or give it the ending of what it is")
