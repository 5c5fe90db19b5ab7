"""The settings of a run: the only reader of the environment and of ``rag.toml``.

Order, strongest first: flag, environment (``RAG_<SECTION>_<NAME>``), ``rag.toml``, default. ``OPENAI_API_KEY`` and
``OPENAI_BASE_URL`` are the common ground: a model family without settings of its own uses them, if that provider has
the family; otherwise the embedded model serves. A key is only ever sent to the provider it was given for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rag.errors import ConfigError

__all__ = [
    "AnswerOptions",
    "AudioOptions",
    "ChatOptions",
    "ChunkingOptions",
    "EmbeddingsOptions",
    "IngestOptions",
    "ModerationOptions",
    "OcrOptions",
    "QueryOptions",
    "RerankOptions",
    "RetrievalOptions",
    "ServerOptions",
    "Settings",
    "SharedEndpoint",
    "VisionOptions",
    "WebOptions",
    "environment_name",
    "load_settings",
]

Environ = Mapping[str, str]
T = TypeVar("T")


def _require(holds: bool, key: str, value: Any, form: str) -> None:
    if not holds:
        shown = "a secret" if key.lower().endswith("api_key") else repr(value)
        raise ConfigError(f"{key} must be {form}, got {shown}")


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
        _require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")
        _require(0 <= self.max_retries <= 20, "max_retries", self.max_retries, "a whole number from 0 to 20")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url must begin with http:// or https://, got {self.base_url!r}")


@dataclass(frozen=True, slots=True)
class ChatOptions(ModelOptions):
    """The model that writes answers."""


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
            _require(value is None or value >= 1, name, value, "a whole number from 1")
        _require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        price = self.price_per_million
        _require(price is None or 0 <= price < math.inf, "price_per_million", price, "a number from 0")


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
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number from 1")
        _require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        for name in ("input_per_million", "output_per_million"):
            price = getattr(self, name)
            _require(price is None or 0 <= price < math.inf, name, price, "a number from 0")
        both = (self.input_per_million is None) == (self.output_per_million is None)
        _require(both, "input_per_million", self.input_per_million, "set together with output_per_million")


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
        _require(part_s is None or 10 <= part_s <= 3600, "part_seconds", part_s, "a number from 10 to 3600")
        _require(self.temperature is None or 0 <= self.temperature <= 1, "temperature", self.temperature, "from 0 to 1")
        _require(self.concurrency >= 1, "concurrency", self.concurrency, "a whole number from 1")
        _require(self.patience_s >= 0, "patience_s", self.patience_s, "a number from 0")
        _require(price is None or 0 <= price < math.inf, "price_per_minute", price, "a number from 0")


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
        _require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")


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
        _require(1 <= self.candidates <= 1000, "candidates", self.candidates, "a whole number from 1 to 1000")
        _require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number from 1")


@dataclass(frozen=True, slots=True)
class ChunkingOptions:
    """How new collections are cut. None follows the embedding model."""

    tokens: int | None = None
    """tokens a chunk holds at most"""
    overlap: int | None = None
    """tokens a chunk shares with the one before"""


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """How many hits are found, and how vectors and keywords are weighed."""

    k: int = 8
    """hits an answer is written from"""
    vector_weight: float | None = None
    """share of the vectors in the score, 0 to 1, the rest is keywords; None is the measured default"""
    filter: str = ""
    """only documents that match are searched, beside a question's own filter: "year >= 2020"; empty is all"""
    recall_target: float = 0.98
    """share of the ten nearest chunks that a search of a large collection finds at least; more takes longer"""

    def __post_init__(self) -> None:
        _require(1 <= self.k <= 1000, "k", self.k, "a whole number from 1 to 1000")
        weight = self.vector_weight
        _require(weight is None or 0 <= weight <= 1, "vector_weight", weight, "a number from 0 to 1")
        target = self.recall_target
        _require(0.5 <= target <= 0.999, "recall_target", target, "a number from 0.5 to 0.999")


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Which queries the chat model, if there is one, writes for a question, in one call."""

    rewrite: Literal["auto", "off", "always"] = "auto"
    """whether a follow-up is made to stand alone; auto: only one that refers back or is too short"""
    alternatives: int = 0
    """other wordings that are searched too, 0 to 5"""
    hyde: Literal["off", "on"] = "off"
    """whether a passage such as might answer the question is searched for too"""
    max_tokens: int = 600
    """tokens of the conversation that are sent, and of the reply, each"""
    timeout_s: float = 5.0
    """seconds after which the plain query has to do"""

    def __post_init__(self) -> None:
        _require(0 <= self.alternatives <= 5, "alternatives", self.alternatives, "a whole number from 0 to 5")
        _require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number from 1")
        _require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How answers are written. None leaves the endpoint's default."""

    context_tokens: int = 4000
    """tokens of sources in the prompt"""
    instructions: str = ""
    """added to the system instructions"""
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
    stop: tuple[str, ...] = ()
    """texts before which the answer ends; up to four"""

    def __post_init__(self) -> None:
        _require(self.context_tokens >= 64, "context_tokens", self.context_tokens, "a whole number from 64")


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How folders are read."""

    max_file_mb: int = 200
    """larger files are skipped, and listed as such"""
    parse_timeout_s: float = 60.0
    """seconds that reading one file may take, and as many again for each 20 MB of it"""
    parse_memory_mb: int = 1024
    """megabytes of memory that reading one file may take, and 20 more for each of the file (Linux)"""
    include: tuple[str, ...] = ()
    """globs of the only paths to read; empty is all"""
    exclude: tuple[str, ...] = ()
    """globs of paths to leave out"""
    attributes: tuple[str, ...] = ()
    """rules that read attributes off paths, as in "{department}/{year:int}/**"; the first that gives a key wins"""
    watch_quiet_s: float = 1.0
    """seconds that a folder that is watched, and each file in it, must be quiet before it is read"""
    watch_poll_s: float | None = None
    """seconds between looks at every file of a folder that is watched; unset: only where the system tells nobody of
    changes, as on network drives (10)"""
    max_cost: float | None = None
    """money an ingest may spend on models, in the currency of the price; it ends before exceeding it"""

    def __post_init__(self) -> None:
        _require(self.parse_timeout_s > 0, "parse_timeout_s", self.parse_timeout_s, "a number above 0")
        _require(self.parse_memory_mb >= 64, "parse_memory_mb", self.parse_memory_mb, "a whole number from 64")
        _require(0 < self.watch_quiet_s < math.inf, "watch_quiet_s", self.watch_quiet_s, "a number above 0")
        poll_s = self.watch_poll_s
        _require(poll_s is None or 0.1 <= poll_s < math.inf, "watch_poll_s", poll_s, "a number from 0.1")
        _require(self.max_cost is None or 0 <= self.max_cost < math.inf, "max_cost", self.max_cost, "a number from 0")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How pages of the web are fetched."""

    private_networks: tuple[str, ...] = ()
    """networks and addresses that may be fetched although they are not public, as in 10.0.0.0/8"""
    hosts: tuple[str, ...] = ()
    """other hosts whose pages a sitemap may list"""
    max_urls: int = 10_000
    """pages that a sitemap, with those it names, may list"""
    max_page_mb: int = 20
    """larger pages are skipped, and listed as such"""
    timeout_s: float = 60.0
    """seconds that one page may take, to its last byte"""
    max_retries: int = 2
    """second tries after 429, 5xx, timeouts and broken connections"""
    concurrency: int = 8
    """pages fetched at once, at most"""
    per_host: int = 2
    """pages fetched at once from one host, at most"""
    proxy: str = field(default="", repr=False)
    """proxy to fetch through; those of the environment are not used"""
    contact: str = ""
    """mail or web address that hosts are told, for those who want to complain"""

    def __post_init__(self) -> None:
        for name in ("max_urls", "max_page_mb", "concurrency", "per_host"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "a whole number from 1")
        _require(self.timeout_s > 0, "timeout_s", self.timeout_s, "a number above 0")
        _require(0 <= self.max_retries <= 10, "max_retries", self.max_retries, "a whole number from 0 to 10")
        _require(self.contact.isprintable(), "contact", self.contact, "one line of text")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where the HTTP service listens."""

    host: str = "127.0.0.1"
    """address to bind; any other than loopback needs api_key"""
    port: int = 8000
    api_key: str = field(default="", repr=False)
    """clients must send it as a bearer token"""
    max_upload_mb: int = 200
    """larger uploads are refused"""


@dataclass(frozen=True, slots=True)
class SharedEndpoint:
    """``OPENAI_API_KEY`` and ``OPENAI_BASE_URL``: what every family falls back on. ``environ`` serves provider keys."""

    base_url: str = ""
    api_key: str = field(default="", repr=False)

    @property
    def is_set(self) -> bool:
        return bool(self.base_url or self.api_key)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a run, read once at the edge and passed down."""

    library: Path = Path(".footnote")
    """folder that holds the collections"""
    collection: str = "default"
    """collection used when a command names none"""
    chat: ChatOptions = ChatOptions()
    embeddings: EmbeddingsOptions = EmbeddingsOptions()
    moderation: ModerationOptions = ModerationOptions()
    vision: VisionOptions = VisionOptions()
    ocr: OcrOptions = OcrOptions()
    audio: AudioOptions = AudioOptions()
    rerank: RerankOptions = RerankOptions()
    chunking: ChunkingOptions = ChunkingOptions()
    retrieval: RetrievalOptions = RetrievalOptions()
    query: QueryOptions = QueryOptions()
    answer: AnswerOptions = AnswerOptions()
    ingest: IngestOptions = IngestOptions()
    web: WebOptions = WebOptions()
    server: ServerOptions = ServerOptions()
    shared: SharedEndpoint = SharedEndpoint()
    provider_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """keys found in the environment under the providers' own names, by variable name"""
    file: Path | None = None
    """the rag.toml that was read, if any"""


SECTIONS: Mapping[str, type] = {
    "chat": ChatOptions,
    "embeddings": EmbeddingsOptions,
    "moderation": ModerationOptions,
    "vision": VisionOptions,
    "ocr": OcrOptions,
    "audio": AudioOptions,
    "rerank": RerankOptions,
    "chunking": ChunkingOptions,
    "retrieval": RetrievalOptions,
    "query": QueryOptions,
    "answer": AnswerOptions,
    "ingest": IngestOptions,
    "web": WebOptions,
    "server": ServerOptions,
}
_TOP = ("library", "collection")


def environment_name(section: str, name: str) -> str:
    """Return the environment variable of a setting; the section is empty for the top level."""
    return "_".join(part for part in ("RAG", section, name) if part).upper()


def load_settings(
    environ: Environ, *, file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Read the settings.

    ``file`` must exist when given; without it ``rag.toml`` of the working folder is read if there is one. ``overrides``
    are flags, by dotted name (``"retrieval.k"``); None values are no override. Raises ConfigError naming key, value and
    wanted form.
    """
    path = _settings_file(environ, file)
    table = _read_toml(path) if path else {}
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    _refuse_unknown(table, flags, path)
    sections: dict[str, Any] = {
        name: _section(name, kind, table.get(name, {}), environ, flags) for name, kind in SECTIONS.items()
    }
    top = {name: _value(Settings, "", name, table, environ, flags) for name in _TOP}
    shared = SharedEndpoint(
        base_url=environ.get("OPENAI_BASE_URL", "").strip(), api_key=environ.get("OPENAI_API_KEY", "").strip()
    )
    keys = {name: value.strip() for name, value in environ.items() if name.endswith(_KEY_SUFFIXES) and value.strip()}
    known = {name: value for name, value in top.items() if value is not _UNSET}
    if "library" in known and path and "library" in table and known["library"] == Path(table["library"]):
        known["library"] = path.parent / known["library"]  # a path in a file is relative to that file
    return Settings(**known, **sections, shared=shared, provider_keys=keys, file=path)


_KEY_SUFFIXES = ("_API_KEY", "_API_PASSWORD")
_UNSET: Any = object()


def _settings_file(environ: Environ, file: Path | None) -> Path | None:
    named = file or (Path(environ["RAG_CONFIG"]) if environ.get("RAG_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"settings file {str(named)!r} does not exist; name an existing one or leave it out")
        return named
    default = Path("rag.toml")
    return default if default.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {str(path)!r} is not valid TOML: {error}; correct it") from error


def _refuse_unknown(table: Mapping[str, Any], flags: Mapping[str, Any], path: Path | None) -> None:
    known = {*_TOP, *(f"{name}.{item.name}" for name, kind in SECTIONS.items() for item in dataclasses.fields(kind))}
    given = set(flags)
    for key, value in table.items():
        if key in SECTIONS and isinstance(value, Mapping):
            given.update(f"{key}.{name}" for name in value)
        else:
            given.add(key)
    for key in sorted(given - known):
        close = difflib.get_close_matches(key, sorted(known), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
        raise ConfigError(f"unknown setting {key!r}{f' in {path}' if path else ''}{hint}")


def _section(section: str, kind: type[T], table: Mapping[str, Any], environ: Environ, flags: Mapping[str, Any]) -> T:
    names = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values = {name: _value(kind, section, name, table, environ, flags) for name in names}
    try:
        return kind(**{name: value for name, value in values.items() if value is not _UNSET})
    except ConfigError as error:
        raise ConfigError(f"[{section}] {error}") from error


def _value(
    kind: type, section: str, name: str, table: Mapping[str, Any], environ: Environ, flags: Mapping[str, Any]
) -> Any:
    wanted = get_type_hints(kind)[name]
    flag = f"{section}.{name}" if section else name
    variable = environment_name(section, name)
    if flag in flags:
        return _convert(flags[flag], wanted, flag)
    if environ.get(variable, "") != "":
        return _convert(environ[variable], wanted, variable)
    if name in table:
        return _convert(table[name], wanted, flag)
    return _UNSET


def _convert(value: Any, wanted: Any, key: str) -> Any:
    """Turn a flag, variable or TOML value into the wanted type, or say what is wrong with it."""
    if get_origin(wanted) in (typing.Union, types.UnionType):
        wanted = next(kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is Literal:
        _require(value in get_args(wanted), key, value, " or ".join(map(repr, get_args(wanted))))
        return value
    if get_origin(wanted) is tuple:
        return tuple(value.split(",")) if isinstance(value, str) else tuple(map(str, value))
    if wanted is Path:
        return Path(str(value)).expanduser()
    if wanted in (int, float):
        try:
            number = wanted(value)
        except (TypeError, ValueError):
            number = None
        form = "a whole number" if wanted is int else "a number"
        whole = number is not None and (isinstance(value, str) or number == value)
        _require(whole and not isinstance(value, bool), key, value, form)
        return number
    _require(isinstance(value, str), key, value, "text in quotes")
    return value.strip()
