"""What the documents leave open is named, and what they say differently is shown with the dates of the documents."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.answer import Answerer
from rag.answering.contradictions import contradictions_in
from rag.answering.prompt import render_messages
from rag.answering.unanswered import OpenParts, parts_without_words
from rag.types import Answer, Source
from tests.fakes import CannedGenerator, CannedRetriever, Shelf, WordTokenizer, document, whole


def source(marker: int, text: str, *, document_id: str = "") -> Source:
    return Source(marker, document_id or f"{marker}.md", "", 0, len(text), text, None, (), 1.0, ("c",), (0,))


@pytest.mark.parametrize(
    ("one", "other", "values"),
    [
        ("The warranty lasts 24 months.", "The warranty lasts 12 months.", ("24 months", "12 months")),
        (
            "The warranty lasts 24 months.",
            "The warranty currently lasts twelve months.",
            ("24 months", "twelve months"),
        ),
        (
            "The harbour bridge was opened on 3 May 1932.",
            "The harbour bridge was opened on 9 May 1932.",
            ("3 May 1932", "9 May 1932"),
        ),
        ("本产品的保修期为24个月。", "本产品的保修期为12个月。", ("24个月", "12个月")),
    ],
)
def test_the_same_sentence_with_another_value_is_a_contradiction(one: str, other: str, values: tuple[str, str]) -> None:
    (found,) = contradictions_in([source(1, f"Hello. {one} Bye."), source(2, other)])
    assert found.markers == (1, 2)
    assert found.values == values
    assert [" ".join(quote.split()) for quote in found.quotes] == [one, other]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The warranty lasts 24 months.", "The warranty lasts two years, or 24 months."),
        ("The warranty lasts 24 months.", "The battery warranty lasts 12 months."),
        ("The warranty lasts 24 months.", "The warranty lasts 24 months."),
        ("In 2019 the town had 5,000 people.", "In 2020 the town had 5,100 people."),
        ("Pump Alba starts at 40 bar.", "Pump Berta starts at 45 bar."),
        ("| 1 | 2 |", "| 1 | 3 |"),
    ],
)
def test_other_statements_are_no_contradiction(one: str, other: str) -> None:
    assert contradictions_in([source(1, one), source(2, other)]) == ()


def test_a_document_does_not_contradict_itself() -> None:
    text = "The warranty lasts 24 months."
    sources = [source(1, text, document_id="a"), source(2, text.replace("24", "12"), document_id="a")]
    assert contradictions_in(sources) == ()


OLD = document("old.md", "The warranty lasts 24 months.")
NEW = document("new.md", "The warranty lasts 12 months.")


async def asked(generator: CannedGenerator, question: str = "How long?") -> Answer:
    answerer = Answerer(
        CannedRetriever(whole(OLD), whole(NEW)),
        generator,
        Shelf(OLD, NEW),
        WordTokenizer(),
        dates_of=lambda ids: {"new.md": "2025-02-01"},
    )
    return await answerer.answer(question)


async def test_the_model_is_told_of_both_with_their_dates_and_the_answer_shows_them() -> None:
    generator = CannedGenerator("24 months [1], or 12 months [2].")
    answer = await asked(generator)
    (found,) = answer.contradictions
    assert (found.markers, found.dates) == ((1, 2), ("", "2025-02-01"))
    request = render_messages(generator.prompts[0])[-1]["content"]
    assert f"- [1] says {found.values[0]}, [2] says {found.values[1]} (document of 2025-02-01)\n" in request
    assert "[2] says" in answer._repr_html_()


async def test_what_is_left_open_is_named_and_not_part_of_the_text() -> None:
    answer = await asked(
        CannedGenerator("The warranty lasts ", "24 months [1].\n\nMIS", "SING: the price; the", " colour.\n")
    )
    assert answer.text == "The warranty lasts 24 months [1]."
    assert answer.unanswered == ("the price", "the colour")
    assert answer.answered


async def test_an_answer_that_only_names_what_is_missing_is_a_refusal() -> None:
    answer = await asked(CannedGenerator("MISSING: the price"))
    assert (answer.refusal, answer.unanswered) == ("not_in_documents", ("the price",))


@given(
    st.lists(
        st.sampled_from(["MISSING", ": a; b", "MISSING: c", "\n", "\n\n", "text [1]. ", "**", "MIS", " ", "- "])
    ).map("".join),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_a_growing_text_is_parted_as_the_whole_is(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    growing, whole_text = OpenParts(), OpenParts()
    shown = "".join(growing.feed(text[low:high]) for low, high in pairwise(edges)) + growing.finish()
    assert shown == whole_text.feed(text) + whole_text.finish()
    assert growing.parts == whole_text.parts
    if "MISSING:" not in text:
        assert shown == text


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("How long is the warranty, and who designed the lighthouse?", ["who designed the lighthouse"]),
        ("How long is the warranty? What does the lighthouse cost?", ["What does the lighthouse cost"]),
        ("保修期有多长，以及灯塔在哪里？", ["灯塔在哪里"]),
        ("How long is the warranty?", []),
        ("How long is the warranty and when does it end?", []),
    ],
)
def test_parts_of_a_question_without_a_word_in_the_sources_are_named(question: str, missing: list[str]) -> None:
    assert parts_without_words(question, [source(1, OLD.text), source(2, "保修期为24个月。It ends in May.")]) == missing
