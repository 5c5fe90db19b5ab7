"""Questions with what answers them: the form in which a user writes them down, and that of BEIR. Pure.

A question set is JSON Lines, one question a line::

    {"id": "q1", "question": "How long is the warranty?", "relevant": [{"document": "manual.pdf", "page": 3}]}
    {"question": "Who signs?", "relevant": [{"document": "form.docx", "quote": "signed by the head of department"}]}
    {"question": "What is it about?", "relevant": ["report.md", {"document": "annex.md", "grade": 2}]}
    {"question": "Who signs?", "documents": ["form.docx"], "quote": "signed by the head of department"}
    {"question": "Who will win?", "answerable": false}

``document`` is a document id, as citations show it. Without page or quote all of the document answers. Other fields are
left alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rag.errors import QuestionSetError

__all__ = ["Question", "Reference", "parse_beir_passages", "parse_beir_qrels", "parse_beir_queries", "parse_questions"]

_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Reference:
    """What answers a question, as its author names it.

    ``page`` counts from 1, 0 is none; ``quote`` are words of the document. ``grade`` is how well it answers: 1 for yes,
    more for better.
    """

    document: str
    page: int = 0
    quote: str = ""
    grade: int = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and everything that answers it: nothing for one that the documents do not answer."""

    id: str
    text: str
    relevant: tuple[Reference, ...]


def parse_questions(lines: Iterable[str], *, source: str) -> list[Question]:
    """Return the questions of a set, in order. Raises QuestionSetError, which names the lines that are none.

    A question without an id is called after its line. ``source`` is what the set is called in errors.
    """
    questions: list[Question] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            questions.append(_question(_object(line), number))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if not problems and not questions:
        problems.append("it holds no question")
    _refuse(source, [*problems, *_twice(question.id for question in questions)])
    return questions


def parse_beir_queries(
    lines: Iterable[str], answers: Mapping[str, Mapping[str, int]], *, source: str
) -> list[Question]:
    """Return the queries of a BEIR folder that have an answer, in their order, with what answers them.

    A query may carry ``spans`` (``doc_id`` and ``text``, words of that passage) in place of entries in ``answers``.
    """
    questions: list[Question] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            query = _object(line)
            identity, text = str(query["_id"]), str(query["text"])
            relevant = [Reference(name, grade=grade) for name, grade in answers.get(identity, {}).items()]
            relevant += [Reference(str(span["doc_id"]), quote=str(span["text"])) for span in query.get("spans", ())]
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"line {number}: no query with _id and text ({error})")
            continue
        if relevant and text.strip():
            questions.append(Question(identity, text, tuple(relevant)))
    if not problems and not questions:
        problems.append("none of its queries has an answer")
    _refuse(source, problems)
    return questions


def parse_beir_qrels(lines: Iterable[str], *, source: str) -> dict[str, dict[str, int]]:
    """Return the grades above 0 by query and passage, from tab-separated ``query-id corpus-id score``."""
    answers: dict[str, dict[str, int]] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        cells = line.rstrip("\n").split("\t")
        if (number == 1 and cells[-1] == "score") or not line.strip():
            continue
        try:
            query, passage, grade = cells[0], cells[1], int(cells[2])
        except (IndexError, ValueError):
            problems.append(f"line {number}: not query, passage and a whole number, with tabs between")
            continue
        if grade > 0:
            answers.setdefault(query, {})[passage] = grade
    _refuse(source, problems)
    return answers


def parse_beir_passages(lines: Iterable[str], *, source: str) -> dict[str, str]:
    """Return the texts of a BEIR corpus by id; a title that the text does not begin with stands above it."""
    passages: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = _object(line)
            title, text = str(entry.get("title") or ""), str(entry["text"])
            passages[str(entry["_id"])] = text if text.startswith(title) else f"{title}\n\n{text}"
        except (ValueError, KeyError) as error:
            problems.append(f"line {number}: no passage with _id and text ({error})")
    _refuse(source, problems)
    return passages


def _question(value: Mapping[str, Any], number: int) -> Question:
    text = value.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("'question' must be a text")
    identity = str(value.get("id", f"line {number}"))
    if value.get("answerable") is False:
        return Question(identity, text, ())
    relevant = value.get("relevant", _short_form(value))
    if not isinstance(relevant, list) or not relevant:
        raise ValueError("'relevant' must be a list of what answers it, or 'answerable' false")
    return Question(identity, text, tuple(map(_reference, relevant)))


def _short_form(value: Mapping[str, Any]) -> list[Any]:
    """Return the references of a question that names one document, and perhaps a place in it, without 'relevant'."""
    documents = value.get("documents")
    if not isinstance(documents, list) or len(documents) != 1:
        return documents if isinstance(documents, list) else []
    place = {name: value[name] for name in ("page", "quote", "grade") if value.get(name)}
    return [{"document": documents[0], **place}]


def _reference(value: Any) -> Reference:
    if isinstance(value, str) and value:
        return Reference(value)
    if not isinstance(value, dict) or not isinstance(value.get("document"), str) or not value["document"]:
        raise ValueError(f"each item of 'relevant' is a document id or has a 'document', got {value!r:.100}")
    if unknown := value.keys() - {"document", "page", "quote", "grade"}:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}; known are document, page, quote, grade")
    page, quote, grade = value.get("page", 0), value.get("quote", ""), value.get("grade", 1)
    if not isinstance(page, int) or page < 0 or not isinstance(quote, str):
        raise ValueError("'page' must be a whole number from 1, 'quote' a text")
    if not isinstance(grade, int) or grade < 1:
        raise ValueError(f"'grade' must be a whole number from 1, got {grade!r}")
    return Reference(value["document"], page, quote, grade)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [f"the id {name!r} is there twice" for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _refuse(source: str, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise QuestionSetError(f"{source} cannot be used: {'; '.join(problems[:_MOST_SHOWN])}{more}; correct it")
