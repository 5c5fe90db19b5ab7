"""Packed sources are stored text, within the budget, best first."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rag.answering.context import MAX_GAP_CHARS, pack
from rag.answering.prompt import render_source
from rag.types import Document, Hit, Source
from tests.fakes import Shelf, WordTokenizer, document, hit

WORDS = document("words.txt", " ".join(f"w{number:03}" for number in range(400)), title="Words")  # 5 characters a word
OTHER = document("other.pdf", "first page here. ", "second page here.", title="Other")


def packed(*hits: Hit, budget: int = 10_000, shelf: tuple[Document, ...] = (WORDS, OTHER)) -> tuple[Source, ...]:
    return pack(hits, documents=Shelf(*shelf), tokenizer=WordTokenizer(), budget_tokens=budget)


def test_no_hits_give_no_sources() -> None:
    assert packed() == ()


def test_sources_are_numbered_from_one_best_first() -> None:
    sources = packed(hit(OTHER, 17, 34, score=0.9), hit(WORDS, 0, 49, score=0.8))
    assert [(source.marker, source.document_id, source.score) for source in sources] == [
        (1, "other.pdf", 0.9),
        (2, "words.txt", 0.8),
    ]
    assert (sources[0].title, sources[0].page, sources[0].text) == ("Other", 2, "second page here.")


def test_overlapping_hits_become_one_source_with_the_best_score() -> None:
    (source,) = packed(hit(WORDS, 40, 99, score=0.9, headings=("B",)), hit(WORDS, 0, 49, score=0.5, headings=("A",)))
    assert (source.start, source.end, source.score, source.headings) == (0, 99, 0.9, ("A",))
    assert source.text == WORDS.text[0:99]
    assert source.chunk_starts == (0, 40)


def test_a_small_gap_is_filled_and_a_large_one_is_not() -> None:
    near = packed(hit(WORDS, 0, 49), hit(WORDS, 49 + MAX_GAP_CHARS, 300))
    far = packed(hit(WORDS, 0, 49), hit(WORDS, 50 + MAX_GAP_CHARS, 300))
    assert [source.text for source in near] == [WORDS.text[0:300]]
    assert len(far) == 2


def test_a_hit_between_two_sources_joins_them() -> None:
    sources = packed(hit(WORDS, 0, 49), hit(WORDS, 600, 700), hit(WORDS, 150, 500))
    assert [(source.start, source.end) for source in sources] == [(0, 700)]


def test_a_hit_that_does_not_fit_is_passed_over_for_a_smaller_one() -> None:
    sources = packed(hit(WORDS, 0, 1500, score=0.9), hit(OTHER, 0, 16, score=0.5), budget=60)
    assert [(source.marker, source.text) for source in sources] == [(1, "first page here.")]


def test_a_hit_on_text_that_has_changed_or_gone_is_passed_over() -> None:
    changed = document("words.txt", "new " * 100)
    assert packed(hit(WORDS, 0, 49), hit(OTHER, 0, 16), shelf=(changed,)) == ()


ROWS = "".join(f"row {n} | {n}\n" for n in range(200))
TABLE = document("t.md", f"Words before it.\n\nname | age\n{ROWS}", title="T")
HEADER = TABLE.text.index("name")


def rows_hit(first: int, last: int) -> Hit:
    """A hit on some rows, as they are found: with the header."""
    found = hit(TABLE, TABLE.text.index(f"row {first} "), TABLE.text.index(f"row {last} "))
    chunk = replace(found.chunk, context="name | age", context_start=HEADER)
    return replace(found, chunk=chunk)


def test_a_source_that_begins_among_rows_shows_their_header_and_pays_for_it() -> None:
    (source,) = packed(rows_hit(100, 110), shelf=(TABLE,))
    assert (source.context, source.context_start) == ("name | age", HEADER)
    shown = render_source(source, "123456789")
    assert "\nname | age\n…\nrow 100 | 100\n" in shown
    n_tokens = WordTokenizer().count(shown)
    assert packed(rows_hit(100, 110), shelf=(TABLE,), budget=n_tokens)
    assert not packed(rows_hit(100, 110), shelf=(TABLE,), budget=n_tokens - 1)


def test_joined_hits_are_read_with_what_the_first_of_them_is() -> None:
    (source,) = packed(rows_hit(110, 120), rows_hit(100, 110), shelf=(TABLE,))
    assert (source.context, source.text[:7]) == ("name | age", "row 100")
    (source,) = packed(rows_hit(3, 20), hit(TABLE, 0, HEADER + 30), shelf=(TABLE,))
    assert (source.context, source.start) == ("", 0)


def test_a_hit_whose_header_has_changed_is_passed_over() -> None:
    changed = document("t.md", TABLE.text.replace("name | age", "name | AGE"))
    assert packed(rows_hit(100, 110), shelf=(changed,)) == ()


spans = st.tuples(st.sampled_from([WORDS, OTHER]), st.integers(0, 1990), st.integers(1, 300), st.floats(0, 1))


@given(st.lists(spans, max_size=12), st.integers(1, 600))
def test_sources_are_stored_text_within_the_budget_and_never_overlap(
    found: list[tuple[Document, int, int, float]], budget: int
) -> None:
    hits = [hit(of, start, start + size, score=score) for of, start, size, score in found if of.text[start:][:size]]
    hits.sort(key=lambda each: -each.score)
    sources = packed(*hits, budget=budget)
    assert sum(WordTokenizer().count(render_source(source, "123456789")) for source in sources) <= budget
    assert [source.marker for source in sources] == list(range(1, len(sources) + 1))
    assert [source.score for source in sources] == sorted((source.score for source in sources), reverse=True)
    for source in sources:
        stored = WORDS if source.document_id == WORDS.id else OTHER
        assert source.text == stored.text[source.start : source.end]
        assert source.page == stored.page_at(source.start)
        others = [other for other in sources if other is not source and other.document_id == source.document_id]
        assert all(other.end <= source.start or other.start >= source.end for other in others)


@given(st.lists(spans, max_size=12))
def test_with_room_enough_every_hit_lies_in_a_source(found: list[tuple[Document, int, int, float]]) -> None:
    hits = [hit(of, start, start + size, score=score) for of, start, size, score in found if of.text[start:][:size]]
    sources = packed(*hits)
    assert {each.chunk.id for each in hits} == {chunk for source in sources for chunk in source.chunk_ids}
