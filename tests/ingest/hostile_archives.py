"""Archives made to do harm, for the tests and for the table of hostile files."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Callable, Mapping

from tests.ingest.archive_bytes import encrypted, raw_named, tar_of, zip_of

__all__ = ["BOMBS", "HOSTILE", "links"]

MB = 1024 * 1024


def overlapping(n_names: int) -> bytes:
    """Return a ZIP archive whose directory names the same bytes again and again."""
    data = zip_of({"00000.txt": b"0" * 1_000_000})
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"00000", b"%05d" % i) for i in range(n_names))
    tail = end[:8] + struct.pack("<HHLL", n_names, n_names, len(entries), start) + end[20:]
    return data[:start] + entries + tail


def sparse() -> bytes:
    """Return a TAR archive that says one of its files is a hole of eight terabytes."""
    info = tarfile.TarInfo("hole.txt")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": str(8 << 40),
        "GNU.sparse.map": f"{8 << 40},0",
    }
    return tar_of({"a.txt": b"a"}, others=[info])


def huge_header() -> bytes:
    """Return a compressed TAR archive whose first header is 90 MB of zeros."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 90 * MB
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(90 * MB), compresslevel=1)


def zeros(n_mb: int) -> bytes:
    return gzip.compress(bytes(n_mb * MB), compresslevel=1)


def links() -> bytes:
    """Return a TAR archive with links out of it, a pipe and a disk."""
    kinds = {"soft": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "disk": tarfile.BLKTYPE}
    others = []
    for name, kind in kinds.items():
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "/etc/passwd" if name in ("soft", "hard") else ""
        others.append(info)
    return tar_of({"a.txt": b"a"}, mode="w:gz", others=others)


def without_end() -> bytes:
    """Return archives in archives, far deeper than anybody packs them."""
    data = zip_of({"bottom.txt": b"bottom"})
    for _ in range(30):
        data = zip_of({"r.zip": data, "r.txt": b"still here"})
    return data


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "zeros.zip": lambda: zip_of({"a.txt": bytes(70 * MB)}),
    "overlapping.zip": lambda: overlapping(500),
    "zeros.txt.gz": lambda: zeros(70),
    "zeros.tar.gz": lambda: gzip.compress(tar_of({"a.txt": bytes(70 * MB)}), compresslevel=1),
    "nested.zip": lambda: zip_of({f"{i}.gz": zeros(20) for i in range(4)}),
    "sparse.tar": sparse,
    "header.tgz": huge_header,
}
"""What would unfold to more than it may."""

HOSTILE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    **{name: (make, "refused by the bound it breaks") for name, make in BOMBS.items()},
    "cut_off.tar.gz": (lambda: tar_of({f"{i}.txt": bytes([i]) * 999 for i in range(9)}, mode="w:gz")[:-99], "fails"),
    "encrypted.zip": (lambda: encrypted(zip_of({"a.txt": b"a"})), "fails with advice"),
    "links.tgz": (links, "no link is followed, the file is read"),
    "name_gbk.zip": (lambda: raw_named("合同/会议纪要.txt".encode("gbk"), "会议".encode()), "read, under its name"),
    "without_end.zip": (without_end, "no recursion"),
}
"""All of them, with what is asked for."""
