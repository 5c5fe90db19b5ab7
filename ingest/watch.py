"""Follows folders: a run for each burst of changes, over what changed and no more.

Events are hints, and the run is the truth: it looks for itself at the places that they name. Where they may be
wanting (too many at once, a network drive, a folder that went and came back), and every ten minutes in any case, it
looks at everything, which costs the time to list the folder.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from ingest.followed import Followed, Job
from ingest.report import IngestReport
from ingest.sources import WalkRules
from rag.errors import CollectionLockedError, CollectionNotFoundError, IndexMismatchError, RagError

__all__ = ["Run", "Watch"]

LOCKED_S = 2.0
"""How often a collection that others write to is asked for."""
REST_S = 2.0
"""How often it is made sure that the folders are there, while nothing happens."""

Run = Callable[[Path, Sequence[str], frozenset[str]], Awaitable[IngestReport]]
"""Makes one run over a path: over these parts of it (none: all), leaving these paths as they are."""


class Watch:
    """Follows paths until ``stop`` is set or it is cancelled. ``run`` makes the runs, ``rules`` say what they read.

    ``on_notice`` is told in words what a user should know between runs. ``is_over`` says that further runs are of no
    use (the limit on the cost is reached).
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        run: Run,
        rules: WalkRules,
        library: Path,
        quiet_s: float = 1.0,
        poll_s: float | None = None,
        on_notice: Callable[[str], None] = lambda words: None,
        is_over: Callable[[], bool] = lambda: False,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._run = run
        self._notice = on_notice
        self._is_over = is_over
        self._stop = stop or asyncio.Event()
        self._arrived = asyncio.Event()
        self._quiet_s = quiet_s
        self._roots = [
            Followed(path, rules, library, quiet_s=quiet_s, poll_s=poll_s, arrived=self._arrived) for path in paths
        ]

    async def reports(self) -> AsyncGenerator[IngestReport, None]:
        """Yield the report of each run: first one over each whole path, then those that changes call for.

        Raises what the first runs raise; later errors are told, and tried again, except where there is no more
        collection to follow with.
        """
        try:
            for root in self._roots:  # listening begins before looking, so that nothing falls in between
                if root.path.exists():
                    await self._listen(root)
            for root in self._roots:
                report = await self._made(root, Job(()), is_first=True)
                if report is not None:
                    yield report
                if self._stop.is_set() or self._is_over():
                    return
            while not self._stop.is_set():
                for root in self._roots:
                    job = await self._job(root)
                    report = await self._made(root, job) if job else None
                    if report is not None:
                        yield report
                    if self._stop.is_set() or self._is_over():
                        return
                await self._rest()
        finally:
            for root in self._roots:
                root.close()

    async def _listen(self, root: Followed) -> None:
        if words := await root.listen():
            self._notice(words)

    async def _job(self, root: Followed) -> Job | None:
        """Return what to look at in a path now, None for nothing."""
        if not await self._is_there(root):
            return None
        now = time.monotonic()
        await asyncio.to_thread(root.take_in, root.told(), now)
        job = root.job(now)
        for path in root.newly_growing():
            self._notice(f"{path} is still being written; it is read when it stands still")
        return job

    async def _is_there(self, root: Followed) -> bool:
        """Tell whether a path is there, and listen to it anew where it has been away or is another one."""
        identity = await asyncio.to_thread(root.identify)
        if identity is None:
            if not root.is_gone:
                root.leave()
                self._notice(f"{root.path} is not there any more: its documents are kept, waiting for it to come back")
            return False
        if root.is_gone or identity != root.identity or root.is_deaf:
            was_gone = root.is_gone
            try:
                await self._listen(root)
            except RagError as error:
                root.leave()
                if not was_gone:
                    self._notice(str(error))
                return False
            root.note_all(time.monotonic())
            if was_gone:
                self._notice(f"{root.path} is there again")
        return True

    async def _made(self, root: Followed, job: Job, *, is_first: bool = False) -> IngestReport | None:
        """Make a run; None where it could not be made and will be tried again, or is not wanted any more."""
        waited = False
        while not self._stop.is_set():
            try:
                report = await self._run(root.path, job.parts, job.leave)
            except CollectionLockedError as error:
                if not waited:
                    self._notice(f"{error}; this watch waits, and goes on by itself")
                waited = True
                await self._sleep(LOCKED_S)
            except (CollectionNotFoundError, IndexMismatchError):
                raise
            except RagError as error:
                if is_first:
                    raise
                root.put_off(time.monotonic())
                if root.identify() is not None:  # else it is told that it has gone
                    self._notice(f"{error}; it is tried again")
                return None
            else:
                if waited:
                    self._notice("the collection is free again")
                root.learn(job, report, time.monotonic())
                return report
        return None

    async def _rest(self) -> None:
        """Wait for news, and no longer than until somebody has to be looked after."""
        busy = any(root.has_changes for root in self._roots)
        await self._sleep(min(self._quiet_s / 2, REST_S) if busy else REST_S, news=self._arrived)
        self._arrived.clear()

    async def _sleep(self, seconds: float, *, news: asyncio.Event | None = None) -> None:
        waits = {asyncio.ensure_future(event.wait()) for event in (self._stop, news) if event is not None}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
