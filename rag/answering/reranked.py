"""A retriever whose first hits a reranker puts in order; where it cannot in time, the hits stay as they were found."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from rag.contracts import Reranker, Retriever
from rag.errors import RerankError
from rag.types import Chunk, Hit, Retrieval

__all__ = ["RerankedRetriever"]

_LOG = logging.getLogger(__name__)


class RerankedRetriever:
    """Satisfies ``rag.contracts.Retriever``, over another one.

    ``candidates`` hits are judged, fewer where they hold more than ``max_tokens`` together; what was not judged ranks
    after what was. A reranker that fails, or takes more than ``timeout_s`` seconds, costs the order and not the answer:
    the retrieval then says so in its notes.
    """

    def __init__(
        self, retriever: Retriever, reranker: Reranker, *, candidates: int, max_tokens: int, timeout_s: float
    ) -> None:
        if candidates < 1 or max_tokens < 1 or timeout_s <= 0:
            raise ValueError("candidates and max_tokens must be at least 1, timeout_s above 0")
        self._retriever = retriever
        self._reranker = reranker
        self._candidates = candidates
        self._max_tokens = max_tokens
        self._timeout_s = timeout_s

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits, best first by the reranker, ties as they were found."""
        found = await self._retriever.retrieve(query, k=max(k, self._candidates))
        judged = self._affordable(found.hits[: self._candidates])
        if len(judged) < 2:
            return replace(found, hits=found.hits[:k])
        started = time.perf_counter()
        note = ""
        scores: list[float] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                scores = await self._reranker.rerank(query, [_text(hit.chunk) for hit in judged])
        except TimeoutError:
            note = (
                f"not reranked: {self._reranker.model} did not answer within {self._timeout_s:g} s (rerank.timeout_s)"
            )
        except RerankError as error:
            note = f"not reranked: {error}"
        timings = {**found.timings_ms, "rerank": (time.perf_counter() - started) * 1000}
        if note:
            _LOG.warning(note)
            return replace(found, hits=found.hits[:k], timings_ms=timings, notes=(*found.notes, note))
        hits = _ordered(judged, scores, rest=found.hits[len(judged) :])
        return replace(found, hits=tuple(hits[:k]), timings_ms=timings, reranker=self._reranker.model)

    def _affordable(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        left = self._max_tokens
        for place, hit in enumerate(hits):
            left -= hit.chunk.n_tokens
            if left < 0:
                return hits[:place]
        return hits


def _ordered(judged: Sequence[Hit], scores: Sequence[float], *, rest: Sequence[Hit]) -> list[Hit]:
    """Return the judged hits by their new scores, then the rest, none of which scores more than the last of those."""
    best_first = sorted(zip(judged, scores, strict=True), key=lambda pair: -pair[1])  # sorting keeps the order of ties
    hits = [replace(hit, score=score, rerank_score=score) for hit, score in best_first]
    last = hits[-1].score
    return hits + [replace(hit, score=min(hit.score, last)) for hit in rest]


def _text(chunk: Chunk) -> str:
    """Return what is judged: the chunk under the titles above it, without which many a passage cannot be understood."""
    return f"{' > '.join(chunk.headings)}\n{chunk.text}" if chunk.headings else chunk.text
