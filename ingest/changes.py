"""From paths that changed to what a run should look at. Pure: times are passed in, and so is the look at a file.

A run waits until all is quiet, so that a burst of changes is one run and both ends of a move are in it; but what is
quiet does not wait for ever for what is not. A file that grows is not read before it stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingest.roots import is_under

__all__ = ["Changes", "Due", "Look", "parts_to_look_at"]

LONGEST_S = 10.0
"""How long a change that is quiet itself waits for others at most."""
GROWING_S = 300.0
"""A file that has not stood still for so long (a log, say) is read as it is, and then waits as long again."""
MAX_PARTS = 1000
"""More places than this are looked at with all that lies between them."""

Look = tuple[int, int] | None
"""Size and time of change of a file; None for what is no file, or not there."""


@dataclass(slots=True)
class _Change:
    first_at: float
    last_at: float
    look: Look


@dataclass(frozen=True, slots=True)
class Due:
    """Paths that a run should look at, and those that it must leave because they are still being written."""

    paths: tuple[str, ...]
    growing: tuple[str, ...] = ()


class Changes:
    """Paths that changed since a run has looked at them; ``look`` tells size and time of a file at this moment."""

    def __init__(
        self,
        look: Callable[[str], Look],
        *,
        quiet_s: float = 1.0,
        longest_s: float = LONGEST_S,
        growing_s: float = GROWING_S,
    ) -> None:
        self._look = look
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._growing_s = growing_s
        self._changes: dict[str, _Change] = {}

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def paths(self) -> tuple[str, ...]:
        """What changed and was not looked at yet."""
        return tuple(self._changes)

    def note(self, paths: Iterable[str], now: float) -> None:
        """Take in that paths have changed, at a time."""
        for path in paths:
            change = self._changes.setdefault(path, _Change(now, now, None))
            change.last_at, change.look = now, self._look(path)

    def clear(self) -> None:
        """Forget all: a run will look at everything."""
        self._changes.clear()

    def due(self, now: float) -> Due | None:
        """Return what to look at now, and forget it; None while it is better to wait.

        What has not been noted for a while is looked at once more: where no event comes with each write (a slow copy
        over the network), its size tells.
        """
        quiet: list[str] = []
        busy: list[str] = []
        for path, change in self._changes.items():
            if now - change.last_at >= self._quiet_s and (look := self._look(path)) != change.look:
                change.last_at, change.look = now, look
            (quiet if now - change.last_at >= self._quiet_s else busy).append(path)
        endless = [path for path in busy if now - self._changes[path].first_at >= self._growing_s]
        if not quiet and not endless:
            return None
        if busy and not endless and now - min(self._changes[path].first_at for path in quiet) < self._longest_s:
            return None
        taken = [*quiet, *endless]
        growing = tuple(path for path in busy if path not in endless and self._changes[path].look is not None)
        for path in taken:
            del self._changes[path]
        return Due(tuple(sorted(taken)), tuple(sorted(growing)))


def parts_to_look_at(paths: Iterable[str], *, ignore_file: str) -> tuple[str, ...] | None:
    """Return the least places that hold what changed, given paths relative to the root; None for all of it.

    An ignore file speaks for the folder it lies in.

    >>> parts_to_look_at(["a/x.md", "a", "b/.ragignore", "c/y.md"], ignore_file=".ragignore")
    ('a', 'b', 'c/y.md')
    """
    places = set()
    for path in paths:
        pure = PurePosixPath(path)
        places.add((pure.parent if pure.name == ignore_file else pure).as_posix())
    if "." in places:
        return None
    parts: list[str] = []
    for place in sorted(places, key=lambda place: place.split("/")):
        if not parts or not is_under(place, parts[-1]):
            parts.append(place)
    return tuple(parts) if len(parts) <= MAX_PARTS else None
