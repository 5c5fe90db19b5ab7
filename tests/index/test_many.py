"""Several collections searched as one: which scores are compared how, and that the best of all are found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from index.collection import Collection
from index.library import Library
from index.many import Found, ManyDocuments, ManyRetriever, OnceEmbedder, fuse_many
from index.picking import Picking
from index.relevance import Background
from index.retriever import Candidates, HybridRetriever
from index.vector_store import VectorSpace
from rag.errors import CollectionNotFoundError, DocumentNotFoundError
from rag.types import Chunk, Embeddings, Retrieval, TextKind
from tests.fakes import LengthEmbedder
from tests.index.shelving import CONFIG, shelve

ONE, OTHER = VectorSpace("one", 8), VectorSpace("other", 8)


def found_in(
    space: VectorSpace,
    n_chunks: int,
    vectors: dict[int, float] | None,
    keywords: dict[int, float] | None,
    floor: float,
) -> Found:
    return Found(space, n_chunks, Candidates(vectors, keywords, background=Background(mean=floor)))


def test_cosines_of_one_model_are_compared_as_they_are() -> None:
    # Floors 0.1 (of 3 chunks) and 0.5 (of 1) are one floor of 0.2: 0.9 -> 0.875, 0.6 -> 0.5, 0.4 -> 0.25; best at 1.
    found = [found_in(ONE, 3, {7: 0.9, 8: 0.4}, None, 0.1), found_in(ONE, 1, {7: 0.6}, None, 0.5)]
    scores = fuse_many(found, vector_weight=0.7)
    assert scores == pytest.approx({(0, 7): 1.0, (1, 7): 0.5 / 0.875, (0, 8): 0.25 / 0.875})


def test_cosines_of_different_models_are_compared_from_their_floors() -> None:
    # 0.85 of a model that never goes below 0.7 is half the way to 1, as 0.5 of one whose floor is 0.
    found = [found_in(ONE, 9, {1: 0.85}, None, 0.7), found_in(OTHER, 9, {1: 0.5, 2: 1.0}, None, 0.0)]
    assert fuse_many(found, vector_weight=0.7) == pytest.approx({(0, 1): 0.5, (1, 1): 0.5, (1, 2): 1.0})


def test_keywords_are_compared_as_they_are_and_weighed_as_in_one_collection() -> None:
    found = [found_in(ONE, 9, {1: 0.5}, {1: 4.0}, 0.0), found_in(ONE, 9, {1: 1.0}, {2: 8.0}, 0.0)]
    scores = fuse_many(found, vector_weight=0.6)
    assert scores == pytest.approx({(0, 1): 0.6 * 0.5 + 0.4 * 0.5, (1, 1): 0.6, (1, 2): 0.4})


def test_a_collection_whose_model_cannot_read_the_question_is_judged_by_keywords_alone() -> None:
    found = [found_in(ONE, 9, {1: 0.5}, {1: 4.0}, 0.0), found_in(OTHER, 9, None, {1: 8.0}, 0.0)]
    assert fuse_many(found, vector_weight=0.6) == pytest.approx({(0, 1): 0.6 + 0.4 * 0.5, (1, 1): 1.0})


def test_nothing_found_is_nothing() -> None:
    assert fuse_many([found_in(ONE, 0, None, None, 0.0)], vector_weight=0.7) == {}


class Counting(LengthEmbedder):
    """Counts what it is asked for."""

    n_asked = 0

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        self.n_asked += 1
        return await super().embed(texts, kind=kind)


@pytest.fixture
def several(library: Library, collection: Collection) -> list[Collection]:
    other = library.create("other", CONFIG)
    with collection.writer("test") as writer:
        for number in range(5):
            shelve(library, collection, writer, f"{number}.txt", "zebra " * (number + 1))
    with other.writer("test") as writer:
        for number in range(5):
            shelve(library, other, writer, f"{number}.txt", "quagga zebra " * (number + 1))
    return [collection, other]


def retrieve(collections: Sequence[Collection], embedder: LengthEmbedder, query: str, k: int) -> Retrieval:
    shared = OnceEmbedder(embedder)
    many = ManyRetriever(collections, [HybridRetriever(one, shared) for one in collections])
    return asyncio.run(many.retrieve(query, k=k))


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_k_are_the_best_of_all_named_by_collection_and_embedded_once(several: list[Collection], k: int) -> None:
    embedder = Counting()
    whole = retrieve(several, embedder, "zebra quagga", 1000)
    found = retrieve(several, Counting(), "zebra quagga", k)
    assert embedder.n_asked == 1
    assert found.hits == whole.hits[:k]
    scores = [hit.score for hit in whole.hits]
    assert scores == sorted(scores, reverse=True)
    assert {hit.chunk.document_id.partition("/")[0] for hit in whole.hits} == {"main", "other"}
    documents = ManyDocuments(several)
    for hit in found.hits:
        chunk = hit.chunk
        assert documents.text(chunk.document_id, chunk.start, chunk.end) == chunk.text
        assert documents.title(chunk.document_id).endswith(".TXT")
        assert documents.place_at(chunk.document_id, chunk.start)


def test_the_same_chunks_score_the_same_in_one_collection_and_in_two_halves(library: Library) -> None:
    texts = {f"{n}.txt": f"{'zebra ' * (n % 3 + 1)}word{n}" for n in range(12)}
    halves = [library.create(name, CONFIG) for name in ("all", "even", "odd")]
    for place, made in enumerate(halves):
        with made.writer("test") as writer:
            for number, (name, text) in enumerate(texts.items()):
                if place == 0 or number % 2 == place - 1:
                    shelve(library, made, writer, name, text)
    alone = retrieve(halves[:1], LengthEmbedder(), "xyz", 12)  # in no document: the vectors decide
    split = retrieve(halves[1:], LengthEmbedder(), "xyz", 12)

    def cosines(found: Retrieval) -> dict[str, float | None]:
        return {hit.chunk.document_id.partition("/")[2]: hit.vector_score for hit in found.hits}

    assert cosines(split) == pytest.approx(cosines(alone))
    values = [hit.vector_score or 0.0 for hit in split.hits]
    assert values == sorted(values, reverse=True)


def test_a_collection_that_fails_is_named(library: Library, several: list[Collection]) -> None:
    library.delete("other")
    with pytest.raises(CollectionNotFoundError, match="collection 'other': "):
        retrieve(several, LengthEmbedder(), "zebra", 3)
    with pytest.raises(DocumentNotFoundError):
        ManyDocuments(several).title("third/a")


def test_a_model_that_cannot_read_the_question_is_noted(several: list[Collection]) -> None:
    class Deaf(LengthEmbedder):
        async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
            found = await super().embed(texts, kind=kind)
            return replace(found, readable=found.readable & False)

    retrievers = [HybridRetriever(several[0], LengthEmbedder()), HybridRetriever(several[1], Deaf())]
    found = asyncio.run(ManyRetriever(several, retrievers).retrieve("zebra", k=3))
    assert found.notes == ("by keywords alone, for its model cannot read the question: other",)


def test_the_next_best_takes_the_place_of_what_is_removed_meanwhile(
    several: list[Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = retrieve(several, LengthEmbedder(), "zebra quagga", 6).hits
    gone = next(hit for hit in before if hit.chunk.document_id.startswith("other/"))
    read = several[1].chunks

    def removed_first(rows: Sequence[int]) -> dict[int, Chunk]:
        monkeypatch.setattr(several[1], "chunks", read)
        with several[1].writer("test") as writer:
            writer.remove(gone.chunk.document_id.removeprefix("other/"))
        return read(rows)

    monkeypatch.setattr(several[1], "chunks", removed_first)
    found = retrieve(several, LengthEmbedder(), "zebra quagga", 5)
    assert [hit.chunk.id for hit in found.hits] == [hit.chunk.id for hit in before if hit is not gone]


def test_relevance_is_told_by_each_collection_of_itself_and_a_floor_holds_for_all(several: list[Collection]) -> None:
    embedder = LengthEmbedder()
    retrievers = [HybridRetriever(one, embedder) for one in several]
    alone = {
        f"{one.name}/{hit.chunk.document_id}": hit.relevance
        for one, retriever in zip(several, retrievers, strict=True)
        for hit in asyncio.run(retriever.retrieve("quagga", k=50)).hits
    }
    together = asyncio.run(ManyRetriever(several, retrievers).retrieve("quagga", k=50)).hits
    assert {hit.chunk.document_id: hit.relevance for hit in together} == alone
    half = sorted({value or 0.0 for value in alone.values()})[1]
    floored = asyncio.run(
        ManyRetriever(several, retrievers, picking=Picking(min_score=half)).retrieve("quagga", k=50)
    ).hits
    assert floored == tuple(hit for hit in together if (hit.relevance or 0.0) >= half)
    assert 0 < len(floored) < len(together)
