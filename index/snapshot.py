"""A derived file that can prove it is whole: content, then a description with its SHA-256, then the length of that.

The description is at the end, so that the content is a plain file of its format to other programs.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from index.files import writing_whole

__all__ = ["DamagedIndexError", "read_snapshot", "write_snapshot"]

_MAGIC = b"FOOTNOTE"
_TAIL = struct.Struct("<Q8s")  # bytes of the description, magic


class DamagedIndexError(Exception):
    """A derived index is torn or altered. It never leaves this package: what is damaged is built again."""


def write_snapshot(path: Path, content: bytes, description: Mapping[str, Any]) -> None:
    """Write content and description under ``path``, as one whole or not at all."""
    body = json.dumps({**description, "sha256": hashlib.sha256(content).hexdigest()}).encode()
    body += hashlib.sha256(body).digest()
    with writing_whole(path) as file:
        file.writelines([content, body, _TAIL.pack(len(body), _MAGIC)])


def read_snapshot(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return content and description. Raises FileNotFoundError, or DamagedIndexError if any byte is not as written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedIndexError(f"{path} cannot be read: {error}") from error
    if len(data) < _TAIL.size:
        raise DamagedIndexError(f"{path} is too short")
    length, magic = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    end = len(data) - _TAIL.size
    if magic != _MAGIC or not 32 <= length <= end:
        raise DamagedIndexError(f"{path} has no description at its end")
    body, digest = data[end - length : end - 32], data[end - 32 : end]
    content = data[: end - length]
    if hashlib.sha256(body).digest() != digest:
        raise DamagedIndexError(f"{path} has a damaged description")
    description: dict[str, Any] = json.loads(body)
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise DamagedIndexError(f"{path} is not as it was written")
    return content, description
