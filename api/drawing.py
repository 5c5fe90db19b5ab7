"""How many pages are drawn at once: each takes a process of its own, and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rag.errors import ServiceBusyError

__all__ = ["DrawingLimit"]


class DrawingLimit:
    """Lets ``at_once`` callers draw, ``waiting`` more wait up to ``wait_s`` seconds each, and refuses the others.

    For threads: whoever waits holds one of the service's, so those that wait are few.
    """

    def __init__(self, *, at_once: int = 2, waiting: int = 8, wait_s: float = 10.0) -> None:
        self._places = threading.Semaphore(at_once)
        self._queue = threading.Semaphore(at_once + waiting)
        self._wait_s = wait_s

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Raises ServiceBusyError where none gets free in time, or too many wait for one."""
        if not self._queue.acquire(blocking=False):
            raise ServiceBusyError("too many pages are being drawn; try again in a few seconds")
        try:
            if not self._places.acquire(timeout=self._wait_s):
                raise ServiceBusyError(
                    f"no page could be drawn within {self._wait_s:g} s, for others are; try again in a few seconds"
                )
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._queue.release()
