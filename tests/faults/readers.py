"""Processes that read files, forked from a worker that has imported everything: they start in 10 ms, not in 500.

An ingest starts programs to read strangers' files with (``ingest.isolation``); those write nothing, so how they come to
life does not matter here, and starting them is nearly all that an ingest of a few files costs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ingest import child, reading_process

__all__ = ["forked"]

N_READERS = 2  # an ingest has at most as many on two processors; further ones are started as usual
_ENDING_S = 5.0


class _Forked:
    """As much of a ``subprocess.Popen`` as ``ingest.reading_process`` uses."""

    def __init__(self, reader: str, others: list[_Forked]) -> None:
        requests, to_child = os.pipe()
        from_child, replies = os.pipe()
        self.returncode: int | None = None
        self._looking = threading.Lock()
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            for end in [to_child, from_child, *(end for other in others for end in other.ends)]:
                os.close(end)  # a reader ends when nobody holds the other end of its requests
            os.dup2(requests, 0)
            os.dup2(replies, 1)
            child.main(reader)
            os._exit(0)
        os.close(requests)
        os.close(replies)
        self.ends = (to_child, from_child)
        self.stdin, self.stdout = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb")

    def poll(self) -> int | None:
        with self._looking:  # two threads that ask at once: the second would find no such process (ECHILD)
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def wait(self, timeout: float = _ENDING_S) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("reader", timeout)
            time.sleep(0.001)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def forked(reader: str = "ingest.readers:read") -> Iterator[None]:
    """Let the ingests of this process find their readers running. It has no threads yet, so that it may be forked."""
    waiting: list[_Forked] = []
    for _ in range(N_READERS):
        waiting.append(_Forked(reader, waiting))
    start = subprocess.Popen

    class Started:
        """``subprocess``, as ``ingest.reading_process`` sees it."""

        PIPE, TimeoutExpired = subprocess.PIPE, subprocess.TimeoutExpired

        @staticmethod
        def Popen(*args: Any, **kwargs: Any) -> Any:
            return waiting.pop() if waiting else start(*args, **kwargs)

    reading_process.subprocess = Started  # type: ignore[assignment]
    try:
        yield
    finally:
        reading_process.subprocess = subprocess
        for process in waiting:
            process.kill()
            process.wait()
