"""What a chat model gets, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from rag.levels import ReasoningEffort, Verbosity
from rag.types.retrieval import Source, Usage

__all__ = [
    "GenerationDone",
    "GenerationEvent",
    "GenerationSettings",
    "Prompt",
    "ReasoningEffort",
    "TextDelta",
    "Turn",
    "Verbosity",
]


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator gets: instructions, sources and question stay apart until a generator renders them.

    ``objections`` say what an answer to this question, written before, said that the sources do not bear out,
    ``contradictions`` what the sources say differently.
    ``is_numbered``: the markers in earlier answers number the same sources as those of this prompt do.
    ``form`` says how to answer in JSON; "" is prose. ``language`` is the English name of the language to answer in; ""
    is that of the question.
    """

    instructions: str
    sources: tuple[Source, ...]
    question: str
    history: tuple[Turn, ...] = ()
    objections: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    is_numbered: bool = False
    language: str = ""
    form: str = ""


_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "max_tokens": (1, 10_000_000),
    "seed": (-(2**63), 2**63 - 1),
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "reasoning_effort": get_args(ReasoningEffort),
    "verbosity": get_args(Verbosity),
}
_MAX_STOPS = 4
_MAX_BIASED_TOKENS = 1024
_MAX_METADATA = 16  # keys, of 64 characters, with values of 512: OpenAI's limits
_MAX_USER_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """The parameters of a chat completion; None leaves the endpoint's default.

    ``logit_bias`` is by token id, -100 (never) to 100. ``user`` is a name for who asks that tells nobody who it is;
    the endpoint uses it against abuse. ``metadata`` stands beside an answer that the endpoint is to ``store``.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    response_format: Mapping[str, Any] | None = None
    reasoning_effort: ReasoningEffort | None = None
    verbosity: Verbosity | None = None
    logit_bias: Mapping[str, float] | None = None
    service_tier: str | None = None
    user: str | None = None
    store: bool | None = None
    metadata: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value is not None and value not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, got {value!r}")
        if self.stop is not None and len(self.stop) > _MAX_STOPS:
            raise ValueError(f"stop takes at most {_MAX_STOPS} strings, got {len(self.stop)}")
        if self.user is not None and not 1 <= len(self.user) <= _MAX_USER_CHARACTERS:
            raise ValueError(f"user must have 1 to {_MAX_USER_CHARACTERS} characters, got {len(self.user)}")
        self._check_bias()
        self._check_metadata()

    def _check_bias(self) -> None:
        bias = self.logit_bias or {}
        if len(bias) > _MAX_BIASED_TOKENS:
            raise ValueError(f"logit_bias takes at most {_MAX_BIASED_TOKENS} tokens, got {len(bias)}")
        for token, value in bias.items():
            if not str(token).isdecimal() or not -100 <= value <= 100:
                raise ValueError(f"logit_bias maps token ids to numbers in [-100, 100], got {token!r}: {value!r}")

    def _check_metadata(self) -> None:
        given = self.metadata or {}
        if len(given) > _MAX_METADATA:
            raise ValueError(f"metadata takes at most {_MAX_METADATA} keys, got {len(given)}")
        for key, value in given.items():
            if not 1 <= len(key) <= 64 or not isinstance(value, str) or len(value) > 512:
                raise ValueError(f"metadata has keys of 1 to 64 characters and texts of at most 512, got {key!r}")

    def over(self, base: GenerationSettings) -> GenerationSettings:
        """Return these settings, and those of ``base`` where these say nothing.

        >>> GenerationSettings(seed=1).over(GenerationSettings(seed=2, top_p=0.5)).top_p
        0.5
        """
        return replace(
            base, **{item.name: value for item in fields(self) if (value := getattr(self, item.name)) is not None}
        )


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The end of a generation. ``usage`` is None where the provider sent none.

    ``notes`` say in words what was not done as it was asked for: a parameter that was left out, another model that
    had to answer.
    """

    finish_reason: str | None
    model: str
    usage: Usage | None = None
    notes: tuple[str, ...] = ()


GenerationEvent = TextDelta | GenerationDone
