"""What is retrieved for a question, and in which language its notices are."""

from __future__ import annotations

import pytest

from rag.answering.question import notice, reads_chinese, retrieval_query
from rag.types import Turn

HISTORY = (Turn("user", "What is a heat pump?"), Turn("assistant", "A machine [1]."))


@pytest.mark.parametrize(
    ("question", "leans"),
    [
        ("How old is it?", True),
        ("And in winter?", True),
        ("Why does the compressor of a fridge make noise?", False),
        ("那它呢？", True),
        ("冬天呢？", True),
        ("中华人民共和国的首都在哪里以及人口多少", False),
    ],
)
def test_a_question_that_leans_on_the_last_one_is_retrieved_with_it(question: str, leans: bool) -> None:
    expected = f"What is a heat pump?\n{question}" if leans else question
    assert retrieval_query(question, HISTORY) == expected


def test_a_first_question_is_retrieved_as_it_is() -> None:
    assert retrieval_query("How old is it?", ()) == "How old is it?"
    assert retrieval_query("How old is it?", (Turn("assistant", "Hello"),)) == "How old is it?"


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("什么是RAG？", True),
        ("What is 道?", False),
        ("東京はどこですか", False),
        ("", False),
        ("Python 3.11 的新特性有哪些？", True),
    ],
)
def test_chinese_is_told_from_its_neighbours(text: str, chinese: bool) -> None:
    assert reads_chinese(text) is chinese


def test_notices_follow_the_language_of_the_question() -> None:
    assert notice("not_in_documents", "Why?") == "The documents do not answer this question."
    assert reads_chinese(notice("question_blocked", "为什么？"))
