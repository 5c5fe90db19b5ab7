"""Full-precision vectors on disk by row: what the rescoring of candidates reads instead of SQLite.

A derived file, ``vectors.f32``: a header of one page, then for each row, at its number times the size of a record, the
row, a checksum and the vector. Rows are never used again and their vectors never change, so any process may write a
record at any time without a lock: they all write the same. Every record is checked when it is read; one that is torn,
altered or was never written is simply not there: whoever misses it takes the vector from SQLite and writes it again.

It is read with ``pread``, not mapped: pages of a mapping count as the memory of the process that touched them, and a
mapped file that another process cuts short kills its readers. The checksum is the sum of the vector's 32-bit words,
which sees every single bit, and is added up for all at once.
"""

from __future__ import annotations

import json
import os
import weakref
from contextlib import suppress
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.exact import RowArray
from index.files import write_whole
from rag.types import FloatArray

__all__ = ["RowFile"]

_FORMAT = 1
_HEADER_BYTES = 4096
_PART = 4096  # records in memory at once


class RowFile:
    """The vectors of one collection. Any thread of any process may read and write at any time."""

    def __init__(self, path: Path, *, model: str, dimensions: int, mark: str) -> None:
        """``mark`` tells collections apart: a file of another one is not believed, and replaced when first written to.

        Where the file can be neither read nor made, every row is missing; nothing is raised.
        """
        self._path = path
        self._dimensions = dimensions
        said = {"format": _FORMAT, "model": model, "dimensions": dimensions, "mark": mark}
        self._header = json.dumps(said).encode().ljust(_HEADER_BYTES, b"\0")
        self._record = np.dtype([("row", "<i8"), ("sum", "<u4"), ("", "<u4"), ("vector", "<f4", (dimensions,))])
        self._file = self._opened()

    def read(self, rows: RowArray) -> tuple[NDArray[np.bool_], FloatArray]:
        """Return which rows are there whole, and their vectors, (number of those, dimensions), in the order of rows."""
        records = self._records(rows)
        vectors = np.ascontiguousarray(records["vector"], np.float32)
        there = (records["row"] == rows) & (records["sum"] == _checksums(vectors, rows))
        return there, vectors if there.all() else vectors[there]

    def _records(self, rows: RowArray) -> NDArray[np.void]:
        """Return what the file has at the rows' places; zeros where it has nothing, or cannot be read."""
        if self._file is None or not len(rows):
            return np.zeros(len(rows), self._record)
        size, number = self._record.itemsize, self._file.number
        offsets = rows * size + _HEADER_BYTES
        edges = np.flatnonzero(np.diff(rows) != 1) + 1
        starts = np.concatenate([[0], edges])
        lengths = np.diff(np.append(starts, len(rows))) * size  # rows that follow each other are one read
        parts: list[bytes] = []
        with suppress(OSError):  # what cannot be read is not there
            parts.extend(map(os.pread, repeat(number), lengths.tolist(), offsets[starts].tolist()))
        data = b"".join(parts)
        if len(data) != len(rows) * size:  # some lie beyond the end: each part is brought to its length
            parts += [b""] * (len(lengths) - len(parts))
            data = b"".join(part.ljust(length, b"\0") for part, length in zip(parts, lengths.tolist(), strict=True))
        return np.frombuffer(data, self._record)

    def write(self, rows: RowArray, vectors: FloatArray) -> None:
        """Write vectors (n, dimensions) under their rows, ascending or not; nothing is raised where the disk is full.

        What is not written is missing later on, and costs whoever looks for it a look into SQLite.
        """
        with suppress(OSError):
            if self._file is None:
                self._file = self._made()
            for first in range(0, len(rows), _PART):
                self._write(rows[first : first + _PART], vectors[first : first + _PART])

    def _write(self, rows: RowArray, vectors: FloatArray) -> None:
        assert self._file is not None
        records = np.zeros(len(rows), self._record)
        records["row"], records["vector"] = rows, vectors
        records["sum"] = _checksums(np.ascontiguousarray(vectors, np.float32), rows)
        view, size = memoryview(records.view(np.uint8).data), self._record.itemsize
        for first, last in _runs(rows):
            offset = _HEADER_BYTES + int(rows[first]) * size
            os.pwrite(self._file.number, view[first * size : last * size], offset)

    def discard(self) -> None:
        """Delete the file: the next write makes a new one, without what is gone."""
        self._file = None
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """Return what the file takes on disk; rows that were never written take nothing where holes are free."""
        try:
            stat: Any = self._path.stat()
        except OSError:
            return 0
        return int(getattr(stat, "st_blocks", stat.st_size // 512) * 512)

    def _opened(self) -> _Descriptor | None:
        for flags in (os.O_RDWR, os.O_RDONLY):
            with suppress(OSError):
                file = _Descriptor(os.open(self._path, flags | getattr(os, "O_CLOEXEC", 0)))
                if os.pread(file.number, _HEADER_BYTES, 0) == self._header:
                    return file
        return None

    def _made(self) -> _Descriptor:
        file = self._opened()  # another process may have made it meanwhile
        if file is None:
            write_whole(self._path, self._header, durable=False)
            file = self._opened()
        if file is None:
            raise OSError(f"{self._path} cannot be read after it was written")
        return file


class _Descriptor:
    """A file that is closed when nobody holds it any more: a thread may still be reading when its owner is done."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


def _checksums(vectors: FloatArray, rows: RowArray) -> NDArray[np.uint32]:
    words = vectors.view(np.uint32).sum(axis=1, dtype=np.uint32)
    return np.asarray(words + rows.astype(np.uint32) * np.uint32(2654435761) + np.uint32(1), np.uint32)


def _runs(rows: RowArray) -> list[tuple[int, int]]:
    """Return the places [first, last) of rows that follow each other: one read each."""
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    places = [0, *edges.tolist(), len(rows)]
    return list(pairwise(places))
