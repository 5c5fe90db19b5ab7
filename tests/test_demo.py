"""The demo's promise, without a key: the example questions are answered from the right document and page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from rag.sync import Sync
from rag.types import Answer

EXAMPLES = Path(__file__).parents[1] / "examples"
QUESTIONS = [json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
DEMO = [question for question in QUESTIONS if question.get("demo")]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]


@pytest.fixture(scope="module")
def footnote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sync[Footnote]]:
    with Sync(Footnote.open(tmp_path_factory.mktemp("library"), environ={})) as opened:
        (report,) = opened.ingest(EXAMPLES / "docs")
        assert (report.exit_code, report.counts["indexed"]) == (0, len(report.files))
        yield opened


@pytest.fixture(scope="module")
def answers(footnote: Sync[Footnote]) -> dict[str, Answer]:
    """The answer to each example question, by the question."""
    return {question["question"]: footnote.ask(question["question"]) for question in QUESTIONS}


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def quotes(answer: Answer) -> str:
    return squeezed(" ".join(citation.quote for citation in answer.citations))


@pytest.mark.parametrize("question", DEMO, ids=[question["language"] for question in DEMO])
def test_a_demo_answer_cites_the_right_document_page_and_words(
    answers: dict[str, Answer], question: dict[str, Any]
) -> None:
    answer = answers[question["question"]]
    first = answer.citations[0]
    assert answer.answered
    assert (first.document, first.page) == (question["documents"][0], question["page"])
    assert squeezed(question["quote"]) in squeezed(first.quote)


def test_every_quote_stands_at_its_offsets_on_its_page(footnote: Sync[Footnote], answers: dict[str, Answer]) -> None:
    n_citations = 0
    for answer in answers.values():
        for citation in answer.citations:
            document = footnote.document(citation.document)
            assert document.text[citation.start : citation.end] == citation.quote
            assert document.page_at(citation.start) == citation.page
            n_citations += 1
    assert n_citations >= len(ANSWERABLE)


def test_most_questions_get_the_words_that_answer_them(answers: dict[str, Answer]) -> None:
    """A floor below what was measured (26 of 31), so that a worse retriever or answerer is noticed."""
    right = [one for one in ANSWERABLE if squeezed(one["quote"]) in quotes(answers[one["question"]])]
    assert len(right) >= 0.75 * len(ANSWERABLE)


def test_a_second_ingest_embeds_nothing(footnote: Sync[Footnote]) -> None:
    (report,) = footnote.ingest(EXAMPLES / "docs")
    assert (report.counts["unchanged"], report.n_texts_embedded) == (len(report.files), 0)


def test_no_stored_passage_is_lost_from_the_index(footnote: Sync[Footnote]) -> None:
    assert footnote.check() == []
