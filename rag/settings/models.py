"""The settings of the models: who serves each family, and how it is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from rag.errors import ConfigError
from rag.settings.checks import require

__all__ = [
    "AudioOptions",
    "ChatOptions",
    "EmbeddingsOptions",
    "ModelOptions",
    "ModerationOptions",
    "OcrOptions",
    "RerankOptions",
    "VisionOptions",
]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Who serves a model family. Everything empty: the shared endpoint if it can, else the embedded model."""

    provider: str = ""
    """a name of the provider table, or "local" for the embedded model ("off" for moderation)"""
    base_url: str = ""
    """address of the endpoint, up to and without the family's path"""
    api_key: str = field(default="", repr=False)
    """key of this endpoint; without one, the provider's own environment variable is read"""
    model: str = ""
    """model name; without one, the provider's default, or the only model the endpoint lists"""
    timeout_s: float = 60.0
    """seconds without an answer (a byte of it, when streaming) before a call is given up"""
    max_retries: int = 4
    """retries after 429, 5xx, timeouts and broken connections; embedding documents has patience_s instead"""

    def __post_init__(self) -> None:
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")
        require(0 <= self.max_retries <= 20, "max_retries", self.max_retries, "a whole number from 0 to 20")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url must begin with http:// or https://, got {self.base_url!r}")


@dataclass(frozen=True, slots=True)
class ChatOptions(ModelOptions):
    """The model that writes answers, and one that writes them while the first is down."""

    api: Literal["chat", "responses"] = "chat"
    """by which API answers are written: chat completions, or OpenAI's Responses API"""
    fallback_provider: str = ""
    """provider that is asked while the first is down, or "local" for the embedded answerer"""
    fallback_base_url: str = ""
    """its address"""
    fallback_api_key: str = field(default="", repr=False)
    """its key; without one, the provider's own environment variable is read"""
    fallback_model: str = ""
    """its model; alone, another model of the first endpoint"""

    def __post_init__(self) -> None:
        super(ChatOptions, self).__post_init__()
        if self.fallback_base_url and not self.fallback_base_url.startswith(("http://", "https://")):
            raise ConfigError(f"fallback_base_url must begin with http:// or https://, got {self.fallback_base_url!r}")


@dataclass(frozen=True, slots=True)
class EmbeddingsOptions(ModelOptions):
    """The model that turns chunks and questions into vectors."""

    dimensions: int | None = None
    """shorter vectors, for models that allow it; None is the model's own length"""
    concurrency: int | None = None
    """requests under way at once, at most; None finds out how many the endpoint bears"""
    max_inputs: int | None = None
    """texts in one request; None is the provider's limit"""
    patience_s: float = 600.0
    """seconds that an ingest waits for an endpoint without one success before it stops"""
    price_per_million: float | None = None
    """what a million tokens cost; None is the price table, which does not know every model"""
    price_currency: str = "USD"
    """currency of price_per_million"""

    def __post_init__(self) -> None:
        super(EmbeddingsOptions, self).__post_init__()  # subtle: bare super() fails in slotted dataclasses
        for name in ("dimensions", "concurrency", "max_inputs"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "a whole number from 1")
        require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        price = self.price_per_million
        require(price is None or 0 <= price < math.inf, "price_per_million", price, "a number from 0")


@dataclass(frozen=True, slots=True)
class ModerationOptions(ModelOptions):
    """Whether questions and answers are moderated, by whom, and what follows."""

    action: Literal["block", "flag"] = "block"
    """what happens to a flagged question or answer"""
    when_unreachable: Literal["open", "closed"] = "open"
    """whether an unreachable moderator lets texts pass (open) or stops them (closed)"""


@dataclass(frozen=True, slots=True)
class VisionOptions(ModelOptions):
    """The chat model that describes pictures, and reads scanned pages where Tesseract does not: only if it is named."""

    instructions: str = ""
    """added to what the model is asked: "Describe in Chinese.", say"""
    detail: Literal["", "auto", "low", "high"] = "high"
    """how closely the model looks, where the endpoint lets one say; empty says nothing"""
    max_tokens: int = 8192
    """longest text of one page or picture, in tokens; what is longer is cut off, with a warning"""
    concurrency: int = 4
    """pages and pictures under way at once, at first; more where the endpoint bears it"""
    patience_s: float = 600.0
    """seconds that an ingest waits for an endpoint without one success"""
    input_per_million: float | None = None
    """what a million tokens cost that are sent, pictures included; None is the price table"""
    output_per_million: float | None = None
    """what a million tokens cost that are written; None is the price table"""
    price_currency: str = "USD"
    """currency of input_per_million and output_per_million"""

    def __post_init__(self) -> None:
        super(VisionOptions, self).__post_init__()
        for name in ("max_tokens", "concurrency"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number from 1")
        require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        for name in ("input_per_million", "output_per_million"):
            price = getattr(self, name)
            require(price is None or 0 <= price < math.inf, name, price, "a number from 0")
        both = (self.input_per_million is None) == (self.output_per_million is None)
        require(both, "input_per_million", self.input_per_million, "set together with output_per_million")


@dataclass(frozen=True, slots=True)
class AudioOptions(ModelOptions):
    """The model that transcribes recordings: nobody does unless a provider, an address or a model is named."""

    timeout_s: float = 600.0
    """seconds without an answer before a call is given up: ten minutes of speech take a while"""
    task: Literal["transcribe", "translate"] = "transcribe"
    """"translate" writes English, whatever is spoken, where the model can; citations then quote the translation"""
    language: str = ""
    """language that is spoken ("en", "zh"); empty lets the model find out"""
    prompt: str = ""
    """names and terms that occur, as a hint to the model"""
    temperature: float | None = None
    """0 is most certain; None leaves it to the endpoint"""
    response_format: Literal["", "json", "verbose_json", "diarized_json", "text", "srt", "vtt"] = ""
    """what the endpoint is asked for; empty is what is known of the model: that with most times"""
    format: Literal["", "flac", "wav"] = ""
    """what recordings are sent as; empty is what is known of the endpoint"""
    part_seconds: float | None = None
    """seconds after which a recording is cut, at a silence; None is 600, or 60 where the model tells no times"""
    concurrency: int = 4
    """stretches under way at once, at first; more where the endpoint bears it"""
    patience_s: float = 600.0
    """seconds that an ingest waits for an endpoint without one success"""
    price_per_minute: float | None = None
    """what a minute costs; None is the price table"""
    price_currency: str = "USD"
    """currency of price_per_minute"""

    def __post_init__(self) -> None:
        super(AudioOptions, self).__post_init__()
        part_s, price = self.part_seconds, self.price_per_minute
        require(part_s is None or 10 <= part_s <= 3600, "part_seconds", part_s, "a number from 10 to 3600")
        require(self.temperature is None or 0 <= self.temperature <= 1, "temperature", self.temperature, "from 0 to 1")
        require(self.concurrency >= 1, "concurrency", self.concurrency, "a whole number from 1")
        require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        require(price is None or 0 <= price < math.inf, "price_per_minute", price, "a number from 0")


@dataclass(frozen=True, slots=True)
class OcrOptions:
    """Who reads pages without text: scanned ones, and the text in pictures."""

    provider: Literal["auto", "tesseract", "vision", "off"] = "auto"
    """"auto" is Tesseract where it is installed, else the vision model where one is named, else nobody"""
    languages: tuple[str, ...] = ()
    """languages that Tesseract reads, by its names ("eng", "chi_sim"); empty is what is installed"""
    timeout_s: float = 120.0
    """seconds that Tesseract may take for a page"""

    def __post_init__(self) -> None:
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")


@dataclass(frozen=True, slots=True)
class RerankOptions(ModelOptions):
    """Whether the first hits are put in order by a model that reads query and passage together, and by which.

    Nobody does unless one is named: it takes time, and money. ``provider`` may be "chat": then the chat model grades
    all passages in one call.
    """

    candidates: int = 30
    """hits that are judged"""
    max_tokens: int = 16_000
    """tokens of hits that are judged, in all"""
    timeout_s: float = 5.0
    """seconds after which the hits stay in the order they were found in"""
    max_retries: int = 1
    """retries after 429, 5xx, timeouts and broken connections, within timeout_s"""

    def __post_init__(self) -> None:
        super(RerankOptions, self).__post_init__()  # subtle: bare super() fails in slotted dataclasses
        require(1 <= self.candidates <= 1000, "candidates", self.candidates, "a whole number from 1 to 1000")
        require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number from 1")
