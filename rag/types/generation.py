"""What a chat model gets, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rag.types.retrieval import Source, Usage

__all__ = [
    "GenerationDone",
    "GenerationEvent",
    "GenerationSettings",
    "Prompt",
    "TextDelta",
    "Turn",
]


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator gets: instructions, sources and question stay apart until a generator renders them.

    ``objections`` say what an answer to this question, written before, said that the sources do not bear out.
    ``is_numbered``: the markers in earlier answers number the same sources as those of this prompt do.
    """

    instructions: str
    sources: tuple[Source, ...]
    question: str
    history: tuple[Turn, ...] = ()
    objections: tuple[str, ...] = ()
    is_numbered: bool = False


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """The sampling parameters of a chat completion; None leaves the endpoint's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0, 2),
            "top_p": (0, 1),
            "frequency_penalty": (-2, 2),
            "presence_penalty": (-2, 2),
            "max_tokens": (1, 10_000_000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
        if len(self.stop) > 4:
            raise ValueError(f"stop takes at most 4 strings, got {len(self.stop)}")


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The end of a generation. ``usage`` is None where the provider sent none."""

    finish_reason: str | None
    model: str
    usage: Usage | None = None


GenerationEvent = TextDelta | GenerationDone
