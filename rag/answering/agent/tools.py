"""What an agent may call: tools over the collections, and tools of the caller's own.

A tool is told the model's arguments after they have been checked, and how many tokens its result may have. What is
wrong with a call is a ToolError, whose message the model reads: it says what to do instead.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from rag.answering.agent.sources import Found
from rag.errors import ConfigError
from rag.types import Chunk, Document, Retrieval

__all__ = ["AgentTool", "Corpus", "Tool", "ToolError", "checked_arguments", "parsed_arguments", "schema_of"]


class ToolError(Exception):
    """A call that cannot be answered; the message is for the model."""


class Corpus(Protocol):
    """The documents that an agent may see, and no others: whatever the question was restricted to holds here too."""

    async def search(self, query: str, *, k: int, filter_text: str) -> Retrieval:
        """Return the best hits of the documents that match a filter, "" for all. Raises FilterError."""
        ...

    async def ids(self, *, glob: str, filter_text: str) -> Sequence[str]:
        """Return the ids of documents, in order: of those that fit a glob and a filter, each "" for all."""
        ...

    async def document(self, document_id: str) -> Document:
        """Return a document. Raises DocumentNotFoundError, also for one that may not be seen."""
        ...

    async def chunks(self, document_id: str) -> Sequence[Chunk]:
        """Return the chunks of a document in the order of its text; raises as ``document`` does."""
        ...


class AgentTool(Protocol):
    """A tool of this product. ``parameters`` is a JSON schema of an object, flat, of integers and strings."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    async def call(self, arguments: Mapping[str, Any], *, max_tokens: int) -> Found:
        """Return what the call brings, in at most about ``max_tokens``. Raises ToolError."""
        ...


@dataclass(frozen=True)
class Tool:
    """A tool of the caller's own: its schema as in OpenAI's API, and the function that it calls.

    The function gets the arguments as keywords and returns text, or a value that becomes JSON. What it returns is shown
    to the model as a numbered source; an exception is told to the model as the tool's failure. Raises ConfigError for a
    schema that is none.
    """

    schema: Mapping[str, Any]
    function: Callable[..., Awaitable[Any]] = field(repr=False)

    def __post_init__(self) -> None:
        name = self._function.get("name")
        if not (
            isinstance(name, str) and name and len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum()
        ):
            raise ConfigError(f"a tool needs a name of letters, digits, _ and -, 64 at most; found {name!r}")
        parameters = self._function.get("parameters", {})
        if not isinstance(parameters, Mapping):
            raise ConfigError(f"the parameters of tool {name!r} must be a JSON schema of an object")

    @property
    def _function(self) -> Mapping[str, Any]:
        if self.schema.get("type", "function") != "function":
            raise ConfigError(f"a tool must be of type 'function', found {self.schema.get('type')!r}")
        inner = self.schema.get("function", self.schema)
        return inner if isinstance(inner, Mapping) else {}

    @property
    def name(self) -> str:
        return str(self._function["name"])

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments that must be there."""
        return tuple(self._function.get("parameters", {}).get("required", ()))

    @property
    def wire_schema(self) -> dict[str, Any]:
        """The schema as a chat completion wants it."""
        inner = {key: value for key, value in self._function.items() if key != "type"}
        return {"type": "function", "function": {"parameters": {"type": "object", "properties": {}}, **inner}}


def schema_of(tool: AgentTool) -> dict[str, Any]:
    """Return a tool as a chat completion is told of it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def checked_arguments(written: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a model wrote, of the names, types and ranges of a flat schema. Raises ToolError.

    Arguments that are null are left out: models write them for what they do not mean to say.

    >>> checked_arguments('{"k": 3}', {"properties": {"k": {"type": "integer", "minimum": 1}}})
    {'k': 3}
    """
    arguments = parsed_arguments(written)
    properties: Mapping[str, Mapping[str, Any]] = parameters.get("properties", {})
    arguments = {name: value for name, value in arguments.items() if value is not None}
    unknown = [name for name in arguments if name not in properties]
    if unknown:
        raise ToolError(f"unknown argument {unknown[0]!r}; known: {', '.join(properties)}")
    for name in parameters.get("required", ()):
        if name not in arguments:
            raise ToolError(f"argument {name!r} is missing")
    return {name: _checked(name, value, properties[name]) for name, value in arguments.items()}


def parsed_arguments(written: str) -> dict[str, Any]:
    """Return the JSON object that a model wrote; nothing written is an empty one. Raises ToolError."""
    try:
        arguments = orjson.loads(written) if written.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ToolError(f"the arguments are no JSON ({error}); write one JSON object") from error
    if not isinstance(arguments, dict):
        raise ToolError("the arguments must be one JSON object")
    return arguments


def _checked(name: str, value: Any, schema: Mapping[str, Any]) -> Any:
    if schema["type"] == "integer":
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)  # some models quote their numbers
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ToolError(f"argument {name!r} must be a whole number, got {value!r:.60}")
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if not low <= value <= high:
            raise ToolError(f"argument {name!r} must be from {low} to {high}, got {value}")
        return value
    if not isinstance(value, str):
        raise ToolError(f"argument {name!r} must be a string, got {value!r:.60}")
    longest = schema.get("maxLength", math.inf)
    if not schema.get("minLength", 0) <= len(value) <= longest:
        raise ToolError(f"argument {name!r} must have {schema.get('minLength', 0)} to {longest} characters")
    return value
