"""One contract for every vector index; the fast one against the obvious one."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.exact import ExactIndex, RowArray, VectorIndex
from index.vectors import FaissIndex
from rag.types import FloatArray

MakeIndex = Callable[[int], VectorIndex]


class Shelf:
    """Full-precision vectors by row, as the vector store would give them."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._vectors: dict[int, FloatArray] = {}

    def keep(self, rows: RowArray, vectors: FloatArray) -> None:
        self._vectors.update(zip(rows.tolist(), vectors, strict=True))

    def look_up(self, rows: RowArray) -> tuple[RowArray, FloatArray]:
        there = [row for row in rows.tolist() if row in self._vectors]
        vectors = [self._vectors[row] for row in there]
        return np.array(there, np.int64), np.array(vectors, np.float32).reshape(-1, self._dimensions)


class ShelvedFaiss(FaissIndex):
    """A FaissIndex that keeps what it is given, for its own lookups."""

    def __init__(self, dimensions: int, *, exact_limit: int) -> None:
        self._shelf = Shelf(dimensions)
        super().__init__(dimensions, lookup=self._shelf.look_up, exact_limit=exact_limit)

    def add(self, rows: RowArray, vectors: FloatArray) -> None:
        self._shelf.keep(rows, np.asarray(vectors, np.float32))
        super().add(rows, vectors)


@pytest.fixture(
    params=[ExactIndex, lambda d: ShelvedFaiss(d, exact_limit=10**6), lambda d: ShelvedFaiss(d, exact_limit=0)],
    ids=["numpy", "faiss flat", "faiss codes"],
)
def make_index(request: pytest.FixtureRequest) -> MakeIndex:
    make: MakeIndex = request.param
    return make


def rows(*numbers: int) -> RowArray:
    return np.array(numbers, np.int64)


def unit(vectors: object) -> FloatArray:
    array = np.array(vectors, np.float32)
    return (array / np.linalg.norm(array, axis=-1, keepdims=True)).astype(np.float32)


def test_search_in_an_empty_index_finds_nothing(make_index: MakeIndex) -> None:
    assert make_index(2).search(unit([1.0, 0.0]), k=3) == []


def test_search_returns_best_first_with_cosines(make_index: MakeIndex) -> None:
    index = make_index(2)
    index.add(rows(7, 9), unit([[3.0, 4.0], [0.0, 2.0]]))
    assert index.search(unit([0.0, 1.0]), k=2) == [(9, pytest.approx(1.0)), (7, pytest.approx(0.8))]


def test_more_hits_than_rows_are_not_padded(make_index: MakeIndex) -> None:
    index = make_index(2)
    index.add(rows(7), unit([[3.0, 4.0]]))
    assert [row for row, _ in index.search(unit([1.0, 0.0]), k=50)] == [7]


def test_equal_scores_are_ordered_by_row(make_index: MakeIndex) -> None:
    index = make_index(2)
    index.add(rows(9, 2, 5), unit([[1.0, 1.0]] * 3))
    assert [row for row, _ in index.search(unit([1.0, 1.0]), k=3)] == [2, 5, 9]


def test_removed_rows_never_come_back(make_index: MakeIndex) -> None:
    rng = np.random.default_rng(1)
    vectors = unit(rng.standard_normal((500, 8)))
    index = make_index(8)
    index.add(np.arange(500), vectors)
    assert index.remove(np.arange(0, 500, 3)) == 167
    index.add(rows(900), vectors[:1])
    found = {row for vector in vectors[:30] for row, _ in index.search(vector, k=400)}
    assert not found & set(range(0, 500, 3))
    assert found <= set(index.rows().tolist())
    assert index.search(vectors[0], k=1)[0][0] == 900


def test_removing_unknown_rows_is_nothing(make_index: MakeIndex) -> None:
    index = make_index(2)
    index.add(rows(1), unit([[1.0, 0.0]]))
    assert index.remove(rows(5, 6)) == 0
    assert len(index) == 1


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(make_index: MakeIndex, k: int) -> None:
    with pytest.raises(ValueError, match="k must be"):
        make_index(2).search(unit([1.0, 0.0]), k=k)


def test_wrong_shapes_are_refused_in_words(make_index: MakeIndex) -> None:
    index = make_index(3)
    with pytest.raises(ValueError, match=r"need vectors of \(1, 3\)"):
        index.add(rows(1), unit([[1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"a query must be \(3,\)"):
        index.search(unit([1.0, 0.0]), k=1)


def test_the_callers_arrays_are_left_alone(make_index: MakeIndex) -> None:
    vectors, index = unit(np.eye(4)), make_index(4)
    before = vectors.copy()
    index.add(np.arange(4), vectors)
    index.search(vectors[0], k=2)
    assert np.array_equal(vectors, before)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    removed=st.sets(st.integers(0, 59)),
    limit=st.sampled_from([0, 20, 1000]),
)
def test_faiss_agrees_with_numpy(seed: int, n: int, removed: set[int], limit: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, query = unit(rng.standard_normal((n, 16))), unit(rng.standard_normal(16))
    exact, fast = ExactIndex(16), ShelvedFaiss(16, exact_limit=limit)
    for index in (exact, fast):
        index.add(np.arange(n // 2), vectors[: n // 2])
        index.add(np.arange(n // 2, n), vectors[n // 2 :])
        index.remove(np.array(sorted(removed), np.int64))
    expected, found = exact.search(query, k=10), fast.search(query, k=10)
    assert [row for row, _ in found] == [row for row, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_codes_find_what_exact_search_finds_among_thousands() -> None:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((50, 64))
    vectors = unit(centres[rng.integers(0, 50, 5000)] + 0.7 * rng.standard_normal((5000, 64)))
    exact, fast = ExactIndex(64), ShelvedFaiss(64, exact_limit=0)
    for index in (exact, fast):
        index.add(np.arange(5000), vectors)
    recalls = [
        len({row for row, _ in exact.search(v, k=10)} & {row for row, _ in fast.search(v, k=10)}) for v in vectors[:50]
    ]
    assert fast.kind == "rabitq"
    assert np.mean(recalls) / 10 >= 0.99


def dumped(index: FaissIndex) -> BytesIO:
    stream = BytesIO()
    index.dump(stream)
    stream.write(b"what somebody else has put behind it")
    stream.seek(0)
    return stream


@pytest.mark.parametrize("limit", [0, 1000], ids=["codes", "flat"])
def test_a_dumped_index_is_the_same_when_loaded(limit: int) -> None:
    rng = np.random.default_rng(4)
    vectors = unit(rng.standard_normal((300, 16)))
    index = ShelvedFaiss(16, exact_limit=limit)
    index.add(np.arange(300), vectors)
    loaded = FaissIndex.load(dumped(index), dimensions=16, lookup=index._shelf.look_up, exact_limit=limit)
    assert loaded.kind == index.kind
    assert loaded.search(vectors[5], k=20) == index.search(vectors[5], k=20)
    assert loaded.remove(np.array([5])) == 1
    assert loaded.search(vectors[5], k=1)[0][0] != 5


def test_a_dump_of_other_dimensions_is_refused() -> None:
    index = ShelvedFaiss(16, exact_limit=10)
    with pytest.raises(ValueError, match="not an index of 8"):
        FaissIndex.load(dumped(index), dimensions=8, lookup=index._shelf.look_up)


def test_an_index_that_expects_too_many_rows_never_holds_them_in_full() -> None:
    vectors = unit(np.random.default_rng(5).standard_normal((300, 16)))
    index = ShelvedFaiss(16, exact_limit=100)
    index.add(np.arange(60), vectors[:60])
    index.expect(40, lambda _: vectors[60:100])
    assert index.kind == "flat"
    index.expect(240, lambda _: vectors[60:])
    assert index.kind == "rabitq"
    index.add(np.arange(60, 300), vectors[60:])
    assert index.rows().tolist() == list(range(300))
    assert all(index.search(vectors[place], k=1)[0][0] == place for place in (0, 59, 60, 299))
