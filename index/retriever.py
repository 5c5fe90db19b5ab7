"""Hybrid retrieval: vectors and keywords side by side, fused, confirmed against SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from index.collection import Collection
from index.fusion import fuse
from rag.contracts import Embedder, Tokenizer
from rag.errors import IndexMismatchError
from rag.filters import Filter
from rag.types import FloatArray, Hit, Retrieval

__all__ = ["VECTOR_WEIGHT", "HybridRetriever"]

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
        tokenizer: Tokenizer | None = None,
        filter_: Filter | None = None,
    ) -> None:
        """``candidates`` are taken from each leg, or ``k`` where that is more.

        With the embedder's ``tokenizer`` a query longer than the model reads is embedded in parts, whose mean is
        searched for; without, such a query is the embedder's to refuse. Only what ``filter_`` allows is searched.
        """
        if not 0 <= vector_weight <= 1:
            raise ValueError(f"vector_weight must be in [0, 1], got {vector_weight}")
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        self._collection = collection
        self._embedder = embedder
        self._vector_weight = vector_weight
        self._candidates = candidates
        self._keywords_only = keywords_only
        self._tokenizer = tokenizer
        self._filter = filter_

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits, best first, ties by chunk id. Raises EmbeddingError and CollectionError."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        timings: dict[str, float] = {}
        if said := await self.refused():
            return Retrieval((), (), timings, notes=(said,), nothing_allowed=True)  # no query is embedded for it
        vectors, floor, keywords = await self.candidates(query, k=k, timings=timings)
        with _timed(timings, "fuse"):
            hits = await asyncio.to_thread(self._fused, vectors, keywords, k, floor)
        legs = [name for name, leg in (("vectors", vectors), ("keywords", keywords)) if leg is not None]
        return Retrieval(hits, tuple(legs), timings)

    async def refused(self) -> str:
        """Return in words that the filter lets no document through; "" where there are some, or no filter."""
        allowed = await asyncio.to_thread(self._collection.allowed, self._filter)
        if self._filter is None or allowed is None or allowed.n_documents:
            return ""
        return f"no document matches the filter: 0 of {allowed.n_all_documents:,}"

    async def candidates(
        self, query: str, *, k: int, timings: dict[str, float] | None = None
    ) -> tuple[dict[int, float] | None, float, dict[int, float] | None]:
        """Return the best cosines by row, the cosine that says nothing, and the best BM25 scores; at least ``k`` each.

        None is a leg without a vote. ``timings`` gets how many milliseconds each stage took.
        """
        timings = {} if timings is None else timings
        n_candidates = max(self._candidates, k)
        (vectors, floor), keywords = await asyncio.gather(
            self._by_vector(query, n_candidates, timings), self._by_keywords(query, n_candidates, timings)
        )
        return vectors, floor, keywords

    async def _by_keywords(self, query: str, k: int, timings: dict[str, float]) -> dict[int, float] | None:
        with _timed(timings, "keyword_search"):
            hits = await asyncio.to_thread(self._collection.search_keywords, query, k=k, filter_=self._filter)
        return dict(hits) or None

    async def _by_vector(self, query: str, k: int, timings: dict[str, float]) -> tuple[dict[int, float] | None, float]:
        """Return the cosines by row, and the cosine that says nothing."""
        if self._keywords_only or not query.strip():
            return None, 0.0
        with _timed(timings, "embed_query"):
            vector = await self._embedded(query)
        if vector is None:
            return None, 0.0
        if vector.shape != (self._collection.config.dimensions,):
            raise IndexMismatchError(
                f"collection {self._collection.name!r} holds vectors of {self._collection.config.dimensions}"
                f" dimensions, the embedder makes {vector.size}; go back to {self._collection.config.model!r}, or run"
                " `rag ingest --rebuild`"
            )
        with _timed(timings, "vector_search"):
            hits = await asyncio.to_thread(self._collection.search_vectors, vector, k=k, filter_=self._filter)
            floor = await asyncio.to_thread(self._collection.cosine_floor, vector)
        return dict(hits) or None, floor

    async def _embedded(self, query: str) -> FloatArray | None:
        """Return the query's unit vector, None where the model cannot read it."""
        limits = self._embedder.profile.limits
        parts = [query]
        if self._tokenizer is not None and self._tokenizer.count(query) > limits.max_input_tokens:
            parts = _parts(query, self._tokenizer, max_tokens=limits.max_input_tokens)
        readable: list[FloatArray] = []
        for part in parts:
            embeddings = await self._embedder.embed([part], kind="query")
            readable.extend(embeddings.vectors[embeddings.readable])
        if not readable:
            return None
        mean = np.mean(readable, axis=0, dtype=np.float32)
        norm = float(np.linalg.norm(mean))
        return np.ascontiguousarray(mean / norm, np.float32) if norm > 0 else None

    def _fused(
        self, vectors: dict[int, float] | None, keywords: dict[int, float] | None, k: int, floor: float
    ) -> tuple[Hit, ...]:
        scores = fuse(vectors, keywords, vector_weight=self._vector_weight, cosine_floor=floor)
        names = self._collection.chunk_ids(list(scores))
        order = sorted(names, key=lambda row: (-scores[row], names[row]))
        hits: list[Hit] = []
        at = 0
        while len(hits) < k and at < len(order):
            rows = order[at : at + k - len(hits)]
            at += len(rows)
            chunks = self._collection.chunks(rows)
            hits.extend(
                Hit(
                    chunk=chunks[row],
                    score=scores[row],
                    vector_score=(vectors or {}).get(row),
                    keyword_score=(keywords or {}).get(row),
                )
                for row in rows
                if row in chunks  # a document may have been replaced since: the next best takes its place
            )
        return tuple(hits)


def _parts(query: str, tokenizer: Tokenizer, *, max_tokens: int) -> list[str]:
    """Return a long query in parts of equal token counts, each of at most three quarters of ``max_tokens``.

    The rest is for the tokens that a cut inside a word adds.
    """
    starts = tokenizer.starts(query)
    n_tokens = len(starts) - 1
    n_parts = -(-n_tokens * 4 // (max_tokens * 3))
    edges = [int(starts[n_tokens * n // n_parts]) for n in range(n_parts + 1)]
    return [part for start, end in pairwise(edges) if (part := query[start:end]).strip()]


@contextmanager
def _timed(timings: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] = (time.perf_counter() - started) * 1000
