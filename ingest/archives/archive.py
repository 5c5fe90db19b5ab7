"""What all archives have in common: entries, and a budget of what may be unfolded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ingest.archives.member import MemberState
from ingest.readers.packages import may_unfold_to
from rag.errors import DocumentReadError, RagError

__all__ = ["MAX_MEMBERS", "Archive", "Budget", "Entry", "damage_told"]

MAX_MEMBERS = 100_000
_MAX_BYTES = 8 * 1024 * 1024 * 1024
"""What an archive may unfold to at most. It is not held in memory: this bounds time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive. ``state`` and ``reason`` are as in ``Member``; ``source`` is for the archive itself."""

    path: str
    size: int = 0
    state: MemberState = "file"
    reason: str = ""
    source: Any = None


class Budget:
    """What an archive of ``size`` bytes, with all archives inside it, may still unfold to and hold."""

    def __init__(self, size: int) -> None:
        self.limit = max(may_unfold_to(size, at_most=_MAX_BYTES), size)
        self.n_bytes = self.limit
        self.n_members = MAX_MEMBERS

    def spend(self, n_bytes: int, name: str) -> None:
        """Take bytes; raises DocumentReadError for archive ``name`` where there are not that many left."""
        if n_bytes > self.n_bytes:
            raise self.too_much(name)
        self.n_bytes -= n_bytes

    def count(self, name: str) -> None:
        """Take one file or folder; raises DocumentReadError where there is none left."""
        if self.n_members < 1:
            raise self.too_many(name)
        self.n_members -= 1

    def too_many(self, name: str) -> DocumentReadError:
        """Return what to say of an archive with too many files."""
        return DocumentReadError(
            f"cannot read {name!r}: it holds more than {MAX_MEMBERS:,} files and folders; split it"
        )

    def too_much(self, name: str) -> DocumentReadError:
        """Return what to say of an archive that unfolds to too much."""
        return DocumentReadError(
            f"cannot read {name!r}: it would unfold to more than the {self.limit:,} bytes that an archive of its size "
            "may; it is made to overwhelm its reader, or must be split"
        )


class Archive:
    """An open archive; ``name`` is its document id, for errors."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._index: dict[str, Entry] | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield the files in the order they lie in; each is best unpacked before the next is asked for.

        Raises DocumentReadError for an archive that is damaged, or breaks a bound.
        """
        raise NotImplementedError

    def blocks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the bytes of one of the entries. Raises DocumentReadError where they are damaged."""
        with damage_told(f"{self._name}/{entry.path}"):
            yield from self._blocks(entry)

    def _blocks(self, entry: Entry) -> Iterator[bytes]:
        raise NotImplementedError

    def read(self, path: str) -> bytes:
        """Return the bytes of a file; the last one of that name, as unpackers leave it."""
        if self._index is None:
            self._index = {entry.path: entry for entry in self.entries() if entry.state == "file"}
        entry = self._index.get(path)
        if entry is None:
            raise DocumentReadError(
                f"cannot read {path!r} in {self._name!r}: it is not there any more; run it again", retriable=True
            )
        return b"".join(self.blocks(entry))


@contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Translate what the libraries raise on damaged archives: they may raise anything."""
    try:
        yield
    except (RagError, MemoryError):
        raise
    except Exception as error:
        said = str(error) or type(error).__name__
        raise DocumentReadError(
            f"cannot read {name!r}: the archive is damaged or cut off ({said}); get it again"
        ) from error
