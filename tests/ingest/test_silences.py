"""Where recordings are cut: to the sample where a silence is known, and nothing is lost where there is none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers.silences import Samples, Stretch, is_silent, stretches
from tests.recordings import RATE, spoken

MAX_S = 12.0


def cut(samples: Samples, *, max_s: float = MAX_S, block: int = 1_000) -> list[Stretch]:
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return list(stretches(blocks, RATE, max_samples=round(max_s * RATE)))


def edges_s(parts: list[Stretch]) -> list[float]:
    return [part.end / RATE for part in parts]


def tone(seconds: float) -> Samples:
    return spoken("tea", word_s=seconds)


def noise(seconds: float, level: float = 0.001) -> Samples:
    return (32_767 * level * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype(np.int16)


def test_a_recording_within_the_limit_is_one_part() -> None:
    (part,) = cut(tone(MAX_S))
    assert (part.start, part.end, part.n_shared) == (0, round(MAX_S * RATE), 0)


def test_a_cut_is_in_the_middle_of_the_silence() -> None:
    parts = cut(np.concatenate([tone(9), spoken(0.6), tone(7)]))
    assert edges_s(parts) == [9.3, 16.6]
    assert [part.n_shared for part in parts] == [0, 0]


def test_the_longest_silence_is_taken() -> None:
    assert edges_s(cut(np.concatenate([tone(8.5), spoken(0.8), tone(0.7), spoken(0.4), tone(7)])))[0] == 8.9


def test_of_long_silences_the_later_one_is_taken() -> None:
    long = np.concatenate([tone(17), spoken(1.4), tone(1.6), spoken(1.1), tone(9)])
    assert edges_s(cut(long, max_s=24))[0] == 20.55


def test_a_silence_too_short_for_a_pause_is_none() -> None:
    (first, second) = cut(np.concatenate([tone(9), spoken(0.2), tone(7)]))
    assert second.n_shared == 2 * RATE
    assert second.start == first.end - second.n_shared


def test_the_hiss_of_a_room_is_a_silence_to_cut_at() -> None:
    talk = np.concatenate([tone(9), spoken(0.6), tone(7)])
    assert edges_s(cut(talk + noise(len(talk) / RATE)))[0] == pytest.approx(9.3, abs=0.03)


def test_words_in_mostly_silence_are_not_cut() -> None:
    parts = cut(np.concatenate([tone(1), noise(9), tone(0.5), noise(8)]))
    assert not 10.0 < edges_s(parts)[0] < 10.5
    assert parts[1].n_shared == 0


def test_where_nobody_pauses_parts_share_two_seconds() -> None:
    loud = noise(40, level=0.2)
    parts = cut(loud)
    assert len(parts) >= 4
    assert all(part.n_shared == 2 * RATE for part in parts[1:])
    assert np.array_equal(joined(parts), loud)


def test_what_is_left_is_never_too_short_to_send() -> None:
    parts = cut(np.concatenate([tone(11.4), spoken(0.6), tone(0.04)]))
    assert all(len(part.samples) >= RATE / 2 for part in parts)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.floats(0.05, 6.0), min_size=1, max_size=12),
    max_s=st.floats(3.0, 15.0),
    block=st.integers(1, 50_000),
)
def test_every_sample_is_in_a_part_whatever_the_recording(lengths: list[float], max_s: float, block: int) -> None:
    samples = np.concatenate([spoken(x) if n % 2 else tone(x) for n, x in enumerate(lengths)])
    parts = cut(samples, max_s=max_s, block=max(block, 100))
    assert np.array_equal(joined(parts), samples)
    assert all(len(part.samples) <= round(max_s * RATE) for part in parts)
    assert [(part.start, part.end) for part in parts] == [
        (part.start, part.end) for part in cut(samples, max_s=max_s, block=16_000)
    ]


def joined(parts: list[Stretch]) -> Samples:
    """Return the recording that parts are of; each must begin where the one before ends, less what they share."""
    for before, part in pairwise(parts):
        assert part.start == before.end - part.n_shared
        assert np.array_equal(before.samples[len(before.samples) - part.n_shared :], part.samples[: part.n_shared])
    return np.concatenate([part.samples[part.n_shared :] for part in parts])


@pytest.mark.parametrize(
    ("samples", "silent"),
    [
        (spoken(3.0), True),
        (noise(3.0, level=0.0001), True),
        (noise(3.0, level=0.001), False),
        (np.concatenate([spoken(3.0), tone(0.1)]), False),
        (np.concatenate([spoken(3.0), tone(0.01)]), False),
        (spoken(0.001), True),
    ],
    ids=["nothing", "below hearing", "hiss", "a word", "a click at the end", "hardly anything"],
)
def test_silence_is_what_nobody_could_hear(samples: Samples, silent: bool) -> None:
    assert is_silent(samples, RATE) == silent
