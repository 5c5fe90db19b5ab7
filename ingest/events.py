"""What the system tells of changes in folders; the only importer of watchfiles.

Paths, not what became of them: events come late, twice, in parts, and some not at all, so a run looks for itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import ConfigError, RagError

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

__all__ = ["FolderEvents", "look_at", "tells_nobody"]

STEP_MS = 100
"""What comes within this of the last event is handed over with it."""
GROUP_MS = 500
POLL_S = 10.0

_SILENT = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "drvfs", "vboxsf", "virtiofs", "afs", "ceph", "glusterfs"}
"""File systems whose changes by other machines no event tells of."""


class FolderEvents:
    """The changes in one folder, or beside one file, from ``start`` to ``close``; used from one event loop.

    ``poll_s`` looks at every file so often instead of waiting to be told. ``arrived`` is set when something is there
    to ``take``.
    """

    def __init__(self, path: Path, *, poll_s: float | None, arrived: asyncio.Event) -> None:
        self._path = path
        self._poll_s = poll_s
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._paths: set[str] = set()
        self._ending = threading.Event()
        self.lost = False
        """whether listening ended by itself: what has changed since is not known"""

    async def start(self) -> None:
        """Begin to listen: whatever changes from here on is told. Raises RagError where the system refuses."""
        listener = await asyncio.to_thread(self._listener)
        # A thread of its own: those of the event loop are few, and are for what ends.
        threading.Thread(target=self._listen, args=(listener,), name="footnote-watch", daemon=True).start()

    def take(self) -> set[str]:
        """Return the paths that changed since the last call."""
        paths, self._paths = self._paths, set()
        return paths

    def close(self) -> None:
        """End listening; the thread ends within a moment."""
        self._ending.set()

    def _listener(self) -> RustNotify:
        # Imported late: a run that does not watch needs no watcher. This class is the documented way in for those who
        # must know that listening has begun; `watchfiles.watch` begins with its first step.
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        is_folder = self._path.is_dir()
        # subtle: an editor replaces a file that it saves, so the file itself cannot be watched.
        folder = self._path if is_folder else self._path.parent
        poll_ms = int(1000 * (self._poll_s or POLL_S))
        try:
            return RustNotify([str(folder)], False, self._poll_s is not None, poll_ms, is_folder, True)
        except (OSError, WatchfilesRustInternalError) as error:
            raise _refused(folder, error) from error

    def _listen(self, listener: RustNotify) -> None:
        with listener:
            while not self._ending.is_set():
                try:
                    changes = listener.watch(GROUP_MS, STEP_MS, 0, self._ending)
                except (OSError, RuntimeError):  # the library's own error is a RuntimeError
                    self._tell(set(), lost=True)
                    return
                if not isinstance(changes, str):
                    self._tell({path for _, path in changes}, lost=False)

    def _tell(self, paths: set[str], *, lost: bool) -> None:
        def note() -> None:
            self._paths |= paths
            self.lost = self.lost or lost
            self._arrived.set()

        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(note)


def _refused(folder: Path, error: Exception) -> RagError:
    said = str(error)
    if isinstance(error, FileNotFoundError):
        return RagError(f"cannot watch {str(folder)!r}: it is not there")
    limit = "limit reached" in said or getattr(error, "errno", None) == errno.ENOSPC
    instances = "too many open files" in said.lower()
    if limit or instances:
        name = "fs.inotify.max_user_watches" if limit else "fs.inotify.max_user_instances"
        return ConfigError(
            f"cannot watch {str(folder)!r}: the system's limit {name} ({_system_limit(name)}) is reached; raise it "
            f"(sudo sysctl {name}={524288 if limit else 1024}), or have the files looked at every {POLL_S:.0f} s "
            f"instead (ingest.watch_poll_s = {POLL_S:.0f})"
        )
    return RagError(
        f"cannot watch {str(folder)!r}: {said}; have the files looked at now and then instead (ingest.watch_poll_s)"
    )


def _system_limit(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def tells_nobody(path: Path, mounts: Iterable[str] | None = None) -> str:
    """Return the kind of file system of a path where changes by others come without an event, else "".

    ``mounts`` are the lines of /proc/self/mountinfo. Drives of Windows, seen from WSL, are of this kind (9p).
    """
    lines = _mountinfo() if mounts is None else mounts
    found, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or not kinds[0]:
            continue
        mount = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if len(mount) > found and (str(path) == mount or str(path).startswith(mount.rstrip("/") + "/")):
            found, kind = len(mount), kinds[0]
    return kind if kind in _SILENT or kind.startswith("fuse.") else ""


def _mountinfo() -> Iterable[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            return lines.read().splitlines()
    except OSError:  # not Linux
        return ()


def look_at(path: str) -> tuple[int, int] | None:
    """Return size and time of change of a file; None for what is no file, or not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
