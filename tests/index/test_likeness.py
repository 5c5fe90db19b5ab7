"""Near-duplicates by hand, folded into one hit, and hits spread out."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.collection import Collection
from index.library import Library
from index.likeness import Wording, diversified
from index.many import ManyRetriever
from index.picking import Picking
from index.retriever import HybridRetriever
from rag.types import Retrieval
from tests.fakes import LengthEmbedder
from tests.index.shelving import CONFIG, shelve

LONG = " ".join(f"word{'abcdefghij'[n % 10]}{'klmnop'[n // 10]}" for n in range(60))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The lamp is green.", "the LAMP\n is  green"),
        ("价格表，在第三页", "价格表在第三页。"),
        (LONG, f"{LONG} and"),
        (LONG, f"a {LONG}"),
        ("->", "->"),
    ],
    ids=["case and blanks", "punctuation", "one more at the end", "one more at the start", "no words"],
)
def test_texts_that_say_the_same_are_alike(one: str, other: str) -> None:
    assert Wording(one).is_like(Wording(other))
    assert Wording(other).is_like(Wording(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{LONG} for 24 months", f"{LONG} for 36 months"),
        (f"{LONG} is allowed", f"{LONG} is not allowed"),
        (f"{LONG} will", f"{LONG} won't"),
        ("可以退货", "不可以退货"),
        ("red lamp", "green lamp"),
        (LONG, LONG[: len(LONG) // 2]),
        ("->", "<-"),
        ("", "words"),
    ],
    ids=["number", "negation", "short negation", "Chinese negation", "few words", "half of it", "no words", "empty"],
)
def test_texts_that_say_something_else_are_not_alike_however_little_it_is(one: str, other: str) -> None:
    assert not Wording(one).is_like(Wording(other))
    assert not Wording(other).is_like(Wording(one))


@given(
    points=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), max_size=12),
    diversity=st.floats(0, 0.95),
)
def test_an_order_is_spread_without_losing_or_moving_the_best(
    points: list[tuple[float, int]], diversity: float
) -> None:
    points.sort(reverse=True)
    scores = {place: score for place, (score, _) in enumerate(points)}
    vectors = [np.eye(6, dtype=np.float32)[axis] for _, axis in points]
    spread = diversified(range(len(points)), scores, vectors, diversity=diversity)
    assert sorted(spread) == list(range(len(points)))
    assert spread[:1] == [0][: len(points)]
    assert diversified(range(len(points)), scores, vectors, diversity=0) == sorted(
        range(len(points)), key=lambda place: (-scores[place], place)
    )


def test_vectors_of_different_models_are_not_close() -> None:
    vectors = [np.ones(1, np.float32), np.ones(2, np.float32) / np.sqrt(2, dtype=np.float32), np.ones(1, np.float32)]
    assert diversified("abc", {"a": 1.0, "b": 0.8, "c": 0.9}, vectors, diversity=0.5) == ["a", "b", "c"]


@pytest.fixture
def copied(library: Library, collection: Collection) -> list[Collection]:
    other = library.create("other", CONFIG)
    with collection.writer("test") as writer:
        for name in ("a.txt", "b.txt", "c.txt"):
            shelve(library, collection, writer, name, "zebra lives here")
        shelve(library, collection, writer, "year.txt", "zebra lives here 2020")
    with other.writer("test") as writer:
        shelve(library, other, writer, "copy.txt", "Zebra  lives here!")
        shelve(library, other, writer, "lion.txt", "the lion and a zebra are somewhere else")
    return [collection, other]


def search(collections: list[Collection], how: Picking, *, k: int) -> Retrieval:
    retrievers = [HybridRetriever(one, LengthEmbedder(), picking=how) for one in collections]
    if len(retrievers) == 1:
        return asyncio.run(retrievers[0].retrieve("zebra lives", k=k))
    return asyncio.run(ManyRetriever(collections, retrievers, picking=how).retrieve("zebra lives", k=k))


def test_near_duplicates_are_one_hit_that_names_the_others_and_the_next_best_follows(copied: list[Collection]) -> None:
    hits = search(copied[:1], Picking(fold_duplicates=True), k=2).hits
    assert [hit.chunk.document_id for hit in hits][1:] == ["year.txt"]
    assert {hits[0].chunk.document_id, *hits[0].duplicates} == {"a.txt", "b.txt", "c.txt"}
    assert len(search(copied[:1], Picking(), k=9).hits) == 4


def test_near_duplicates_in_several_collections_are_named_by_collection(copied: list[Collection]) -> None:
    hits = search(copied, Picking(fold_duplicates=True), k=9).hits
    names = {name for hit in hits for name in (hit.chunk.document_id, *hit.duplicates)}
    assert names == {"main/a.txt", "main/b.txt", "main/c.txt", "main/year.txt", "other/copy.txt", "other/lion.txt"}
    assert sorted(len(hit.duplicates) for hit in hits) == [0, 0, 3]


@pytest.mark.parametrize("n_collections", [1, 2])
def test_diversity_brings_forward_what_is_unlike_the_best(copied: list[Collection], n_collections: int) -> None:
    some = copied[:n_collections]
    usual = [hit.chunk.id for hit in search(some, Picking(), k=9).hits]
    spread = [hit.chunk.id for hit in search(some, Picking(diversity=0.95), k=9).hits]
    assert sorted(spread) == sorted(usual)
    assert spread[0] == usual[0]
    assert spread != usual
