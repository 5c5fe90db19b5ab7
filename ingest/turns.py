"""Waiting for a turn: the asynchronous side of a ``Pacer``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from ingest.pacing import Pacer, Ticket

__all__ = ["Turns"]

TELL_EVERY_S = 1.0


class Turns:
    """Lets requests start as their pacer says. Used from one event loop.

    ``check`` is called before each start, and raises where nothing may start any more; ``on_pause`` now and then while
    all wait. Whoever ends a request says ``changed``.
    """

    def __init__(
        self,
        pacer: Pacer,
        *,
        on_pause: Callable[[], None],
        check: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pacer = pacer
        self._on_pause = on_pause
        self._check = check
        self._clock = clock
        self._told_at = clock()
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Let those who wait look again."""
        self._changed.set()

    async def next(self, n_tokens: int) -> Ticket:
        """Return once a request of this size may start."""
        while True:
            self._check()
            wait_s = self._pacer.wait_s(n_tokens)
            if wait_s <= 0:
                return self._pacer.start(n_tokens)
            if self._pacer.paused_s > 0 and self._clock() - self._told_at >= TELL_EVERY_S:
                self._told_at = self._clock()
                self._on_pause()
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, TELL_EVERY_S)):
                    await self._changed.wait()
