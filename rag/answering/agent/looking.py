"""The tools ``list`` and ``grep``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import regex

from rag.answering.agent.sources import Found, passage_of
from rag.answering.agent.tools import Corpus, ToolError
from rag.contracts import Tokenizer
from rag.errors import DocumentNotFoundError, FilterError
from rag.types import Source

__all__ = ["GrepTool", "ListTool"]

_MOST_NAMES = 100
_MOST_LINES = 30
_SECONDS = 5.0  # that a pattern may take for all documents
_AROUND = 300  # characters of a line that are shown on either side of what fits, at most
_ABOUT_A_RESULT = 90  # tokens of what is said before and below, at most
_ABOUT_A_SOURCE = 50  # tokens of its heading and its tags

_GLOB: Mapping[str, Any] = {
    "type": "string",
    "maxLength": 500,
    "description": "only documents whose id fits, as in reports/**/*.pdf",
}


class ListTool:
    """Names documents, a page at a time."""

    name = "list"
    description = (
        "List the documents there are, by id. To go on after a page, say the last id as `after`. "
        "A name tells nothing about what a document says: read it, or search."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "glob": _GLOB,
            "filter": {"type": "string", "maxLength": 2000, "description": "only documents that match: year >= 2020"},
            "after": {"type": "string"},
            "limit": {"type": "integer", "minimum": 1, "maximum": _MOST_NAMES, "description": "50 if left out"},
        },
    }

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer

    async def call(self, arguments: Mapping[str, Any], *, max_tokens: int) -> Found:
        found = await _ids(self._corpus, arguments)
        left = [name for name in found if name > arguments.get("after", "")]
        names: list[str] = []
        room = max_tokens - _ABOUT_A_RESULT
        for name in left[: arguments.get("limit", 50)]:
            room -= self._tokenizer.count(name) + 1
            if room < 0:
                break
            names.append(name)
        about = f"{len(found)} documents fit, {len(names)} of them stand here."
        if len(names) < len(left):
            about += " Go on with the last id as `after`." if names else " Their names do not fit."
        return Found(f"{len(names)} of {len(found)} documents", names=tuple(names), about=about)


class GrepTool:
    """Finds lines by a pattern, where the exact letters matter."""

    name = "grep"
    description = (
        "Find the lines of documents that a regular expression fits (capitals matter, unless it begins with (?i)), in "
        "the order of the ids: for codes, names and numbers that must be met to the letter. It reads every document "
        "that the glob lets through, so narrow it; to find what a text is about, search."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"pattern": {"type": "string", "minLength": 1, "maxLength": 500}, "glob": _GLOB},
        "required": ["pattern"],
    }

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, *, timeout_s: float = _SECONDS) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._timeout_s = timeout_s

    async def call(self, arguments: Mapping[str, Any], *, max_tokens: int) -> Found:
        try:
            pattern = regex.compile(arguments["pattern"], regex.MULTILINE)
        except regex.error as error:
            raise ToolError(f"the pattern is no regular expression: {error}") from error
        names = await _ids(self._corpus, arguments)
        deadline = time.monotonic() + self._timeout_s
        passages: list[Source] = []
        room = max_tokens - _ABOUT_A_RESULT
        why, n_read = "", 0
        for name in names:
            try:
                document, chunks = await asyncio.gather(self._corpus.document(name), self._corpus.chunks(name))
                spans = await asyncio.to_thread(_lines, pattern, document.text, deadline - time.monotonic())
            except DocumentNotFoundError:  # removed since it was listed
                continue
            except TimeoutError:
                why = f"the {self._timeout_s:g} seconds are over"
                break
            for start, end in spans:
                room -= self._tokenizer.count(document.text[start:end]) + _ABOUT_A_SOURCE
                if room < 0 or len(passages) == _MOST_LINES:
                    why = "more do not fit"
                    break
                passages.append(passage_of(name, document, chunks, start, end))
            if why:
                break
            n_read += 1
        summary = f"{len(passages)} lines in {len({one.document_id for one in passages})} documents"
        about = f"{n_read} of {len(names)} documents were read to their end."
        if why:
            about += f" There may be more: {why}. Narrow the glob or the pattern."
            summary += f"; {why}"
        return Found(summary, tuple(passages), about=about if passages or why else f"Nothing fits. {about}")


async def _ids(corpus: Corpus, arguments: Mapping[str, Any]) -> Sequence[str]:
    try:
        return await corpus.ids(glob=arguments.get("glob", ""), filter_text=arguments.get("filter", ""))
    except FilterError as error:
        raise ToolError(f"filter: {error}") from error


def _lines(pattern: regex.Pattern[str], text: str, seconds: float) -> list[tuple[int, int]]:
    """Return the spans of the lines that a pattern fits, each once. Raises TimeoutError.

    ``concurrent`` lets others work meanwhile: a pattern comes from a model, and may be made to take for ever.
    """
    if seconds <= 0:
        raise TimeoutError
    spans: list[tuple[int, int]] = []
    for match in pattern.finditer(text, concurrent=True, timeout=seconds):
        start = max(text.rfind("\n", 0, match.start()) + 1, match.start() - _AROUND)
        end = text.find("\n", match.end())
        end = min(len(text) if end < 0 else end, match.start() + 2 * _AROUND)
        if text[start:end].strip() and not (spans and start < spans[-1][1]):
            spans.append((start, end))
            if len(spans) > _MOST_LINES:
                break
    return spans
