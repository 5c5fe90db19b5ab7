"""Relevance by hand, and what is picked by it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.picking import Picked, Picking, pick
from index.relevance import Background, Measures, covered, relevance
from rag.types import Chunk, Hit

SHARES = st.none() | st.floats(-1, 1)


@given(closeness=SHARES, coverage=SHARES)
def test_relevance_is_a_share_and_is_told_wherever_anything_is_known(
    closeness: float | None, coverage: float | None
) -> None:
    told = relevance(Measures(closeness, coverage))
    assert (told is None) == (closeness is None and coverage is None)
    assert told is None or 0 <= told <= 1


@given(one=st.floats(0, 1), other=st.floats(0, 1), fixed=st.none() | st.floats(0, 1))
def test_more_of_either_never_makes_a_chunk_less_relevant(one: float, other: float, fixed: float | None) -> None:
    less, more = sorted((one, other))
    assert (relevance(Measures(less, fixed)) or 0) <= (relevance(Measures(more, fixed)) or 0)
    assert (relevance(Measures(fixed, less)) or 0) <= (relevance(Measures(fixed, more)) or 0)


def test_a_perfect_match_is_nearly_certain_and_an_unrelated_chunk_nearly_excluded() -> None:
    assert (relevance(Measures(1.0, 1.0)) or 0) > 0.95
    assert (relevance(Measures(0.0, 0.0)) or 1) < 0.05


def test_coverage_weighs_words_by_their_worth() -> None:
    assert covered({"quagga": 5.0, "the": 1.0, "lives": 2.0}, ["the", "quagga", "quagga"]) == 0.75
    assert covered({}, ["the"]) is None


@pytest.mark.parametrize(
    ("background", "closeness"),
    [(Background(0.5, 0.1, 8), 0.5), (Background(0.5, 0.1, 7), None), (Background(1.0, 0.0, 9), None)],
    ids=["half the way", "too few chunks", "all the same"],
)
def test_closeness_is_told_where_the_sample_says_something(background: Background, closeness: float | None) -> None:
    assert background.closeness(0.75) == closeness


class Shelf:
    """Hits named by number, with a relevance each; counts what was read."""

    def __init__(self, *relevances: float | None, gone: Sequence[int] = ()) -> None:
        self.n_read = 0
        self._gone = gone
        self._relevances = relevances

    @property
    def order(self) -> range:
        return range(len(self._relevances))

    def read(self, numbers: Sequence[int]) -> dict[int, Hit]:
        self.n_read += len(numbers)
        return {
            n: Hit(Chunk(str(n), "doc", 0, 1, "x", 1), 1.0, relevance=self._relevances[n])
            for n in numbers
            if n not in self._gone
        }


def picked_from(shelf: Shelf, *, k: int, how: Picking) -> Picked:
    scores = {n: 1 - n / 1000 for n in shelf.order}
    return pick(scores, shelf.order, k=k, read=shelf.read, vectors=lambda numbers: [], how=how)


@given(
    relevances=st.lists(st.none() | st.floats(0, 1), max_size=150),
    gone=st.lists(st.integers(0, 149), max_size=20),
    k=st.integers(1, 20),
    least=st.floats(0, 1),
)
def test_the_first_k_that_are_there_and_relevant_enough_are_picked(
    relevances: list[float | None], gone: list[int], k: int, least: float
) -> None:
    shelf = Shelf(*relevances, gone=gone)
    picked = picked_from(shelf, k=k, how=Picking(min_score=least))
    wanted = [n for n, told in enumerate(relevances) if n not in gone and (told is None or told >= least)]
    assert [int(hit.chunk.id) for hit in picked.hits] == wanted[:k]
    if len(wanted) < k:
        assert picked.n_below == sum(
            told is not None and told < least for n, told in enumerate(relevances) if n not in gone
        )


def test_no_more_is_read_than_is_needed_where_all_is_relevant() -> None:
    shelf = Shelf(*[0.9] * 200)
    picked_from(shelf, k=8, how=Picking(fold_duplicates=False))
    assert shelf.n_read == 8
