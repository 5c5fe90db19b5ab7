"""Hybrid retrieval: vectors and keywords side by side, fused, confirmed against SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from index.collection import Collection
from index.fusion import fuse
from rag.contracts import Embedder
from rag.errors import IndexMismatchError
from rag.types import Hit, Retrieval

__all__ = ["HybridRetriever"]

VECTOR_WEIGHT = 0.7
CANDIDATES = 100


class HybridRetriever:
    """Finds chunks by meaning and by words. Satisfies ``rag.contracts.Retriever``.

    The keyword search runs in a thread while the query is embedded. Where the embedder cannot read the query, or the
    query has no words, that leg has no vote. A failing embedder is an error; ``keywords_only`` does without one.
    """

    def __init__(
        self,
        collection: Collection,
        embedder: Embedder,
        *,
        vector_weight: float = VECTOR_WEIGHT,
        candidates: int = CANDIDATES,
        keywords_only: bool = False,
    ) -> None:
        """``candidates`` are taken from each leg, or ``k`` where that is more."""
        if not 0 <= vector_weight <= 1:
            raise ValueError(f"vector_weight must be in [0, 1], got {vector_weight}")
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self._collection = collection
        self._embedder = embedder
        self._vector_weight = vector_weight
        self._candidates = candidates
        self._keywords_only = keywords_only

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits, best first, ties by chunk id. Raises EmbeddingError and CollectionError."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        timings: dict[str, float] = {}
        n_candidates = max(self._candidates, k)
        (vectors, floor), keywords = await asyncio.gather(
            self._by_vector(query, n_candidates, timings), self._by_keywords(query, n_candidates, timings)
        )
        with _timed(timings, "fuse"):
            hits = await asyncio.to_thread(self._fused, vectors, keywords, k, floor)
        legs = [name for name, leg in (("vectors", vectors), ("keywords", keywords)) if leg is not None]
        return Retrieval(hits, tuple(legs), timings)

    async def _by_keywords(self, query: str, k: int, timings: dict[str, float]) -> dict[int, float] | None:
        with _timed(timings, "keyword_search"):
            hits = await asyncio.to_thread(self._collection.search_keywords, query, k=k)
        return dict(hits) or None

    async def _by_vector(self, query: str, k: int, timings: dict[str, float]) -> tuple[dict[int, float] | None, float]:
        """Return the cosines by row, and the cosine that says nothing."""
        if self._keywords_only or not query.strip():
            return None, 0.0
        with _timed(timings, "embed_query"):
            embeddings = await self._embedder.embed([query], kind="query")
        if not embeddings.readable[0]:
            return None, 0.0
        vector = np.ascontiguousarray(embeddings.vectors[0], np.float32)
        if vector.shape != (self._collection.config.dimensions,):
            raise IndexMismatchError(
                f"collection {self._collection.name!r} holds vectors of {self._collection.config.dimensions}"
                f" dimensions, the embedder makes {vector.size}; go back to {self._collection.config.model!r}, or run"
                " `rag ingest --rebuild`"
            )
        with _timed(timings, "vector_search"):
            hits = await asyncio.to_thread(self._collection.search_vectors, vector, k=k)
            floor = await asyncio.to_thread(self._collection.cosine_floor, vector)
        return dict(hits) or None, floor

    def _fused(
        self, vectors: dict[int, float] | None, keywords: dict[int, float] | None, k: int, floor: float
    ) -> tuple[Hit, ...]:
        scores = fuse(vectors, keywords, vector_weight=self._vector_weight, cosine_floor=floor)
        names = self._collection.chunk_ids(list(scores))
        order = sorted(names, key=lambda row: (-scores[row], names[row]))[:k]
        chunks = self._collection.chunks(order)
        return tuple(
            Hit(
                chunk=chunks[row],
                score=scores[row],
                vector_score=(vectors or {}).get(row),
                keyword_score=(keywords or {}).get(row),
            )
            for row in order
            if row in chunks  # a document may have been replaced since
        )


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - started) * 1000
