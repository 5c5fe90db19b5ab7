"""Ctrl-C and SIGTERM: the first asks for an end in good order, the second is obeyed on the spot."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "stop_on_signal"]

_SHOW_CURSOR = "\x1b[?25h"


class Stop:
    """What was asked for: ``event`` is set by the first signal, and ``exit_code`` is then 128 and its number."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.exit_code = 0

    def __bool__(self) -> bool:
        return self.event.is_set()


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Take SIGINT and SIGTERM as wishes while the block runs; entered in the main thread, within the event loop."""
    stop, loop = Stop(), asyncio.get_running_loop()

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.exit_code:
            _end_at_once(stop.exit_code)
        stop.exit_code = 128 + number
        loop.call_soon_threadsafe(stop.event.set)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(exit_code: int) -> None:
    """End without another word to anybody: what is committed is whole, children end with us, the lock is the system's.

    Straight to the file: the interrupted code may be in the midst of printing.
    """
    shown = _SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{shown}rag: ended at once; what is stored is whole\n".encode())
    os._exit(exit_code)
