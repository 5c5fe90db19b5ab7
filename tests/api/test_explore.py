"""The numbers behind the plots, worked out by hand and on a small real collection."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.explore import (
    Agreement,
    Contents,
    Legs,
    agreement,
    contents,
    document_labels,
    fit_plane,
    report_table,
    search_legs,
    token_lengths,
)
from index.collection import Collection
from index.library import Library
from ingest.report import FileResult, IngestReport
from rag.types import Chunk, FloatArray, Hit
from tests.fakes import LengthEmbedder
from tests.index.shelving import CONFIG, shelve


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Collection]:
    """A collection of six chunks of 40 characters; the second document has no vector for its second chunk."""
    with Library.open(tmp_path / "library", create=True) as library:
        collection = library.create("main", CONFIG)
        with collection.writer("test") as writer:
            shelve(library, collection, writer, "a.txt", "a bee sat on the old oak tree of my town " * 3)
            shelve(library, collection, writer, "b.txt", "encyclopaedic knowledge notwithstanding, " * 3)
        yield collection


def chunk(document: str, start: int = 0, n_tokens: int = 3) -> Chunk:
    return Chunk(f"{document}-{start}", document, start, start + 1, "x", n_tokens)


def hits(*ids: str) -> list[Hit]:
    return [Hit(Chunk(name, "doc", 0, 1, "x", 1), score=1 - place / 10) for place, name in enumerate(ids)]


def query_vector(text: str) -> FloatArray:
    return asyncio.run(LengthEmbedder().embed([text], kind="query")).vectors[0]


# --- contents


def test_contents_are_all_chunks_with_their_vectors(shelf: Collection) -> None:
    everything = contents(shelf)
    assert [c.id for c in everything.chunks] == [
        c.id for info in shelf.documents() for c in shelf.document_chunks(info.id)
    ]
    assert np.array_equal(everything.vectors, shelf.vectors_of(shelf.rows()))
    assert everything.readable.all()


def test_an_empty_collection_has_empty_contents(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", create=True) as library:
        everything = contents(library.create("empty", CONFIG))
    assert (everything.chunks, everything.vectors.shape, everything.readable.shape) == ((), (0, 8), (0,))


def test_a_chunk_without_a_vector_has_no_cosine() -> None:
    everything = Contents((chunk("a"), chunk("b")), np.array([[0.6, 0.8], [0, 0]], np.float32), np.array([True, False]))
    cosines = everything.cosines(np.array([0, 1], np.float32))
    assert cosines[0] == np.float32(0.8)
    assert np.isnan(cosines[1])


def test_a_query_of_another_length_is_refused() -> None:
    everything = Contents((chunk("a"),), np.ones((1, 2), np.float32), np.array([True]))
    with pytest.raises(ValueError, match=r"must be \(2,\), got \(3,\)"):
        everything.cosines(np.ones(3, np.float32))


def test_lengths_come_by_group_the_largest_first() -> None:
    chunks = [chunk("b", 0, 5), chunk("c", 0, 9), chunk("a", 0, 7), chunk("c", 1, 2)]
    lengths = token_lengths(chunks, group=lambda c: c.document_id)
    assert {name: list(values) for name, values in lengths.items()} == {"c": [9, 2], "a": [7], "b": [5]}
    assert list(lengths) == ["c", "a", "b"]


# --- the report


def test_the_table_of_a_run_has_one_row_for_each_path() -> None:
    files = (
        FileResult("a|b.md", "indexed", change="new", n_chunks=2, n_tokens=1200, n_tokens_embedded=700),
        FileResult("c.md", "indexed", change="renamed", renamed_from="old.md", n_chunks=1, n_tokens=9),
        FileResult("d.pdf", "failed", "not a PDF;\nsave it anew"),
    )
    table = report_table(IngestReport("/secret", "main", files, ("e.md",), 2, 700, 0, 0.1)).splitlines()
    assert table[2:6] == [
        "| a\\|b.md | **indexed** | new | 2 | 1,200 | 700 |",
        "| c.md | **indexed** | renamed from old.md | 1 | 9 | 0 |",
        "| d.pdf | **failed** | not a PDF; save it anew | 0 | 0 | 0 |",
        "| e.md | **removed** | no longer in the folder |  |  |  |",
    ]
    assert table[-1] == "2 chunks (700 tokens) were embedded in this run."
    assert not any("secret" in line for line in table)


# --- labels


def test_a_number_does_not_make_two_labels_equal() -> None:
    assert sorted(document_labels(["元", "黑", "~ (2)"], ascii_only=True).values()) == ["~", "~ (2)", "~ (3)"]


def test_labels_are_file_names_unless_two_share_one() -> None:
    assert document_labels(["x/faq.md", "y/faq.md", "y/元朝.txt"], ascii_only=False) == {
        "x/faq.md": "x/faq.md",
        "y/faq.md": "y/faq.md",
        "y/元朝.txt": "元朝.txt",
    }


def test_documents_that_look_alike_in_ascii_are_numbered() -> None:
    assert list(document_labels(["元朝.txt", "黑死病.txt", "a.txt"], ascii_only=True).values()) == [
        "a.txt",
        "~.txt",
        "~.txt (2)",
    ]


@given(st.lists(st.text("a/元é. (2)~", min_size=1, max_size=6)))
def test_labels_in_ascii_are_ascii_and_tell_documents_apart(ids: list[str]) -> None:
    labels = document_labels(ids, ascii_only=True)
    assert set(labels) == set(ids)
    assert all(label.isascii() for label in labels.values())
    assert len(set(labels.values())) == len(labels)


# --- the map


def test_the_plane_follows_the_widest_spread() -> None:
    vectors = np.array([[9, 0, 0], [-9, 0, 0], [0, 3, 0], [0, -3, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    plane = fit_plane(vectors)
    assert np.allclose(plane.axes, [[1, 0, 0], [0, 1, 0]])
    assert plane.explained == pytest.approx((162 / 182, 18 / 182))
    assert np.allclose(plane.place(np.array([[4, 5, 6]], np.float32)), [[4, 5]])


def test_the_map_agrees_with_the_singular_value_decomposition() -> None:
    vectors = np.random.default_rng(7).standard_normal((40, 6)).astype(np.float32) + 3
    centred = vectors - vectors.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    plane = fit_plane(vectors)
    assert np.allclose(np.abs(plane.place(vectors)), np.abs(centred @ axes[:2].T), atol=1e-4)
    assert plane.explained == pytest.approx(tuple(lengths[:2] ** 2 / (lengths**2).sum()), rel=1e-4)


def test_equal_vectors_lie_on_one_point() -> None:
    plane = fit_plane(np.full((5, 3), 0.5, np.float32))
    assert plane.explained == (0.0, 0.0)
    assert np.allclose(plane.place(np.full((2, 3), 0.5, np.float32)), 0)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4, 1)], ids=str)
def test_too_little_for_a_plane_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 vectors"):
        fit_plane(np.ones(shape, np.float32))


# --- the legs


def test_each_leg_names_its_best_first(shelf: Collection) -> None:
    vector = query_vector("old oak")
    everything = contents(shelf)
    legs = search_legs(shelf, "old oak", vector, k=len(everything.chunks))
    cosines = dict(zip([c.id for c in everything.chunks], everything.cosines(vector), strict=True))
    assert legs.vectors == pytest.approx(cosines)
    assert list(legs.vectors.values()) == sorted(legs.vectors.values(), reverse=True)
    assert {c.document_id for c in everything.chunks if c.id in legs.keywords} == {"a.txt"}


def test_no_query_vector_leaves_the_vectors_without_a_vote(shelf: Collection) -> None:
    legs = search_legs(shelf, "oak", None, k=5)
    assert legs.vectors == {}
    assert legs.keywords


def test_what_the_keywords_did_not_name_has_no_bm25() -> None:
    assert list(Legs({}, {"a-0": 4.5}).bm25([chunk("a"), chunk("b")])) == [4.5, 0.0]


def test_overlap_is_counted_at_every_depth() -> None:
    legs = Legs({"a": 0.9, "b": 0.8, "c": 0.7}, {"b": 9.0, "a": 8.0, "d": 7.0})
    assert list(legs.overlap(k=4)) == pytest.approx([0, 1, 2 / 3, 2 / 4])


def test_legs_without_a_vote_overlap_nowhere() -> None:
    assert list(Legs({}, {"a": 1.0}).overlap(k=2)) == [0, 0]
    with pytest.raises(ValueError, match="k must be at least 1"):
        Legs({}, {}).overlap(k=0)


def test_hits_are_counted_by_who_named_them() -> None:
    legs = Legs({"a": 0.9, "b": 0.8, "z": 0.1}, {"b": 9.0, "c": 8.0, "z": 1.0})
    assert agreement(hits("b", "a", "c", "z"), legs, k=2) == Agreement(1, 1, 0, 0)
    four = Legs({**legs.vectors}, {"b": 9.0, "c": 8.0})
    assert agreement(hits("b", "a", "c", "z", "q"), four, k=5) == Agreement(1, 2, 1, 1)


def test_pages_of_the_web_have_labels() -> None:
    urls = ["https://example.org/", "https://example.org/guide/", "https://example.org/guide/a.html"]
    assert list(document_labels(urls, ascii_only=True).values()) == ["example.org", "guide", "a.html"]
