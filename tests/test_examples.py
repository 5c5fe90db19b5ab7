"""The documents that ``make demo`` ingests are whole, licensed, and hold the answers that the questions name."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ingest.readers import read
from rag.types import Document

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DOCS = EXAMPLES / "docs"
DOCUMENT_IDS = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*") if path.is_file())
PDF_IDS = [document_id for document_id in DOCUMENT_IDS if document_id.endswith(".pdf")]
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (EXAMPLES / "questions.jsonl").read_text("utf-8").splitlines()
]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]


@cache
def document(document_id: str) -> Document:
    return read(DOCS / document_id, document_id=document_id)


def squeezed(text: str) -> str:
    """Line ends fall anywhere in a PDF, also between two Chinese characters: compare without white space."""
    return re.sub(r"\s+", "", text)


def listed_files() -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", (EXAMPLES / "LICENCES.md").read_text("utf-8"), re.MULTILINE)


def test_every_document_is_listed_with_its_licence():
    assert sorted(listed_files()) == DOCUMENT_IDS


def test_every_licence_text_that_is_linked_is_shipped():
    links = re.findall(r"\]\((licences/[^)]+)\)", (EXAMPLES / "LICENCES.md").read_text("utf-8"))
    assert len(links) >= 3
    assert all((EXAMPLES / link).stat().st_size > 1000 for link in links)


def test_the_documents_are_small_enough_to_ship():
    assert sum((DOCS / document_id).stat().st_size for document_id in DOCUMENT_IDS) < 4_000_000


def test_the_documents_cover_the_formats():
    suffixes = {Path(document_id).suffix for document_id in DOCUMENT_IDS}
    assert suffixes == {".pdf", ".md", ".html", ".txt", ".csv", ".jsonl"}
    assert len(PDF_IDS) == 4


@pytest.mark.parametrize("document_id", DOCUMENT_IDS)
def test_a_document_is_read_without_a_warning(document_id: str):
    found = document(document_id)
    assert len(found.text) > 500
    assert found.warnings == ()
    assert "\ufffd" not in found.text


@pytest.mark.parametrize("document_id", PDF_IDS)
def test_a_book_has_text_on_each_of_its_many_pages(document_id: str):
    found = document(document_id)
    assert len(found.pages) >= 10
    assert all(found.text[page.start : page.end].strip() for page in found.pages)


def test_the_questions_are_enough_and_in_both_languages():
    unanswerable = [question for question in QUESTIONS if not question["answerable"]]
    assert len(QUESTIONS) >= 24
    assert len(unanswerable) >= 6
    assert {question["language"] for question in QUESTIONS} == {"en", "zh"}
    assert {question["language"] for question in unanswerable} == {"en", "zh"}


def test_the_demo_asks_one_question_in_each_language_about_a_late_page_of_a_book():
    demo = [question for question in QUESTIONS if question.get("demo")]
    assert [question["language"] for question in demo] == ["en", "zh"]
    assert all(question["documents"][0] in PDF_IDS and question["page"] > 30 for question in demo)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["question"])
def test_a_question_names_documents_that_exist(question: dict[str, Any]):
    assert set(question["documents"]) <= set(DOCUMENT_IDS)
    assert bool(question["documents"]) == question["answerable"]


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["question"])
def test_the_first_document_of_a_question_holds_its_quote(question: dict[str, Any]):
    found = document(question["documents"][0])
    assert bool(found.pages) == (question["page"] is not None)
    text = found.text
    if question["page"] is not None:
        page = found.pages[question["page"] - 1]
        text = found.text[page.start : page.end]
    assert squeezed(question["quote"]) in squeezed(text)
