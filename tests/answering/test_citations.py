"""Citations are cut from stored text at the words that support a statement; streamed or not, they are the same."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.citations import CitationStream, cite
from rag.answering.context import pack
from rag.answering.markers import find_markers
from rag.types import Document, Heading, Page, Source
from tests.fakes import Shelf, WordTokenizer, document, hit, whole

PUMP = document("pump.pdf", "Pumps are old. The pump starts at 40 bar. ", "It was built in 1987 by Li. It is red.")
TEA = document("茶.md", "绿茶产于浙江。红茶的产量在2021年达到4300吨。乌龙茶很少见。")
SHELF = Shelf(PUMP, TEA)


def sources_of(*documents: Document) -> tuple[Source, ...]:
    hits = [whole(each, score=1 - place / 10) for place, each in enumerate(documents)]
    return pack(hits, documents=Shelf(*documents), tokenizer=WordTokenizer(), budget_tokens=10_000)


SOURCES = sources_of(PUMP, TEA)


def quotes(text: str) -> list[tuple[int, str]]:
    return [(citation.marker, citation.quote) for citation in cite(text, SOURCES, documents=SHELF).citations]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Blue [1].", [(1,)]),
        ("Blue[1][2].", [(1,), (2,)]),
        ("Blue [1, 2; 4].", [(1, 2, 4)]),
        ("Blue [1-3] [5–6].", [(1, 2, 3), (5, 6)]),
        ("蓝色【1】［2］[1、3]。", [(1,), (2,), (1, 3)]),
        ("Blue [source 1] (Sources 2 and 3) （来源：4） [^5].", [(1,), (2, 3), (4,), (5,)]),
        ("Blue 【1†source】 [2, p. 14].", [(1,), (2,)]),
        ("Blue [1](https://a.b).", [(1,)]),
        ("In [2024] and [1-900].", [(2024,), (1, 900)]),
        ("(1) one, (2) two, [a], [1.5], [], [note 1], f(3)", []),
        ("Use `a[1]` or ``b[2]``; a[3] = 4 and a[4].b", []),
        ("```\na[1]\n```\nBlue [2].", [(2,)]),
    ],
)
def test_markers_worked_out_by_hand(text: str, numbers: list[tuple[int, ...]]) -> None:
    assert [marker.numbers for marker in find_markers(text)] == numbers


def test_each_statement_is_aligned_with_the_sentence_that_supports_it() -> None:
    assert quotes("It starts at 40 bar [1]. Li built it in 1987 [1].") == [
        (1, "The pump starts at 40 bar."),
        (1, "It was built in 1987 by Li."),
    ]


def test_a_marker_after_the_full_stop_belongs_to_the_sentence_before() -> None:
    assert quotes("It starts at 40 bar. [1] It was built in 1987.[1]") == [
        (1, "The pump starts at 40 bar."),
        (1, "It was built in 1987 by Li."),
    ]


def test_markers_within_a_sentence_are_aligned_with_their_own_clauses() -> None:
    (first, second) = cite(
        "The pump starts at 40 bar [1], while black tea reached 4300 t in 2021 [2].", SOURCES, documents=SHELF
    ).citations
    assert (first.quote, second.quote) == ("The pump starts at 40 bar.", "红茶的产量在2021年达到4300吨。")
    assert (first.answer_start, first.answer_end) == (second.answer_start, second.answer_end)


def test_chinese_statements_are_aligned_by_pairs_of_characters() -> None:
    assert quotes("红茶的产量达到4300吨【2】。绿茶产于浙江[2]。") == [
        (2, "红茶的产量在2021年达到4300吨。"),
        (2, "绿茶产于浙江。"),
    ]


def test_two_neighbouring_sentences_are_quoted_where_both_are_needed() -> None:
    assert quotes("The pump starts at 40 bar and was built in 1987 by Li [1].") == [
        (1, "The pump starts at 40 bar. It was built in 1987 by Li.")
    ]


def test_offsets_and_page_are_those_of_the_quote_in_its_document() -> None:
    (citation,) = cite("Li built it in 1987 [1].", SOURCES, documents=SHELF).citations
    assert (citation.page, citation.place) == (2, "page 2")
    assert PUMP.text[citation.start : citation.end] == citation.quote


def test_a_quote_in_a_later_part_of_the_document_keeps_document_offsets() -> None:
    (source,) = pack(
        [hit(PUMP, 42, 69), hit(PUMP, 70, 80)], documents=SHELF, tokenizer=WordTokenizer(), budget_tokens=999
    )
    (citation,) = cite("It is red [1].", [source], documents=SHELF).citations
    assert (citation.start, citation.quote) == (70, "It is red.")
    assert citation.chunk_id == source.chunk_ids[1]


def test_a_statement_that_shares_no_words_with_its_source_points_at_the_whole_of_it() -> None:
    assert quotes("泵是红色的[1]。") == [(1, PUMP.text)]
    assert quotes("It is the one that they have [2].") == [(2, TEA.text)]


def test_words_of_a_tables_header_are_cited_where_they_stand_and_those_of_a_row_in_the_row() -> None:
    text = "Before.\n\nPlanet | Moons\n" + "".join(f"body {n} | {n}\n" for n in range(90))
    table = document("t.md", text)
    found = hit(table, text.index("body 50"), text.index("body 60"))
    chunk = dataclasses.replace(found.chunk, context="Planet | Moons", context_start=text.index("Planet"))
    hits = [dataclasses.replace(found, chunk=chunk)]
    sources = pack(hits, documents=Shelf(table), tokenizer=WordTokenizer(), budget_tokens=1000)
    cited = cite("It lists planets and their moons [1]. One is body 55, with 55 [1].", sources, documents=Shelf(table))
    assert [citation.quote for citation in cited.citations] == ["Planet | Moons", "body 55 | 55"]
    for citation in cited.citations:
        assert citation.quote == text[citation.start : citation.end]
        assert citation.chunk_id == chunk.id


def test_numbers_that_name_no_source_are_reported_and_not_cited() -> None:
    cited = cite("It starts at 40 bar [7]. Since [2024] it is red [1][0][7].", SOURCES, documents=SHELF)
    assert cited.unknown_markers == (7, 2024, 0)
    assert [citation.marker for citation in cited.citations] == [1]


def test_a_source_named_twice_by_one_statement_is_cited_once() -> None:
    assert quotes("Li built it in 1987 [1], they say [1].") == [(1, "It was built in 1987 by Li.")]


def test_statements_without_markers_get_no_citation() -> None:
    assert quotes("It starts at 40 bar.\n\n- It is red\n") == []


def test_a_page_that_is_gone_is_not_guessed() -> None:
    shelf = Shelf(PUMP)
    shelf.remove("pump.pdf")
    (citation,) = cite("It is red [1].", SOURCES, documents=shelf).citations
    assert (citation.page, citation.place, citation.quote) == (None, "", "It is red.")


def test_a_citation_names_the_place_in_the_words_of_its_format() -> None:
    text = "Intro.\n\n# Pumps\n\nIt is red.\n"
    headed = dataclasses.replace(document("pump.md", text), headings=(Heading(1, "Pumps", 8),))
    slides = dataclasses.replace(document("pump.pptx", text), pages=(Page(1, 0, len(text), "slide 1"),))
    bare = document("pump.txt", text)
    for stored, place in ((headed, "§ Pumps, line 5"), (slides, "slide 1"), (bare, "line 5")):
        sources = pack([whole(stored)], documents=Shelf(stored), tokenizer=WordTokenizer(), budget_tokens=999)
        (citation,) = cite("It is red [1].", sources, documents=Shelf(stored)).citations
        assert (citation.quote, citation.place) == ("It is red.", place)


_PIECES = [
    *(
        "The pump starts at 40 bar",
        "Li built it in 1987",
        "红茶的产量达到4300吨",
        "绿茶产于浙江",
        "Dr. ",
        "e.g. ",
        "U.S. ",
    ),
    *(
        " [1]",
        "[1]",
        "[2]",
        "【2】",
        "[1, 2]",
        "[1-2]",
        "[9]",
        "(source 1)",
        "[",
        "(",
        ". ",
        ".",
        "。",
        "? ",
        "\n",
        "\n\n",
    ),
    *("`a[1]`", "\n```\n", "- ", ", and ", " ", "a[1]", " = 2", "…"),
]


@given(
    st.lists(st.sampled_from(_PIECES), max_size=20).map("".join) | st.text(max_size=40),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_citations_of_a_stream_are_those_of_the_finished_text(text: str, cuts: list[int]) -> None:
    stream = CitationStream(SOURCES, documents=SHELF)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    sentences = []
    for start, end in pairwise(edges):
        sentences += stream.feed(text[start:end])
    sentences += stream.finish()
    whole_text = cite(text, SOURCES, documents=SHELF)
    assert [citation for one in sentences for citation in one.citations] == list(whole_text.citations)
    assert [one.statement for one in sentences if one.statement is not None] == list(whole_text.statements)
    assert {number for one in sentences for number in one.unknown_markers} == set(whole_text.unknown_markers)


@given(st.lists(st.sampled_from(_PIECES), max_size=20).map("".join))
def test_every_quote_is_the_stored_text_at_its_offsets(text: str) -> None:
    stored = {"pump.pdf": PUMP.text, "茶.md": TEA.text}
    for citation in cite(text, SOURCES, documents=SHELF).citations:
        assert stored[citation.document][citation.start : citation.end] == citation.quote
        assert citation.quote.strip()
        assert 0 <= citation.answer_start < citation.answer_end <= len(text)


@given(st.text(max_size=300), st.text(max_size=60))
def test_alignment_accepts_any_text(source_text: str, statement: str) -> None:
    if not source_text:
        return
    odd = document("odd", source_text)
    (source,) = pack([whole(odd)], documents=Shelf(odd), tokenizer=WordTokenizer(), budget_tokens=10_000)
    (citation,) = cite(
        statement.replace("\n", " ").replace("`", "") + " x [1]", [source], documents=Shelf(odd)
    ).citations[-1:]
    assert source_text[citation.start : citation.end] == citation.quote


def test_a_long_table_is_quoted_by_its_rows_and_not_as_a_whole() -> None:
    rows = "\n".join(f"| item {number} | costs {number * 7} euro |" for number in range(1, 200))
    table = document("table.md", rows.replace("|", ","))
    (source,) = sources_of(table)
    (citation,) = cite("Item 50 costs 350 euro [1].", [source], documents=Shelf(table)).citations
    assert "item 50 , costs 350 euro" in citation.quote
    assert len(citation.quote) < 900
