"""Where a long recording is cut: at a silence, so that no word is. Pure; times are counted in samples.

The rule is deterministic, because parts are known by their content: the same recording must fall into the same parts
whenever it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Samples", "Stretch", "is_silent", "stretches"]

Samples = NDArray[np.int16]
"""Sound of one channel, full scale at 32,768."""

_FRAMES_PER_S = 50
"""Loudness is looked at every 20 ms, about the length of the shortest sounds of speech."""
_PAUSE = 15
"""Frames that a silence lasts at least: 300 ms, beyond what stops inside words take (100 to 200 ms)."""
_LONG_PAUSE = 50
"""Frames, a second, from which a longer silence is no better: then the later one is taken."""
_BELOW_SPEECH = 10 ** (-15 / 10)
"""A silence has at most this share of the power of what is loud around it: 15 dB less. Voices vary by less."""
_ABOVE_QUIETEST = 10 ** (6 / 10)
"""What has at most this power times that of the quietest 300 ms belongs to the silence: 6 dB more."""
_NOTHING = 32_768.0**2 * 10 ** (-70 / 10)
"""Power below which there is nothing to hear: -70 dB of full scale, far below a whisper and the hiss of a room."""
_OVERLAP_S = 2.0
"""What two parts share where there was no silence to cut at: one of them has the word whole."""
_WINDOW_S = 60.0
_LAST_S = 1.0
"""Seconds that are left for the part after a cut, at least: endpoints refuse a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording. Its first ``n_shared`` samples are in the part before too."""

    start: int
    samples: Samples = field(repr=False)
    n_shared: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


def stretches(blocks: Iterable[Samples], rate: int, *, max_samples: int) -> Iterator[Stretch]:
    """Yield a recording in parts of at most ``max_samples``; holds one part and one block at a time.

    Every sample is in a part. A cut is in the middle of a silence in the last third of a part (a minute at most); the
    longest silence is taken, of several of a second the latest. Where there is none, it is cut where it is quietest,
    and the next part begins two seconds earlier.
    """
    waiting: list[Samples] = []
    n_waiting = start = n_shared = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += len(block)
        while n_waiting > max_samples:
            held = np.concatenate(waiting)
            cut, is_silence = _cut(held[:max_samples], rate)
            yield Stretch(start, held[:cut].copy(), n_shared)
            n_shared = 0 if is_silence else min(round(_OVERLAP_S * rate), cut // 4)
            waiting = [held[cut - n_shared :]]
            n_waiting = len(waiting[0])
            start += cut - n_shared
    if n_waiting > n_shared:
        yield Stretch(start, np.concatenate(waiting), n_shared)


def is_silent(samples: Samples, rate: int) -> bool:
    """Tell whether there is nothing to hear."""
    padded = np.pad(samples, (0, -len(samples) % (rate // _FRAMES_PER_S)))  # so that a short end counts too
    return bool(_power(padded, rate).max(initial=0.0) < _NOTHING)


def _cut(samples: Samples, rate: int) -> tuple[int, bool]:
    """Return where a part that begins with these samples ends, and whether that is in a silence."""
    frame = rate // _FRAMES_PER_S
    all_power = _power(samples, rate) + 1.0  # of nothing at all it would be 0, and 0 has no multiples
    n_window = min(len(all_power) // 3, round(_WINDOW_S * _FRAMES_PER_S))
    first = len(all_power) - n_window
    power = all_power[first : len(all_power) - min(round(_LAST_S * _FRAMES_PER_S), n_window // 2)]
    if len(power) < _PAUSE:
        return len(samples) - n_window * frame // 2, False
    averages = np.convolve(power, np.full(_PAUSE, 1 / _PAUSE), mode="valid")
    quietest = int(averages.argmin())
    if averages[quietest] <= max(_BELOW_SPEECH * np.percentile(all_power, 90), _NOTHING):
        pauses = [pause for pause in _runs(power <= averages[quietest] * _ABOVE_QUIETEST) if _length(pause) >= _PAUSE]
        if pauses:
            begin, end = max(pauses, key=lambda pause: (min(_length(pause), _LONG_PAUSE), pause[1]))
            return first * frame + (begin + end) * frame // 2, True
    return first * frame + (2 * quietest + _PAUSE) * frame // 2, False


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [start, end) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _length(run: tuple[int, int]) -> int:
    return run[1] - run[0]


def _power(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Return the mean square of each whole frame."""
    frame = rate // _FRAMES_PER_S
    whole = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power: NDArray[np.float64] = np.square(whole.astype(np.float32)).mean(axis=1, dtype=np.float64)
    return power
