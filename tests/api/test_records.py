"""Records of answers and what people say of them: over HTTP, by command, and in the library."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api import schemas
from api.cli.main import main
from api.footnote import Footnote
from index.answer_records import AnswerRecord, AnswerRecords, Feedback
from rag.contracts import ABSTENTION
from rag.errors import AnswerNotFoundError, FeedbackError
from rag.evaluation.questions import parse_questions
from tests.api.conftest import Service
from tests.api.test_http_answers import QUESTION, chat_settings
from tests.upstream import Fault, Upstream

SECRET = ("Apollo", "1969", "Armstrong", "landed")


def recorded(client: httpx2.Client, **query: Any) -> list[dict[str, Any]]:
    found = client.get("/answers", params=query).raise_for_status().json()
    return list(schemas.RecordedAnswerList.model_validate(found).model_dump()["answers"])


def ask(client: httpx2.Client, question: str = QUESTION) -> dict[str, Any]:
    return dict(client.post("/ask", json={"question": question}).raise_for_status().json())


def test_nothing_is_recorded_unless_said(service: Service, library: Path) -> None:
    client = service(library)
    ask(client)
    assert recorded(client) == []


def test_a_record_tells_of_an_answer_without_its_words(service: Service, library: Path) -> None:
    client = service(library, observe__records="on")
    answer = ask(client)
    (record,) = recorded(client)
    assert (record["id"], record["outcome"], record["collections"]) == (answer["id"], "answered", ["default"])
    assert record["question_hash"] == hashlib.sha256(QUESTION.encode()).hexdigest()
    assert [(hit["document"], hit["marker"]) for hit in record["hits"]] == [
        (source["document"], source["marker"]) for source in answer["sources"]
    ]
    assert sum(record["verdicts"].values()) == len(answer["statements"])
    assert (record["usage"], record["cost"], record["model"]) == (answer["usage"], 0.0, "local/extractive")
    assert {"retrieve", "until_first_token", "until_end"} <= set(record["timings_ms"])
    assert (record["question"], record["text"]) == (None, None)
    stored = b"".join(path.read_bytes() for path in library.glob("answers.db*"))
    assert answer["id"].encode() in stored
    assert not [word for word in SECRET if word.encode() in stored]
    assert client.get(f"/answers/{answer['id']}").json() == record


def test_the_words_are_kept_where_they_may_be(service: Service, library: Path) -> None:
    client = service(library, observe__records="on", observe__text="on")
    answer = ask(client)
    (record,) = recorded(client)
    assert (record["question"], record["text"]) == (QUESTION, answer["text"])
    assert [cited["quote"] for cited in record["cited"]] == [cited["quote"] for cited in answer["citations"]]


def test_refusals_failures_and_stopped_answers_are_recorded_as_what_they_are(
    service: Service, library: Path, upstream: Upstream
) -> None:
    client = service(library, **chat_settings(upstream), observe__records="on")
    upstream.reply = lambda request: ABSTENTION
    ask(client)
    upstream.script("chat", Fault(status=500))
    assert client.post("/ask", json={"question": QUESTION}).status_code == 502
    upstream.script("chat", Fault(hang_after=2))
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        cancelled = reply.headers["x-answer-id"]
        client.post(f"/answers/{cancelled}/cancel").raise_for_status()
    records = recorded(client)
    assert [(record["outcome"], record["error"]) for record in records] == [
        ("cancelled", ""),
        ("error", "GenerationError"),
        ("not_in_documents", ""),
    ]
    assert records[0]["id"] == cancelled
    assert records[2]["cost"] is None  # the table has no price for this model


def test_pages_of_records_follow_each_other(service: Service, library: Path) -> None:
    client = service(library, observe__records="on")
    ids = [ask(client, f"{QUESTION} {number}")["id"] for number in range(3)]
    first = client.get("/answers", params={"limit": 2}).json()
    second = client.get("/answers", params={"limit": 2, "before": first["next_before"]}).json()
    assert [record["id"] for record in first["answers"] + second["answers"]] == ids[::-1]
    assert second["next_before"] is None


def test_feedback_stays_with_its_answer_and_the_last_word_counts(service: Service, library: Path) -> None:
    client = service(library, observe__records="on")
    answer_id = ask(client)["id"]
    ask(client)
    for rating in ("up", "down"):
        said = {"rating": rating, "correction": "On 20 July.", "comment": "too long"}
        reply = client.post(f"/answers/{answer_id}/feedback", json=said).raise_for_status().json()
        assert {name: reply[name] for name in said} == said
    assert [record["id"] for record in recorded(client, rating="down")] == [answer_id]
    assert recorded(client, rating="up") == []
    assert client.get(f"/answers/{answer_id}").json()["feedback"] == reply


@pytest.mark.parametrize(
    ("body", "status"), [({"rating": "meh"}, 400), ({}, 400), ({"rating": "up"}, 404)], ids=["rating", "none", "answer"]
)
def test_feedback_that_cannot_be_stored_is_told(
    service: Service, library: Path, body: dict[str, str], status: int
) -> None:
    client = service(library, observe__records="on")
    assert client.post("/answers/answer-none/feedback", json=body).status_code == status


# --- by command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rated(library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with an answer rated up, and one rated down with a correction, words kept."""
    for name, value in {"LIBRARY": str(library), "OBSERVE_RECORDS": "on", "OBSERVE_TEXT": "on"}.items():
        monkeypatch.setenv(f"RAG_{name}", value)

    async def run() -> None:
        async with Footnote.open(library, environ={}, observe__records="on", observe__text="on") as footnote:
            for rating, correction in (("up", ""), ("down", "In 1969.")):
                answer = await footnote.ask(QUESTION)
                footnote.records.rate(answer.id, rating, correction=correction)  # type: ignore[arg-type]
            await footnote.ask(QUESTION)

    asyncio.run(run())
    return library


def test_the_rated_answers_are_a_question_set(rated: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["answers", "export"]) == 0
    lines = capsys.readouterr().out.splitlines()
    down, up = parse_questions(lines, source="export")
    assert up.text == down.text == QUESTION
    assert {reference.document for reference in up.relevant} == {"moon.md"}
    assert "20 July 1969" in up.relevant[0].quote
    assert json.loads(lines[0])["answer"] == "In 1969."
    exported = tmp_path / "questions.jsonl"
    exported.write_text("\n".join(lines), encoding="utf-8")
    assert main(["eval", str(exported)]) == 0


def test_answers_are_listed_shown_and_rated_by_command(rated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["answers"]) == 0
    newest, down, up = capsys.readouterr().out.splitlines()
    assert "[down]" in down
    assert "[up]" in up
    answer_id = newest.split()[0]
    assert main(["feedback", answer_id, "down", "--text", "It was the Eagle.", "--comment", "odd"]) == 0
    assert main(["answers", "show", answer_id]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["feedback"]["correction"], shown["feedback"]["comment"]) == ("It was the Eagle.", "odd")
    assert main(["answers", "--rated", "down", "--limit", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == answer_id
    assert main(["feedback", "answer-none", "up"]) == 1
    assert "observe.records" in capsys.readouterr().err


def test_no_question_set_is_made_of_answers_without_words(library: Path) -> None:
    async def run() -> None:
        async with Footnote.open(library, environ={}, observe__records="on") as footnote:
            answer = await footnote.ask(QUESTION)
            footnote.records.rate(answer.id, "up")

    asyncio.run(run())
    assert main(["answers", "export", "--library", str(library)]) == 1


# --- the store -------------------------------------------------------------------------------------------------------


def record(name: str, at: float = 0.0) -> AnswerRecord:
    return AnswerRecord(name, at, "answered", "0" * 64, ("default",))


def test_records_and_their_feedback_go_after_their_time(tmp_path: Path) -> None:
    now = [1_000_000.0]
    store = AnswerRecords(tmp_path, keep_days=2, clock=lambda: now[0])
    store.add(record("old", now[0]))
    store.rate("old", Feedback("up"))
    now[0] += 86_400
    store.add(record("new", now[0]))
    assert store.get("old").feedback == Feedback("up", at=1_000_000.0)
    now[0] += 1.5 * 86_400
    store.add(record("newest", now[0]))  # which looks for what is too old
    with pytest.raises(AnswerNotFoundError, match="2 days"):
        store.get("old")
    assert [found.id for found in store.page(limit=9)] == ["newest", "new"]
    store.close()
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (0,)
    connection.close()


def test_a_record_comes_back_as_it_went_in_and_odd_words_too(tmp_path: Path) -> None:
    store = AnswerRecords(tmp_path, keep_days=2)
    kept = AnswerRecord(
        "a", 9e9, "error", "0" * 64, ("a", "b"), error="X", hits=({"document": "\udcff.md"},), text="元"
    )
    store.add(kept)
    assert store.get("a") == kept
    with pytest.raises(FeedbackError, match="'up' or 'down'"):
        store.rate("a", Feedback("meh"))  # type: ignore[arg-type]
    with pytest.raises(FeedbackError, match="200,000"):
        store.rate("a", Feedback("up", correction="x" * 200_001))
    store.close()
