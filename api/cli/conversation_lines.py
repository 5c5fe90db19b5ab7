"""Stored conversations as plain lines, for ``rag threads`` and ``rag chat``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from api.cli.output import shown, where
from api.thread_views import Message
from index.thread_records import Thread
from rag.errors import ThreadError

__all__ = ["export_format", "message_lines", "short_id", "stored_source_lines", "thread_line", "write_new"]

_NOW = {"changed": " (the document has changed since)", "gone": " (the document is gone)"}
_STATES = {
    "open": "is being answered",
    "failed": "failed",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted: the process that answered ended",
}


def short_id(thread: Thread) -> str:
    """Return the beginning of an id, which is enough to name it."""
    return thread.id.removeprefix("thread-")[:8]


def thread_line(thread: Thread) -> str:
    """Return a conversation on one line: the beginning of its id, when it changed, how many questions, its title."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(thread.updated_at))
    asked_of = f"  [{', '.join(thread.collections)}]" if thread.collections else ""
    n = thread.n_turns
    return f"{short_id(thread)}  {day}  {n} question{'s' * (n != 1)}  {thread.title or '(no title)'}{asked_of}"


def message_lines(message: Message) -> Iterable[str]:
    """Yield a message: a question behind ``>``, an answer with its footnotes under it."""
    if message.role == "user":
        yield "\n".join(f"> {line}" for line in message.text.splitlines() or [""])
        if message.state != "answered":
            yield f"(this question {_STATES[message.state]}{f': {message.reason}' if message.reason else ''})"
        yield ""
        return
    yield message.text
    footnotes = list(dict.fromkeys(_footnote(citation) for citation in (message.answer or {})["citations"]))
    if footnotes:
        yield ""
        yield from footnotes
    yield ""


def stored_source_lines(answer: Mapping[str, Any]) -> Iterable[str]:
    """Yield the passages a stored answer was written from; their text is in the documents."""
    for source in answer["sources"]:
        span = f"characters {source['start']}-{source['end']}"
        yield f"[{source['marker']}] {where(source['document'], source['place'])}, {span}{_now(source)}"


def export_format(path: Path) -> str:
    """Return the format that the name of a file asks for.

    >>> export_format(Path("a.jsonl")), export_format(Path("a.md"))
    ('jsonl', 'markdown')
    """
    return {".json": "json", ".jsonl": "jsonl"}.get(path.suffix.lower(), "markdown")


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises ThreadError."""
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError as error:
        raise ThreadError(f"{path} is there already; choose another name, or delete it") from error
    except OSError as error:
        raise ThreadError(f"cannot write {path}: {error}") from error


def _footnote(citation: Mapping[str, Any]) -> str:
    verdict = "" if citation["verdict"] == "supported" else f" – {citation['verdict']}"
    place = where(citation["document"], citation["place"])
    return f"[{citation['marker']}] {place}: “{shown(citation['quote'])}”{_now(citation)}{verdict}"


def _now(entry: Mapping[str, Any]) -> str:
    return _NOW.get((entry.get("version") or {}).get("now", ""), "")
