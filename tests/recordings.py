"""Recordings whose words are tones: written by hand to the sample, and heard again by whoever counts waves.

speech = spoken("tea", 0.5, "coffee")     # a word lasts 0.4 s, a number is that many seconds of silence
[(0.0, 0.4, "tea"), (0.9, 1.3, "coffee")] == words_in_sound(wav(speech))
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.upstream import Said, Upload

RATE = 16_000
WORD_S = 0.4
WORDS = (
    *("tea", "coffee", "milk", "sugar", "water", "bread", "honey", "salt", "pepper", "butter"),
    *("cheese", "apple", "pear", "plum", "cherry", "grape", "lemon", "olive", "onion", "garlic"),
)
"""Word n is a tone of 400 + 100 n waves a second."""

Samples = NDArray[np.int16]
_FRAME = RATE // 50


def spoken(*what: str | float, rate: int = RATE, word_s: float = WORD_S, level: float = 0.3) -> Samples:
    """Return words as tones and numbers as seconds of silence."""
    parts = []
    for item in what:
        if isinstance(item, str):
            t = np.arange(round(word_s * rate)) / rate
            parts.append(level * np.sin(2 * np.pi * (400 + 100 * WORDS.index(item)) * t))
        else:
            parts.append(np.zeros(round(item * rate)))
    return np.rint(32_767 * np.concatenate(parts)).astype(np.int16)


def wav(samples: Samples, *, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.repeat(samples, channels).astype("<i2").tobytes())
    return file.getvalue()


def encoded(samples: Samples, container: str, codec: str, *, rate: int = RATE, **metadata: str) -> bytes:
    """Return a file as FFmpeg writes it: ``encoded(samples, "ipod", "aac", title="Tea")``."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as writer:
        writer.metadata.update(metadata)
        stream: Any = writer.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(samples), rate):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[np.newaxis, start : start + rate]), format="s16", layout="mono"
            )
            frame.sample_rate = rate
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))
    return file.getvalue()


def decoded(data: bytes) -> Samples:
    with av.open(io.BytesIO(data)) as file:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [*file.decode(audio=0), None]
        return np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)])


def words_in(samples: Samples) -> list[tuple[float, float, str]]:
    """Return the words with their times, to 20 ms."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(float)
    is_loud = np.square(frames).mean(axis=1) > 500.0**2
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_loud, [False]))))
    found = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        tone = frames[start:end].ravel()
        waves = np.abs(np.fft.rfft(tone * np.hanning(len(tone)))).argmax() * RATE / len(tone)
        number = round((waves - 400) / 100)
        if 0 <= number < len(WORDS):
            found.append((float(start) / 50, float(end) / 50, WORDS[number]))
    return found


def hear(upload: Upload) -> Sequence[Said]:
    """Hear the words of an upload: ``upstream.hear = hear``."""
    return [Said(start, end, word) for start, end, word in words_in(decoded(upload.data))]
