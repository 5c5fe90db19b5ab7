"""Conversations as plain values: what is stored of an answer, and how threads and messages are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from api.events import answer_json
from index.thread_records import Finished, StoredTurn, Thread
from rag.answering.numbering import Passage, Version
from rag.types import Answer

__all__ = ["Message", "VersionState", "finished", "message_json", "messages_of", "thread_json"]

JSON = dict[str, Any]

VersionState = Literal["unchanged", "changed", "gone"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation: a question, or the answer to the question before it.

    ``position`` counts from 1 and leaves out the answers that were never given; ``turn`` counts the questions. ``at``
    is in Unix seconds. ``answer`` is the whole answer as JSON values (None for a question): that of ``POST /ask``, its
    sources without their text, and with a ``version`` at each source and citation: the collection, the document's id in
    it, its SHA-256, and as ``now`` whether it is unchanged, changed or gone since. ``state`` and ``reason`` say what
    became of a question.
    """

    position: int
    turn: int
    role: Literal["user", "assistant"]
    text: str
    state: str
    reason: str
    at: float
    answer: Mapping[str, Any] | None = None


def finished(answer: Answer, given: Mapping[int, Passage]) -> Finished:
    """Return an answer as it is stored; ``given`` is what its numbers name."""
    record = answer_json(answer)
    for source in record["sources"]:
        del source["text"], source["context"]  # the document has them, while it is the same
        source["version"] = _version_json(given, source["marker"])
    for citation in record["citations"]:
        citation["version"] = _version_json(given, citation["marker"])
    extents = {source.marker: (source.start, source.end) for source in answer.sources}
    passages = []
    for marker, passage in given.items():
        low, high = extents.get(marker, (0, 0))
        cited = [
            (one.start, one.end)
            for one in answer.citations
            if one.marker == marker and low <= one.start and one.end <= high
        ]
        passages.append(replace(passage, cited=tuple(dict.fromkeys((*passage.cited, *cited)))))
    return Finished(
        answer_id=answer.id,
        answer=answer.text,
        refusal=answer.refusal,
        unknown_markers=answer.unknown_markers,
        record=record,
        passages=tuple(passages),
    )


def messages_of(turn: StoredTurn, state_of: Callable[[Version], VersionState]) -> Iterator[Message]:
    """Yield the question of a turn, and its answer where there is one."""
    yield Message(2 * turn.turn - 1, turn.turn, "user", turn.question, turn.state, turn.reason, turn.asked_at)
    if turn.record is not None:
        record = dict(turn.record)
        for part in ("citations", "sources"):
            record[part] = [_with_state(entry, state_of) for entry in record[part]]
        yield Message(
            position=2 * turn.turn,
            turn=turn.turn,
            role="assistant",
            text=turn.answer or "",
            state=turn.state,
            reason="",
            at=turn.answered_at or turn.asked_at,
            answer=record,
        )


def thread_json(thread: Thread) -> JSON:
    return {
        "id": thread.id,
        "title": thread.title,
        "collections": list(thread.collections),
        "metadata": dict(thread.metadata),
        "created_at": thread.created_at,
        "updated_at": thread.updated_at,
        "n_turns": thread.n_turns,
    }


def message_json(message: Message) -> JSON:
    return {
        "position": message.position,
        "turn": message.turn,
        "role": message.role,
        "text": message.text,
        "state": message.state,
        "reason": message.reason,
        "at": message.at,
        "answer": None if message.answer is None else dict(message.answer),
    }


def _version_json(given: Mapping[int, Passage], marker: int) -> JSON | None:
    if (passage := given.get(marker)) is None:
        return None
    version = passage.version
    return {"collection": version.collection, "document": version.document, "sha256": version.sha256}


def _with_state(entry: Mapping[str, Any], state_of: Callable[[Version], VersionState]) -> JSON:
    if not (version := entry.get("version")):
        return dict(entry)
    state = state_of(Version(version["collection"], version["document"], version["sha256"]))
    return {**entry, "version": {**version, "now": state}}
