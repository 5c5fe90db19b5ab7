"""How fast hosts are asked: a few requests at once, with the pauses they wish for, and an end where nobody answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rag.errors import DocumentReadError

__all__ = ["GivenUpError", "Pace", "Waiting"]

MAX_DELAY_S = 10.0
"""A crawl-delay is honoured up to this; a longer one would stretch a hundred pages over hours."""

MAX_PAUSE_S = 60.0
"""A Retry-After is waited out up to this; where a host wishes for more, the page is left to the next run."""

FAILURES_IN_A_ROW = 5
"""Requests that nobody answered, or that were refused for being too many, after which a host is left alone."""


class GivenUpError(DocumentReadError):
    """A host is left alone for the rest of the run, since it does not serve."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retriable=True)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The host that a run waits for by its own wish, and for how many seconds more."""

    host: str
    seconds: float


@dataclass(slots=True)
class _Host:
    places: asyncio.Semaphore
    delay_s: float = 0.0
    next_start: float = 0.0
    paused_until: float = 0.0
    failures: int = 0
    last_failure: str = ""
    waiters: int = 0


class Pace:
    """Lets requests go, host by host. Belongs to the event loop it is used in.

    ``per_host`` requests of a host are under way at once, one where it asks for a delay between them; ``concurrency``
    in all.
    """

    def __init__(self, *, per_host: int = 2, concurrency: int = 8, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_host = per_host
        self._places = asyncio.Semaphore(concurrency)
        self._hosts: dict[str, _Host] = {}
        self._clock = clock

    @asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait until a request to the host may go, and hold its place. Raises GivenUpError."""
        state = self._state(host)
        async with state.places:  # the host's first: a slow host must not hold the places of others
            await self._until_due(host, state)
            async with self._places:
                yield

    async def _until_due(self, host: str, state: _Host) -> None:
        if state.delay_s:
            due = max(self._clock(), state.next_start)
            state.next_start = due + state.delay_s
            await self._sleep_until(state, due)
        while state.paused_until > self._clock():
            await self._sleep_until(state, state.paused_until)
        if state.failures >= FAILURES_IN_A_ROW:
            raise GivenUpError(
                f"not tried: {state.failures} requests to {host} failed in a row, the last with "
                f"{state.last_failure!r}; run again later"
            )

    async def _sleep_until(self, state: _Host, due: float) -> None:
        state.waiters += 1
        try:
            await asyncio.sleep(max(0.0, due - self._clock()))
        finally:
            state.waiters -= 1

    def slow_down(self, host: str, delay_s: float) -> None:
        """Keep a delay between the starts of a host's requests, as its robots.txt wishes, within bounds."""
        self._state(host).delay_s = min(delay_s, MAX_DELAY_S)

    def pause(self, host: str, seconds: float) -> None:
        """Let no request to the host go for so long."""
        state = self._state(host)
        state.paused_until = max(state.paused_until, self._clock() + seconds)

    def answered(self, host: str) -> None:
        """Note that the host serves."""
        self._state(host).failures = 0

    def failed(self, host: str, reason: str) -> None:
        """Note that nobody answered, or that the host refused to serve for now."""
        state = self._state(host)
        state.failures += 1
        state.last_failure = reason

    def waiting(self) -> Waiting | None:
        """Return the host whose wish is waited for longest, if any is."""
        now = self._clock()
        waits = [
            Waiting(name, max(state.paused_until, state.next_start - state.delay_s) - now)
            for name, state in self._hosts.items()
            if state.waiters
        ]
        return max((wait for wait in waits if wait.seconds > 0), key=lambda wait: wait.seconds, default=None)

    def _state(self, host: str) -> _Host:
        if host not in self._hosts:
            self._hosts[host] = _Host(asyncio.Semaphore(self._per_host))
        return self._hosts[host]
