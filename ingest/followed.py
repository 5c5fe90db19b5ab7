"""One path that is followed: whether it is there, what changed in it, what failed, and so what to look at now."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ingest.changes import Changes, Look, parts_to_look_at
from ingest.events import POLL_S, FolderEvents, look_at, tells_nobody
from ingest.report import IngestReport
from ingest.sources import IGNORE_FILE, NameRules, WalkRules
from rag.errors import ConfigError

__all__ = ["Followed", "Job"]

ALL_EVERY_S = 600.0
"""How often everything is looked at, whether there were events or not; less often where that takes long."""
ALL_SHARE = 50
"""So many times as long as such a look takes passes before the next."""
RETRY_FIRST_S = 30.0
RETRY_MOST_S = 900.0
"""What failed and may pass is tried again after the first, then after twice as long each time, up to the most."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run should look at (no parts: all), and what it should leave as it is."""

    parts: tuple[str, ...]
    leave: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        return not self.parts


@dataclass(slots=True)
class _Failure:
    """A path that failed: how often in a row, when to try it again, and how it looked."""

    n_times: int
    retry_at: float
    look: Look


class Followed:
    """One path that is followed: its events, what changed in it, and what failed."""

    def __init__(
        self,
        path: Path,
        rules: WalkRules,
        library: Path,
        *,
        quiet_s: float,
        poll_s: float | None,
        arrived: asyncio.Event,
    ) -> None:
        self.path = Path(os.path.abspath(path))
        self.identity: tuple[int, int] | None = None
        self.is_gone = False
        self._rules = rules
        self._library = library
        self._poll_s = poll_s
        self._arrived = arrived
        self._events: FolderEvents | None = None
        self._real = self.path
        self._is_file = False
        self._changes = Changes(look_at, quiet_s=quiet_s)
        self._failures: dict[str, _Failure] = {}
        self._all_at = math.inf
        self._growing: frozenset[str] = frozenset()
        self._told_growing: set[str] = set()
        self._told_polling = False

    # --- being there

    def identify(self) -> tuple[int, int] | None:
        """Return what tells this folder from another of the same name; None where it is not there.

        An empty folder on another device is what a mount leaves behind that went away: it is not the one.
        """
        try:
            status = os.stat(self.path)
            if self.identity is not None and status.st_dev != self.identity[0] and not self._is_file:
                with os.scandir(self.path) as entries:
                    if next(entries, None) is None:
                        return None
        except OSError:
            return None
        return status.st_dev, status.st_ino if not self._is_file else 0  # a file that is saved is another one

    async def listen(self) -> str:
        """Begin to listen, in the place of what was there; return what is to be said of it."""
        self.close()
        self._is_file = self.path.is_file()
        self._real = self.path.resolve()
        self.identity, self.is_gone = self.identify(), False
        silent = tells_nobody(self._real) if self._poll_s is None else ""
        poll_s = self._poll_s or (POLL_S if silent else None)
        self._events = FolderEvents(self._real, poll_s=poll_s, arrived=self._arrived)
        await self._events.start()
        if not silent or self._told_polling:
            return ""
        self._told_polling = True
        return (
            f"{self.path} is on a file system ({silent}) that does not tell of all changes: every file is looked at "
            f"every {POLL_S:.0f} s (ingest.watch_poll_s)"
        )

    @property
    def is_deaf(self) -> bool:
        return self._events is None or self._events.lost

    def leave(self) -> None:
        """Take in that the path has gone: what changed in it is not to be looked at, for it would be missed."""
        self.is_gone = True
        self._changes.clear()
        self.close()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    # --- what changed

    @property
    def has_changes(self) -> bool:
        return len(self._changes) > 0

    def note_all(self, now: float) -> None:
        self._changes.note([str(self._real)], now)

    def told(self) -> set[str]:
        """Return the paths that events came for since the last call."""
        return self._events.take() if self._events is not None else set()

    def take_in(self, paths: set[str], now: float) -> None:
        """Note the paths that have changed, without those that no run would read."""
        self._changes.note(self._of_interest(paths), now)

    def _of_interest(self, paths: set[str]) -> list[str]:
        root = str(self._real)
        if self._is_file:
            return [path for path in paths if path == root]
        try:
            names = NameRules(self._real, self._rules.without(self._library, self._real))
        except ConfigError:  # an ignore file that cannot be read: the run says so
            return list(paths)
        return [path for path in paths if path == root or self._is_read(names, path)]

    def _is_read(self, names: NameRules, path: str) -> bool:
        if (inside := self._inside(path)) is None:
            return False
        above, _, name = inside.rpartition("/")
        try:
            if name == IGNORE_FILE:
                return not above or not names.leaves_out(above, is_folder=True)
            return not names.leaves_out(inside, is_folder=os.path.isdir(path))
        except ConfigError:  # likewise
            return True

    def _inside(self, path: str) -> str | None:
        """Return a path relative to this one, with forward slashes; None where it is elsewhere, "" where it is it."""
        root = str(self._real)
        if path == root:
            return ""
        return path[len(root) + 1 :].replace(os.sep, "/") if path.startswith(root.rstrip(os.sep) + os.sep) else None

    def newly_growing(self) -> list[str]:
        """Return what a run has to leave because it is still being written, and nobody was told of yet."""
        new = sorted(self._growing - self._told_growing)
        self._told_growing.update(new)
        return new

    # --- what to do

    def job(self, now: float) -> Job | None:
        """Return what to look at now: what changed, what failed and is due again, or everything once in a while."""
        due = self._changes.due(now)
        self._growing = frozenset(due.growing if due else ())
        paths = [*(due.paths if due else ()), *self._to_retry(now)]
        if paths:
            self._told_growing.difference_update(paths)
            inside = [path for path in map(self._inside, paths) if path is not None]
            parts = None if self._is_file or "" in inside else parts_to_look_at(inside, ignore_file=IGNORE_FILE)
            return Job(parts or (), self._leave(self._growing))
        if now >= self._all_at:
            resting = [path for path, failure in self._failures.items() if look_at(path) == failure.look]
            return Job((), self._leave([*resting, *self._changes.paths]))  # what has just changed has its own turn
        return None

    def _leave(self, paths: Iterable[str]) -> frozenset[str]:
        return frozenset(inside for path in paths if (inside := self._inside(path)))

    def _to_retry(self, now: float) -> list[str]:
        due = {path: failure for path, failure in self._failures.items() if failure.retry_at <= now}
        for failure in due.values():
            failure.retry_at = math.inf  # until the run says more
        return [there for path in due if (there := _file_of(path)) is not None]

    def put_off(self, now: float) -> None:
        """Look at everything after a while, because a run could not be made."""
        self._fail(str(self._real), now, retriable=True)

    def learn(self, job: Job, report: IngestReport, now: float) -> None:
        """Take from a report what failed, and when to try it again."""
        failed = {_on_disk(file.path, report): file for file in report.files if file.state == "failed"}
        if self._failures:
            looked_at = {_on_disk(path, report) for path in (*(file.path for file in report.files), *report.removed)}
            if job.is_whole:
                looked_at.add(str(self._real))
            for path in looked_at & self._failures.keys() - failed.keys():
                del self._failures[path]
        for path, file in failed.items():
            self._fail(path, now, retriable=file.retriable)
        if job.is_whole:
            self._all_at = now + max(ALL_EVERY_S, ALL_SHARE * report.seconds)

    def _fail(self, path: str, now: float, *, retriable: bool) -> None:
        before = self._failures.get(path)
        n_times = before.n_times + 1 if before else 1
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** (n_times - 1)) if retriable else math.inf
        self._failures[path] = _Failure(n_times, now + wait_s, look_at(path))


def _on_disk(path: str, report: IngestReport) -> str:
    """Return where the file of a document is."""
    return f"{report.root.rstrip(os.sep)}{os.sep}{path.removeprefix(report.prefix).replace('/', os.sep)}"


def _file_of(path: str) -> str | None:
    """Return the file that a document was read from, which for one in an archive is the archive; None if it is gone."""
    if os.path.lexists(path):
        return path
    above = os.path.dirname(path)
    while above != os.path.dirname(above) and not os.path.lexists(above):
        above = os.path.dirname(above)
    return above if os.path.isfile(above) else None
