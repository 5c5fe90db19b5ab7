"""Several collections searched as one: side by side, their scores made comparable, the best ``k`` of all.

Cosines of collections with the same model are compared as they are. Of different models they cannot be: some never go
below 0.7. So each is put on the way from what an unrelated chunk gets from that model and query (0) to identity (1):
``(cosine - floor) / (1 - floor)``, with one floor for all collections of a model, the mean of theirs weighted by their
chunks. BM25 scores are compared as they are: formula and parameters are the same, and only how rare a word is differs,
which each collection knows of itself. Both are then fused as in one collection (``index.fusion``), with the best of all
at 1. A collection whose model cannot read the query is judged by keywords alone.

A document is named by its collection and its id, ``manuals/guide.md``: the names of collections hold no slash.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from index.collection import Collection
from index.fusion import normalised
from index.picking import Picking, pick
from index.retriever import VECTOR_WEIGHT, Candidates, HybridRetriever
from index.vector_store import VectorSpace
from rag.contracts import Embedder
from rag.errors import CollectionError, DocumentNotFoundError, EmbeddingError
from rag.types import EmbedderProfile, Embeddings, FloatArray, Hit, Retrieval, TextKind

__all__ = ["Found", "ManyDocuments", "ManyRetriever", "OnceEmbedder", "fuse_many"]

Key = tuple[int, int]
"""Which of the collections, and the row in it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one collection of ``n_chunks`` found; ``refused`` says that its filter lets no document through."""

    space: VectorSpace
    n_chunks: int
    candidates: Candidates
    refused: str = ""

    @property
    def vectors(self) -> Mapping[int, float] | None:
        return self.candidates.vectors

    @property
    def keywords(self) -> Mapping[int, float] | None:
        return self.candidates.keywords


def fuse_many(found: Sequence[Found], *, vector_weight: float) -> dict[Key, float]:
    """Return the score in [0, 1] of every row that a collection found, by (place of the collection, row); in no order.

    >>> found = [Found(VectorSpace("m", 2), 1, Candidates({7: cosine})) for cosine in (0.9, 0.45)]
    >>> fuse_many(found, vector_weight=0.7)
    {(0, 7): 1.0, (1, 7): 0.5}
    """
    floors = _floors(found)
    vectors: dict[Key, float] = {}
    keywords: dict[Key, float] = {}
    for place, one in enumerate(found):
        floor = floors[one.space]
        for row, cosine in (one.vectors or {}).items():
            vectors[place, row] = (cosine - floor) / (1 - floor) if floor < 1 else 0.0
        keywords.update({(place, row): score for row, score in (one.keywords or {}).items()})
    by_vector, by_keyword = _on_unit(vectors), _on_unit(keywords)
    scores: dict[Key, float] = {}
    for key in dict.fromkeys([*by_vector, *by_keyword]):
        weight = vector_weight if by_keyword else 1.0
        if found[key[0]].vectors is None:
            weight = 0.0
        scores[key] = weight * by_vector.get(key, 0.0) + (1 - weight) * by_keyword.get(key, 0.0)
    return scores


def _floors(found: Sequence[Found]) -> dict[VectorSpace, float]:
    sums: defaultdict[VectorSpace, float] = defaultdict(float)
    n_chunks: defaultdict[VectorSpace, int] = defaultdict(int)
    for one in found:
        weight = one.n_chunks if one.vectors is not None else 0
        sums[one.space] += weight * one.candidates.background.floor
        n_chunks[one.space] += weight
    return {space: total / max(n_chunks[space], 1) for space, total in sums.items()}


def _on_unit(scores: Mapping[Key, float]) -> dict[Key, float]:
    order = list(scores)
    placed = normalised({place: scores[key] for place, key in enumerate(order)}, floor=0.0)
    return {order[place]: score for place, score in placed.items()}


class ManyRetriever:
    """Finds chunks in several collections. Satisfies ``rag.contracts.Retriever``."""

    def __init__(
        self,
        collections: Sequence[Collection],
        retrievers: Sequence[HybridRetriever],
        *,
        vector_weight: float = VECTOR_WEIGHT,
        picking: Picking | None = None,
    ) -> None:
        """``retrievers`` are those of the collections, in their order; ``picking`` says what are hits."""
        self._collections = collections
        self._retrievers = retrievers
        self._vector_weight = vector_weight
        self._picking = picking or Picking()

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits of all collections, best first, ties by collection and chunk id.

        Raises EmbeddingError and CollectionError naming the collection that failed: a part is not taken for the whole.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        started = time.perf_counter()
        pairs = zip(self._collections, self._retrievers, strict=True)
        found = await asyncio.gather(*(_search(collection, retriever, query, k) for collection, retriever in pairs))
        if all(one.refused for one in found):
            notes = tuple(f"{each.name}: {one.refused}" for each, one in zip(self._collections, found, strict=True))
            return Retrieval((), notes=notes, nothing_allowed=True)
        found = _exact_first(found)
        searched = time.perf_counter()
        hits, note = await asyncio.to_thread(self._hits, found, k)
        legs = [
            name
            for name, voted in (
                ("vectors", any(one.vectors is not None for one in found)),
                ("keywords", any(one.keywords is not None for one in found)),
            )
            if voted
        ]
        timings = {"search": (searched - started) * 1000, "fuse": (time.perf_counter() - searched) * 1000}
        notes = (*_notes(self._collections, found), *([note] if note else []))
        return Retrieval(hits, tuple(legs), timings, notes=notes)

    def _hits(self, found: Sequence[Found], k: int) -> tuple[tuple[Hit, ...], str]:
        scores = fuse_many(found, vector_weight=self._vector_weight)
        names: dict[Key, tuple[str, str]] = {}
        for place, collection in enumerate(self._collections):
            ids = collection.chunk_ids([row for which, row in scores if which == place])
            names.update({(place, row): (collection.name, chunk_id) for row, chunk_id in ids.items()})
        order = sorted(names, key=lambda key: (-scores[key], names[key]))
        picked = pick(
            scores,
            order,
            k=k,
            read=lambda keys: self._read(found, keys, scores),
            vectors=self._vectors,
            how=self._picking,
        )
        return picked.hits, picked.note(self._picking.min_score)

    def _vectors(self, keys: Sequence[Key]) -> list[FloatArray]:
        vectors: dict[Key, FloatArray] = {}
        for place in {which for which, _ in keys}:
            rows = [row for which, row in keys if which == place]
            vectors.update(zip(((place, row) for row in rows), self._collections[place].vectors_of(rows), strict=True))
        return [vectors[key] for key in keys]

    def _read(self, found: Sequence[Found], keys: Sequence[Key], scores: Mapping[Key, float]) -> dict[Key, Hit]:
        hits: dict[Key, Hit] = {}
        for place in sorted({which for which, _ in keys}):
            wanted = {row: scores[place, row] for which, row in keys if which == place}
            own = self._retrievers[place].hits(found[place].candidates, list(wanted), wanted)
            name = self._collections[place].name
            for row, hit in own.items():
                named = replace(hit.chunk, document_id=f"{name}/{hit.chunk.document_id}")
                hits[place, row] = replace(hit, chunk=named)
        return hits


async def _search(collection: Collection, retriever: HybridRetriever, query: str, k: int) -> Found:
    try:
        if refused := await retriever.refused():
            return Found(collection.space, 0, Candidates(), refused)
        candidates = await retriever.candidates(query, k=k)
        n_chunks = await asyncio.to_thread(collection.n_chunks)
    except (CollectionError, EmbeddingError) as error:
        error.args = (f"collection {collection.name!r}: {error}", *error.args[1:])
        raise
    return Found(collection.space, n_chunks, candidates)


def _exact_first(found: Sequence[Found]) -> list[Found]:
    """Return what was found; where a collection holds what is wanted word for word, nothing of those that do not."""
    if not any(one.candidates.exact for one in found):
        return list(found)
    return [
        one if one.candidates.exact or one.refused else replace(one, candidates=Candidates(), n_chunks=0)
        for one in found
    ]


def _notes(collections: Sequence[Collection], found: Sequence[Found]) -> tuple[str, ...]:
    """Return what is to be said of the phrases of the query, and of collections that have fewer votes than others."""
    said = tuple(dict.fromkeys(one.candidates.note for one in found if one.candidates.note))
    if all(one.vectors is None for one in found):
        return said
    silent = [
        collection.name
        for collection, one in zip(collections, found, strict=True)
        if one.vectors is None and one.n_chunks
    ]
    if silent:
        return (*said, f"by keywords alone, for its model cannot read the question: {', '.join(silent)}")
    return said


class ManyDocuments:
    """Reads the documents of several collections by ``collection/document``. Satisfies ``DocumentStore``."""

    def __init__(self, collections: Sequence[Collection]) -> None:
        self._collections = {collection.name: collection for collection in collections}

    def text(self, document_id: str, start: int, end: int) -> str:
        collection, own_id = self._split(document_id)
        return collection.text(own_id, start, end)

    def title(self, document_id: str) -> str:
        collection, own_id = self._split(document_id)
        return collection.title(own_id)

    def page_at(self, document_id: str, offset: int) -> int | None:
        collection, own_id = self._split(document_id)
        return collection.page_at(own_id, offset)

    def place_at(self, document_id: str, offset: int) -> str:
        collection, own_id = self._split(document_id)
        return collection.place_at(own_id, offset)

    def _split(self, document_id: str) -> tuple[Collection, str]:
        name, _, own_id = document_id.partition("/")
        if name not in self._collections:
            raise DocumentNotFoundError(f"no collection {name!r} among those that were searched")
        return self._collections[name], own_id


class OnceEmbedder:
    """An embedder for one question: what several collections of its model ask for is embedded, and paid for, once."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._asked: dict[tuple[str, ...], asyncio.Future[Embeddings]] = {}

    @property
    def profile(self) -> EmbedderProfile:
        return self._embedder.profile

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        key = (kind, *texts)
        if key not in self._asked:
            self._asked[key] = asyncio.ensure_future(self._embedder.embed(texts, kind=kind))
        return await asyncio.shield(self._asked[key])
