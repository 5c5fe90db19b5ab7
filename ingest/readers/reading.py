"""What every reader returns: the text and its structure, before the file's name and hash are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.normalise import normalise
from rag.types import Heading, Page

__all__ = ["Reading", "normalised_text"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One file as a reader sees it. ``title`` is empty where the file names none."""

    text: str
    media_type: str
    title: str = ""
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def normalised_text(raw: str) -> tuple[str, tuple[str, ...]]:
    """Return the normalised text, with a warning when it held halves of characters."""
    normalised = normalise(raw)
    if normalised.n_surrogates:
        return normalised.text, (f"{normalised.n_surrogates} halves of characters were replaced by U+FFFD",)
    return normalised.text, ()
