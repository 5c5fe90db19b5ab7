"""Vectors by content: kept once, checked on the way in, shared by processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.vector_store import SpaceStats, VectorSpace, VectorStore
from rag.errors import CollectionError, CollectionNotFoundError, EmbeddingError
from rag.types import Embeddings, FloatArray, content_address

SPACE = VectorSpace("letters", 3)
A, B, C = (content_address(text) for text in "abc")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    opened = VectorStore(tmp_path / "vectors.db", create=True)
    yield opened
    opened.close()


def embeddings(*vectors: list[float], readable: list[bool] | None = None) -> Embeddings:
    array: FloatArray = np.array(vectors, np.float32)
    return Embeddings(array, np.array([True] * len(vectors) if readable is None else readable), n_tokens=1)


def test_missing_are_in_order_and_once(store: VectorStore) -> None:
    store.put(SPACE, [B], embeddings([1, 0, 0]))
    assert store.missing(SPACE, [C, B, A, C, A]) == [C, A]


def test_another_model_or_dimension_is_another_space(store: VectorStore) -> None:
    store.put(SPACE, [A], embeddings([1, 0, 0]))
    assert store.missing(VectorSpace("letters", 4), [A]) == [A]
    assert store.missing(VectorSpace("words", 3), [A]) == [A]
    assert store.get(VectorSpace("words", 3), [A]) == {}


def test_an_unreadable_text_is_remembered(store: VectorStore) -> None:
    store.put(SPACE, [A, B], embeddings([0, 0, 0], [0, 1, 0], readable=[False, True]))
    found = store.get(SPACE, [A, B, C])
    assert found.keys() == {A, B}
    assert found[A] is None
    assert np.asarray(found[B]).tolist() == [0, 1, 0]
    assert store.missing(SPACE, [A]) == []
    assert store.readable(SPACE, [A, B, C]) == {A: False, B: True}


def test_what_is_there_stays(store: VectorStore) -> None:
    store.put(SPACE, [A], embeddings([1, 0, 0]))
    store.put(SPACE, [A, B], embeddings([0, 1, 0], [0, 0, 1]))
    assert np.asarray(store.get(SPACE, [A])[A]).tolist() == [1, 0, 0]


def test_a_stored_vector_is_read_by_the_documented_line(store: VectorStore, tmp_path: Path) -> None:
    store.put(SPACE, [A], embeddings([0.6, 0.8, 0]))
    connection = sqlite3.connect(tmp_path / "vectors.db")
    [(embedding,)] = connection.execute("SELECT embedding FROM vectors")
    connection.close()
    assert np.frombuffer(embedding, "<f4").tolist() == pytest.approx([0.6, 0.8, 0])


@pytest.mark.parametrize(
    "batch",
    [
        embeddings([1, 0, 0], [1, 0, 0]),
        embeddings([1, 0]),
        embeddings([float("nan"), 0, 0]),
        embeddings([float("inf"), 0, 0]),
        embeddings([0, 0, 0]),
        embeddings([2, 0, 0]),
        embeddings([1, 0, 0], readable=[True, True]),
    ],
    ids=["too many", "wrong dimension", "nan", "infinite", "zero", "not unit", "marks"],
)
def test_what_is_not_a_vector_is_refused(store: VectorStore, batch: Embeddings) -> None:
    with pytest.raises(EmbeddingError, match="'letters'"):
        store.put(SPACE, [A], batch)
    assert store.missing(SPACE, [A]) == [A]


def test_stats_and_prune(store: VectorStore) -> None:
    store.put(SPACE, [A, B, C], embeddings([1, 0, 0], [0, 1, 0], [0, 0, 0], readable=[True, True, False]))
    store.put(VectorSpace("other", 3), [A], embeddings([1, 0, 0]))
    assert store.stats().spaces == (SpaceStats(SPACE, 2, 1), SpaceStats(VectorSpace("other", 3), 1, 0))
    assert store.stats().size_bytes > 0
    assert store.prune({SPACE: [B], VectorSpace("unknown", 9): [A]}) == 3
    assert store.stats().spaces == (SpaceStats(SPACE, 1, 0),)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 2000))
def test_what_is_put_comes_back_to_the_bit(store: VectorStore, seed: int, n: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    addresses = [content_address(f"{seed} {place}") for place in range(n)]
    store.put(SPACE, addresses, Embeddings(vectors, np.ones(n, np.bool_), n))
    found = store.get(SPACE, addresses)
    assert np.array_equal(np.stack([np.asarray(found[address]) for address in addresses]), vectors)


def test_many_threads_may_put_and_get(store: VectorStore) -> None:
    def work(number: int) -> int:
        address = content_address(str(number))
        store.put(SPACE, [address, A], embeddings([1, 0, 0], [0, 1, 0]))
        return len(store.get(SPACE, [address, A]))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(40))) == {2}
    assert store.stats().spaces[0].n_vectors == 41


def test_a_store_that_is_not_there_or_not_a_database_says_so(tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFoundError, match="rag ingest"):
        VectorStore(tmp_path / "vectors.db")
    (tmp_path / "vectors.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(CollectionError, match="restore it from a backup"):
        VectorStore(tmp_path / "vectors.db")


def test_a_closed_store_says_so(store: VectorStore) -> None:
    store.close()
    with pytest.raises(CollectionError, match="was closed"):
        store.missing(SPACE, [A])
