"""Reading processes for the ingests of the tests, forked from one that has imported everything.

Each ingest starts programs to read strangers' files with (``ingest.isolation``). Starting one takes half a second of
imports, in hundreds of tests that are not about it; a fork takes 10 ms. Everything else is as it is: a process of its
own with the limits, pipes, process group and ending of any. What is about starting them asks for ``started_readers``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ingest import reading_process

__all__ = ["IS_SUPPORTED", "ReadersAtHand", "at_hand"]

IS_SUPPORTED = sys.platform == "linux"
READER = "ingest.readers:read"
ROOT = Path(__file__).parents[1]
_NUMBER = struct.Struct("<i")
_MOST_BYTES = 100_000  # of an order: a working directory and an environment
_IMPORTED_LATE = ("docx", "openpyxl", "pptx", "pypdf", "pypdfium2", "selectolax.lexbor", "encodings.idna")


class ReadersAtHand:
    """The process that is forked, started when the first reader is wanted."""

    def __init__(self) -> None:
        self._orders: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.reading", str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the tests
            )
        return ours

    def reader(self, errors: IO[bytes]) -> _Reader:
        """Return a new reading process, whose standard error is ``errors``."""
        self._orders = self._orders or self._start()
        requests, to_reader = os.pipe()
        from_reader, replies = os.pipe()
        ending, end = os.pipe()
        order = json.dumps({"cwd": str(Path.cwd()), "environ": dict(os.environ)}).encode("ascii")
        socket.send_fds(self._orders, [order], [requests, replies, errors.fileno(), end])
        for given in (requests, replies, end):
            os.close(given)
        return _Reader(to_reader, from_reader, ending)

    def close(self) -> None:
        if self._orders is not None and self._process is not None:
            self._orders.close()
            self._process.wait(30)


class _Reader:
    """As much of a ``subprocess.Popen`` as ``ingest.reading_process`` uses; safe in several threads, as that is."""

    def __init__(self, to_reader: int, from_reader: int, ending: int) -> None:
        self.stdin, self.stdout = os.fdopen(to_reader, "wb"), os.fdopen(from_reader, "rb")
        self._ending = os.fdopen(ending, "rb", buffering=0)
        self.returncode: int | None = None
        self._looking = threading.Lock()
        (self.pid,) = _NUMBER.unpack(self._ending.read(_NUMBER.size))

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0.05)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("reader", timeout or 0)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _look(self, patience_s: float) -> int | None:
        with self._looking:
            if self.returncode is None and select.select([self._ending], [], [], patience_s)[0]:
                (self.returncode,) = _NUMBER.unpack(self._ending.read(_NUMBER.size))
                self._ending.close()
            return self.returncode


@contextmanager
def at_hand() -> Iterator[ReadersAtHand]:
    """Let the ingests of this process have their readers forked."""
    readers = ReadersAtHand()
    start = subprocess.Popen

    class Started:
        """``subprocess``, as ``ingest.reading_process`` sees it."""

        PIPE, TimeoutExpired = subprocess.PIPE, subprocess.TimeoutExpired

        @staticmethod
        def Popen(command: list[str], **kwargs: Any) -> Any:
            return readers.reader(kwargs["stderr"]) if repr(READER) in command[-1] else start(command, **kwargs)

    reading_process.subprocess = Started  # type: ignore[assignment]
    try:
        yield readers
    finally:
        reading_process.subprocess = subprocess
        readers.close()


# --- the process that is forked


def main(orders: socket.socket) -> None:
    """Fork a reader for each order, until nobody can give one any more."""
    from ingest import child

    for name in ("ingest.readers", "ingest.archives.opened", *_IMPORTED_LATE):
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the readers
    while True:
        message, given, _, _ = socket.recv_fds(orders, _MOST_BYTES, 4)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            _wait_for_reader(child.main, json.loads(message), *given)
        for end in given:
            os.close(end)


def _wait_for_reader(read: Any, order: dict[str, Any], requests: int, replies: int, errors: int, end: int) -> None:
    """Fork the reader, and tell its number and then how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(end)
        for number, stream in enumerate((requests, replies, errors)):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environ"])
        read(READER)
        os._exit(0)
    for stream in (requests, replies, errors):
        os.close(stream)
    os.setpgid(pid, pid)  # here too: whoever knows the number may end the group
    os.write(end, _NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    os.write(end, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
