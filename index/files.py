"""Writing a file whole: what stands under its name is always one version, the old one or the new one.

It is written beside its place under a hidden name, synced, renamed, and its folder is synced, so that it is on disk
when the call returns. Whoever walks the folder leaves hidden names out.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["put_in_place", "sweep_temporary", "sync_folder", "temporary_beside", "write_whole", "writing_whole"]


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file, whole or not at all, as ``writing_whole`` does."""
    with writing_whole(path, durable=durable) as file:
        file.write(data)


@contextmanager
def writing_whole(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Lend a stream whose content is the file ``path``, in the place of what is there, once the block has ended.

    An exception or an error before the rename leaves what was there. A folder that cannot be synced (EIO) is an OSError
    too, although the new version stands in it: a power cut could still bring the old one back. Without ``durable``
    nothing is synced: for what is of no use after a power cut.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished file its name, as ``writing_whole`` does: for what another library writes."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """Return a name for what is to become ``path``; nobody else has it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def sweep_temporary(path: Path) -> None:
    """Delete what killed processes left of ``path``; somebody who is writing it at this moment gets an OSError."""
    for leftover in path.parent.glob(f"*{path.name}.*.tmp"):  # without the dot, too: names of version 0.1
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the renames in a folder on disk, or raise OSError; Windows cannot open a folder and does it by itself."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
