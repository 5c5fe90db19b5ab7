"""Forms with a file (RFC 7578), as uploads are sent."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from rag.gateway.endpoint import StreamedBody

__all__ = ["multipart_body"]

_BLOCK_BYTES = 256 * 1024


def multipart_body(
    fields: Mapping[str, str], content: Path | bytes, *, filename: str, content_type: str
) -> StreamedBody:
    """Return a form of some fields and one file; one on disk is read while it is sent, once for every try."""
    boundary = f"footnote{secrets.token_hex(16)}"
    name = filename.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"

    async def begin() -> AsyncIterator[bytes]:
        yield head.encode()
        if isinstance(content, bytes):
            for start in range(0, len(content), _BLOCK_BYTES):
                yield content[start : start + _BLOCK_BYTES]
        else:
            with content.open("rb") as file:
                while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
                    yield block
        yield tail.encode()

    n_content = len(content) if isinstance(content, bytes) else content.stat().st_size
    n_bytes = len(head.encode()) + n_content + len(tail)
    return StreamedBody(f"multipart/form-data; boundary={boundary}", n_bytes, begin)
