"""Numbers that hold through a conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.numbering import Numbering, Passage, Version, without_numbers
from rag.types import Source


def source(document: str, start: int, end: int) -> Source:
    return Source(0, document, document, start, end, "x" * (end - start), None, (), 1.0, ("c",), (start,))


def of(sha256: str = "s1") -> Callable[[Source], Version]:
    return lambda one: Version("default", one.document_id, sha256)


def markers(numbering: Numbering, *sources: Source) -> list[int]:
    return [one.marker for one in numbering.number(sources)]


def cited(numbering: Numbering, *, at: Sequence[tuple[int, int, int]] = ()) -> list[Passage]:
    """Return what a conversation knows after an answer that cites ``(marker, start, end)``."""
    given = numbering.given
    for marker, start, end in at:
        given[marker] = replace(given[marker], cited=(*given[marker].cited, (start, end)))
    return list(given.values())


def test_the_first_answer_counts_from_one_best_first() -> None:
    assert markers(Numbering(version=of()), source("b", 0, 9), source("a", 0, 9)) == [1, 2]


def test_the_same_passage_has_its_number_again_and_others_get_new_ones() -> None:
    first = Numbering(version=of())
    markers(first, source("a", 0, 100), source("b", 0, 100))
    second = Numbering(cited(first, at=[(1, 10, 20)]), version=of())
    assert markers(second, source("c", 0, 50), source("b", 0, 100), source("a", 0, 100)) == [3, 2, 1]


def test_the_words_that_were_cited_decide() -> None:
    known = [Passage(1, Version("default", "a", "s1"), 0, 100, ((10, 20),))]
    assert markers(Numbering(known, version=of()), source("a", 0, 400)) == [1]  # merged with what follows
    assert markers(Numbering(known, version=of()), source("a", 5, 30)) == [1]
    assert markers(Numbering(known, version=of()), source("a", 30, 100)) == [2]  # none of the words of [1]


@pytest.mark.parametrize(
    ("start", "end", "marker"), [(0, 100, 1), (50, 150, 1), (51, 151, 2), (0, 1000, 1), (40, 41, 1)]
)
def test_a_passage_that_was_never_cited_is_the_same_by_half(start: int, end: int, marker: int) -> None:
    known = [Passage(1, Version("default", "a", "s1"), 0, 100)]
    assert markers(Numbering(known, version=of()), source("a", start, end)) == [marker]


def test_of_two_numbers_that_fit_it_is_the_one_cited_more_then_the_lower() -> None:
    version = Version("default", "a", "s1")
    known = [Passage(1, version, 0, 50, ((0, 9),)), Passage(2, version, 50, 100, ((50, 59), (60, 69)))]
    numbering = Numbering(known, version=of())
    assert markers(numbering, source("a", 0, 100), source("a", 0, 50)) == [2, 1]
    level = [Passage(4, version, 0, 50, ((0, 9),)), Passage(2, version, 50, 100, ((50, 59),))]
    assert markers(Numbering(level, version=of()), source("a", 0, 100)) == [2]


def test_a_changed_document_gets_new_numbers() -> None:
    known = [Passage(1, Version("default", "a", "s1"), 0, 100, ((10, 20),))]
    assert markers(Numbering(known, version=of("s2")), source("a", 0, 100)) == [2]


def test_a_document_of_unknown_state_is_never_taken_for_one_that_is_known() -> None:
    known = [Passage(1, Version("default", "a", ""), 0, 100, ((10, 20),))]
    assert markers(Numbering(known, version=of("")), source("a", 0, 100)) == [2]


def test_a_number_that_a_model_made_up_is_never_given_out() -> None:
    assert markers(Numbering(taken=(1, 3), version=of()), source("a", 0, 9), source("b", 0, 9)) == [2, 4]


SPAN = st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 30))
ROUND = st.tuples(st.lists(SPAN, max_size=4, unique=True), st.sampled_from(["s1", "s2"]))


@given(st.lists(ROUND, max_size=8))
def test_no_number_ever_names_two_documents_states_or_places(
    rounds: list[tuple[list[tuple[str, int, int]], str]],
) -> None:
    known: dict[int, Passage] = {}
    cited_as: dict[int, list[tuple[int, int]]] = {}
    for spans, sha256 in rounds:
        numbering = Numbering(list(known.values()), version=of(sha256))
        sources = numbering.number([source(document, start, start + n) for document, start, n in spans])
        numbers = [one.marker for one in sources]
        assert len(set(numbers)) == len(numbers)
        for one in sources:
            passage = numbering.given[one.marker]
            assert passage.version == Version("default", one.document_id, sha256)
            before = cited_as.setdefault(one.marker, [])
            assert not before or any(one.start <= start and end <= one.end for start, end in before)
            before.append((one.start, one.end))  # all of it is cited
            known[one.marker] = replace(passage, cited=tuple(before))
    assert sorted(known) == list(range(1, len(known) + 1))


@pytest.mark.parametrize(
    ("text", "dropped", "shown"),
    [
        ("Blue [1].", {2}, "Blue [1]."),
        ("Blue [1].", {1}, "Blue."),
        ("Blue [1][2] and red [3].", {2}, "Blue [1] and red [3]."),
        ("Blue [1, 2].", {1}, "Blue [2]."),
        ("Blue [1-3].", {4}, "Blue [1-3]."),
        ("Blue [1-3].", {2}, "Blue [1][3]."),
        ("so `a[2]`", {2}, "so `a[2]`"),
        ("蓝色【1】。", {1}, "蓝色。"),
    ],
)
def test_numbers_that_name_nothing_are_left_out(text: str, dropped: set[int], shown: str) -> None:
    assert without_numbers(text, dropped) == shown
