"""What a run knows of an address: what it led to, and how far it is. Loads nothing that fetches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ingest.sources import Found, Settled, WalkRules
from ingest.web.pace import Waiting

__all__ = ["FetchProgress", "Looker", "Sighting"]


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How many of the addresses seen so far have been dealt with, and which host is waited for by its own wish."""

    n_urls: int
    n_done: int
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What an address led to. ``is_complete`` is False where more may belong to it than could be seen."""

    items: tuple[Found | Settled, ...]
    is_complete: bool = True
    notes: tuple[str, ...] = ()


class Looker(Protocol):
    """Looks at an address, or at one page of it ("" is all)."""

    async def look(
        self, root: str, part: str, walk: WalkRules, on_progress: Callable[[FetchProgress], None]
    ) -> Sighting:
        """Return every page that belongs to it, once: as a file to read, or in a state."""
        ...
