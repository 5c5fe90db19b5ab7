"""Conversations as files: Markdown to read, JSON and JSON Lines to keep and to import again.

An exported conversation is one JSON object: ``format``, ``thread``, ``turns`` (each answer as it was given, quotes
included), ``numbers`` (what the numbers of its citations name) and ``taken`` (those a model made up). A line of JSON
Lines is such an object.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from api.thread_views import Message, VersionState, messages_of, thread_json
from index.thread_records import StoredTurn, Thread, TurnState, WholeThread
from rag.answering.numbering import Passage, Version
from rag.errors import ThreadError
from rag.types import Refusal

__all__ = ["FORMATS", "export_text", "imported"]

FORMATS = ("markdown", "json", "jsonl")
_FORMAT = "footnote-thread-1"
_ANSWER_PARTS = ("citations", "sources", "statements")
# What could be read as Markdown or HTML in a question, a title or a quote; an answer is Markdown itself.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")
_STATES: Mapping[str, str] = {
    "open": "is being answered",
    "failed": "failed",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted: the process that answered ended",
}

JSON = dict[str, Any]


def export_text(wholes: Sequence[WholeThread], format: str, state_of: Callable[[Version], VersionState]) -> str:
    """Return conversations in one of FORMATS, ending with a line feed. Raises ThreadError for another format."""
    if format not in FORMATS:
        raise ThreadError(f"a conversation is exported as {', '.join(FORMATS)}, not as {format!r}")
    if format == "json" and len(wholes) != 1:
        raise ThreadError(f"json holds one conversation, got {len(wholes)}; export them as jsonl")
    if format == "markdown":
        return "\n".join(line for whole in wholes for line in _markdown(whole, state_of)) + "\n"
    indent = 2 if format == "json" else None
    return "".join(f"{json.dumps(_whole_json(whole), ensure_ascii=True, indent=indent)}\n" for whole in wholes)


def imported(text: str) -> list[WholeThread]:
    """Return the conversations of an exported text. Raises ThreadError, which says where it is not one."""
    try:
        values = [json.loads(text)]
    except ValueError:
        values = []
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                try:
                    values.append(json.loads(line))
                except ValueError as error:
                    raise ThreadError(
                        f"line {number} is no JSON: {error}; import what `rag threads export` wrote"
                    ) from error
    if not values:
        raise ThreadError("there is no conversation in it; import what `rag threads export` wrote")
    return [_Reading(f"conversation {place}").whole(value) for place, value in enumerate(values, start=1)]


# --- Markdown


def _markdown(whole: WholeThread, state_of: Callable[[Version], VersionState]) -> Iterator[str]:
    thread = whole.thread
    yield f"# {_plain(thread.title) or 'Conversation'}"
    yield ""
    where = f", asked of {', '.join(thread.collections)}" if thread.collections else ""
    yield f"{thread.id}, {_day(thread.created_at)}{where}"
    for turn in whole.turns:
        for message in messages_of(turn, state_of):
            yield ""
            yield from _question_lines(message) if message.role == "user" else _answer_lines(message)


def _question_lines(message: Message) -> Iterator[str]:
    yield f"## {message.turn}. {_plain(' '.join(message.text.split()))}"
    if message.state != "answered":
        yield ""
        reason = f": {_plain(message.reason)}" if message.reason else ""
        yield f"*This question {_STATES[message.state]}{reason}.*"


def _answer_lines(message: Message) -> Iterator[str]:
    yield message.text.strip()
    seen: set[tuple[int, int, int]] = set()
    for citation in (message.answer or {}).get("citations", ()):
        key = (citation["marker"], citation["start"], citation["end"])
        if key in seen:
            continue
        seen.add(key)
        place = f", {_plain(citation['place'])}" if citation["place"] else ""
        now = (citation.get("version") or {}).get("now", "")
        said = {"changed": " (the document has changed since)", "gone": " (the document is gone)"}.get(now, "")
        verdict = "" if citation["verdict"] == "supported" else f" – {citation['verdict']}"
        yield ""
        yield f"\\[{citation['marker']}\\] {_plain(citation['document'])}{place}{said}{verdict}"
        yield "> " + _plain(" ".join(citation["quote"].split()))


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


# --- JSON


def _whole_json(whole: WholeThread) -> JSON:
    thread = thread_json(whole.thread)
    del thread["n_turns"]
    return {
        "format": _FORMAT,
        "thread": thread,
        "turns": [_turn_json(turn) for turn in whole.turns],
        "numbers": [
            {
                "marker": passage.marker,
                "collection": passage.version.collection,
                "document": passage.version.document,
                "sha256": passage.version.sha256,
                "start": passage.start,
                "end": passage.end,
                "cited": [list(span) for span in passage.cited],
            }
            for passage in whole.passages
        ],
        "taken": sorted(whole.taken),
    }


def _turn_json(turn: StoredTurn) -> JSON:
    return {
        "turn": turn.turn,
        "question": turn.question,
        "asked_at": turn.asked_at,
        "state": "interrupted" if turn.state == "open" else turn.state,
        "reason": turn.reason,
        "answer": None if turn.record is None else dict(turn.record),
        "answered_at": turn.answered_at,
    }


class _Reading:
    """Reads one exported conversation, and knows for its errors where it is."""

    def __init__(self, where: str) -> None:
        self._where = where

    def whole(self, value: object) -> WholeThread:
        top = self._object(value, "it")
        if top.get("format") != _FORMAT:
            raise self._wrong("format", f"{_FORMAT!r}", top.get("format"))
        thread = self._object(top.get("thread"), "thread")
        turns = [self._turn(one, f"turns[{n}]") for n, one in enumerate(self._list(top, "turns", "turns"))]
        if [turn.turn for turn in turns] != sorted({turn.turn for turn in turns}):
            raise self._wrong("turns", "in order, each number once", [turn.turn for turn in turns][:20])
        numbers = enumerate(self._list(top, "numbers", "numbers"))
        passages = [self._passage(one, f"numbers[{n}]") for n, one in numbers]
        taken = frozenset(self._whole_numbers(self._list(top, "taken", "taken"), "taken"))
        markers = [passage.marker for passage in passages]
        if len(set(markers)) != len(markers) or taken & set(markers):
            raise self._wrong("numbers", "each marker once", sorted(markers)[:20])
        return WholeThread(self._thread(thread), tuple(turns), tuple(passages), taken)

    def _thread(self, thread: Mapping[str, Any]) -> Thread:
        identity = self._text(thread, "id", "thread")
        if not re.fullmatch(r"thread-[0-9a-f]{32}", identity):
            raise self._wrong("thread.id", "'thread-' and 32 digits of hexadecimal", identity)
        collections = self._list(thread, "collections", "thread.collections")
        if not all(isinstance(name, str) for name in collections):
            raise self._wrong("thread.collections", "a list of names", collections)
        return Thread(
            identity,
            self._text(thread, "title", "thread"),
            tuple(collections),
            self._object(thread.get("metadata"), "thread.metadata"),
            self._number(thread, "created_at", "thread"),
            self._number(thread, "updated_at", "thread"),
        )

    def _turn(self, value: object, at: str) -> StoredTurn:
        turn = self._object(value, at)
        state = self._text(turn, "state", at)
        if state not in get_args(TurnState) or state == "open":
            raise self._wrong(f"{at}.state", "answered, failed, cancelled or interrupted", state)
        record = turn.get("answer")
        if (record is not None) != (state == "answered"):
            raise self._wrong(f"{at}.answer", "there where the state is answered, and only there", state)
        asked = StoredTurn(
            turn=self._natural(turn, "turn", at),
            question=self._text(turn, "question", at),
            asked_at=self._number(turn, "asked_at", at),
            state=state,  # type: ignore[arg-type]  # checked above
            reason=self._text(turn, "reason", at),
        )
        return asked if record is None else self._answered(asked, turn, self._object(record, f"{at}.answer"), at)

    def _answered(self, asked: StoredTurn, turn: Mapping[str, Any], record: Mapping[str, Any], at: str) -> StoredTurn:
        at_answer = f"{at}.answer"
        for part in _ANSWER_PARTS:
            for n, one in enumerate(self._list(record, part, f"{at_answer}.{part}")):
                self._object(one, f"{at_answer}.{part}[{n}]")
        for n, one in enumerate(record["citations"]):
            self._citation(one, f"{at_answer}.citations[{n}]")
        refusal = record.get("refusal")
        if refusal not in (None, *get_args(Refusal)):
            raise self._wrong(f"{at_answer}.refusal", "null, " + " or ".join(map(repr, get_args(Refusal))), refusal)
        unknown = self._list(record, "unknown_markers", f"{at_answer}.unknown_markers")
        return StoredTurn(
            asked.turn,
            asked.question,
            asked.asked_at,
            asked.state,
            answer_id=self._word(record, "id", at_answer),
            answer=self._text(record, "text", at_answer),
            refusal=refusal,
            unknown_markers=tuple(self._whole_numbers(unknown, f"{at_answer}.unknown_markers")),
            record=record,
            answered_at=self._number(turn, "answered_at", at),
        )

    def _citation(self, citation: Mapping[str, Any], at: str) -> None:
        for name in ("document", "place", "quote", "verdict"):
            self._text(citation, name, at)
        for name in ("marker", "start", "end", "answer_start", "answer_end"):
            self._natural(citation, name, at)
        if citation.get("version") is not None:
            for name in ("collection", "document", "sha256"):
                self._text(self._object(citation["version"], f"{at}.version"), name, f"{at}.version")

    def _passage(self, value: object, at: str) -> Passage:
        number = self._object(value, at)
        spans = []
        for n, span in enumerate(self._list(number, "cited", f"{at}.cited")):
            if not isinstance(span, list) or len(span) != 2:
                raise self._wrong(f"{at}.cited[{n}]", "[start, end]", span)
            start, end = self._whole_numbers(span, f"{at}.cited[{n}]")
            spans.append((start, end))
        version = Version(
            self._word(number, "collection", at), self._text(number, "document", at), self._word(number, "sha256", at)
        )
        start, end = (self._natural(number, name, at) for name in ("start", "end"))
        return Passage(self._natural(number, "marker", at), version, start, end, tuple(spans))

    # --- values

    def _object(self, value: object, at: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(at, "an object", value)
        return value

    def _list(self, owner: Mapping[str, Any], name: str, at: str) -> list[Any]:
        value = owner.get(name)
        if not isinstance(value, list):
            raise self._wrong(at, "a list", value)
        return value

    def _text(self, owner: Mapping[str, Any], name: str, at: str) -> str:
        value = owner.get(name)
        if not isinstance(value, str):
            raise self._wrong(f"{at}.{name}", "a text", value)
        return value

    def _word(self, owner: Mapping[str, Any], name: str, at: str) -> str:
        """Return a text that is no text of a document, and so is Unicode."""
        value = self._text(owner, name, at)
        if not value.isprintable():  # which lone surrogates are not
            raise self._wrong(f"{at}.{name}", "one line of text", value)
        return value

    def _number(self, owner: Mapping[str, Any], name: str, at: str) -> float:
        value = owner.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(f"{at}.{name}", "a time in Unix seconds", value)
        return float(value)

    def _natural(self, owner: Mapping[str, Any], name: str, at: str) -> int:
        return next(iter(self._whole_numbers([owner.get(name)], f"{at}.{name}")))

    def _whole_numbers(self, values: Iterable[object], at: str) -> list[int]:
        found: list[int] = []
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
                raise self._wrong(at, "whole numbers from 0", value)
            found.append(value)
        return found

    def _wrong(self, at: str, wanted: str, found: object) -> ThreadError:
        shown = repr(found)[:60]
        return ThreadError(
            f"{self._where} cannot be imported: {at} must be {wanted}, found {shown}; nothing was stored"
        )
