"""Any recording to samples, and samples to FLAC: the only importer of PyAV, which brings FFmpeg along.

PyAV is an extra of its own (``footnote-rag[audio]``): it takes 105 MB, and while it is BSD, its wheels hold libraries
under the LGPL and the GPL that not everybody may pass on. soundfile takes 5 MB, but reads no M4A, AAC or WebM, which is
what telephones and meetings record.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ingest.readers.clock import clock
from ingest.readers.silences import Samples
from ingest.readers.sound import NoSoundError, SoundError
from ingest.readers.sound_kinds import SoundKind, is_cut_riff
from rag.errors import DocumentReadError

__all__ = ["INSTALL_PYAV", "PyavSound", "decoder_version", "flac_bytes", "pyav_is_installed"]

INSTALL_PYAV = "pip install 'footnote-rag[audio]'"

RATE = 16_000
"""Samples a second that speech models hear: https://github.com/openai/whisper/blob/main/whisper/audio.py"""
_MIN_GAP_S, _MAX_GAP_S = 0.2, 3_600.0
"""Between these a gap in the times of a file is believed; less is how resamplers work, and more a mistake."""
_TAGS = ("title", "artist", "album", "date", "comment")


def pyav_is_installed() -> bool:
    """Tell whether recordings can be decoded."""
    return importlib.util.find_spec("av") is not None


def _av() -> ModuleType:
    try:
        import av  # late: 0.2 s, and only where recordings are read
    except ImportError as error:
        raise DocumentReadError(
            f"PyAV is installed and cannot be loaded ({error}); install it again ({INSTALL_PYAV}), or allow more "
            "memory (ingest.parse_memory_mb)",
            retriable=True,
        ) from error
    return av


def decoder_version() -> str:
    """Return what the samples depend on, beside the file: another decoder may begin a little earlier or later."""
    av = _av()
    return f"pyav {av.__version__.partition('.')[0]}"


class PyavSound:
    """The sound of a recording or film, of one channel, 16,000 samples a second; closed once its blocks are read.

    Raises NoSoundError where there is no sound in it, SoundError where none can be decoded. What cannot be decoded in
    the middle is left out, and is a ``problem``.
    """

    rate = RATE

    def __init__(self, data: bytes, kind: SoundKind) -> None:
        av = _av()
        self.problem = ""
        try:
            # Only this container is opened, and nothing that it refers to: no protocol is allowed.
            self._file: Any = av.open(
                io.BytesIO(data), "r", format=kind.demuxer, container_options={"protocol_whitelist": "none"}
            )
        except (av.FFmpegError, ValueError) as error:
            raise SoundError(_said(error)) from error
        if not self._file.streams.audio:
            self._file.close()
            raise NoSoundError("it has no sound")
        self._stream = self._file.streams.audio[0]
        self._begins_s = (self._file.start_time or 0) / 1e6
        self._told_us = self._file.duration if kind.tells_duration else None
        self.tags: Mapping[str, str] = _tags({**self._stream.metadata, **self._file.metadata})
        if is_cut_riff(data):  # FFmpeg takes the size of the file for the truth
            self.problem = "it breaks off before its end"

    def blocks(self) -> Iterator[Samples]:
        """Yield the samples, once. What is missing in the middle is silence, so that what follows keeps its time."""
        av = _av()
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        n_samples = 0
        with self._file:
            for frame in self._frames():
                if n_missing := self._n_missing(frame, n_samples):
                    n_samples += n_missing
                    yield np.zeros(n_missing, dtype=np.int16)
                try:
                    resampled = resampler.resample(_untimed(frame))
                except (av.FFmpegError, ValueError):  # the file changes its channels midway
                    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
                    resampled = resampler.resample(_untimed(frame))
                for part in resampled:
                    n_samples += part.samples
                    yield part.to_ndarray()[0]
        self._note_shortness(n_samples / RATE)

    def _frames(self) -> Iterator[Any]:
        """Yield the decoded frames, then None: what the resampler still holds is asked for by that."""
        av = _av()
        n_frames = 0
        packets = self._file.demux(self._stream)
        while True:
            try:
                for frame in next(packets).decode():
                    n_frames += 1
                    yield frame
            except (StopIteration, EOFError):
                break
            except (av.FFmpegError, ValueError) as error:  # of one packet; where there are no more, that is next
                self.problem = f"parts of it cannot be decoded ({_said(error)})"
        if n_frames:
            yield None
        elif self.problem:
            raise SoundError(self.problem)

    def _n_missing(self, frame: Any, n_samples: int) -> int:
        """Return how many samples a frame is late, by its own time, after those that there were."""
        if frame is None or frame.time is None:
            return 0
        late_s = frame.time - self._begins_s - n_samples / RATE
        return round(late_s * RATE) if _MIN_GAP_S <= late_s <= _MAX_GAP_S else 0

    def _note_shortness(self, seconds: float) -> None:
        """Note where the file says that it lasts longer than what could be decoded: it is cut off, or it lies."""
        told_s = (self._told_us or 0) / 1e6
        if seconds < 0.95 * told_s - 1:
            self.problem = f"it breaks off: it says that it lasts {clock(told_s)}, and {clock(seconds)} of it is there"


def flac_bytes(samples: Samples, rate: int) -> bytes:
    """Return a FLAC file of one channel; the same samples give the same bytes."""
    av = _av()

    file = io.BytesIO()
    with av.open(file, "w", format="flac", options={"fflags": "+bitexact"}) as writer:
        stream: Any = writer.add_stream("flac", rate=rate, layout="mono")
        for start in range(0, len(samples), rate):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[np.newaxis, start : start + rate]), format="s16", layout="mono"
            )
            frame.sample_rate = rate
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return file.getvalue()


def _untimed(frame: Any) -> Any:
    """Return a frame without its time, over which the resampler would stumble."""
    if frame is not None:
        frame.pts = None
    return frame


def _tags(found: Mapping[str, str]) -> dict[str, str]:
    known = {name.lower(): value for name, value in found.items()}
    return {name: known[name] for name in _TAGS if known.get(name, "").strip()}


def _said(error: Exception) -> str:
    """Return what FFmpeg says, without its numbers."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).strip().rstrip(".")[:200] or type(error).__name__
