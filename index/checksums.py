"""Checksums of what is stored, so that a disk that alters it is noticed: CRC-32, which sees every single altered bit.

Damage in a random place passes unseen once in four billion times. Nothing here protects against people: who can write
the files can write the checksums.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence

__all__ = ["bytes_checksum", "rows_checksum", "vector_checksum"]


def bytes_checksum(data: bytes) -> int:
    """Return the checksum of bytes: of a text's UTF-8, say."""
    return zlib.crc32(data)


def vector_checksum(address: bytes, embedding: bytes | None) -> int:
    """Return the checksum of a vector together with its content address; None stands for an unreadable text.

    Raises TypeError for anything else, which is never stored.
    """
    start = zlib.crc32(address)
    return start if embedding is None else zlib.crc32(embedding, start)


def rows_checksum(rows: Sequence[Sequence[object]], blobs: Iterable[bytes] = ()) -> int:
    """Return the checksum of rows of a table, in their order, as SQLite returns them; bytes go in ``blobs``.

    It is that of their JSON, so 1 and "1" differ, and so do 1 and True: pass what is stored. Bytes in ``rows`` are what
    damage makes of a text, and agree with none.
    """
    return zlib.crc32(b"".join(blobs), zlib.crc32(json.dumps(rows, default=repr).encode("ascii")))
