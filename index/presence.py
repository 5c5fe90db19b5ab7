"""Who is at work: a name that a process goes by, of which every other process can tell whether it still lives.

What a process has begun and not ended is marked with its name. When it dies, in whatever way, the operating system
drops the lock on the file of that name, and others know that nobody will end it.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from index.locks import file_lock
from rag.errors import CollectionError

__all__ = ["Presence"]

_SETTLED_S = 3600.0


class Presence:
    """The name of this process in a folder; the file of it is made when the name is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""
        self._held = ExitStack()
        self._guard = threading.Lock()

    @property
    def name(self) -> str:
        """The name, which counts as alive until ``close``. Raises CollectionError where it cannot be written."""
        with self._guard:
            if not self._name:
                name = secrets.token_hex(8)
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise CollectionError(f"cannot make {self._folder}: {error}; check its permissions") from error
                # nobody else knows the name yet, so the lock is free
                if not self._held.enter_context(file_lock(self._file(name), timeout_s=5.0)):
                    raise CollectionError(f"cannot lock {self._file(name)}; check the folder's permissions")
                self._name = name
                self._sweep()
            return self._name

    def is_alive(self, name: str) -> bool:
        """Return whether the process of a name is still there; the file of one that is not is cleaned away."""
        if name == self._name:
            return bool(name)
        file = self._file(name)
        if not name or not file.exists():
            return False
        with file_lock(file, timeout_s=0) as held:
            if held:
                with suppress(OSError):
                    file.unlink(missing_ok=True)
            return not held

    def close(self) -> None:
        """Give up the name."""
        with self._guard:
            name, self._name = self._name, ""
            self._held.close()
            if name:
                with suppress(OSError):  # it is only litter now
                    self._file(name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Clean away the files of those who died with nothing under way, whom nobody asks for any more."""
        for file in self._folder.glob("*.lock"):
            with suppress(FileNotFoundError):
                # subtle: a name that is just being taken has its file before its lock
                if file.stem != self._name and time.time() - file.stat().st_mtime > _SETTLED_S:
                    self.is_alive(file.stem)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.lock"
