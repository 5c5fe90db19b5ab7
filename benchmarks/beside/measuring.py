"""Runs a program and tells what it took, with all the processes that it starts: processor time, seconds, memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Taken", "run"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run took. ``cpu_s`` is user and system time of the whole tree of processes.

    ``rss_mb`` is the most that the first process held at any time, ``tree_mb`` the most of all of them together, as
    sampled (pages that several share are counted for each).
    """

    wall_s: float
    cpu_s: float
    rss_mb: float
    tree_mb: float
    output: str


def run(command: Sequence[str], *, environ: Mapping[str, str], cwd: Path, every_s: float = 0.05) -> Taken:
    """Run a program to its end. Raises SystemExit with what it said when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(environ), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    sampler = _Sampler(process.pid, every_s)
    sampler.start()
    said: list[str] = []
    errors = threading.Thread(target=lambda: said.append(process.stderr.read()))
    errors.start()
    output = process.stdout.read()
    errors.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    sampler.stop()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ended with {process.returncode}:\n{said[0][-3000:]}{output[-3000:]}")
    return Taken(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, sampler.rss_mb, sampler.tree_mb, output)


class _Sampler(threading.Thread):
    """Looks now and then at the memory of a process and of all that descend from it."""

    def __init__(self, pid: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._every_s = every_s
        self._done = threading.Event()
        self.rss_mb = self.tree_mb = 0.0

    def run(self) -> None:
        while not self._done.wait(self._every_s):
            resident = [_resident_mb(pid) for pid in (self._pid, *_descendants(self._pid))]
            self.tree_mb = max(self.tree_mb, sum(resident))
            self.rss_mb = max(self.rss_mb, resident[0], _peak_mb(self._pid))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            for child in map(int, children):
                found += [child, *_descendants(child)]
    return found


def _resident_mb(pid: int) -> float:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / _MB
    return 0.0


def _peak_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
