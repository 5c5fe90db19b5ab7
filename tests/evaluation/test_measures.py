"""Measures of a ranking, worked out by hand, and against the slow and obvious way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.evaluation.intervals import mean_interval
from rag.evaluation.measures import Overlap, Span, Target, covered, ndcg, overlap, recall, reciprocal_rank

A, B, C = Span("a", 0, 100), Span("b", 0, 100), Span("a", 100, 200)


def test_documents_rank_where_their_first_hit_does() -> None:
    new = covered([B, A, C, Span("c", 0, 9)], [Target("a"), Target("c")])
    assert new == [frozenset(), frozenset({0}), frozenset({1})]
    assert (recall(new, 2, k=2), recall(new, 2, k=3)) == (0.5, 1.0)
    assert reciprocal_rank(new) == 0.5


@pytest.mark.parametrize(
    ("found", "is_found"),
    [
        (Span("a", 0, 100), True),  # the quote lies inside the chunk
        (Span("a", 55, 100), True),  # half of the quote does
        (Span("a", 56, 200), False),
        (Span("a", 52, 58), True),  # the chunk lies inside the quote
        (Span("b", 0, 100), False),
    ],
)
def test_a_quote_is_found_when_chunk_and_quote_share_half_of_the_shorter(found: Span, is_found: bool) -> None:
    assert Target("a", span=Span("a", 50, 60)).is_covered_by(found) is is_found


def test_a_target_counts_once_however_many_hits_cover_it() -> None:
    targets = [Target("a", span=Span("a", 10, 20))]
    assert covered([Span("a", 0, 30), Span("a", 5, 40)], targets) == [frozenset({0}), frozenset()]


def test_ndcg_of_two_grades_at_ranks_one_and_three() -> None:
    new = [frozenset({0}), frozenset(), frozenset({1})]
    expected = (1 + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    assert ndcg(new, [1, 2], k=10) == pytest.approx(expected)


def test_a_rank_that_covers_all_targets_is_perfect_and_no_more() -> None:
    assert ndcg([frozenset({0, 1})], [1, 1], k=10) == 1.0


@given(st.permutations(range(6)), st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_ndcg_is_one_for_the_best_order_and_no_order_beats_it(order: list[int], grades: list[int]) -> None:
    names = [f"d{place}" for place in range(6)]
    targets = [Target(names[place], grade) for place, grade in enumerate(grades)]
    best = sorted(range(len(grades)), key=lambda place: -grades[place])
    ideal = covered([Span(names[place], 0, 1) for place in best], targets)
    shuffled = covered([Span(names[place], 0, 1) for place in order], targets)
    assert ndcg(ideal, grades, k=10) == pytest.approx(1.0)
    assert 0 <= ndcg(shuffled, grades, k=10) <= 1 + 1e-12


def test_tokens_retrieved_twice_answer_once_and_cost_twice() -> None:
    starts = {"a": np.arange(0, 100, 10)}  # ten tokens
    found = [Span("a", 0, 40), Span("a", 20, 60)]  # 4 and 4, two of them the same
    shares = overlap(found, [Span("a", 30, 50), Span("a", 90, 100)], starts)  # 2 and 1
    assert shares == Overlap(recall=2 / 3, precision=2 / 8, iou=2 / 9)


def test_nothing_in_common_is_nothing() -> None:
    starts = {"a": np.arange(0, 100, 10), "b": np.arange(0, 100, 10)}
    assert overlap([Span("b", 0, 40)], [Span("a", 0, 40)], starts) == Overlap(0.0, 0.0, 0.0)


def test_the_interval_of_equal_values_has_no_width() -> None:
    found = mean_interval([0.25] * 7)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide_and_repeats() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, 400).tolist()
    found = mean_interval(values)
    error = float(np.std(values)) / 20
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.1 * error)
    assert mean_interval(values) == found


def test_a_difference_that_never_changes_sign_is_not_chance() -> None:
    assert mean_interval([0.1, 0.2, 0.1, 0.3]).excludes_zero
    assert not mean_interval([0.1, -0.2, 0.1, -0.1]).excludes_zero


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])
