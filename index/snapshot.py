"""A derived file that can prove it is whole: content, then a description with its SHA-256, then the length of that.

The description is at the end, so that the content is a plain file of its format to other programs. It is written to a
temporary file, synced and renamed: what stands under the name is always one whole version.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from index.files import writing_whole

__all__ = ["DamagedIndexError", "opened_snapshot", "write_snapshot"]

_MAGIC = b"FOOTNOTE"
_TAIL = struct.Struct("<Q8s")  # bytes of the description, magic
_BLOCK = 1024 * 1024


class DamagedIndexError(Exception):
    """A derived index is torn or altered. It never leaves this package: what is damaged is built again."""


def write_snapshot(path: Path, write: Callable[[BinaryIO], object], description: Mapping[str, Any]) -> None:
    """Write what ``write`` puts into a stream, and a description, under ``path``: as one whole or not at all."""
    with writing_whole(path) as file:
        hashing = _HashingStream(file)
        write(cast(BinaryIO, hashing))
        body = json.dumps({**description, "sha256": hashing.sha256.hexdigest()}).encode()
        body += hashlib.sha256(body).digest()
        file.writelines([body, _TAIL.pack(len(body), _MAGIC)])


class _HashingStream:
    """Hands on what is written to it, and hashes it: the content may be larger than memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)


@contextmanager
def opened_snapshot(path: Path) -> Iterator[tuple[BinaryIO, dict[str, Any]]]:
    """Open a snapshot at its content, with its description, once every byte was found to be as written.

    After the content the stream goes on with what is ours. Raises FileNotFoundError, or DamagedIndexError.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    with file:
        try:
            description = _verified(file, path)
            file.seek(0)
        except OSError as error:
            raise DamagedIndexError(f"{path} cannot be read: {error}") from error
        yield file, description


def _verified(file: BinaryIO, path: Path) -> dict[str, Any]:
    end = file.seek(0, os.SEEK_END) - _TAIL.size
    if end < 0:
        raise DamagedIndexError(f"{path} is too short")
    file.seek(end)
    length, magic = _TAIL.unpack(file.read(_TAIL.size))
    if magic != _MAGIC or not 32 <= length <= end:
        raise DamagedIndexError(f"{path} has no description at its end")
    file.seek(end - length)
    body = file.read(length)
    if hashlib.sha256(body[:-32]).digest() != body[-32:]:
        raise DamagedIndexError(f"{path} has a damaged description")
    description: dict[str, Any] = json.loads(body[:-32])
    file.seek(0)
    content = hashlib.sha256()
    for first in range(0, end - length, _BLOCK):
        content.update(file.read(min(_BLOCK, end - length - first)))
    if content.hexdigest() != description["sha256"]:
        raise DamagedIndexError(f"{path} is not as it was written")
    return description
