"""One call for many who ask at the same time: what comes while a call is under way goes into the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ingest.stopping import to_the_end

__all__ = ["Together"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Turn(Generic[Item, Outcome]):
    """One who waits, with the outcome, or the error of the call that it was part of."""

    __slots__ = ("error", "is_over", "item", "outcome")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.is_over = False
        self.outcome: Outcome
        self.error: BaseException | None = None


class Together(Generic[Item, Outcome]):
    """Calls a plain function, in a thread, with all the items that wait: alone when there is one, and never late.

    ``call`` returns an outcome for each item; what it raises, all of them get. ``most`` items go into a call. ``lock``
    is held meanwhile, so that calls take turns, with others if it is theirs as well. Used from one event loop.
    """

    def __init__(
        self,
        call: Callable[[list[Item]], Sequence[Outcome]],
        *,
        most: int = 256,
        lock: asyncio.Lock | None = None,
    ) -> None:
        self._call = call
        self._most = most
        self._lock = lock or asyncio.Lock()
        self._waiting: deque[_Turn[Item, Outcome]] = deque()

    async def __call__(self, item: Item) -> Outcome:
        """Return the outcome of one item, in the order of asking."""
        mine: _Turn[Item, Outcome] = _Turn(item)
        self._waiting.append(mine)
        async with self._lock:
            if not mine.is_over:  # subtle: turns end in order, so mine is the first that waits
                await self._take_turns()
        if mine.error is not None:
            raise mine.error
        return mine.outcome

    async def _take_turns(self) -> None:
        turns = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            outcomes = await to_the_end(self._call, [turn.item for turn in turns])
            for turn, outcome in zip(turns, outcomes, strict=True):
                turn.outcome = outcome
        except BaseException as error:
            for turn in turns:
                turn.error = error
        finally:
            for turn in turns:
                turn.is_over = True
