"""Locks between processes, and a readers-writer lock between threads."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from index.files import sweep_temporary, write_whole
from rag.errors import CollectionError, CollectionLockedError

__all__ = ["ReadersWriterLock", "WriterLock", "file_lock"]


class WriterLock:
    """The right to write to a collection, held by one writer in all processes.

    The operating system drops the lock of a process that dies, so a crash leaves nothing to clean up. Who holds it
    stands in ``writer.json`` beside the lock; that file is only for messages, and may be stale when the lock is free.
    """

    def __init__(self, folder: Path, *, name: str) -> None:
        self._name = name
        self._lock = FileLock(folder / "writer.lock", thread_local=False, fallback_to_soft=False)
        self._sidecar = folder / "writer.json"

    def acquire(self, holder: str) -> None:
        """Take the lock without waiting, or raise CollectionLockedError naming who has it."""
        try:
            # not quite at once: `holder` of another process takes the lock for a moment to look.
            self._lock.acquire(timeout=0.2, poll_interval=0.02)
        except Timeout as error:
            raise CollectionLockedError(
                f"collection {self._name!r} is being written by {self._describe()}; wait for it to finish, or stop it"
            ) from error
        except OSError as error:
            raise CollectionError(
                f"cannot lock {self._lock.lock_file}: {error}; check the folder's permissions"
            ) from error
        try:
            self._sign(holder)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise CollectionError(f"cannot write {self._sidecar}: {error}; free some disk space") from error
            raise

    def release(self) -> None:
        """Give the lock back. Raises CollectionError where the system does not take it."""
        with suppress(OSError):  # it says who writes, and may be stale: the next writer replaces it
            self._sidecar.unlink(missing_ok=True)
        try:
            self._lock.release()
        except OSError as error:
            raise CollectionError(
                f"cannot unlock {self._lock.lock_file}: {error}; it is free as soon as this process has ended"
            ) from error

    def holder(self) -> str | None:
        """Return who holds the lock, in words, or None when nobody does."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return self._describe()
        except OSError:  # a read-only folder: nobody can be writing to it through this path
            return None
        self._lock.release()
        return None

    def _sign(self, holder: str) -> None:
        said = {"pid": os.getpid(), "host": socket.gethostname(), "command": holder, "since": time.time()}
        sweep_temporary(self._sidecar)  # only who holds the lock writes it
        write_whole(self._sidecar, json.dumps(said).encode(), durable=False)

    def _describe(self) -> str:
        try:
            said = json.loads(self._sidecar.read_text(encoding="utf-8"))
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(said["since"]))
            return f"'{said['command']}' (process {said['pid']} on {said['host']}, since {since})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process (it has not said which)"


@contextmanager
def file_lock(path: Path, *, timeout_s: float) -> Iterator[bool]:
    """Hold a lock between processes for a short while; yields False where it could not be had in time."""
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise CollectionError(f"cannot lock {path}: {error}; check the folder's permissions") from error
    try:
        yield True
    finally:
        lock.release()


class ReadersWriterLock:
    """Many readers or one writer; a waiting writer goes before new readers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
