"""What the names say: which files are archives, and how the paths in an archive are spelled."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Literal
from zipfile import ZipInfo

from ingest.readers.encoding import east_asian

__all__ = ["ArchiveKind", "archive_kind", "clean", "folders_of", "unpacked_name", "zip_names"]

ArchiveKind = Literal["zip", "tar", "packed"]
"""``packed`` is one compressed file: an archive that holds it."""

_ENDINGS: dict[str, ArchiveKind] = {
    ".zip": "zip",
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"), "tar"),
    **dict.fromkeys((".tar.zst", ".tzst"), "tar"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst"), "packed"),
}
_SAYS_UTF8 = 0x800  # APPNOTE 4.4.4, bit 11
_UNICODE_PATH = 0x7075  # APPNOTE 4.6.9
_UNIX = 3  # APPNOTE 4.4.2
_BOX_DRAWING = re.compile("[\u2500-\u259f]")
_IDEOGRAPHS = re.compile("[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]+")


def archive_kind(name: str) -> ArchiveKind | None:
    """Return what kind of archive the ending of a file's name promises, None for other files.

    >>> archive_kind("backup.TAR.gz"), archive_kind("notes.md.gz"), archive_kind("letter.docx")
    ('tar', 'packed', None)
    """
    lower = name.lower()
    return next((kind for ending, kind in _ENDINGS.items() if lower.endswith(ending)), None)


def unpacked_name(name: str) -> str:
    """Return what a single compressed file is called when it is unpacked.

    >>> unpacked_name("sub/notes.md.gz")
    'notes.md'
    """
    return name.rpartition("/")[2].rpartition(".")[0]


def clean(path: str) -> str:
    """Return a path in an archive as one below its root; "" for one that leaves it, or says nothing.

    A leading slash is no more than a habit of who packed it: unpackers drop it, too.

    >>> clean("/etc//./motd"), clean("../motd")
    ('etc/motd', '')
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def folders_of(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in, from the outermost.

    >>> list(folders_of("a/b/c.txt"))
    ['a', 'a/b']
    """
    return (path[:place] for place, char in enumerate(path) if char == "/")


def zip_names(infos: Sequence[ZipInfo]) -> list[str]:
    """Return the names of the entries of a ZIP archive.

    Those marked as UTF-8 are that, and so are those that are valid UTF-8: many programs forget the mark. The others
    were written in the code page of somebody's machine, which is judged from all of them together (``_code_page``).
    Backslashes are taken for slashes where no Unix program wrote the name and it has no slash, as Info-ZIP does.
    """
    raw = [None if info.flag_bits & _SAYS_UTF8 else _raw_name(info) for info in infos]
    page = _code_page([name for name in raw if name is not None and _utf8(name) is None])
    names = []
    for info, spelled in zip(infos, raw, strict=True):
        name = info.filename
        if spelled is not None:
            name = _unicode_path(info, spelled) or _utf8(spelled) or spelled.decode(page, "replace")
        names.append(name if info.create_system == _UNIX or "/" in name else name.replace("\\", "/"))
    return names


def _raw_name(info: ZipInfo) -> bytes:
    return info.orig_filename.encode("cp437").partition(b"\0")[0]  # zipfile has read it as cp437, which loses nothing


def _utf8(name: bytes) -> str | None:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _code_page(names: Sequence[bytes]) -> str:
    """Return the encoding of names that are not UTF-8: one of East Asia where that reads well, else cp437.

    East Asian is what gives frequent characters (``readers.encoding``); names of rare ones are Chinese where cp437
    would draw boxes, which no name has, and GB 18030 gives ideographs alone. cp437 is what the format names.
    """
    together = b"\n".join(names)
    if encoding := east_asian(together):
        return encoding
    if _BOX_DRAWING.search(together.decode("cp437")):
        try:
            foreign = [char for char in together.decode("gb18030") if not char.isascii()]
        except UnicodeDecodeError:
            return "cp437"
        if _IDEOGRAPHS.fullmatch("".join(foreign)):
            return "gb18030"
    return "cp437"


def _unicode_path(info: ZipInfo, raw: bytes) -> str | None:
    """Return the name that Info-ZIP keeps beside one in a code page, if it belongs to that one."""
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            (crc,) = struct.unpack("<L", field[1:5])
            return _utf8(field[5:]) if crc == zlib.crc32(raw) else None
    return None
