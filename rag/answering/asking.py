"""Retrieval for a question in its conversation: with the plain query, or with those a chat model writes for it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.answering.queries import QueriesError, QueryWriter, WantedQueries
from rag.answering.question import reads_chinese, retrieval_query
from rag.contracts import Retriever
from rag.types import Hit, Retrieval, Turn

__all__ = ["Asking", "merged"]

_LATIN = re.compile("[A-Za-z]{2}")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asking:
    """How the queries of a question come about: who writes them, and which are wanted.

    ``languages`` are those of the documents, "en" and "zh": a question in none of them is asked in the first, too.
    """

    writer: QueryWriter
    rewrite: Literal["auto", "off", "always"] = "auto"
    alternatives: int = 0
    hyde: bool = False
    translate: bool = True
    languages: tuple[str, ...] = ()

    def wanted(self, question: str, history: Sequence[Turn]) -> WantedQueries:
        """Return what is to be written; a question without a conversation is never rewritten."""
        leans = retrieval_query(question, history) != question
        spoken = any(turn.role == "user" and turn.text.strip() for turn in history)
        rewrite = leans if self.rewrite == "auto" else spoken and self.rewrite == "always"
        return WantedQueries(rewrite, self.alternatives, self._translation(question), self.hyde)

    def _translation(self, question: str) -> Literal["", "en", "zh"]:
        own = "zh" if reads_chinese(question) else "en" if _LATIN.search(question) else ""
        if not self.translate or not own or not self.languages or own in self.languages:
            return ""
        return "en" if self.languages[0] == "en" else "zh"

    async def retrieve(self, retriever: Retriever, question: str, history: Sequence[Turn], *, k: int) -> Retrieval:
        """Return the hits of all queries together, at most ``k``.

        The plain query is searched while the others are written. It is not used where the question was rewritten, and
        alone where nothing could be written; then the notes say so. Raises what the retriever raises.
        """
        plain_query = retrieval_query(question, history)
        wanted = self.wanted(question, history)
        if not wanted:
            return replace(await retriever.retrieve(plain_query, k=k), queries=(plain_query,))
        plain = asyncio.create_task(retriever.retrieve(plain_query, k=k))
        try:
            started = time.perf_counter()
            try:
                written = await self.writer.write(question, history, wanted)
            except QueriesError as error:
                note = f"asked with the plain query: {error}"
                _LOG.warning(note)
                found = await plain
                return replace(found, queries=(plain_query,), notes=(*found.notes, note), usage=error.usage)
            took = {"write_queries": (time.perf_counter() - started) * 1000}
            first = written.question or plain_query
            queries = tuple(dict.fromkeys((first, *written.others)))
            asked = [plain if query == plain_query else retriever.retrieve(query, k=k) for query in queries]
            found = merged(await asyncio.gather(*asked), k=k)
            return replace(found, queries=queries, usage=written.usage, timings_ms={**found.timings_ms, **took})
        finally:
            plain.cancel()  # not needed where the question was rewritten; nothing where it is done
            await asyncio.gather(plain, return_exceptions=True)  # what was needed of it has been awaited above


def merged(retrievals: Sequence[Retrieval], *, k: int) -> Retrieval:
    """Return the hits of several queries as one list of at most ``k``.

    A chunk has the best score and relevance that any query gave it: as those of one query are in [0, 1], so are these,
    and a query that misses takes nothing from one that finds. Equal scores come by chunk id. Times are those of the
    slowest.
    """
    best: dict[tuple[str, str], Hit] = {}  # collections may share chunk ids, not document ids
    for retrieval in retrievals:
        for hit in retrieval.hits:
            key = (hit.chunk.id, hit.chunk.document_id)
            known = best.get(key)
            if known is None or hit.score > known.score:
                best[key] = hit if known is None else replace(hit, relevance=_larger(hit, known))
            else:
                best[key] = replace(known, relevance=_larger(hit, known))
    timings: dict[str, float] = {}
    for retrieval in retrievals:
        for stage, took in retrieval.timings_ms.items():
            timings[stage] = max(took, timings.get(stage, 0.0))
    return Retrieval(
        hits=tuple(sorted(best.values(), key=lambda hit: (-hit.score, hit.chunk.id, hit.chunk.document_id))[:k]),
        legs=tuple(dict.fromkeys(leg for retrieval in retrievals for leg in retrieval.legs)),
        timings_ms=timings,
        reranker=next((retrieval.reranker for retrieval in retrievals if retrieval.reranker), ""),
        notes=tuple(dict.fromkeys(note for retrieval in retrievals for note in retrieval.notes)),
        nothing_allowed=all(retrieval.nothing_allowed for retrieval in retrievals),
    )


def _larger(one: Hit, other: Hit) -> float | None:
    return max((hit.relevance for hit in (one, other) if hit.relevance is not None), default=None)
