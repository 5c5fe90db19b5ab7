"""The tools ``search`` and ``read``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rag.answering.agent.sources import Found, passage_of
from rag.answering.agent.tools import Corpus, ToolError
from rag.answering.context import pack
from rag.contracts import DocumentStore, Tokenizer
from rag.errors import DocumentNotFoundError, FilterError
from rag.types import Chunk, Document

__all__ = ["ReadTool", "SearchTool", "wanted_span"]

_MOST_HITS = 20
_ABOUT_A_RESULT = 60  # tokens of what is said before and below the sources, at most
_ABOUT_A_SOURCE = 50  # tokens of its heading and its tags


class SearchTool:
    """Finds passages by meaning and by words, as a question without an agent does."""

    name = "search"
    description = (
        "Find the passages of the documents that bear on a query, best first. Ask in the words the documents would "
        "use. Search again with other words, or for each part of a question by itself, where the first search does "
        "not answer it."
    )

    def __init__(self, corpus: Corpus, documents: DocumentStore, tokenizer: Tokenizer, *, k: int) -> None:
        """``k`` hits unless the model says."""
        self._corpus = corpus
        self._documents = documents
        self._tokenizer = tokenizer
        self._k = k
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 2000},
                "k": {"type": "integer", "minimum": 1, "maximum": _MOST_HITS, "description": f"hits; {k} if left out"},
                "filter": {
                    "type": "string",
                    "maxLength": 2000,
                    "description": "only documents that match, as in: path like 'reports/**' and year >= 2020",
                },
            },
            "required": ["query"],
        }

    async def call(self, arguments: Mapping[str, Any], *, max_tokens: int) -> Found:
        query = str(arguments["query"]).strip()
        if not query:
            raise ToolError("the query is empty")
        try:
            retrieval = await self._corpus.search(
                query, k=arguments.get("k", self._k), filter_text=arguments.get("filter", "")
            )
        except FilterError as error:
            raise ToolError(f"filter: {error}") from error
        hits = retrieval.hits
        sources = await asyncio.to_thread(
            pack, hits, documents=self._documents, tokenizer=self._tokenizer, budget_tokens=max_tokens - _ABOUT_A_RESULT
        )
        n_shown = sum(len(source.chunk_ids) for source in sources)
        documents = len({source.document_id for source in sources})
        summary = f"{n_shown} hits in {len(sources)} passages of {documents} documents" if sources else "no hits"
        about = [f"Nothing was found for {query!r}."] if not hits else []
        if n_shown < len(hits):
            left = f"{len(hits) - n_shown} of {len(hits)} hits are not shown: they do not fit {max_tokens} tokens."
            about.append(left)
            summary += f"; {len(hits) - n_shown} did not fit"
        if retrieval.nothing_allowed:
            about = ["No document matches the filter."]
            summary = "no document matches the filter"
        return Found(summary, sources, about=" ".join(about))


class ReadTool:
    """Reads a stretch of one document, by pages, lines or characters."""

    name = "read"
    description = (
        "Read a document, or a part of it, word for word: where a passage that was found breaks off, or begins too "
        "late. Say from where in one way only: page, line (both counted from 1) or start (a character, from 0). "
        "Without any it is read from its beginning. What does not fit is not shown, and you are told how to go on."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "document": {"type": "string", "minLength": 1, "description": "as it stands after `document:`"},
            "page": {"type": "integer", "minimum": 1},
            "last_page": {"type": "integer", "minimum": 1},
            "line": {"type": "integer", "minimum": 1},
            "last_line": {"type": "integer", "minimum": 1},
            "start": {"type": "integer", "minimum": 0},
            "end": {"type": "integer", "minimum": 1, "description": "the character before which to end"},
        },
        "required": ["document"],
    }

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer

    async def call(self, arguments: Mapping[str, Any], *, max_tokens: int) -> Found:
        name = str(arguments["document"])
        try:
            document, chunks = await asyncio.gather(self._corpus.document(name), self._corpus.chunks(name))
        except DocumentNotFoundError as error:
            raise ToolError(f"no document {name!r}; use an id that stands after `document:` in a result") from error
        return await asyncio.to_thread(self._read, name, document, chunks, arguments, max_tokens)

    def _read(
        self, name: str, document: Document, chunks: Sequence[Chunk], arguments: Mapping[str, Any], max_tokens: int
    ) -> Found:
        start, wanted_end = wanted_span(document, arguments)
        end = self._fitting(document.text, start, wanted_end, max_tokens - _ABOUT_A_RESULT - _ABOUT_A_SOURCE)
        if not document.text[start:end].strip():
            raise ToolError(f"there is no text from character {start} to {end} of {len(document.text)}")
        source = passage_of(name, document, chunks, start, end)
        about = f"Characters {start} to {end} of {len(document.text)} are shown."
        if end < wanted_end:
            about += f" The rest does not fit {max_tokens} tokens: read on with start={end}."
        return Found(f"characters {start} to {end} of {len(document.text)}", (source,), about=about)

    def _fitting(self, text: str, start: int, end: int, budget: int) -> int:
        """Return the last place that fits the budget: behind a line, or at least behind a word."""
        stretch = text[start : min(end, start + 16 * max(budget, 1))]  # no token of any vocabulary here is longer
        starts = self._tokenizer.starts(stretch)
        if len(starts) - 1 <= max(budget, 1) and start + len(stretch) >= end:
            return end
        cut = int(starts[min(max(budget, 1), len(starts) - 1)])
        for mark in ("\n", " "):
            behind = stretch.rfind(mark, cut // 2, cut) + 1
            if behind > 0:
                return start + behind
        return start + max(cut, 1)


def wanted_span(document: Document, arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Return the characters [start, end) that a call asks for. Raises ToolError where there are none."""
    ways = [
        way for way in (("page", "last_page"), ("line", "last_line"), ("start", "end")) if any(map(arguments.get, way))
    ]
    ways = ways or [("start", "end")]
    if len(ways) > 1:
        raise ToolError(f"say from where in one way only, not by {' and '.join(way[0] for way in ways)}")
    first_name, last_name = ways[0]
    first, last = arguments.get(first_name), arguments.get(last_name)
    n = len(document.text)
    if first_name == "start":
        start, end = first or 0, n if last is None else last
        if start >= n or end <= start:
            raise ToolError(f"the document has characters 0 to {n}, got start={start}, end={end}")
        return start, min(end, n)
    first = first or 1
    last = last if last is not None else (first if first_name == "page" else None)
    if last is not None and last < first:
        raise ToolError(f"{last_name}={last} lies before {first_name}={first}")
    edges = _page_edges(document) if first_name == "page" else _line_edges(document.text)
    count = len(edges) - 1
    if not count:
        raise ToolError("this document has no pages; read it by line or start")
    if first > count:
        raise ToolError(f"the document has {count} {first_name}s, got {first_name}={first}")
    return edges[first - 1], edges[min(last or count, count)]


def _page_edges(document: Document) -> list[int]:
    return [page.start for page in document.pages] + [len(document.text)] if document.pages else [0]


def _line_edges(text: str) -> list[int]:
    edges = [0]
    while (found := text.find("\n", edges[-1])) >= 0:
        edges.append(found + 1)
    return edges if edges[-1] == len(text) else [*edges, len(text)]
