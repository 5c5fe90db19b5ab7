"""Fusion by hand, and retrieval over a real collection with an embedder whose vectors can be counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.collection import Collection
from index.fusion import fuse
from index.library import Library
from index.picking import Picking
from index.retriever import HybridRetriever
from rag.contracts import Retriever
from rag.errors import EmbeddingError, IndexMismatchError
from rag.types import Chunk, EmbedderProfile, EmbeddingLimits, Embeddings, TextKind
from tests.fakes import LengthEmbedder, WordTokenizer
from tests.index.shelving import shelve

SCORES = st.dictionaries(st.integers(0, 20), st.floats(-1, 50), max_size=12)


@given(vectors=st.none() | SCORES, keywords=st.none() | SCORES, weight=st.floats(0, 1))
def test_fused_scores_are_in_the_unit_interval(
    vectors: dict[int, float] | None, keywords: dict[int, float] | None, weight: float
) -> None:
    fused = fuse(vectors, keywords, vector_weight=weight)
    assert fused.keys() == (vectors or {}).keys() | (keywords or {}).keys()
    assert all(0 <= score <= 1 for score in fused.values())


@given(scores=st.dictionaries(st.integers(0, 20), st.integers(1, 50).map(float), min_size=1))
def test_a_leg_alone_keeps_its_order(scores: dict[int, float]) -> None:
    for fused in (
        fuse(scores, None, vector_weight=0.3),
        fuse(None, scores, vector_weight=0.9),
        fuse(scores, {}, vector_weight=1.0),
        fuse({}, scores, vector_weight=0.0),
    ):
        rows = sorted(scores, key=lambda row: scores[row])
        assert [fused[row] for row in rows] == sorted(fused.values())


def test_a_weight_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="vector_weight"):
        fuse({}, {}, vector_weight=1.5)


@pytest.fixture
def filled(library: Library, collection: Collection) -> Collection:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "zebra.txt", "zebra zebra zebra")
        shelve(library, collection, writer, "lion.txt", "a lion is here and so on")
        shelve(library, collection, writer, "价格.txt", "价格表在第三页")
    return collection


class BlindEmbedder(LengthEmbedder):
    """Reads nothing."""

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        return Embeddings(np.zeros((len(texts), 8), np.float32), np.zeros(len(texts), np.bool_), 0)


class BrokenEmbedder(LengthEmbedder):
    """Its endpoint is down."""

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        raise EmbeddingError("the endpoint is down")


async def test_hits_carry_both_scores_and_the_stages_are_timed(filled: Collection) -> None:
    retriever: Retriever = HybridRetriever(filled, LengthEmbedder())
    found = await retriever.retrieve("zebra", k=2)
    assert found.hits[0].chunk.document_id == "zebra.txt"
    assert found.hits[0].score == 1.0
    assert found.hits[0].vector_score == pytest.approx(1.0)
    assert (found.hits[0].keyword_score or 0) > 0
    assert found.hits[1].keyword_score is None
    assert found.legs == ("vectors", "keywords")
    assert found.timings_ms.keys() == {"embed_query", "vector_search", "keyword_search", "fuse"}
    assert len(found.hits) == 2


async def test_an_embedder_that_cannot_read_the_query_has_no_vote(filled: Collection) -> None:
    found = await HybridRetriever(filled, BlindEmbedder()).retrieve("价格", k=5)
    assert [hit.chunk.document_id for hit in found.hits] == ["价格.txt"]
    assert found.legs == ("keywords",)


async def test_a_query_without_words_is_left_to_the_vectors(filled: Collection) -> None:
    found = await HybridRetriever(filled, LengthEmbedder()).retrieve("!?", k=5)
    assert found.legs == ("vectors",)
    assert len(found.hits) == 3


@pytest.mark.parametrize("query", ["", "  \n"])
async def test_an_empty_query_finds_nothing(filled: Collection, query: str) -> None:
    found = await HybridRetriever(filled, LengthEmbedder()).retrieve(query, k=5)
    assert found.hits == ()
    assert found.legs == ()


async def test_an_empty_collection_finds_nothing(collection: Collection) -> None:
    assert (await HybridRetriever(collection, LengthEmbedder()).retrieve("zebra", k=5)).hits == ()


async def test_a_failing_embedder_is_an_error_unless_keywords_are_enough(filled: Collection) -> None:
    with pytest.raises(EmbeddingError, match="endpoint is down"):
        await HybridRetriever(filled, BrokenEmbedder()).retrieve("zebra", k=5)
    found = await HybridRetriever(filled, BrokenEmbedder(), keywords_only=True).retrieve("zebra", k=5)
    assert [hit.chunk.document_id for hit in found.hits] == ["zebra.txt"]
    assert found.legs == ("keywords",)


async def test_an_embedder_of_other_dimensions_is_refused(filled: Collection) -> None:
    embedder = LengthEmbedder(dimensions=5)
    embedder.profile = EmbedderProfile(model="lengths", dimensions=5, tokenizer="words")
    with pytest.raises(IndexMismatchError, match="vectors of 8 dimensions, the embedder makes 5"):
        await HybridRetriever(filled, embedder).retrieve("zebra", k=5)


class ForgetfulEmbedder(LengthEmbedder):
    """Reads eight tokens and refuses more."""

    def __init__(self) -> None:
        super().__init__()
        self.profile = EmbedderProfile("lengths", 8, "words", EmbeddingLimits(max_input_tokens=8))

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        if any(WordTokenizer().count(text) > 8 for text in texts):
            raise EmbeddingError("too long")
        return await super().embed(texts, kind=kind)


@pytest.mark.parametrize("n_words", [1, 8, 9, 100])
async def test_a_query_longer_than_the_model_reads_is_embedded_in_parts(filled: Collection, n_words: int) -> None:
    embedder = ForgetfulEmbedder()
    retriever = HybridRetriever(filled, embedder, tokenizer=WordTokenizer())
    query = "zebra " * n_words
    found = await retriever.retrieve(query, k=1)
    assert found.hits[0].chunk.document_id == "zebra.txt"
    assert found.hits[0].vector_score == pytest.approx(1.0)
    assert "".join(text for [text] in embedder.calls) == query


@pytest.fixture
def alike(library: Library, collection: Collection) -> Collection:
    with collection.writer("test") as writer:
        for n in range(20):
            shelve(library, collection, writer, f"{n}.txt", "the same words")
    return collection


async def test_equal_hits_are_ordered_by_chunk_id(alike: Collection) -> None:
    found = await HybridRetriever(alike, LengthEmbedder()).retrieve("same words", k=7)
    assert [hit.chunk.id for hit in found.hits] == sorted(alike.chunk_ids(alike.rows()).values())[:7]


async def test_the_next_best_takes_the_place_of_what_is_removed_meanwhile(
    alike: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = HybridRetriever(alike, LengthEmbedder())
    before = (await retriever.retrieve("same words", k=9)).hits
    read = alike.chunks

    def removed_first(rows: Sequence[int]) -> dict[int, Chunk]:
        monkeypatch.setattr(alike, "chunks", read)
        with alike.writer("test") as writer:
            for hit in before[:2]:
                writer.remove(hit.chunk.document_id)
        return read(rows)

    monkeypatch.setattr(alike, "chunks", removed_first)
    found = await retriever.retrieve("same words", k=7)
    assert [hit.chunk.id for hit in found.hits] == [hit.chunk.id for hit in before[2:]]


@pytest.mark.parametrize("k", [0, -3])
async def test_k_below_one_is_refused(filled: Collection, k: int) -> None:
    with pytest.raises(ValueError, match="k must be"):
        await HybridRetriever(filled, LengthEmbedder()).retrieve("zebra", k=k)


async def test_relevance_is_absolute_where_the_score_is_relative(filled: Collection) -> None:
    retriever = HybridRetriever(filled, BlindEmbedder())
    asked = (await retriever.retrieve("zebra", k=1)).hits[0]
    strayed = (await retriever.retrieve("zebra harmonica", k=1)).hits[0]  # a word that no document has
    assert asked.chunk == strayed.chunk
    assert asked.score == strayed.score == 1.0
    assert (asked.relevance or 0) > 0.8 > 0.5 > (strayed.relevance or 1)


async def test_what_is_less_relevant_than_asked_is_left_out_before_the_best_are_taken(filled: Collection) -> None:
    found = (await HybridRetriever(filled, LengthEmbedder()).retrieve("zebra lion", k=3)).hits
    least = sorted(hit.relevance or 0.0 for hit in found)[1]
    floored = await HybridRetriever(filled, LengthEmbedder(), picking=Picking(min_score=least)).retrieve(
        "zebra lion", k=2
    )
    assert floored.hits == tuple(hit for hit in found if (hit.relevance or 0.0) >= least)
    assert len(floored.hits) == 2


async def test_a_floor_that_lets_nothing_through_says_how_near_the_best_came(filled: Collection) -> None:
    found = await HybridRetriever(filled, BlindEmbedder(), picking=Picking(min_score=0.99)).retrieve(
        "zebra harmonica", k=2
    )
    assert found.hits == ()
    assert "the best of 1 has 0." in found.notes[0]
    assert "min_score asks for 0.99" in found.notes[0]
