"""Sentences are exact spans, whatever the text, and a growing text never changes the ends already settled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.sentences import sentence_spans, settled_spans


def sentences(text: str, *, wrapped: bool = True) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text, wrapped=wrapped)]


_PIECES = [
    *("Dr. ", "e.g. ", "U.S. ", "Inc. ", "The ", "he ", "3.5 ", "Sky is. ", "1. ", "- ", "J. ", "no. ", "5", '"', " "),
    *(
        "。",
        "？”",
        "蓝色",
        "……",
        "[1]",
        " [2, 3]",
        "【4】",
        "(source 1)",
        "（来源 2）",
        "[",
        "[note] ",
        "\n",
        "\n\n",
        "...",
        "!",
    ),
    *("…", "`a[1]`", "```\n"),
]
texts = st.lists(st.sampled_from(_PIECES), max_size=25).map("".join) | st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("One", ["One"]),
        ("Dr. Li paid 3.5 yuan. It was late.", ["Dr. Li paid 3.5 yuan.", "It was late."]),
        ("J. R. Smith of the U.S. Army. He left.", ["J. R. Smith of the U.S. Army.", "He left."]),
        ("He is from the U.S. The rest is not.", ["He is from the U.S.", "The rest is not."]),
        ("Apple Inc. Chairman Bob. End.", ["Apple Inc. Chairman Bob.", "End."]),
        ("See Fig. 3 and No. 5. He said no. Then?", ["See Fig. 3 and No. 5.", "He said no.", "Then?"]),
        ("Visit https://a.b/c?d=e.f now. Ok.", ["Visit https://a.b/c?d=e.f now.", "Ok."]),
        ("Well... and then. Next…", ["Well... and then.", "Next…"]),
        ('"Really?" he said. "Yes." Next.', ['"Really?" he said.', '"Yes."', "Next."]),
        ("(It was late.) Next.", ["(It was late.)", "Next."]),
        ("At 5 p.m. He left.", ["At 5 p.m.", "He left."]),
        ("1. First. Second.\n2. Other", ["1. First.", "Second.", "2. Other"]),
        ("- one\n- two\n\nthree", ["- one", "- two", "three"]),
        ("他说：“好。”然后走了。价格是3.5元！真的？", ["他说：“好。”", "然后走了。", "价格是3.5元！", "真的？"]),
        ("他……走了。", ["他……走了。"]),
        ("标题\n\n第一段没有句号\n\n第二段", ["标题", "第一段没有句号", "第二段"]),
        ("Blue. [1] [2] Red.[3] Green [4].", ["Blue. [1] [2]", "Red.[3]", "Green [4]."]),
        ("蓝色。【1】红色[2]。", ["蓝色。【1】", "红色[2]。"]),
    ],
)
def test_sentences_worked_out_by_hand(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_line_break_at_the_margin_does_not_end_a_sentence() -> None:
    text = "A long paragraph that goes on and is\nwrapped by the margin. It ends\nhere."
    assert sentences(text) == ["A long paragraph that goes on and is\nwrapped by the margin.", "It ends\nhere."]


def test_wrapped_chinese_lines_are_one_sentence() -> None:
    text = "这是一个很长的段落它在页面的边缘\n被分成了两行但是仍然是一句话。\n下一句。"
    assert sentences(text) == ["这是一个很长的段落它在页面的边缘\n被分成了两行但是仍然是一句话。", "下一句。"]


def test_a_short_line_above_a_paragraph_is_a_title() -> None:
    text = "Title Here\nA long paragraph under its title goes on until\nthe end."
    assert sentences(text) == ["Title Here", "A long paragraph under its title goes on until\nthe end."]


def test_every_line_ends_a_sentence_when_nothing_is_wrapped() -> None:
    assert sentences("no stop\nnext line\n", wrapped=False) == ["no stop", "next line"]


def test_a_line_of_markers_belongs_to_the_sentence_above() -> None:
    assert sentences("It is blue.\n[1][2]\nNext", wrapped=False) == ["It is blue.\n[1][2]", "Next"]


@given(texts, st.booleans())
def test_every_visible_character_lies_in_exactly_one_trimmed_sentence(text: str, wrapped: bool) -> None:
    spans = sentence_spans(text, wrapped=wrapped)
    covered = [place for start, end in spans for place in range(start, end)]
    assert covered == sorted(set(covered))
    assert {place for place, char in enumerate(text) if not char.isspace()} <= set(covered)
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)


@given(texts, st.lists(st.integers(0, 80), max_size=8))
def test_settled_sentences_are_the_first_sentences_of_the_finished_text(text: str, cuts: list[int]) -> None:
    settled: list[tuple[int, int]] = []
    start = 0
    for cut in sorted(cuts):
        new, start = settled_spans(text[:cut], start)
        settled += new
    assert settled == sentence_spans(text, wrapped=False)[: len(settled)]


def test_a_sentence_settles_as_soon_as_the_next_one_begins() -> None:
    assert settled_spans("It is blue [1]. I", 0) == ([(0, 15)], 15)
    assert settled_spans("它是蓝色的[1]。因", 0) == ([(0, 9)], 9)
    assert settled_spans("It is blue.", 0) == ([], 0)  # a marker may follow
