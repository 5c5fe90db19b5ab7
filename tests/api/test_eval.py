"""``rag eval`` as a user meets it: tables, comparisons, BEIR folders, drafted questions."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from api.evaluating import compared, evaluate
from api.footnote import Footnote
from rag.evaluation.questions import Question, Reference
from tests.upstream import Upstream

Run = Callable[..., tuple[int, str, str]]

QUESTIONS = [
    {
        "id": "moon",
        "question": "When did Apollo 11 land on the Moon?",
        "documents": ["moon.md"],
        "quote": "20 July 1969",
    },
    {"id": "tower", "question": "How tall is the Eiffel Tower?", "relevant": ["places/tower.txt"]},
    {"id": "yuan", "question": "元朝的首都在哪里？", "relevant": [{"document": "元朝.txt", "quote": "其首都是大都"}]},
    {"id": "win", "question": "Who will win?", "answerable": False},
]


@pytest.fixture
def rag(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for name in list(os.environ):
        if name.startswith(("RAG_", "OPENAI_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, **environ: str) -> tuple[int, str, str]:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        status = main([*argv, "--library", str(library)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def questions(tmp_path: Path) -> str:
    return str(write_lines(tmp_path / "questions.jsonl", QUESTIONS))


def test_a_table_of_measures_with_intervals_and_times(rag: Run, questions: str) -> None:
    status, out, _ = rag("eval", questions)
    assert status == 0
    assert "collection 'default', 3 questions (1 without an answer were not asked), 10 hits each" in out
    assert "| recall@1 | 1.000 (1.000 to 1.000) |" in out
    for row in (
        "| ndcg@10 |",
        "| mrr@10 |",
        "| token recall |",
        "| token IoU |",
        "| keyword search |",
        "| embed query |",
    ):
        assert row in out


def test_two_settings_are_compared_question_by_question(rag: Run, questions: str) -> None:
    status, out, _ = rag("eval", questions, "--compare", "retrieval.vector_weight=0", "--json")
    values = json.loads(out)
    assert status == 0
    assert [each["label"] for each in values["evaluations"]] == ["as set", "retrieval.vector_weight=0"]
    assert set(values["difference"]["recall@5"]) == {"mean", "low", "high"}
    assert [question["id"] for question in values["evaluations"][0]["questions"]] == ["moon", "tower", "yuan"]


def test_the_difference_is_that_of_the_same_questions(library: Path) -> None:
    asked = [Question("q", "How tall is the Eiffel Tower?", (Reference("places/tower.txt"),))]

    async def run() -> tuple[Any, Any]:
        async with Footnote.open(library, environ={}) as footnote:
            return await evaluate(footnote, asked, k=1), await evaluate(footnote, asked, k=1)

    first, second = asyncio.run(run())
    assert {name: by.mean for name, by in compared(first, second).items()} == dict.fromkeys(first.names, 0.0)


def test_questions_about_what_is_not_there_are_left_out_and_said(rag: Run, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"id": "gone", "question": "Why?", "relevant": ["gone.md"]},
        {"id": "words", "question": "Why?", "documents": ["moon.md"], "quote": "made of cheese"},
        {"id": "page", "question": "Why?", "documents": ["moon.md"], "page": 3},
    ]
    status, out, err = rag("eval", str(write_lines(tmp_path / "q.jsonl", [*QUESTIONS, *wrong])))
    assert (status, "3 questions" in out) == (1, True)
    assert "left out: gone: no document 'gone.md' in the collection" in err
    assert "left out: words: the words 'made of cheese' are not in 'moon.md'" in err
    assert "left out: page: 'moon.md' has no page 3" in err


def test_a_set_about_another_collection_is_an_error_that_says_so(rag: Run, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "q.jsonl", [{"question": "Why?", "relevant": ["gone.md"]}])
    status, _, err = rag("eval", str(path))
    assert (status, err.count("\n")) == (1, 1)
    assert "none of the 1 questions can be asked of collection 'default'" in err


def test_words_are_found_however_white_space_falls(library: Path) -> None:
    asked = [
        Question("q", "When was the tower built?", (Reference("places/tower.txt", quote="Gustave  Eiffel.\nIt is"),))
    ]

    async def run() -> Any:
        async with Footnote.open(library, environ={}) as footnote:
            return await evaluate(footnote, asked)

    assert asyncio.run(run()).means()["recall@10"].mean == 1.0


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    write_lines(
        folder / "corpus.jsonl",
        [
            {"_id": "http://x/1", "title": "Moon", "text": "The Moon goes around the Earth in 27.3 days."},
            {"_id": "2", "title": "", "text": "The tower is 330 metres tall."},
        ],
    )
    write_lines(folder / "queries.jsonl", [{"_id": "q1", "text": "How long does the Moon take around the Earth?"}])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\thttp://x/1\t1\n")
    return folder


def test_a_beir_folder_brings_its_documents_and_is_ingested_once(rag: Run, tmp_path: Path) -> None:
    folder = str(beir(tmp_path / "tiny"))
    status, out, _ = rag("eval", folder, "-q")
    assert (status, "collection 'eval-tiny', 1 questions" in out) == (0, True)
    assert "| ndcg@10 | 1.000" in out
    rag("eval", folder, "-q")
    _, out, _ = rag("cache", "--json")
    assert json.loads(out)["spaces"][0]["used_by"]["eval-tiny"] == 2


def test_a_folder_that_is_no_question_set_is_refused(rag: Run, tmp_path: Path) -> None:
    _, _, err = rag("eval", str(tmp_path))
    assert "is no question set: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels" in err


def test_a_plot_is_a_picture(rag: Run, questions: str, tmp_path: Path) -> None:
    rag("eval", questions, "--compare", "retrieval.k=5", "--plot", "plot.svg", "-q")
    assert "<svg" in (tmp_path / "plot.svg").read_text(encoding="utf-8")
    status, _, err = rag("eval", questions, "--plot", "plot.unknown", "-q")
    assert (status, "name a .png, .svg or .pdf file" in err) == (1, True)


# --- drafting


def drafting(reply: Callable[[str], str]) -> Callable[[dict[str, Any]], str]:
    return lambda request: reply(json.loads(request["messages"][-1]["content"])["passage"])


def test_a_chat_model_drafts_questions_whose_words_are_there(rag: Run, upstream: Upstream, tmp_path: Path) -> None:
    def reply(passage: str) -> str:
        words = " ".join(passage.split()[:6])
        return json.dumps({"question": "What does it say?", "quote": words if "Moon" in passage else "invented words"})

    upstream.reply = drafting(reply)
    key = {"RAG_CHAT_BASE_URL": upstream.base_url, "RAG_CHAT_MODEL": "stub-chat"}
    status, _, err = rag("eval", "make", "drafts.jsonl", "--limit", "3", **key)
    assert status == 0
    assert "no question from" in err
    assert "the words it quotes are not in the passage" in err
    drafts = [json.loads(line) for line in (tmp_path / "drafts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {draft["relevant"][0]["document"] for draft in drafts} == {"moon.md"}
    status, out, _ = rag("eval", "drafts.jsonl")
    assert (status, "token recall" in out) == (0, True)


def test_replies_that_are_no_json_or_hold_no_question_are_said(rag: Run, upstream: Upstream) -> None:
    upstream.reply = drafting(lambda passage: '{"question": ""}' if "Moon" in passage else "Sure! Here it is:")
    key = {"RAG_CHAT_BASE_URL": upstream.base_url, "RAG_CHAT_MODEL": "stub-chat"}
    status, _, err = rag("eval", "make", "drafts.jsonl", **key)
    assert status == 1
    assert "the model found nothing worth asking" in err
    assert "not the JSON that was asked for" in err
    status, _, err = rag("eval", "make", "drafts.jsonl", **key)
    assert (status, "is there already" in err) == (1, True)


def test_drafting_without_a_chat_model_says_what_to_set(rag: Run) -> None:
    status, _, err = rag("eval", "make", "drafts.jsonl")
    assert (status, "needs a chat model" in err) == (1, True)
