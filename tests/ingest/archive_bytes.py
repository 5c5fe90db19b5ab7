"""Archives made by hand: ordinary ones, and what no ordinary program would write."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence

__all__ = ["PACK", "encrypted", "raw_named", "tar_of", "zip_of"]

Files = Mapping[str, bytes] | Sequence[tuple[str, bytes]]


def _pairs(files: Files) -> list[tuple[str, bytes]]:
    return list(files.items() if isinstance(files, Mapping) else files)


def zip_of(files: Files, *, method: int = zipfile.ZIP_DEFLATED, system: int = 3) -> bytes:
    """Return a ZIP archive; ``system`` is who wrote it: 3 Unix, 0 Windows."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compresslevel=1) as archive:
        for name, data in _pairs(files):
            info = zipfile.ZipInfo(name)
            info.create_system, info.compress_type = system, method
            archive.writestr(info, data)
    return packed.getvalue()


def tar_of(files: Files, *, mode: str = "w", others: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """Return a TAR archive, compressed as ``mode`` says ("w:gz"); ``others`` are entries without bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in _pairs(files):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return packed.getvalue()


PACK: dict[str, Callable[[Files], bytes]] = {
    ".zip": zip_of,
    ".tar": tar_of,
    ".tar.gz": lambda files: tar_of(files, mode="w:gz"),
    ".tbz2": lambda files: tar_of(files, mode="w:bz2"),
    ".tar.xz": lambda files: tar_of(files, mode="w:xz"),
}


def raw_named(name: bytes, data: bytes = b"words", *, system: int = 0) -> bytes:
    """Return a ZIP archive of one file whose name is these bytes, in no encoding that it names."""
    stand_in = "N" * len(name)
    return zip_of({stand_in: data}, system=system).replace(stand_in.encode(), name)


def encrypted(archive: bytes, *names: str) -> bytes:
    """Return a ZIP archive that says its files are encrypted: those named, or all."""
    marked = bytearray(archive)
    for mark, flags, name_length, name_at in ((b"PK\x03\x04", 6, 26, 30), (b"PK\x01\x02", 8, 28, 46)):
        at = archive.find(mark)
        while at >= 0:
            length = int.from_bytes(archive[at + name_length : at + name_length + 2], "little")
            if not names or archive[at + name_at : at + name_at + length].decode() in names:
                marked[at + flags] |= 1
            at = archive.find(mark, at + 1)
    return bytes(marked)
