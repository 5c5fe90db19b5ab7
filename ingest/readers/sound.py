"""Sound as samples of one channel; WAV by the standard library, for where PyAV is not installed."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from ingest.readers.silences import Samples

__all__ = ["NoSoundError", "Sound", "SoundError", "WavSound", "wav_bytes"]

_BLOCK_S = 10


class SoundError(Exception):
    """A recording cannot be read; the message says why."""


class NoSoundError(SoundError):
    """The file is whole, and there is no sound in it: a film without one."""


class Sound(Protocol):
    """A recording being read. ``tags`` are what it says of itself: title, artist, album, date.

    ``problem`` is what was found wrong, "" as long as nothing was; known after the end.
    """

    @property
    def rate(self) -> int:
        """Samples a second."""
        ...

    tags: Mapping[str, str]
    problem: str

    def blocks(self) -> Iterator[Samples]:
        """Yield the samples, once."""
        ...


class WavSound:
    """An uncompressed WAV file at the rate that it has. Raises SoundError for what the standard library cannot read."""

    tags: Mapping[str, str] = {}

    def __init__(self, data: bytes) -> None:
        try:
            self._file = wave.open(io.BytesIO(data), "rb")  # noqa: SIM115 - it is memory
        except (wave.Error, EOFError, struct.error) as error:
            raise SoundError(str(error) or "it breaks off in its header") from error
        self._n_channels, self._width = self._file.getnchannels(), self._file.getsampwidth()
        self.rate = self._file.getframerate()
        if not 4_000 <= self.rate <= 384_000 or not 1 <= self._width <= 4:
            raise SoundError(f"{self.rate:,} samples a second of {self._width} bytes are no sound")
        self.problem = ""

    def blocks(self) -> Iterator[Samples]:
        """Yield the mean of the channels, as 16 bits."""
        n_read = 0
        while raw := self._file.readframes(_BLOCK_S * self.rate):
            raw = raw[: len(raw) // (self._width * self._n_channels) * self._width * self._n_channels]
            if not raw:
                break
            samples = self._samples(raw).reshape(-1, self._n_channels)
            n_read += len(samples)
            yield np.rint(samples.mean(axis=1)).astype(np.int16) if self._n_channels > 1 else samples[:, 0]
        if n_read < self._file.getnframes():
            self.problem = "it breaks off before its end"

    def _samples(self, raw: bytes) -> Samples:
        """Return the upper 16 bits of each sample, which are what the other widths have in common."""
        if self._width == 1:  # 8 bits are unsigned
            return (np.frombuffer(raw, np.uint8).astype(np.int16) - 128) << 8
        if self._width == 2:
            return np.frombuffer(raw, "<i2").astype(np.int16)
        parts = np.frombuffer(raw, np.uint8).reshape(-1, self._width)[:, -2:]
        return np.ascontiguousarray(parts).view("<i2")[:, 0].astype(np.int16)


def wav_bytes(samples: Samples, rate: int) -> bytes:
    """Return a WAV file of one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()
