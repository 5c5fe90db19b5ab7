"""Question sets as people write them, and as BEIR does."""

import json
from pathlib import Path

import pytest

from rag.errors import QuestionSetError
from rag.evaluation.questions import (
    Question,
    Reference,
    parse_beir_passages,
    parse_beir_qrels,
    parse_beir_queries,
    parse_questions,
)


def one(**fields: object) -> Question:
    (question,) = parse_questions([json.dumps(fields)], source="q.jsonl")
    return question


def test_a_question_names_documents_pages_and_words() -> None:
    found = one(id="q1", question="Why?", relevant=["a.md", {"document": "b.pdf", "page": 3, "grade": 2}])
    assert found == Question("q1", "Why?", (Reference("a.md"), Reference("b.pdf", page=3, grade=2)))


def test_one_document_with_a_quote_needs_no_list_of_references() -> None:
    found = one(question="Why?", documents=["a.md"], quote="because", language="en")
    assert found.relevant == (Reference("a.md", quote="because"),)
    assert found.id == "line 1"


def test_what_the_documents_do_not_answer_has_no_reference() -> None:
    assert one(question="Who will win?", answerable=False).relevant == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "not a JSON object"),
        ('{"relevant": ["a"]}', "'question' must be a text"),
        ('{"question": "Why?"}', "'relevant' must be a list"),
        ('{"question": "Why?", "relevant": [{"page": 3}]}', "has a 'document'"),
        ('{"question": "Why?", "relevant": [{"document": "a", "side": 3}]}', "unknown 'side'"),
        ('{"question": "Why?", "relevant": [{"document": "a", "page": "three"}]}', "'page' must be a whole number"),
        ('{"question": "Why?", "relevant": [{"document": "a", "grade": 0}]}', "'grade' must be"),
        ('{"id": "q", "question": "Why?", "relevant": ["a"]}', "the id 'q' is there twice"),
    ],
)
def test_a_line_that_is_no_question_is_named(line: str, said: str) -> None:
    first = '{"id": "q", "question": "How?", "relevant": ["a"]}'
    with pytest.raises(QuestionSetError, match=r"^q\.jsonl cannot be used: ") as caught:
        parse_questions([first, line], source="q.jsonl")
    assert said in str(caught.value)


def test_the_examples_of_the_documentation_are_question_sets() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("{")]
    assert len(parse_questions(lines, source="docs/evaluation.md")) == 4


def test_many_wrong_lines_are_counted_not_listed() -> None:
    with pytest.raises(QuestionSetError, match="and 15 more; correct it"):
        parse_questions(["x"] * 20, source="q.jsonl")


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(QuestionSetError, match="it holds no question"):
        parse_questions(["", " "], source="q.jsonl")


def test_a_beir_folder_is_queries_and_grades_above_zero() -> None:
    answers = parse_beir_qrels(["query-id\tcorpus-id\tscore", "q1\td/1\t2", "q1\td2\t0", "q2\td2\t1"], source="qrels")
    queries = [json.dumps({"_id": name, "text": f"about {name}?"}) for name in ("q1", "q2", "q3")]
    assert parse_beir_queries(queries, answers, source="queries") == [
        Question("q1", "about q1?", (Reference("d/1", grade=2),)),
        Question("q2", "about q2?", (Reference("d2"),)),
    ]


def test_a_query_may_bring_the_words_that_answer_it() -> None:
    line = json.dumps(
        {"_id": "q", "text": "Why?", "spans": [{"doc_id": "d", "start": 4, "end": 11, "text": "because"}]}
    )
    (found,) = parse_beir_queries([line], {}, source="queries")
    assert found.relevant == (Reference("d", quote="because"),)


def test_a_title_stands_above_a_text_that_does_not_begin_with_it() -> None:
    lines = [
        json.dumps({"_id": "1", "title": "Moon", "text": "It is far."}),
        json.dumps({"_id": "2", "title": "Moon", "text": "Moon, far away"}),
    ]
    assert parse_beir_passages(lines, source="corpus") == {"1": "Moon\n\nIt is far.", "2": "Moon, far away"}


def test_broken_beir_lines_are_named() -> None:
    with pytest.raises(QuestionSetError, match="line 1: not query, passage and a whole number"):
        parse_beir_qrels(["q1 d1 1"], source="qrels")
    with pytest.raises(QuestionSetError, match="no passage with _id and text"):
        parse_beir_passages(['{"text": "x"}'], source="corpus")
    with pytest.raises(QuestionSetError, match="none of its queries has an answer"):
        parse_beir_queries(['{"_id": "q", "text": "Why?"}'], {}, source="queries")
