"""Stopping a run in good order: what is being stored is stored, and what only waits is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

__all__ = ["to_the_end", "unless_stopped"]

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread; when cancelled, wait until it is through, and only then be cancelled.

    For what writes: its caller gives the lock back on the way out, and must not while the thread is at it.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        if not thread.cancelled():
            await asyncio.wait([thread])
            if not thread.cancelled():
                thread.exception()  # marks it as seen: the cancellation is what the caller hears of
        raise


async def unless_stopped(work: Coroutine[Any, Any, object], stop: asyncio.Event | None) -> bool:
    """Do the work, or cancel it when ``stop`` is set; return whether it came to its end."""
    if stop is None:
        await work
        return True
    if stop.is_set():
        work.close()
        return False
    task, wish = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, wish}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return True
        return False
    finally:
        wish.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
