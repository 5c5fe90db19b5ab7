"""How long it will take: an honest guess, or none."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ingest.outlook import Done, Outlook, ToDo


def ran(seconds: int, *, n_bytes: int = 0, n_chunks: int = 0, n_tokens: int = 0) -> Outlook:
    """A run of so many seconds that did so much in each."""
    outlook = Outlook()
    for second in range(seconds + 1):
        outlook.see(float(second), Done(second * n_bytes, second * n_chunks, second * n_tokens))
    return outlook


def test_rates_are_of_the_last_half_minute() -> None:
    outlook = ran(100, n_chunks=10, n_tokens=500)
    assert (outlook.chunks_per_s, outlook.tokens_per_s) == (10, 500)
    for second in range(101, 131):
        outlook.see(float(second), Done(0, 1000, 50_000))
    assert outlook.chunks_per_s == 0


def test_the_slower_of_reading_and_embedding_decides() -> None:
    outlook = ran(10, n_bytes=1000, n_chunks=5)
    assert outlook.left_s(ToDo(n_bytes=20_000, n_chunks=10, chunks_per_byte=0.005)) == pytest.approx(22)
    assert ran(10, n_bytes=1000, n_chunks=500).left_s(ToDo(n_bytes=20_000, n_chunks=10)) == pytest.approx(20)


@pytest.mark.parametrize(
    ("outlook", "paused"),
    [(ran(2, n_chunks=10), False), (ran(20), False), (ran(20, n_chunks=10), True), (Outlook(), False)],
    ids=["too early", "standing still", "paused", "nothing seen"],
)
def test_what_nobody_can_know_is_not_said(outlook: Outlook, paused: bool) -> None:
    assert outlook.left_s(ToDo(n_chunks=100), paused=paused) is None


def test_a_steady_run_counts_down_and_never_below_nothing() -> None:
    outlook, left = Outlook(), []
    for tenths in range(0, 600, 2):
        now = tenths / 10
        outlook.see(now, Done(0, int(10 * now), 0))
        guess = outlook.left_s(ToDo(n_chunks=max(0, 590 - int(10 * now))))
        left += [] if guess is None else [guess]
    assert all(later <= sooner + 0.5 for sooner, later in pairwise(left))
    assert (min(left) >= 0, left[-1] < 1) == (True, True)


def test_one_slow_moment_does_not_throw_the_guess_about() -> None:
    outlook = ran(30, n_chunks=10)
    before = outlook.left_s(ToDo(n_chunks=300))
    outlook.see(33.0, Done(0, 300, 0))
    after = outlook.left_s(ToDo(n_chunks=300))
    assert before == pytest.approx(30)
    assert after == pytest.approx(28.2, abs=1)
