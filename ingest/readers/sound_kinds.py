"""What kind of recording a file is, by its first bytes: its name may lie, and a decoder must not guess.

FFmpeg's own guess takes playlists too, which name other files and addresses for it to open. So it is told the format,
and only these are ever named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ENDINGS", "SoundKind", "is_cut_riff", "kind_of"]


@dataclass(frozen=True, slots=True)
class SoundKind:
    """A container: what FFmpeg calls it, its media type, and what an endpoint is told of it ("": it takes none)."""

    demuxer: str
    media_type: str
    upload_type: str = ""
    tells_duration: bool = True


_MP3 = SoundKind("mp3", "audio/mpeg", "audio/mpeg", tells_duration=False)
_AAC = SoundKind("aac", "audio/aac", tells_duration=False)
_KINDS = (
    (rb"RIFF....WAVE", SoundKind("wav", "audio/wav", "audio/wav")),
    (rb"RF64....WAVE", SoundKind("wav", "audio/wav")),
    (rb"RIFF....AVI ", SoundKind("avi", "video/x-msvideo")),
    (rb"fLaC", SoundKind("flac", "audio/flac", "audio/flac")),
    (rb"OggS", SoundKind("ogg", "audio/ogg", "audio/ogg")),
    (rb"....ftyp", SoundKind("mp4", "audio/mp4", "audio/mp4")),
    (rb"\x1a\x45\xdf\xa3", SoundKind("matroska", "audio/webm", "audio/webm")),
    (rb"FORM....AIF[FC]", SoundKind("aiff", "audio/aiff")),
    (rb"#!AMR", SoundKind("amr", "audio/amr", tells_duration=False)),
    (rb"caff", SoundKind("caf", "audio/x-caf")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", SoundKind("asf", "audio/x-ms-asf")),
    (rb"\x00\x00\x01\xba", SoundKind("mpeg", "video/mpeg", tells_duration=False)),
    (rb"ID3[\x02-\x04]", _MP3),
)
_MARKS = tuple((re.compile(mark, re.DOTALL), kind) for mark, kind in _KINDS)
_AAC_FRAME = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
_MPEG_FRAME = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfd]")

ENDINGS = (
    *(".mp3", ".mpga", ".mp2", ".m4a", ".m4b", ".aac", ".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff"),
    *(".amr", ".caf", ".wma", ".mp4", ".m4v", ".mov", ".webm", ".mka", ".mkv", ".avi", ".mpeg", ".mpg", ".wmv"),
)
"""Names that recordings go by, and films, whose sound is read."""


def kind_of(data: bytes, suffix: str) -> SoundKind | None:
    """Return what a file is; None for no recording. Frames without a container count only under a name for them.

    >>> kind_of(b"OggS" + bytes(20), ".txt").media_type
    'audio/ogg'
    """
    for mark, kind in _MARKS:
        if mark.match(data):
            return _aac_after_tag(data) if kind is _MP3 else kind
    if suffix in ENDINGS:  # two bytes are a mark too short to go by alone: UTF-16 begins in much the same way
        if _AAC_FRAME.match(data):
            return _AAC
        if _MPEG_FRAME.match(data):
            return _MP3
    return None


def is_cut_riff(data: bytes) -> bool:
    """Tell whether a RIFF file (WAV, AVI) is shorter than it says; one that says nothing, or 4 GB, is a stream."""
    size = int.from_bytes(data[4:8], "little") if data.startswith(b"RIFF") else 0
    return size < 0xFFFF0000 and len(data) < size + 8


def _aac_after_tag(data: bytes) -> SoundKind:
    """Return the kind of what follows an ID3 tag, which stands before AAC too, now and then."""
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return _AAC if _AAC_FRAME.match(data[10 + size : 12 + size]) else _MP3
