"""How answers are written: what a collection may have settings of its own for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from rag.errors import ConfigError
from rag.levels import ReasoningEffort, Verbosity
from rag.settings.checks import require

if TYPE_CHECKING:
    from rag.types import GenerationSettings

__all__ = ["AnswerOptions"]


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How answers are written. None leaves the endpoint's default. A collection may have settings of its own for these.

    What a provider does not take is left out, and the answer's notes say so.
    """

    context_tokens: int = 4000
    """tokens of sources in the prompt"""
    history_tokens: int = 1000
    """tokens of earlier turns in the prompt, the newest first; 0 sends none"""
    instructions: str = ""
    """added to the system instructions"""
    language: str = ""
    """language to answer in, by name or code: "French", "fr", "中文"; empty is the language of the question"""
    temperature: float | None = None
    """0 is most certain, 2 most random"""
    top_p: float | None = None
    """share of likely words to draw from, 0 to 1"""
    max_tokens: int | None = None
    """longest answer, in tokens"""
    frequency_penalty: float | None = None
    """-2 to 2; above 0 repeats less"""
    presence_penalty: float | None = None
    """-2 to 2; above 0 brings up new topics"""
    seed: int | None = None
    """for answers that repeat, where the endpoint can"""
    stop: tuple[str, ...] | None = None
    """texts before which the answer ends; up to four"""
    response_format: Mapping[str, Any] | None = None
    """answer in JSON: {type = "json_object"}, or json_schema with a schema, as in a chat completion"""
    reasoning_effort: ReasoningEffort | None = None
    """how long a reasoning model thinks before it answers, in the words of its endpoint as far as it has them"""
    verbosity: Verbosity | None = None
    """how long answers are, for models that know it"""
    logit_bias: Mapping[str, float] | None = None
    """by token id, -100 (never) to 100"""
    service_tier: str | None = None
    """how the endpoint is to process requests, in its words: "flex", say"""
    user: str | None = None
    """who asks, as a name that tells nobody who it is; endpoints use it against abuse"""
    store: bool | None = None
    """whether the endpoint is to keep answers"""
    metadata: Mapping[str, str] | None = None
    """what is to stand beside an answer that the endpoint keeps; up to 16 texts by name"""
    unsupported: Literal["flag", "remove", "regenerate"] = "flag"
    """what is done about statements that their sources do not bear out: shown as such, left out, or written again"""
    verify_model: str = ""
    """a model of the chat endpoint that looks again at verdicts that rest on words alone; empty is none"""
    verify_tokens: int = 6000
    """tokens of statements and sources that it is sent for one answer, at most"""
    verify_timeout_s: float = 10.0
    """seconds after which the verdicts of the rules stand"""

    def __post_init__(self) -> None:
        require(self.verify_tokens >= 1, "verify_tokens", self.verify_tokens, "a whole number from 1")
        require(self.verify_timeout_s > 0, "verify_timeout_s", self.verify_timeout_s, "a number above 0")
        require(self.context_tokens >= 64, "context_tokens", self.context_tokens, "a whole number from 64")
        require(self.history_tokens >= 0, "history_tokens", self.history_tokens, "a whole number from 0")
        language = self.language
        fits = len(language) <= 40 and all(mark.isalpha() or mark in " -()" for mark in language)
        require(fits, "language", language, "the name or code of a language")
        try:
            if self._given():
                self.generation()
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def generation(self) -> GenerationSettings:
        """Return what of this is a parameter of the chat completion."""
        from rag.types import GenerationSettings  # late: `rag --help` loads no numpy, which other types need

        return GenerationSettings(**self._given())

    def _given(self) -> dict[str, Any]:
        # Those that None leaves to the endpoint are its parameters; all others are this project's own.
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.default is None}
        return {name: value for name, value in values.items() if value is not None}
