"""Changes of embedding model that run in the background of a service, one for each collection at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rag.errors import CollectionLockedError, CollectionNotFoundError, RagError

if TYPE_CHECKING:
    from ingest.reembed import ReembedReport

__all__ = ["Change", "Changes"]

State = Literal["running", "done", "cancelled", "failed"]
Run = Callable[[Callable[[int, int], None], asyncio.Event], Awaitable["ReembedReport"]]


@dataclass(slots=True)
class Change:
    """One change of model: ``n_done`` of ``n_all`` documents; ``report`` at its end, ``error`` where it failed."""

    collection: str
    state: State = "running"
    n_done: int = 0
    n_all: int = 0
    report: ReembedReport | None = None
    error: str = ""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self, n_done: int, n_all: int) -> None:
        self.n_done, self.n_all = n_done, n_all


class Changes:
    """Starts them, knows how far they are, stops them. Used from one event loop."""

    def __init__(self) -> None:
        self._changes: dict[str, Change] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, name: str, run: Run) -> Change:
        """Begin one and return it. Raises CollectionLockedError where one of this collection is under way."""
        if (known := self._changes.get(name)) is not None and known.state == "running":
            raise CollectionLockedError(f"a change of model of collection {name!r} is under way; wait, or cancel it")
        change = self._changes[name] = Change(name)
        task = asyncio.create_task(self._run(change, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return change

    def get(self, name: str) -> Change:
        """Return the last one of a collection. Raises CollectionNotFoundError where this service has begun none."""
        if name not in self._changes:
            raise CollectionNotFoundError(f"no change of model of collection {name!r} was begun here")
        return self._changes[name]

    async def aclose(self) -> None:
        """Stop what runs, and wait for it; what was embedded stays."""
        for change in self._changes.values():
            change.stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, change: Change, run: Run) -> None:
        try:
            change.report = await run(change.told, change.stop)
            change.state = "done" if change.report.is_switched else "cancelled"
        except RagError as error:
            change.state, change.error = "failed", str(error)
        except BaseException as error:
            change.state, change.error = "failed", f"a fault of the program: {error!r}"
            raise
