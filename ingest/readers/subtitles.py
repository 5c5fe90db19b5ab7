"""Subtitles: what is said, and when."""

from __future__ import annotations

import re
from html import unescape

from ingest.readers.clock import clock
from ingest.readers.draft import Draft
from ingest.readers.encoding import decode
from ingest.readers.reading import Reading

__all__ = ["read_srt", "read_vtt"]

_TIMES = re.compile(
    r"^[ \t]*((?:\d+:)?\d{1,2}:\d{2})[.,]\d{1,3}[ \t]*-->[ \t]*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}[^\n]*$"
)
_TAG = re.compile(
    r"</?(?:[bius]|font|c|v|lang|ruby|rt)(?:[ .][^>\n]{0,200})?>|<\d[\d:.]{0,20}>|\{\\[^}\n]{0,200}\}", re.IGNORECASE
)


def read_srt(data: bytes, name: str) -> Reading:
    """Read SubRip subtitles: what is said, without numbers and times; a place is the time, "00:01:12"."""
    return _reading(data, "application/x-subrip")


def read_vtt(data: bytes, name: str) -> Reading:
    """Read WebVTT subtitles: what is said, without notes and styles; a place is the time, "00:01:12"."""
    return _reading(data, "text/vtt")


def _reading(data: bytes, media_type: str) -> Reading:
    decoded = decode(data)
    draft = Draft()
    n_cues = 0
    last = ""
    for block in re.split(r"\n[ \t]*\n", decoded.text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        at = next((place for place, line in enumerate(lines) if _TIMES.match(line)), None)
        if at is None:
            continue
        times = _TIMES.match(lines[at])
        assert times is not None
        text = unescape(_TAG.sub("", "\n".join(lines[at + 1 :]))).strip()
        if text and text != last:  # captions that roll show a line twice
            draft.page(clock(_seconds(times[1])))
            draft.add(text, gap="\n")
            n_cues, last = n_cues + 1, text
    metadata = {"encoding": decoded.encoding, "cues": str(n_cues)}
    warnings = decoded.warnings
    if not n_cues and decoded.text.strip():
        draft.add(decoded.text)
        warnings = (*warnings, "no times were found; read as plain text")
    return draft.reading(media_type, metadata=metadata, warnings=warnings)


def _seconds(time: str) -> int:
    seconds = 0
    for part in time.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds
