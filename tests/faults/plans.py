"""Which points are tried: a few in the ordinary tests, all of them in full."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.campaign import Point, Stage

__all__ = ["COUNTED", "every", "sample"]

COUNTED = {
    "kill": "all",
    "torn": "growing",
    "full": "growing",
    "full-short": "growing",
    "eio-once": "syncs",
    "eio-always": "syncs",
}
"""Which calls a mode counts: any that changes something, those that need room, or syncs."""


def sample(stage: Stage, mode: str, n: int, *, seed: int) -> list[Point]:
    """Return ``n`` points of a mode, spread over the run: one somewhere in each of ``n`` equal parts."""
    chance = random.Random(f"{seed} {stage.scene.name} {mode}")
    edges = [round(part * stage.seen[COUNTED[mode]] / n) for part in range(n + 1)]
    return [
        Point(stage.scene.name, mode, chance.randint(first + 1, last))
        for first, last in pairwise(edges)
        if last > first
    ]


def every(stage: Stage, mode: str, *, step: int) -> Iterator[Point]:
    """Yield every ``step``-th point of a mode."""
    for at in range(1, stage.seen[COUNTED[mode]] + 1, step):
        yield Point(stage.scene.name, mode, at)
