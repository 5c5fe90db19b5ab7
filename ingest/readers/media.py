"""What a reader may ask for: the text of a scanned page, a picture or a stretch of speech in its file.

A reader runs where nothing can be asked of anybody. It says what it has met; a text that is known already comes back at
once, anything else is noted, and the file is read again once the texts are there (``ingest.isolation``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag.errors import DocumentReadError
from rag.types import MediaKind, MediaLimits, MediaText, Medium, PlacedText

__all__ = ["Media", "ServedKind", "Want"]


@dataclass(frozen=True, slots=True)
class ServedKind:
    """A kind of media that somebody reads: who, in words, and what they take."""

    kind: MediaKind
    title: str
    limits: MediaLimits


@dataclass(frozen=True, slots=True)
class Want:
    """A medium whose text is asked for. ``place`` numbers it in its file.

    ``medium`` is None where there is nothing to see or hear, or where ``problem`` says why it could not be made.
    """

    kind: MediaKind
    place: int
    medium: Medium | None
    problem: str = ""


class Media:
    """The media of one file, as far as its reader can have their texts.

    ``served`` are the kinds that somebody reads, ``known`` what is known already. A reader goes on without a text that
    it does not get. ``given_up`` is why nothing more is asked for ("" while it is): what was known is still given.
    At most about ``max_bytes`` of media are made in one go, and none after ``max_seconds``, but always one: the next go
    makes the rest. ``on_make`` is called before the first.
    """

    def __init__(
        self,
        served: Sequence[ServedKind] = (),
        known: Sequence[PlacedText] = (),
        *,
        given_up: str = "",
        max_bytes: int = 32_000_000,
        max_seconds: float = 30.0,
        on_make: Callable[[], None] = lambda: None,
    ) -> None:
        self.given_up = given_up
        self.reader = ""
        self.wants: list[Want] = []
        self._served = {kind.kind: kind for kind in served}
        self._all_known = known
        self._texts: dict[tuple[MediaKind, int], MediaText] = {}
        self._unread: dict[MediaKind, None] = {}
        self._n_bytes_left = max_bytes
        self._until = time.monotonic() + max_seconds
        self._on_make = on_make

    def read_by(self, reader: str) -> None:
        """Take what is known by the numbers of ``reader`` ("pdf/2"): another's may mean other places."""
        self.reader = reader
        self._texts = {
            (known.kind, known.place): known.text for known in self._all_known if known.numbered_by == reader
        }

    def number_by(self, how: str) -> None:
        """Number the media in a way of which the reader has several: places of another mean something else."""
        self.read_by(f"{self.reader} {how}")

    def serves(self, kind: MediaKind) -> str:
        """Return who reads media of a kind, in words; "" where nobody does."""
        return self._served[kind].title if kind in self._served else ""

    def limits(self, kind: MediaKind) -> MediaLimits:
        """Return the largest medium that may be made of a kind."""
        return self._served[kind].limits if kind in self._served else MediaLimits()

    def known(self, place: int, kind: MediaKind) -> MediaText | None:
        """Return the text of the medium at ``place`` of the file where it is known, asking nobody."""
        return self._texts.get((kind, place))

    def text(self, place: int, kind: MediaKind, make: Callable[[], Medium | None]) -> MediaText | None:
        """Return the text of the medium at ``place`` of the file; None where it is not known (yet).

        ``make`` makes the medium where it has to be read; None says that there is nothing to see or hear in it. What it
        raises is a problem of that medium alone, except for DocumentReadError, which is of the whole file.
        """
        if (known := self.known(place, kind)) is not None:
            return known
        if kind not in self._served:
            self._unread[kind] = None
        elif not self.given_up and not self.is_full:
            if not self.wants:
                self._on_make()
            self._note(kind, place, make)
        return None

    @property
    def is_full(self) -> bool:
        """Whether this go makes no more: its document is not wanted any more, but what is noted."""
        return bool(self.wants) and (self._n_bytes_left <= 0 or time.monotonic() >= self._until)

    def _note(self, kind: MediaKind, place: int, make: Callable[[], Medium | None]) -> None:
        try:
            medium = make()
        except (MemoryError, DocumentReadError):
            raise
        except Exception as error:  # whoever draws a stranger's page may raise anything; the other pages are as good
            self.wants.append(Want(kind, place, None, problem=f"{type(error).__name__}: {error}"))
        else:
            self.wants.append(Want(kind, place, medium))
            self._n_bytes_left -= len(medium.data) if medium else 0

    @property
    def unread(self) -> tuple[MediaKind, ...]:
        """The kinds that were met and that nobody reads."""
        return tuple(sorted(self._unread))
