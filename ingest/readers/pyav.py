"""Any recording to samples, and samples to FLAC: the only importer of PyAV, which brings FFmpeg along.

PyAV is an extra of its own (``footnote-rag[audio]``): it takes 105 MB, and while it is BSD, its wheels hold libraries
under the LGPL and the GPL that not everybody may pass on. soundfile takes 5 MB, but reads no M4A, AAC or WebM, which is
what telephones and meetings record.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ingest.readers.clock import clock
from ingest.readers.silences import Samples
from ingest.readers.sound import NoSoundError, SoundError
from ingest.readers.sound_kinds import SoundKind, is_cut_riff

__all__ = ["INSTALL_PYAV", "PyavSound", "decoder_version", "flac_bytes", "pyav_is_installed"]

INSTALL_PYAV = "pip install 'footnote-rag[audio]'"

RATE = 16_000
"""Samples a second that speech models hear: https://github.com/openai/whisper/blob/main/whisper/audio.py"""
_MAX_ERRORS = 100
_TAGS = ("title", "artist", "album", "date", "comment")


def pyav_is_installed() -> bool:
    """Tell whether recordings can be decoded."""
    return importlib.util.find_spec("av") is not None


def decoder_version() -> str:
    """Return what the samples depend on, beside the file: another decoder may begin a little earlier or later."""
    import av  # late: 0.2 s, and only where recordings are read

    return f"pyav {av.__version__.partition('.')[0]}"


class PyavSound:
    """The sound of a recording or film, of one channel, 16,000 samples a second; closed once its blocks are read.

    Raises NoSoundError where there is no sound in it, SoundError where none can be decoded. What cannot be decoded in
    the middle is left out, and is a ``problem``.
    """

    rate = RATE

    def __init__(self, data: bytes, kind: SoundKind) -> None:
        import av  # late, as above

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
        self._told_us = self._file.duration if kind.tells_duration else None
        if is_cut_riff(data):  # FFmpeg takes the size of the file for the truth
            self.problem = "it breaks off before its end"

    @property
    def tags(self) -> Mapping[str, str]:
        known = {name.lower(): value for name, value in {**self._stream.metadata, **self._file.metadata}.items()}
        return {name: known[name] for name in _TAGS if known.get(name, "").strip()}

    def blocks(self) -> Iterator[Samples]:
        import av  # late, as above

        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        n_samples = 0
        with self._file:
            for frame in self._frames():
                try:
                    resampled = resampler.resample(frame)
                except (av.FFmpegError, ValueError):  # the file changes its channels midway
                    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
                    resampled = resampler.resample(frame)
                for part in resampled:
                    n_samples += part.samples
                    yield part.to_ndarray()[0]
        self._note_shortness(n_samples / RATE)

    def _frames(self) -> Iterator[Any]:
        """Yield the decoded frames, then None: what the resampler still holds is asked for by that."""
        import av  # late, as above

        n_errors, n_frames = 0, 0
        packets = self._file.demux(self._stream)
        while n_errors < _MAX_ERRORS:
            try:
                packet = next(packets)
                for frame in packet.decode():
                    n_frames += 1
                    frame.pts = None  # gaps in what it says of the time are no silence
                    yield frame
            except (StopIteration, EOFError):
                break
            except (av.FFmpegError, ValueError) as error:
                n_errors += 1
                self.problem = f"parts of it cannot be decoded ({_said(error)})"
                if not n_frames and n_errors >= _MAX_ERRORS:
                    raise SoundError(_said(error)) from error
        if n_frames:
            yield None

    def _note_shortness(self, seconds: float) -> None:
        """Note where the file says that it lasts longer than what could be decoded: it is cut off, or it lies."""
        told_s = (self._told_us or 0) / 1e6
        if seconds < 0.95 * told_s - 1:
            self.problem = f"it breaks off: it says that it lasts {clock(told_s)}, and {clock(seconds)} of it is there"


def flac_bytes(samples: Samples, rate: int) -> bytes:
    """Return a FLAC file of one channel; the same samples give the same bytes."""
    import av  # late, as above

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


def _said(error: Exception) -> str:
    """Return what FFmpeg says, without its numbers."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or error).strip().rstrip(".")[:200] or type(error).__name__
