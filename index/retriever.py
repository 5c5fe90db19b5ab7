"""Hybrid retrieval: vectors and keywords side by side, fused, confirmed against SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from index.collection import Collection
from index.fusion import fuse
from index.phrases import Held, Wanted, held_by, wanted_exactly
from index.picking import Picking, pick
from index.relevance import Background, Measures, covered, relevance
from index.terms import IndexedTerms
from rag.contracts import Embedder, Tokenizer
from rag.errors import IndexMismatchError
from rag.filters import Filter
from rag.types import Chunk, FloatArray, Hit, Retrieval

__all__ = ["VECTOR_WEIGHT", "Candidates", "HybridRetriever"]

VECTOR_WEIGHT = 0.7
CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the two legs found for a query: cosines and BM25 scores by row. None is a leg without a vote.

    ``vector`` is the query's, None where the model cannot read it; ``background`` what unrelated chunks have in common
    with it; ``words`` the terms of the query by their worth. ``exact`` says whether they all hold what the query wants
    word for word, None where it wants nothing so; ``note`` what is to be said of that.
    """

    vectors: Mapping[int, float] | None = None
    keywords: Mapping[int, float] | None = None
    vector: FloatArray | None = None
    background: Background = field(default_factory=Background)
    words: Mapping[str, float] = field(default_factory=dict)
    exact: bool | None = None
    note: str = ""


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
        picking: Picking | None = None,
    ) -> None:
        """``candidates`` are taken from each leg, or ``k`` where that is more; ``picking`` says which of them are hits.

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
        self._picking = picking or Picking()
        self._terms_of = IndexedTerms()

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits, best first, ties by chunk id. Raises EmbeddingError and CollectionError."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        timings: dict[str, float] = {}
        if said := await self.refused():
            return Retrieval((), (), timings, notes=(said,), nothing_allowed=True)  # no query is embedded for it
        found = await self.candidates(query, k=k, timings=timings)
        with _timed(timings, "fuse"):
            hits, note = await asyncio.to_thread(self._fused, found, k)
        legs = [name for name, leg in (("vectors", found.vectors), ("keywords", found.keywords)) if leg is not None]
        return Retrieval(hits, tuple(legs), timings, notes=tuple(filter(None, (found.note, note))))

    async def refused(self) -> str:
        """Return in words that the filter lets no document through; "" where there are some, or no filter."""
        allowed = await asyncio.to_thread(self._collection.allowed, self._filter)
        if self._filter is None or allowed is None or allowed.n_documents:
            return ""
        return f"no document matches the filter: 0 of {allowed.n_all_documents:,}"

    async def candidates(self, query: str, *, k: int, timings: dict[str, float] | None = None) -> Candidates:
        """Return the best of each leg, at least ``k``; ``timings`` gets how many milliseconds each stage took."""
        timings = {} if timings is None else timings
        n_candidates = max(self._candidates, k)
        wanted = wanted_exactly(query)
        held = Held()
        if wanted.quoted or wanted.phrases:
            with _timed(timings, "phrases"):
                held = await asyncio.to_thread(self._held, wanted, n_candidates)
        (vector, vectors, background), (keywords, words) = await asyncio.gather(
            self._by_vector(query, n_candidates, timings, held.rows),
            self._by_keywords(query, n_candidates, timings, held.rows),
        )
        exact = held.rows is not None if wanted.phrases else None
        return Candidates(vectors, keywords, vector, background, words, exact, held.note)

    def _held(self, wanted: Wanted, n: int) -> Held:
        def search(query: str, required: Sequence[str], k: int) -> list[int]:
            hits = self._collection.search_keywords(query, k=k, filter_=self._filter, required=required)
            return [row for row, _ in hits]

        return held_by(wanted, search, self._collection.chunks, n=n)

    async def _by_keywords(
        self, query: str, k: int, timings: dict[str, float], among: Sequence[int] | None
    ) -> tuple[dict[int, float] | None, dict[str, float]]:
        """Return the BM25 scores by row, and the words of the query by their worth."""
        with _timed(timings, "keyword_search"):
            hits = await asyncio.to_thread(
                self._collection.search_keywords, query, k=k, filter_=self._filter, among=among
            )
            words = await asyncio.to_thread(self._collection.term_worths, query)
        return dict(hits) or None, words

    async def _by_vector(
        self, query: str, k: int, timings: dict[str, float], among: Sequence[int] | None
    ) -> tuple[FloatArray | None, dict[int, float] | None, Background]:
        """Return the query's vector, the cosines by row, and what unrelated chunks have."""
        if self._keywords_only or not query.strip():
            return None, None, Background()
        with _timed(timings, "embed_query"):
            vector = await self._embedded(query)
        if vector is None:
            return None, None, Background()
        if vector.shape != (self._collection.config.dimensions,):
            raise IndexMismatchError(
                f"collection {self._collection.name!r} holds vectors of {self._collection.config.dimensions}"
                f" dimensions, the embedder makes {vector.size}; go back to {self._collection.config.model!r}, or run"
                " `rag ingest --rebuild`"
            )
        with _timed(timings, "vector_search"):
            hits = await asyncio.to_thread(
                self._collection.search_vectors, vector, k=k, filter_=self._filter, among=among
            )
            background = await asyncio.to_thread(self._collection.background, vector)
        return vector, dict(hits) or None, background

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

    def _fused(self, found: Candidates, k: int) -> tuple[tuple[Hit, ...], str]:
        """Return the hits, best first, and a note where there are none because none is relevant enough."""
        scores = fuse(
            found.vectors, found.keywords, vector_weight=self._vector_weight, cosine_floor=found.background.floor
        )
        names = self._collection.chunk_ids(list(scores))
        order = sorted(names, key=lambda row: (-scores[row], names[row]))
        picked = pick(
            scores,
            order,
            k=k,
            read=lambda rows: self.hits(found, rows, scores),
            vectors=lambda rows: list(self._collection.vectors_of(rows)),
            how=self._picking,
        )
        return picked.hits, picked.note(self._picking.min_score)

    def hits(self, found: Candidates, rows: Sequence[int], scores: Mapping[int, float]) -> dict[int, Hit]:
        """Return hits on some rows with their scores and how relevant each is; those gone meanwhile are left out."""
        return {
            row: Hit(
                chunk=chunk,
                score=scores[row],
                vector_score=(found.vectors or {}).get(row),
                keyword_score=(found.keywords or {}).get(row),
                relevance=relevance(measures),
            )
            for row, (chunk, measures) in self.measured(found, rows).items()
        }

    def measured(self, found: Candidates, rows: Sequence[int]) -> dict[int, tuple[Chunk, Measures]]:
        """Return chunks with what makes them relevant; those gone meanwhile are left out."""
        chunks = self._collection.chunks(rows)
        cosines = self._cosines(found, list(chunks))
        return {
            row: (
                chunk,
                Measures(
                    found.background.closeness(cosines[row]) if row in cosines else None,
                    covered(found.words, self._terms_of(chunk.embedded_text).split()),
                ),
            )
            for row, chunk in chunks.items()
        }

    def _cosines(self, found: Candidates, rows: Sequence[int]) -> dict[int, float]:
        """Return the cosines of rows, also of those that only the keywords found; not of what the model cannot read."""
        if found.vector is None or found.vectors is None:
            return {}
        known = {row: found.vectors[row] for row in rows if row in found.vectors}
        others = [row for row in rows if row not in known]
        if others:
            vectors = self._collection.vectors_of(others)
            readable = np.flatnonzero(vectors.any(axis=1))
            known.update({others[place]: float(vectors[place] @ found.vector) for place in readable})
        return known


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
