"""Pages, pictures and speech that somebody has to read, and what was read of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from rag.prices import FREE_USAGE, UsagePrice

__all__ = [
    "MediaKind",
    "MediaLimits",
    "MediaProfile",
    "MediaText",
    "MediaUsage",
    "Medium",
    "PlacedText",
    "TimedText",
]

MediaKind = Literal["page", "picture", "speech"]
"""What a program or a model has to read: a page for its text, a picture for what it shows, speech for what is said."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A page, a picture or a stretch of speech as it is handed to whoever reads it.

    ``width`` and ``height`` are in pixels, ``seconds`` the duration of speech: 0 where they mean nothing.
    """

    kind: MediaKind
    media_type: str
    data: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    seconds: float = 0.0

    @property
    def address(self) -> bytes:
        """The 32-byte SHA-256 of the bytes: with the reader's identity, the key of its text."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True, slots=True)
class TimedText:
    """What is said between two moments, in seconds from the beginning of the medium; ``speaker`` where it is told."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class MediaUsage:
    """What reading a medium took, as the reader told it or, where ``estimated``, as it was counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    estimated: bool = False

    def __add__(self, other: MediaUsage) -> MediaUsage:
        return MediaUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
            self.estimated or other.estimated,
        )

    def cost(self, price: UsagePrice) -> float:
        """Return what it costs."""
        return price.cost(input_tokens=self.input_tokens, output_tokens=self.output_tokens, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class MediaText:
    """What was read of a medium; an empty text where nothing can be read of it.

    ``segments`` are the text once more, by its times (speech), and ``language`` is the one that was heard. ``reader``
    says in words who read it, "" where nobody was asked because there is nothing to see. ``refusal`` is why it is not
    read ("" where it is), and ``note`` what is to be said of a text all the same: that it was cut off, say.
    """

    text: str
    segments: tuple[TimedText, ...] = ()
    reader: str = ""
    refusal: str = ""
    note: str = ""
    usage: MediaUsage = MediaUsage()
    language: str = ""


@dataclass(frozen=True, slots=True)
class PlacedText:
    """The text of a medium at a place of its file, as the file's reader ``numbered_by`` ("pdf/2") counts places."""

    kind: MediaKind
    place: int
    numbered_by: str
    text: MediaText


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The largest medium that a reader takes: bytes, pixels in all, pixels of a side, seconds of speech.

    ``media_types`` are what it takes, the best first; empty where it takes what is usual.
    """

    max_bytes: int = 5_000_000
    max_pixels: int = 6_000_000
    max_side: int = 6_000
    max_seconds: float = 600.0
    media_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """Who reads a kind of media. ``title`` is what a person calls it: "tesseract 5.3.0 (eng)", or a model's name.

    ``identity`` goes into the key of what it has read: engine, model, version, languages, version of the prompt. Two
    readers of one identity make the same of the same bytes. ``price`` is None where it is not known. ``concurrency``
    media are read at once at first, up to ``max_concurrency`` where the reader bears it; one that does not answer for
    ``patience_s`` seconds counts as gone. ``endpoint`` is its address, "" for what runs here.
    """

    title: str
    identity: str
    price: UsagePrice | None = FREE_USAGE
    limits: MediaLimits = MediaLimits()
    concurrency: int = 1
    max_concurrency: int = 1
    patience_s: float = 600.0
    endpoint: str = ""
