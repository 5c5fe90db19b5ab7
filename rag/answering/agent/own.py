"""Calls of the caller's own tools: what they return, and which calls look like a document's orders."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from rag.answering.agent.sources import Found
from rag.answering.agent.tools import Tool, ToolError
from rag.answering.injection import suspicion_of
from rag.answering.numerals import fold
from rag.contracts import Tokenizer
from rag.types import Source

__all__ = ["call_own", "ordered_by"]

_LOG = logging.getLogger(__name__)
_ABOUT_A_RESULT = 120  # tokens of what is said around it, at most
_RUN = 4  # words in a row that are not met by chance
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_ADDRESS = re.compile(r"\S*(?:://|@|www\.)\S+|\S{16,}")


def ordered_by(tool: str, arguments: Mapping[str, Any], sources: Sequence[Source], question: str) -> Source | None:
    """Return a source that addresses a model and that this call seems to obey; None where there is none.

    That is one which names the tool, or from which the arguments have an address, a long word, or four words in a row
    that the question has not. A call that puts such orders in words of its own is not seen.
    """
    asked = fold(question).casefold()
    for source in sources:
        if not suspicion_of(source.text).is_flagged:
            continue
        text = fold(source.text).casefold()
        if tool.casefold() in text and tool.casefold() not in asked:
            return source
        for value in _strings(arguments):
            given = fold(value).casefold()
            if any(one in text and one not in asked for one in _ADDRESS.findall(given)):
                return source
            if _runs(given) & _runs(text) - _runs(asked):
                return source
    return None


async def call_own(
    tool: Tool, arguments: Mapping[str, Any], *, number: int, tokenizer: Tokenizer, max_tokens: int
) -> Found:
    """Return what a tool of the caller's returned, as a source of its own; ``number`` is that of the step.

    Raises ToolError where it fails, and where arguments that its schema requires are missing.
    """
    for name in tool.required:
        if name not in arguments:
            raise ToolError(f"argument {name!r} is missing")
    try:
        returned = await tool.function(**arguments)
        text = returned if isinstance(returned, str) else orjson.dumps(returned).decode()
    except Exception as error:  # whatever the caller's function raises is the answer to this call, not to the question
        _LOG.warning("tool %s failed", tool.name, exc_info=True)
        raise ToolError(f"{tool.name} failed: {type(error).__name__}: {error}") from error
    if not text.strip():
        return Found("nothing", about=f"{tool.name} returned nothing.")
    starts = tokenizer.starts(text)
    room = max(max_tokens - _ABOUT_A_RESULT, 1)
    shown = text if len(starts) - 1 <= room else text[: int(starts[room])]
    about = "" if shown == text else f"Only the first {len(shown)} of {len(text)} characters of the result are shown."
    name = f"tool:{tool.name}#{number}"
    source = Source(
        marker=0,
        document_id=name,
        title=f"result of {tool.name}",
        start=0,
        end=len(shown),
        text=shown,
        page=None,
        headings=(),
        score=0.0,
        chunk_ids=("",),
        chunk_starts=(0,),
    )
    return Found(f"{len(text)} characters" + (f", {len(shown)} shown" if about else ""), (source,), about=about)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text)
    return {tuple(words[place : place + _RUN]) for place in range(len(words) - _RUN + 1)}
