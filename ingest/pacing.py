"""How many requests may be under way, and when the next may start: pure, by a clock that is passed in.

Additive increase while requests are many and healthy, multiplicative decrease when the endpoint is overloaded, and one
pause for all when it asks for one. An endpoint that turns away the n-th request at once has told its ceiling, which is
kept for a while, so that the rate does not swing about it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from rag.types import Allowance

__all__ = ["Pacer", "Ticket"]

REFUSED_FACTOR = 0.9
OVERLOADED_FACTOR = 0.5
SLOW_FACTOR = 0.9
CEILING_HOLD_S = 60.0
"""How long a ceiling is believed in: one refused request a minute is the price of finding a higher one."""
CEILING_HOLD_ROUNDS = 20.0
SHORT_WAIT_S = 1.0
"""An endpoint that asks for less than this is crowded; one that asks for more has a rate per minute or day."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
GROWTH_STOPS_AT = 2.0
GROWTH_TURNS_AT = 3.0
"""A request that takes this many times the shortest waits at the other end: more at once gains nothing."""
_SMOOTHING = 0.2
_FORGETTING = 0.001  # of the shortest time, a request: an endpoint that has become slower for good is not slow for ever


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request under way: when it started, and how large it is."""

    started_at: float
    n_tokens: int


class Pacer:
    """Decides for one endpoint. ``wait_s`` asks, ``start`` begins, and one of the others ends each request.

    ``first`` requests may be under way at first, ``most`` at any time. ``clock`` is monotonic, in seconds; ``uniform``
    gives random numbers in [0, 1).
    """

    def __init__(
        self,
        *,
        first: int,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._most = max(1, most)
        self._window = float(min(max(1, first), self._most))
        self._clock = clock
        self._uniform = uniform
        self._under_way = 0
        self._paused_until = -math.inf
        self._reason = ""
        self._ceiling: int | None = None
        self._ceiling_until = -math.inf
        self._cut_at = -math.inf  # when the window was last cut: what started before has been punished already
        self._slowed_at = -math.inf
        self._peak = 0
        self._n_refused = 0
        self._cuts_in_a_row = 0
        self._troubled_since: float | None = None
        self._rates: dict[str, _Rate] = {}
        self._latency = _Latency()

    # --- asking

    @property
    def concurrency(self) -> int:
        """How many requests may be under way."""
        return max(1, int(self._window))

    @property
    def n_under_way(self) -> int:
        return self._under_way

    @property
    def troubled_s(self) -> float:
        """Seconds since the first failure after the last success; 0 while all is well."""
        return 0.0 if self._troubled_since is None else self._clock() - self._troubled_since

    @property
    def paused_s(self) -> float:
        """Seconds that no request may start, whatever is free."""
        return max(0.0, self._paused_until - self._clock())

    @property
    def reason(self) -> str:
        """Why there is a pause; "" without one."""
        return self._reason if self.paused_s > 0 else ""

    def wait_s(self, n_tokens: int) -> float:
        """Return the seconds before a request of this size may start; infinite until another one ends."""
        now = self._clock()
        needs = {"requests": 1.0, "tokens": float(n_tokens)}
        rated = max((rate.wait_s(needs[of], now) for of, rate in self._rates.items()), default=0.0)
        if rated > 0 and now + rated > self._paused_until:
            self._pause(rated, "rate limited")
        if now < self._paused_until:
            return self._paused_until - now
        return 0.0 if self._under_way < self.concurrency else math.inf

    # --- telling

    def start(self, n_tokens: int) -> Ticket:
        """Begin a request."""
        now = self._clock()
        for of, rate in self._rates.items():
            rate.take(1.0 if of == "requests" else float(n_tokens), now)
        self._under_way += 1
        return Ticket(now, n_tokens)

    def succeed(self, ticket: Ticket, *, requests: Allowance | None = None, tokens: Allowance | None = None) -> None:
        """End a request that was answered; the allowances are what its reply told."""
        now = self._clock()
        was_full = self._under_way >= self.concurrency
        self._under_way -= 1
        self._troubled_since = None
        self._cuts_in_a_row = 0
        for of, told in (("requests", requests), ("tokens", tokens)):
            if told is not None:
                self._rates[of] = _Rate(told, now)
        growth = self._latency.see(now - ticket.started_at, ticket.n_tokens)
        if growth >= GROWTH_TURNS_AT and ticket.started_at > max(self._cut_at, self._slowed_at) and self._window > 2:
            self._window = max(2.0, self._window * SLOW_FACTOR)
            self._slowed_at = now
        elif was_full and growth < GROWTH_STOPS_AT:
            self._widen(now)

    def refuse(self, ticket: Ticket, *, retry_after_s: float | None = None) -> None:
        """End a request that was turned away because of the rate (429)."""
        short = retry_after_s is None or retry_after_s < SHORT_WAIT_S
        is_news = self._cut(ticket, REFUSED_FACTOR if short else OVERLOADED_FACTOR)
        if short:
            self._believe_in_ceiling()
        if retry_after_s is not None:
            told_s = retry_after_s + self._uniform() * min(1.0, retry_after_s / 4)
            self._pause(max(told_s, self._backoff_s() if self._cuts_in_a_row > 2 else 0.0), "rate limited")
        elif is_news and (self._under_way == 0 or self._cuts_in_a_row > 1):
            self._pause(self._backoff_s(), "rate limited")

    def fail(self, ticket: Ticket, reason: str, *, retry_after_s: float | None = None) -> None:
        """End a request that the endpoint was not able to answer: overloaded, silent, out of reach."""
        is_news = self._cut(ticket, OVERLOADED_FACTOR)
        if retry_after_s is not None:
            self._pause(retry_after_s, reason)
        elif is_news:
            self._pause(self._backoff_s(), reason)

    def end(self, ticket: Ticket) -> None:
        """End a request that says nothing of the endpoint's health: bad input, or cancelled."""
        del ticket
        self._under_way -= 1

    # --- inside

    def _widen(self, now: float) -> None:
        if self._ceiling is not None and now >= self._ceiling_until:
            self._ceiling = None
        most = self._most if self._ceiling is None else min(self._most, self._ceiling)
        self._window = max(self._window, min(float(most), self._window + 1 / self._window))

    def _cut(self, ticket: Ticket, factor: float) -> bool:
        """Narrow the window once for all requests that were under way together; return whether it was narrowed."""
        now = self._clock()
        if self._troubled_since is None:
            self._troubled_since = now
        is_news = ticket.started_at >= self._cut_at
        if is_news:
            self._peak, self._n_refused = self._under_way, 0
            self._window = max(1.0, min(self._window, self._under_way) * factor)
            self._cut_at = now
            self._cuts_in_a_row += 1
        self._n_refused += 1
        self._under_way -= 1
        return is_news

    def _believe_in_ceiling(self) -> None:
        """Of those under way together, so many were not turned away; if all were, that says nothing of a ceiling."""
        ceiling = self._peak - self._n_refused
        if ceiling < 1:
            self._ceiling = None
            return
        self._ceiling = ceiling
        self._ceiling_until = self._clock() + max(CEILING_HOLD_S, CEILING_HOLD_ROUNDS * self._latency.usual_s)
        self._window = min(self._window, float(ceiling))

    def _backoff_s(self) -> float:
        """Return a pause that doubles with each cut since the last success, with jitter downwards."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._cuts_in_a_row - 1))
        return longest * (1 - self._uniform() / 2)

    def _pause(self, seconds: float, reason: str) -> None:
        until = self._clock() + seconds
        if until > self._paused_until:
            self._paused_until, self._reason = until, reason


class _Latency:
    """How much longer than at best a request takes, by those of about full size."""

    def __init__(self) -> None:
        self.usual_s = 0.0
        self._shortest_s = math.inf
        self._largest = 0

    def see(self, seconds: float, n_tokens: int) -> float:
        """Return the usual seconds as a multiple of the shortest."""
        if n_tokens > 2 * self._largest:  # of another size altogether: begin anew
            self.usual_s, self._shortest_s = 0.0, math.inf
        self._largest = max(self._largest, n_tokens)
        if 2 * n_tokens < self._largest:
            return 1.0
        self.usual_s = seconds if not self.usual_s else self.usual_s + _SMOOTHING * (seconds - self.usual_s)
        self._shortest_s = min(seconds, self._shortest_s * (1 + _FORGETTING))
        return self.usual_s / self._shortest_s if self._shortest_s > 0 else 1.0


class _Rate:
    """An allowance that comes back evenly."""

    def __init__(self, told: Allowance, now: float) -> None:
        self._limit = told.limit
        self._left = told.left
        self._at = now
        self._per_s = (told.limit - told.left) / told.reset_s if told.reset_s > 0 else math.inf

    def wait_s(self, need: float, now: float) -> float:
        """Return the seconds until as much as is needed is there; what exceeds the limit needs all of it."""
        missing = min(need, self._limit) - self._now(now)
        if missing <= 0:
            return 0.0
        return missing / self._per_s if self._per_s > 0 else 0.0

    def take(self, amount: float, now: float) -> None:
        self._left = max(0.0, self._now(now) - amount)
        self._at = now

    def _now(self, now: float) -> float:
        back = self._per_s * (now - self._at) if math.isfinite(self._per_s) else self._limit
        return min(self._limit, self._left + back)
