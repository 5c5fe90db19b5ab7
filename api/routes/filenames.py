"""The name under which an uploaded file may be stored."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["safe_filename"]

MAX_NAME_BYTES = 200
"""File systems take 255; the library adds suffixes of its own while it writes."""

_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Devices of Windows, whatever their suffix."""


def safe_filename(name: str) -> str:
    """Return the last part of a path without anything that a file system could take amiss; "" if nothing is left.

    >>> safe_filename("../../etc/passwd"), safe_filename("..\\\\boot.ini"), safe_filename(".hidden.md")
    ('passwd', 'boot.ini', 'hidden.md')
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    visible = "".join(character for character in last if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))
    # a leading dot hides a file, from ingest too; Windows drops trailing dots and spaces
    clean = _FORBIDDEN.sub("_", visible).strip(" .")
    if _RESERVED.fullmatch(clean):
        clean = f"_{clean}"
    return _shortened(clean)


def _shortened(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > 20:
        stem, dot, suffix = name, "", ""
    room = MAX_NAME_BYTES - len((dot + suffix).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + dot + suffix
