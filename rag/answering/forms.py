"""Answers in JSON: what a model is asked for, and what is read from its reply.

A value that has to follow a user's schema has no room for markers. So the model is asked for an object of two: the
``answer`` in the user's schema, and ``citations``, which say by JSON pointer (RFC 6901) which sources each value of it
rests on. Markers that it writes into texts all the same are taken out, and count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rag.answering.markers import find_markers
from rag.answering.schema_check import SchemaProblem, check_schema, problem_of
from rag.errors import AnswerFormatError

__all__ = ["Filled", "Form", "FormProblem", "Leaf", "form_of", "render_value"]

MAX_PROBLEM_CHARACTERS = 500


class FormProblem(Exception):
    """A reply is not in the form that was asked for; the message says what is wrong, for the model to read."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text, number, true or false of an answer: where it is, what it is, and at ``[start, end)`` of the JSON."""

    path: str
    value: str | int | float | bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Filled:
    """An answer, None where the sources do not answer, and the numbers of the sources by JSON pointer."""

    value: Any
    sources: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer. ``schema`` is the user's; any object where it is None."""

    schema: Mapping[str, Any] | None
    name: str = "answer"
    strict: bool | None = None

    def response_format(self) -> dict[str, Any]:
        """Return what the chat endpoint is asked for."""
        if self.schema is None:
            return {"type": "json_object"}
        return {
            "type": "json_schema",
            "json_schema": {
                "name": self.name,
                "schema": self._envelope(self.schema),
                **({} if self.strict is None else {"strict": self.strict}),
            },
        }

    def _envelope(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        inner = {key: value for key, value in _moved(schema).items() if key not in ("$defs", "definitions", "$schema")}
        cited = {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": "JSON pointer into answer, as /items/0/name"},
                "sources": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["path", "sources"],
            "additionalProperties": False,
        }
        whole: dict[str, Any] = {
            "type": "object",
            "properties": {
                "answer": {"anyOf": [inner, {"type": "null"}]},
                "citations": {"type": "array", "items": cited},
            },
            "required": ["answer", "citations"],
            "additionalProperties": False,
        }
        return whole | {key: _moved(schema[key]) for key in ("$defs", "definitions") if key in schema}

    def instructions(self, problem: str = "") -> str:
        """Return how to answer, as the prompt ends with it; ``problem`` is what was wrong with the first reply."""
        asked = (
            "any JSON object that answers the question"
            if self.schema is None
            else f"what follows this JSON schema: {json.dumps(self.schema, ensure_ascii=False)}"
        )
        again = f"\nYour first reply was not accepted: {problem[:MAX_PROBLEM_CHARACTERS]}" if problem else ""
        return (
            'Answer with one JSON object and nothing else. It has two members. "answer" is '
            f'{asked}. Its values hold no source numbers. "citations" is a list with an entry for every value in '
            '"answer" that is a text, a number, true or false: {"path": its JSON pointer in "answer", as in '
            '"/items/0/name", "sources": [the numbers of the sources it rests on]}. Write null or leave out, as the '
            'schema has it, what the sources do not say. If they answer nothing of the question, "answer" is null and '
            f'"citations" is [].{again}'
        )

    def read(self, reply: str) -> Filled:
        """Return what a reply holds. Raises FormProblem, and SchemaProblem where the schema cannot be applied."""
        try:
            found = json.loads(_bare(reply), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise FormProblem(f"it is not one JSON object ({error})") from error
        if not isinstance(found, dict) or "answer" not in found:
            raise FormProblem('it has no member "answer"')
        marked: dict[str, tuple[int, ...]] = {}
        value = _unmarked(found["answer"], "", marked)
        if value is not None:
            self._check(value)
        return Filled(value, _cited(found.get("citations"), marked))

    def _check(self, value: Any) -> None:
        if self.schema is None:
            if not isinstance(value, dict):
                raise FormProblem(f'"answer" is no object but {json.dumps(value)[:50]}')
        elif problem := problem_of(value, self.schema):
            raise FormProblem(f'"answer" breaks its schema at {problem}')


def form_of(response_format: Mapping[str, Any] | None) -> Form | None:
    """Return the form that a ``response_format`` of a chat completion asks for; None for text.

    Raises AnswerFormatError for what is none, or holds no JSON schema.
    """
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return Form(None)
    wanted = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(wanted, Mapping) or not isinstance(wanted.get("schema"), Mapping):
        raise AnswerFormatError(
            'response_format must be {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", '
            f'"json_schema": {{"name": …, "schema": …}}}}, got type {kind!r}'
        )
    try:
        check_schema(wanted["schema"])
        problem_of({}, wanted["schema"])  # a reference that leads nowhere is found before anything is paid for
    except SchemaProblem as error:
        raise AnswerFormatError(f"response_format holds no usable JSON schema: {error}; correct it") from error
    return Form(wanted["schema"], str(wanted.get("name") or "answer"), wanted.get("strict"))


def render_value(value: Any) -> tuple[str, list[Leaf]]:
    """Return a value as JSON on one line, and its leaves with their places in it; null and "" are none.

    >>> text, leaves = render_value({"a": ["x", 1]})
    >>> text, [(leaf.path, text[leaf.start : leaf.end]) for leaf in leaves]
    ('{"a": ["x", 1]}', [('/a/0', '"x"'), ('/a/1', '1')])
    """
    pieces: list[str] = []
    leaves: list[Leaf] = []
    length = 0
    for piece, path, leaf in _pieces(value, ""):
        if leaf is not None and leaf != "":
            leaves.append(Leaf(path, leaf, length, length + len(piece)))
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces), leaves


def _pieces(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        yield "{", path, None
        for place, (key, item) in enumerate(value.items()):
            yield (", " if place else "") + json.dumps(key, ensure_ascii=False) + ": ", path, None
            yield from _pieces(item, f"{path}/{_escaped(key)}")
        yield "}", path, None
    elif isinstance(value, list):
        yield "[", path, None
        for place, item in enumerate(value):
            if place:
                yield ", ", path, None
            yield from _pieces(item, f"{path}/{place}")
        yield "]", path, None
    else:
        yield json.dumps(value, ensure_ascii=False), path, value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _unmarked(value: Any, path: str, marked: dict[str, tuple[int, ...]]) -> Any:
    """Return a value without markers in its texts, and note under its pointer which there were."""
    if isinstance(value, dict):
        return {key: _unmarked(item, f"{path}/{_escaped(key)}", marked) for key, item in value.items()}
    if isinstance(value, list):
        return [_unmarked(item, f"{path}/{place}", marked) for place, item in enumerate(value)]
    if not isinstance(value, str) or not (markers := find_markers(value)):
        return value
    marked[path] = tuple(dict.fromkeys(number for marker in markers for number in marker.numbers))
    kept, end = "", 0
    for marker in markers:
        kept, end = kept + value[end : marker.start].rstrip(" "), marker.end
    return kept + value[end:]


def _cited(listed: Any, marked: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    cited: dict[str, tuple[int, ...]] = dict(marked)
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict) or not isinstance(path := entry.get("path"), str):
            continue
        path = path.removeprefix("#").removeprefix("/answer") if path.startswith(("#", "/answer/")) else path
        given = entry.get("sources")
        numbers = [n for n in given if type(n) is int] if isinstance(given, list) else []
        cited[path] = tuple(dict.fromkeys((*cited.get(path, ()), *numbers)))
    return cited


def _moved(schema: Any) -> Any:
    """Return a schema as it is below ``answer``: a reference to its root leads there, others are left as they are."""
    if isinstance(schema, Mapping):
        moved = {key: _moved(value) for key, value in schema.items()}
        reference = moved.get("$ref")
        if isinstance(reference, str) and reference.startswith("#") and not reference.startswith(_HOISTED):
            moved["$ref"] = "#/properties/answer/anyOf/0" + reference[1:]
        return moved
    return [_moved(item) for item in schema] if isinstance(schema, list) else schema


_HOISTED = ("#/$defs/", "#/definitions/")


def _bare(reply: str) -> str:
    """Return a reply without the fence of a code block around it."""
    text = reply.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
