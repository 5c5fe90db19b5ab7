"""Stored conversations through the library: over a real store and index, with a scripted chat model over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from index.thread_records import Thread
from rag.errors import (
    CollectionNotFoundError,
    EndpointError,
    GenerationError,
    QuestionError,
    ThreadBusyError,
    ThreadError,
    ThreadNotFoundError,
)
from rag.types import Answer, Retrieved, TextDelta, Turn
from tests.api.conftest import DOCUMENTS, ingest, write
from tests.api.test_http_answers import chat_settings
from tests.upstream import Fault, Upstream

MOON = "When did Apollo 11 land on the Moon?"
TOWER = "How tall is the Eiffel Tower?"
_SOURCE = re.compile(r"<source-\d+>\n\[(\d+)\][^\n]*\n\n(.*?)\n</source-\d+>", re.DOTALL)
FACTS = {"Apollo": "Apollo 11 landed on the Moon on 20 July 1969", "Eiffel": "It is 330 metres tall"}


def quoting(request: dict[str, Any]) -> str:
    """Answer each question about Apollo or Eiffel with a fact, under the number its source has in the prompt."""
    content = request["messages"][-1]["content"]
    question = content.rpartition("<question-")[2]
    fact = next((fact for word, fact in FACTS.items() if word in question), FACTS["Eiffel"])
    numbers = [number for number, text in _SOURCE.findall(content) if fact in text]
    return f"{fact} [{numbers[0]}]."


def run(library: Path, upstream: Upstream, work: Callable[[Footnote], Awaitable[None]], **settings: Any) -> None:
    async def opened() -> None:
        options = {**chat_settings(upstream), "query__rewrite": "off", **settings}
        async with Footnote.open(library, environ={}, **options) as footnote:
            await work(footnote)

    asyncio.run(opened())


def sent(upstream: Upstream) -> list[dict[str, str]]:
    """Return the messages of the last chat request, without instructions and the question."""
    messages: list[dict[str, str]] = upstream.calls("chat")[-1].json["messages"][1:-1]
    return messages


def states(footnote: Footnote, thread: Thread) -> list[tuple[str, str, str]]:
    return [(one.role, one.state, one.text) for one in footnote.threads.messages(thread.id).messages]


def test_a_source_keeps_its_number_and_new_ones_get_new_numbers(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        questions = (TOWER, MOON, "How many metres tall is the Eiffel Tower?", "On which day did Apollo 11 land there?")
        answers = [await footnote.ask(question, thread=thread.id, k=1) for question in questions]
        markers = [[citation.marker for citation in answer.citations] for answer in answers]
        assert markers == [[1], [2], [1], [2]]
        assert [answer.citations[0].document for answer in answers] == ["places/tower.txt", "moon.md"] * 2
        assert {statement.verdict for answer in answers for statement in answer.statements} == {"supported"}

    run(library, upstream, work)


def test_the_model_sees_earlier_answers_with_the_numbers_that_hold(library: Path, upstream: Upstream) -> None:
    replies = iter([f"{FACTS['Eiffel']} [1][77].", f"{FACTS['Apollo']} [2]."])
    upstream.reply = lambda request: next(replies)

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        first = await footnote.ask(TOWER, thread=thread.id, k=1)
        assert first.unknown_markers == (77,)
        await footnote.ask(MOON, thread=thread.id, k=1)
        assert sent(upstream) == [
            {"role": "user", "content": TOWER},
            {"role": "assistant", "content": f"{FACTS['Eiffel']} [1]."},
        ]
        assert "name the same sources" in upstream.calls("chat")[-1].json["messages"][-1]["content"]
        assert footnote.threads.messages(thread.id).messages[1].text.endswith("[1][77].")  # kept as it was written

    run(library, upstream, work)


def test_a_history_that_is_passed_has_its_markers_taken_out_as_before(library: Path, upstream: Upstream) -> None:
    async def work(footnote: Footnote) -> None:
        await footnote.ask(MOON, history=[Turn("user", "Hello?"), Turn("assistant", "Yes [1].")])
        assert sent(upstream)[1]["content"] == "Yes."
        assert "name the same sources" not in upstream.calls("chat")[-1].json["messages"][-1]["content"]

    run(library, upstream, work)


def test_the_newest_turns_that_fit_are_sent_and_the_notes_say_what_was_left_out(
    library: Path, upstream: Upstream
) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        for n in range(3):
            answer = await footnote.ask(f"{TOWER} Time {n}", thread=thread.id, k=1)
            assert answer.notes == ()
        answer = await footnote.ask(f"{TOWER} Time 3", thread=thread.id, k=1)
        assert [message["content"] for message in sent(upstream)][::2] == [f"{TOWER} Time 1", f"{TOWER} Time 2"]
        (note,) = answer.notes
        assert "first 1 of 3 earlier questions" in note
        assert "answer.history_tokens (45)" in note

    run(library, upstream, work, answer__history_tokens=45)


def test_a_follow_up_is_rewritten_from_the_thread(library: Path, upstream: Upstream) -> None:
    def reply(request: dict[str, Any]) -> str:
        if "search queries" in request["messages"][0]["content"]:
            assert FACTS["Eiffel"] in request["messages"][1]["content"]
            return json.dumps({"question": "Who built the Eiffel Tower?"})
        return quoting(request)

    upstream.reply = reply

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        await footnote.ask(TOWER, thread=thread.id)
        answer = await footnote.ask("Who built it?", thread=thread.id, k=1)
        assert [source.document_id for source in answer.sources] == ["places/tower.txt"]

    run(library, upstream, work, query__rewrite="auto")


def test_a_failed_answer_leaves_its_question_with_the_reason(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        upstream.script("chat", Fault(cut_after=4))
        with pytest.raises((GenerationError, EndpointError)) as failed:
            await footnote.ask(TOWER, thread=thread.id)
        (question,) = footnote.threads.messages(thread.id).messages
        assert (question.state, question.reason) == ("failed", str(failed.value))
        with pytest.raises(CollectionNotFoundError):
            await footnote.ask(TOWER, thread=thread.id, collection="nowhere")
        await footnote.ask(MOON, thread=thread.id)
        assert sent(upstream) == []  # what failed is no history
        assert [state for _, state, _ in states(footnote, thread)] == ["failed", "failed", "answered", "answered"]

    run(library, upstream, work)


def test_an_answer_nobody_waits_for_is_cancelled_and_frees_the_thread(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        upstream.script("chat", Fault(hang_after=5))
        events = footnote.stream(TOWER, thread=thread.id)
        assert isinstance(await anext(events), Retrieved)
        assert isinstance(await anext(events), TextDelta)
        assert states(footnote, thread) == [("user", "open", TOWER)]
        await events.aclose()
        assert states(footnote, thread) == [("user", "cancelled", TOWER)]

        upstream.script("chat", Fault(hang=True))
        n_calls = len(upstream.calls("chat"))  # the one before may still be in flight there
        asking = asyncio.create_task(footnote.ask(TOWER, thread=thread.id))
        while len(upstream.calls("chat")) == n_calls:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [state for _, state, _ in states(footnote, thread)] == ["cancelled", "cancelled"]
        assert (await footnote.ask(TOWER, thread=thread.id)).answered

    run(library, upstream, work)


def test_cancelling_at_any_moment_leaves_no_thread_busy(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        await footnote.ask(TOWER, thread=thread.id)
        for wait_s in (0, 0.001, 0.004, 0.01, 0.03, 0.06):
            asking = asyncio.create_task(footnote.ask(TOWER, thread=thread.id))
            await asyncio.sleep(wait_s)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert {state for _, state, _ in states(footnote, thread)} <= {"answered", "cancelled"}
        for role, _, text in states(footnote, thread):
            assert role == "user" or text.startswith(FACTS["Eiffel"])

    run(library, upstream, work)


def test_one_question_of_a_thread_at_a_time_and_threads_side_by_side(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting
    upstream.always("chat", Fault(delay_s=0.2))

    async def work(footnote: Footnote) -> None:
        threads = [footnote.threads.create() for _ in range(2)]
        asked = (TOWER, threads[0]), (MOON, threads[0]), (MOON, threads[1])
        results = await asyncio.gather(
            *(footnote.ask(question, thread=thread.id) for question, thread in asked), return_exceptions=True
        )
        assert [type(result) for result in results].count(ThreadBusyError) == 1
        assert isinstance(results[2], Answer)
        assert len(states(footnote, threads[0])) == 2
        assert len(states(footnote, threads[1])) == 2

    run(library, upstream, work)


def test_a_thread_says_which_cited_documents_have_changed_or_gone(
    library: Path, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.reply = quoting
    folder = write(tmp_path / "docs", {"tower.txt": DOCUMENTS["places/tower.txt"], "moon.md": DOCUMENTS["moon.md"]})
    home = tmp_path / "fresh"
    ingest(home, folder)

    def now(footnote: Footnote, thread: Thread) -> list[str]:
        answers = [one.answer for one in footnote.threads.messages(thread.id).messages if one.answer is not None]
        return [citation["version"]["now"] for answer in answers for citation in answer["citations"]]

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        for question in (TOWER, MOON):
            await footnote.ask(question, thread=thread.id, k=1)
        assert now(footnote, thread) == ["unchanged", "unchanged"]
        (folder / "tower.txt").write_text(DOCUMENTS["places/tower.txt"] + "It was painted.\n", encoding="utf-8")
        (folder / "moon.md").unlink()
        await footnote.ingest(folder)
        assert now(footnote, thread) == ["changed", "gone"]
        assert "places" not in footnote.threads.export(thread.id)
        exported = footnote.threads.export(thread.id)
        assert "(the document has changed since)" in exported
        assert "(the document is gone)" in exported
        again = await footnote.ask("Eiffel's tower, once more?", thread=thread.id, k=1)
        assert [citation.marker for citation in again.citations] == [3]  # another state of it is another source

    run(home, upstream, work)


def test_what_moderation_stopped_is_stored_and_not_sent_again(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting
    moderation = {"moderation__base_url": upstream.base_url, "moderation__model": "m", "moderation__provider": "openai"}

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        blocked = await footnote.ask("How was the attack on the Moon planned?", thread=thread.id)
        assert blocked.refusal == "moderation"
        await footnote.ask(MOON, thread=thread.id)
        assert sent(upstream) == []
        assert len(states(footnote, thread)) == 4

    run(library, upstream, work, **moderation, moderation__api_key="k")


def test_a_thread_has_collections_of_its_own(library: Path, upstream: Upstream, tmp_path: Path) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        await footnote.copy_collection("default", "other")
        thread = footnote.threads.create(collections=["other"])
        both = footnote.threads.create(collections=["other", "default"])
        assert (await footnote.ask(TOWER, thread=thread.id)).citations[0].document == "places/tower.txt"
        many = await footnote.ask(TOWER, thread=both.id)
        again = await footnote.ask(TOWER, thread=both.id, collection=many.citations[0].document.partition("/")[0])
        # the same passage under the same number, whether its collection is searched with others or alone
        assert [citation.marker for citation in many.citations] == [citation.marker for citation in again.citations]
        (_, answer) = footnote.threads.messages(thread.id).messages
        assert answer.answer is not None
        version = answer.answer["citations"][0]["version"]
        assert (version["collection"], version["document"], version["now"]) == (
            "other",
            "places/tower.txt",
            "unchanged",
        )

    run(library, upstream, work)


def test_what_is_stored_of_a_citation_is_what_was_answered(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        answer = await footnote.ask(TOWER, thread=thread.id, answer_id="answer-of-mine")
        assert answer.id == "answer-of-mine"
        question, stored = footnote.threads.messages(thread.id).messages
        assert (question.position, stored.position, stored.text) == (1, 2, answer.text)
        assert stored.answer is not None
        assert (stored.answer["id"], stored.answer["model"]) == (answer.id, "stub-chat")
        (citation,) = stored.answer["citations"]
        document = footnote.document("places/tower.txt")
        assert citation["version"]["sha256"] == document.sha256
        assert document.text[citation["start"] : citation["end"]] == citation["quote"]
        assert all("text" not in source for source in stored.answer["sources"])
        assert footnote.threads.get(thread.id).title == TOWER  # of its first question

    run(library, upstream, work)


def test_messages_come_in_pages(library: Path, upstream: Upstream) -> None:
    upstream.reply = quoting

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create("Towers")
        for n in range(2):
            await footnote.ask(f"{TOWER} Time {n}", thread=thread.id)
        upstream.script("chat", Fault(cut_after=2))
        with pytest.raises((GenerationError, EndpointError)):
            await footnote.ask(TOWER, thread=thread.id)
        seen, after = [], 0
        while True:
            page = footnote.threads.messages(thread.id, limit=2, after=after)
            seen += [message.position for message in page.messages]
            if page.next_after is None:
                break
            after = page.next_after
        assert seen == [1, 2, 3, 4, 5]
        assert [one.position for one in footnote.threads.messages(thread.id, after=1).messages] == [2, 3, 4, 5]

    run(library, upstream, work)


def test_an_exported_thread_is_the_same_in_another_library(library: Path, upstream: Upstream, tmp_path: Path) -> None:
    upstream.reply = quoting
    other = shutil.copytree(library, tmp_path / "other")

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create(metadata={"customer": 7})
        await footnote.ask(TOWER, thread=thread.id, k=1)
        lines = footnote.threads.export(thread.id, footnote.threads.create("Empty").id, format="jsonl")
        async with Footnote.open(other, environ={}, **chat_settings(upstream)) as elsewhere:
            first, second = elsewhere.threads.import_(lines)
            assert (first.id, first.metadata, second.title) == (thread.id, {"customer": 7}, "Empty")
            assert elsewhere.threads.messages(first.id) == footnote.threads.messages(thread.id)
            assert elsewhere.threads.export(first.id, format="json") == footnote.threads.export(first.id, format="json")
            again = await elsewhere.ask(MOON, thread=first.id, k=1)
            assert again.citations[0].marker == 2  # it goes on from the numbers it had
            (copy,) = elsewhere.threads.import_(footnote.threads.export(thread.id, format="json"))
            assert copy.id != thread.id

    run(library, upstream, work)


def test_markdown_shows_questions_answers_and_quotes_and_runs_nothing_of_them(
    library: Path, upstream: Upstream, tmp_path: Path
) -> None:
    evil = "The answer is 42 kilograms ![x](https://evil.example/?q) <script>alert(1)</script> of it.\n"
    home = tmp_path / "fresh"
    ingest(home, write(tmp_path / "docs", {"evil.txt": evil}))
    upstream.reply = lambda request: "The answer is 42 kilograms [1]."

    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        await footnote.ask("What is *the* answer in <b>kilograms</b>?", thread=thread.id)
        text = footnote.threads.export(thread.id)
        assert r"## 1. What is \*the\* answer in \<b\>kilograms\</b\>?" in text
        assert "The answer is 42 kilograms [1]." in text
        assert r"\[1\] evil.txt, line 1" in text
        assert "![" not in text.replace("\\!\\[", "")
        assert "<script" not in text.replace("\\<", "")

    run(home, upstream, work)


def test_a_thread_and_a_history_do_not_go_together(library: Path, upstream: Upstream) -> None:
    async def work(footnote: Footnote) -> None:
        thread = footnote.threads.create()
        with pytest.raises(QuestionError, match="not with both"):
            await footnote.ask(TOWER, thread=thread.id, history=[Turn("user", "Hello?")])
        with pytest.raises(QuestionError, match="empty"):
            await footnote.ask(" ", thread=thread.id)
        with pytest.raises(ThreadNotFoundError):
            await footnote.ask(TOWER, thread="thread-of-nobody")
        assert states(footnote, thread) == []

    run(library, upstream, work)


def test_threads_are_listed_found_renamed_and_deleted(tmp_path: Path, upstream: Upstream) -> None:
    async def work(footnote: Footnote) -> None:
        threads = footnote.threads
        assert threads.list().threads == ()
        with pytest.raises(ThreadNotFoundError, match="none was ever stored"):
            threads.get("thread-1")
        assert not (tmp_path / "none").exists()  # looking makes nothing
        one, two = threads.create("One"), threads.create("Two")
        assert [thread.title for thread in threads.list().threads] == ["Two", "One"]
        assert threads.find("last").id == two.id
        assert threads.find(one.id[7:20]).id == one.id
        with pytest.raises(ThreadError, match="write more of the id"):
            threads.find("thread-")
        assert threads.rename(one.id, " Another \n name ").title == "Another name"
        assert threads.change(one.id, metadata={"a": 1}, collections=["x"]).collections == ("x",)
        threads.delete(two.id)
        assert [thread.title for thread in threads.list().threads] == ["Another name"]
        for wrong in (lambda: threads.create("x" * 201), lambda: threads.create(metadata={"x": {1, 2}})):
            with pytest.raises(ThreadError):
                wrong()

    run(tmp_path / "none", upstream, work)


WHOLE: dict[str, Any] = {
    "format": "footnote-thread-1",
    "thread": {
        "id": f"thread-{'0' * 32}",
        "title": "T",
        "collections": [],
        "metadata": {},
        "created_at": 1.0,
        "updated_at": 2.0,
    },
    "turns": [],
    "numbers": [],
    "taken": [],
}
TURN = {"turn": 1, "question": "q", "asked_at": 1, "state": "failed", "reason": "", "answer": None, "answered_at": None}
NUMBER = {"marker": 1, "collection": "c", "document": "d", "sha256": "s", "start": 0, "end": 9, "cited": []}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no conversation in it"),
        ("{}\n{", "line 2 is no JSON"),
        ("[]", "it must be an object"),
        (json.dumps({**WHOLE, "format": "x"}), "format must be 'footnote-thread-1'"),
        (json.dumps({**WHOLE, "thread": {**WHOLE["thread"], "id": "x"}}), "thread.id must be"),
        (json.dumps({**WHOLE, "turns": [{**TURN, "state": "open"}]}), "turns[0].state must be"),
        (json.dumps({**WHOLE, "turns": [{**TURN, "state": "answered"}]}), "turns[0].answer must be there"),
        (json.dumps({**WHOLE, "turns": [TURN, TURN]}), "turns must be in order"),
        (json.dumps({**WHOLE, "turns": [{**TURN, "turn": True}]}), "turns[0].turn must be whole numbers"),
        (json.dumps({**WHOLE, "numbers": [{**NUMBER, "cited": [[1]]}]}), "numbers[0].cited[0] must be [start, end]"),
        (json.dumps({**WHOLE, "numbers": [NUMBER], "taken": [1]}), "numbers must be each marker once"),
        (json.dumps(WHOLE) + "\n" + json.dumps({**WHOLE, "taken": None}), "conversation 2 cannot be imported: taken"),
    ],
)
def test_a_file_that_is_no_thread_says_where_and_nothing_is_stored(
    tmp_path: Path, upstream: Upstream, text: str, says: str
) -> None:
    async def work(footnote: Footnote) -> None:
        with pytest.raises(ThreadError) as error:
            footnote.threads.import_(text)
        assert says in str(error.value)
        assert footnote.threads.list().threads == ()

    run(tmp_path / "library", upstream, work)
