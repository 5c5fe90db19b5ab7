"""Bodies of replies: unfolded as they come, within a limit on what they unfold to."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from rag.errors import DocumentReadError

__all__ = ["ENCODINGS", "TooLargeError", "read_body", "unfolded"]

ENCODINGS = "gzip"
"""What is asked for: what the standard library unfolds piece by piece, within a limit."""

_MB = 1024 * 1024
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's own detection of either header


class TooLargeError(DocumentReadError):
    """A body is larger than its limit, as sent or as unfolded."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"more than the limit of {max_bytes / _MB:g} MB (web.max_page_mb)")


async def read_body(chunks: AsyncIterator[bytes], *, encoding: str, declared: str, max_bytes: int, host: str) -> bytes:
    """Return a body, unfolded. ``encoding`` and ``declared`` are its Content-Encoding and Content-Length, or "".

    Raises TooLargeError as soon as it is known, DocumentReadError for an encoding that was not asked for and for a body
    that breaks off or is damaged (retriable).
    """
    if declared.isdecimal() and int(declared) > max_bytes:
        raise TooLargeError(max_bytes)
    unfold = _unfolder(encoding.strip().lower(), max_bytes, host)
    pieces: list[bytes] = []
    n_bytes = 0
    async for chunk in chunks:
        piece = unfold.feed(chunk)
        n_bytes += len(piece)
        if n_bytes > max_bytes:
            raise TooLargeError(max_bytes)
        pieces.append(piece)
    unfold.end()
    return b"".join(pieces)


def unfolded(data: bytes, *, max_bytes: int, host: str) -> bytes:
    """Return what gzipped bytes unfold to; raises as ``read_body`` does."""
    unfold = _Unfolder(max_bytes, host)
    found = unfold.feed(data)
    if len(found) > max_bytes:
        raise TooLargeError(max_bytes)
    unfold.end()
    return found


class _AsIs:
    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> None:
        pass


class _Unfolder:
    """Unfolds gzip and zlib, several members in a row included, never much more than ``max_bytes`` in all."""

    def __init__(self, max_bytes: int, host: str) -> None:
        self._left = max_bytes + 1
        self._host = host
        self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._is_empty = True

    def feed(self, chunk: bytes) -> bytes:
        pieces: list[bytes] = []
        while chunk and self._left > 0:
            if self._member.eof:
                if not chunk.strip(b"\0"):  # padding, which gzip allows after the last member
                    break
                self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
            self._is_empty = False
            try:
                piece = self._member.decompress(chunk, self._left)
            except zlib.error as error:
                raise DocumentReadError(
                    f"{self._host}: its reply is compressed wrongly ({error})", retriable=True
                ) from error
            self._left -= len(piece)
            pieces.append(piece)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return b"".join(pieces)

    def end(self) -> None:
        """Raise DocumentReadError where the last member is not whole."""
        if not self._is_empty and not self._member.eof:
            raise DocumentReadError(f"{self._host}: its reply breaks off; try again", retriable=True)


def _unfolder(encoding: str, max_bytes: int, host: str) -> _AsIs | _Unfolder:
    if encoding in ("", "identity"):
        return _AsIs()
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Unfolder(max_bytes, host)
    raise DocumentReadError(f"{host}: its reply is compressed with {encoding!r}, which was not asked for")
