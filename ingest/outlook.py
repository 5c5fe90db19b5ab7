"""How fast a run is, and how long it will take: from what is known, or not at all. Pure, by a clock passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Done", "Outlook", "ToDo"]

WINDOW_S = 30.0
"""Rates are of the last half minute: long enough to be steady, short enough to notice a change."""
EVIDENCE_S = 3.0
"""What was seen for less than this says nothing of a rate."""
EVERY_S = 0.5
_TRUST = 0.2  # of a new estimate, against what the last one has become by waiting


@dataclass(frozen=True, slots=True)
class Done:
    """What a run has behind it: bytes of the files read, chunks that have their vectors or never will, tokens sent."""

    n_bytes: int = 0
    n_chunks: int = 0
    n_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToDo:
    """What a run has before it. Bytes not read yet will be chunks, ``chunks_per_byte`` of them, as far as is known."""

    n_bytes: int = 0
    n_chunks: int = 0
    chunks_per_byte: float = 0.0


class Outlook:
    """Rates over a sliding window, and the time that is left by them."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Done]] = deque()
        self._left: tuple[float, float] | None = None  # when it was estimated, and the seconds

    def see(self, now: float, done: Done) -> None:
        """Take in how far the run is at a time; what was seen within half a second of the last time counts as it."""
        if len(self._seen) > 1 and now - self._seen[-2][0] < EVERY_S:
            self._seen.pop()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()

    @property
    def chunks_per_s(self) -> float | None:
        return self._rate("n_chunks")

    @property
    def tokens_per_s(self) -> float | None:
        return self._rate("n_tokens")

    def left_s(self, todo: ToDo, *, paused: bool = False) -> float | None:
        """Return the seconds that are left; None where nobody can tell: too early, standing still, or paused.

        Reading and embedding overlap, so it is the longer of the two. A new estimate moves the last one a fifth of the
        way, so that it runs down and does not jump about.
        """
        wanted = None if paused else self._estimate(todo)
        if wanted is None or not self._seen:
            self._left = None
            return None
        now = self._seen[-1][0]
        if self._left is None:
            self._left = (now, wanted)
        elif now - self._left[0] >= EVERY_S:
            expected = max(0.0, self._left[1] - (now - self._left[0]))
            self._left = (now, expected + _TRUST * (wanted - expected))
        return self._left[1]

    def _estimate(self, todo: ToDo) -> float | None:
        n_chunks = todo.n_chunks + todo.n_bytes * todo.chunks_per_byte
        reading = _seconds(todo.n_bytes, self._rate("n_bytes"))
        embedding = _seconds(n_chunks, self._rate("n_chunks"))
        return None if reading is None or embedding is None else max(reading, embedding)

    def _rate(self, of: str) -> float | None:
        """Return how much of it came a second; None before there is enough to tell."""
        if len(self._seen) < 2:
            return None
        (first, before), (last, now) = self._seen[0], self._seen[-1]
        if last - first < EVIDENCE_S:
            return None
        gained: int = getattr(now, of) - getattr(before, of)
        return max(0, gained) / (last - first)


def _seconds(amount: float, rate: float | None) -> float | None:
    if amount <= 0:
        return 0.0
    return amount / rate if rate else None
