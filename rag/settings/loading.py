"""All settings of a run, and how they are read: the only reader of the environment and of ``rag.toml``."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from rag.errors import ConfigError
from rag.settings.agent import AgentOptions
from rag.settings.answers import AnswerOptions
from rag.settings.checks import require
from rag.settings.models import (
    AudioOptions,
    ChatOptions,
    EmbeddingsOptions,
    ModerationOptions,
    OcrOptions,
    RerankOptions,
    VisionOptions,
)
from rag.settings.observe import ObserveOptions
from rag.settings.options import (
    ChunkingOptions,
    IngestOptions,
    QueryOptions,
    RetrievalOptions,
    ServerOptions,
    WebOptions,
)

__all__ = ["SECTIONS", "Settings", "SharedEndpoint", "environment_name", "load_settings", "section_of"]

Environ = Mapping[str, str]
T = TypeVar("T")


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
    chat: ChatOptions = field(default_factory=ChatOptions)
    embeddings: EmbeddingsOptions = field(default_factory=EmbeddingsOptions)
    moderation: ModerationOptions = field(default_factory=ModerationOptions)
    vision: VisionOptions = field(default_factory=VisionOptions)
    ocr: OcrOptions = field(default_factory=OcrOptions)
    audio: AudioOptions = field(default_factory=AudioOptions)
    rerank: RerankOptions = field(default_factory=RerankOptions)
    chunking: ChunkingOptions = field(default_factory=ChunkingOptions)
    retrieval: RetrievalOptions = field(default_factory=RetrievalOptions)
    query: QueryOptions = field(default_factory=QueryOptions)
    answer: AnswerOptions = field(default_factory=AnswerOptions)
    agent: AgentOptions = field(default_factory=AgentOptions)
    ingest: IngestOptions = field(default_factory=IngestOptions)
    web: WebOptions = field(default_factory=WebOptions)
    server: ServerOptions = field(default_factory=ServerOptions)
    observe: ObserveOptions = field(default_factory=ObserveOptions)
    shared: SharedEndpoint = field(default_factory=SharedEndpoint)
    provider_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """keys found in the environment under the providers' own names, by variable name"""
    file: Path | None = None
    """the rag.toml that was read, if any"""
    flags: frozenset[str] = frozenset()
    """dotted names of what was said with the command, or to ``Footnote.open``: a collection's own settings yield"""


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
    "agent": AgentOptions,
    "ingest": IngestOptions,
    "web": WebOptions,
    "server": ServerOptions,
    "observe": ObserveOptions,
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
    return Settings(**known, **sections, shared=shared, provider_keys=keys, file=path, flags=frozenset(flags))


def section_of(section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of one section, by their names in it, each in its type. Raises ConfigError as reading them does.

    >>> section_of("answer", {"temperature": "0", "stop": "a,b"})
    {'temperature': 0.0, 'stop': ('a', 'b')}
    """
    kind = SECTIONS[section]
    _refuse_unknown({}, {f"{section}.{name}": value for name, value in given.items()}, None)
    hints = get_type_hints(kind)
    values = {name: _convert(value, hints[name], f"{section}.{name}") for name, value in given.items()}
    _made(section, kind, values)
    return values


def _made(section: str, kind: type[T], values: Mapping[str, Any]) -> T:
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"[{section}] {error}") from error


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
    return _made(section, kind, {name: value for name, value in values.items() if value is not _UNSET})


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
        require(value in get_args(wanted), key, value, " or ".join(map(repr, get_args(wanted))))
        return value
    if get_origin(wanted) is tuple:
        return tuple(value.split(",")) if isinstance(value, str) else tuple(map(str, value))
    if get_origin(wanted) is Mapping:
        return _table(value, get_args(wanted)[1], key)
    if wanted is bool:
        answer = value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
        require(answer is not None, key, value, "true or false")
        return answer
    if wanted is Path:
        return Path(str(value)).expanduser()
    if wanted in (int, float):
        try:
            number = wanted(value)
        except (TypeError, ValueError):
            number = None
        form = "a whole number" if wanted is int else "a number"
        whole = number is not None and (isinstance(value, str) or number == value)
        require(whole and not isinstance(value, bool), key, value, form)
        return number
    require(isinstance(value, str), key, value, "text in quotes")
    return value.strip()


_BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


def _table(value: Any, of: Any, key: str) -> dict[str, Any]:
    """Return a table, which a flag or variable writes as JSON, with its values in their type."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    require(isinstance(value, Mapping), key, value, "a table, or a JSON object in a flag or variable")
    return {str(name): item if of is Any else _convert(item, of, f"{key}.{name}") for name, item in value.items()}
