"""The fault injector: ``shim.c``, compiled when first wanted, preloaded into a worker, armed in its children."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["MODES", "arm", "built", "seen", "why_not"]

MODES = ("off", "count", "kill", "torn", "full", "full-short", "eio-once", "eio-always")
"""What happens at the n-th call: ``kill`` before it, ``torn`` in the middle of a write; ``full`` means no room from
there on, ``full-short`` after one short write; ``eio`` fails the n-th sync, or that and all later ones."""

_SOURCE = Path(__file__).with_name("shim.c")


def why_not() -> str:
    """Return why faults cannot be injected on this machine, or ""."""
    if sys.platform != "linux":
        return "fault injection uses LD_PRELOAD and /proc: Linux only"
    if shutil.which("cc") is None:
        return "fault injection needs a C compiler (`cc`)"
    return ""


def built() -> Path:
    """Return the compiled shim, made once for each version of its source."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"footnote-faults-{digest}.so"
    if not library.exists():
        fresh = Path(tempfile.mkdtemp(dir=library.parent)) / "shim.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", fresh, _SOURCE, "-ldl"], check=True)
        fresh.replace(library)
        fresh.parent.rmdir()
    return library


def arm(mode: str, at: int, *, under: Path, log: Path) -> None:
    """Begin to count the calls that change something under a folder. Where it strikes goes to ``log`` first."""
    shim = ctypes.CDLL(None)
    shim.faults_arm(MODES.index(mode), ctypes.c_long(at), str(under).encode(), str(log).encode())


def seen() -> dict[str, int]:
    """Return how many calls were counted: all, those that need room, and syncs."""
    shim = ctypes.CDLL(None)
    shim.faults_seen.restype = ctypes.c_long
    return {name: int(shim.faults_seen(which)) for which, name in enumerate(("all", "growing", "syncs"))}
