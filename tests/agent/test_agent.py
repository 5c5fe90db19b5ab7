"""An agent from question to citations: real collections, real HTTP to a scripted model that calls tools."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from rag.errors import GenerationError
from rag.types import Answer, AnswerEvent, GenerationSettings, Retrieved, Step, TextDelta
from tests.agent.scripts import Open, call, calls, results, tool_names, turns
from tests.api.conftest import MOON, TOWER
from tests.upstream import Upstream
from tests.upstream.faults import Fault, error_body
from tests.upstream.replies import words


async def events_of(footnote: Footnote, question: str, **options: Any) -> list[AnswerEvent]:
    return [event async for event in footnote.stream(question, agent=True, **options)]


async def test_an_agent_searches_reads_and_cites_what_it_read(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(
        calls(call("search", query="Moon landing", k=1), text="Let me look."),
        calls(call("read", document="places/tower.txt", line=2)),
        "Apollo 11 landed on 20 July 1969 [1]. The tower is 330 metres tall [2].",
    )
    events = await events_of(opened(), "When was the landing, and how tall is the tower?")
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "Apollo 11 landed on 20 July 1969 [1]. The tower is 330 metres tall [2]."
    moon, tower = answer.citations
    assert (moon.document, moon.quote) == ("moon.md", MOON[moon.start : moon.end])
    assert "20 July 1969" in moon.quote
    assert (tower.document, tower.quote) == ("places/tower.txt", "It is 330 metres tall and stands in Paris.")
    assert (tower.start, tower.place) == (TOWER.index("It is"), "line 2")
    assert [statement.verdict for statement in answer.statements] == ["supported", "supported"]
    search, read = answer.trace
    assert (search.tool, search.turn, search.markers, search.said) == ("search", 1, (1,), "Let me look.")
    assert (read.tool, read.turn, read.markers, read.error) == ("read", 2, (2,), "")
    assert [type(event) for event in events[:3]] == [Step, Step, Retrieved]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text


async def test_usage_is_that_of_all_turns(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="tower height")), "It is 330 metres tall [1].")
    answer = await opened().ask("How tall is the tower?", agent=True)
    assert answer.usage.output_tokens == 6  # the words of the answer; the first turn wrote none
    first, second = (sum(_n_words(call.json)) for call in upstream.calls("chat"))
    assert answer.usage.input_tokens == first + second


def _n_words(request: Any) -> list[int]:
    return [len(words(str(message.get("content")))) for message in request["messages"]]


async def test_a_first_turn_must_call_a_tool_and_later_ones_may(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="tower height")), "It is 330 metres tall [1].")
    await opened().ask("How tall is the tower?", agent=True)
    first, second = (call.json for call in upstream.calls("chat"))
    assert (first["tool_choice"], second["tool_choice"]) == ("required", "auto")
    assert tool_names(first) == tool_names(second)


async def test_wrong_calls_are_told_to_the_model(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(
        calls(
            ("search", "{not json"),
            call("search", query="x", k=99),
            call("read", document="none.txt"),
            call("read", document="moon.md", page=2),
            call("read", document="moon.md", line=3, start=4),
            call("search", query="tower", colour="red"),
            call("search", query="tower", filter="year >>= 3"),
            call("launch", missile=1),
        ),
        calls(call("search", query="tower height")),
        "It is 330 metres tall [1].",
    )
    answer = await opened().ask("How tall is the tower?", agent=True)
    told = results(upstream.calls("chat")[1].json)
    assert all(result.startswith("Error: ") for result in told)
    for result, word in zip(
        told,
        ("no JSON", "from 1 to 20", "'none.txt'", "no pages", "one way", "'colour'", "filter", "'launch'"),
        strict=True,
    ):
        assert word in result
    assert [bool(step.error) for step in answer.trace] == [True] * 8 + [False]
    assert answer.answered


async def test_the_same_call_is_not_made_twice(opened: Open, upstream: Upstream) -> None:
    search = call("search", query="tower height", k=1)
    upstream.reply = turns(calls(search), calls(search), "It is 330 metres tall [1].")
    answer = await opened().ask("How tall is the tower?", agent=True)
    assert [step.is_repeated for step in answer.trace] == [False, True]
    assert "stands above" in results(upstream.calls("chat")[2].json)[1]
    assert len(answer.sources) == 1


async def test_when_the_steps_are_spent_the_model_answers_without_tools(opened: Open, upstream: Upstream) -> None:
    upstream.reply = lambda request: (
        calls(call("search", query=f"tower {len(request['messages'])}")) if request.get("tools") else "330 metres [1]."
    )
    answer = await opened(max_steps=2).ask("How tall is the tower?", agent=True)
    assert (answer.text, len(answer.trace)) == ("330 metres [1].", 2)
    last = upstream.calls("chat")[-1].json
    assert "tools" not in last
    assert "agent.max_steps" in last["messages"][-1]["content"]
    assert any("agent.max_steps" in note for note in answer.notes)


async def test_the_tokens_stay_within_their_budget(opened: Open, upstream: Upstream) -> None:
    upstream.reply = lambda request: (
        calls(call("search", query=f"tower {len(request['messages'])}")) if request.get("tools") else "330 metres [1]."
    )
    answer = await opened(max_tokens=6000, max_steps=50, max_tool_tokens=600).ask("How tall is it?", agent=True)
    assert any("agent.max_tokens" in note for note in answer.notes)
    assert 1 < len(answer.trace) < 50
    assert answer.usage.input_tokens + answer.usage.output_tokens <= 6000


async def test_when_the_time_is_over_a_turn_is_given_up_and_the_model_answers(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="tower height")), "It is 330 metres tall [1].")
    upstream.script("chat", None, Fault(hang=True))
    answer = await opened(timeout_s=1).ask("How tall is the tower?", agent=True)
    assert answer.text == "It is 330 metres tall [1]."
    assert any("agent.timeout_s" in note for note in answer.notes)
    assert len(answer.trace) == 1


async def test_the_results_of_a_turn_share_its_tokens(opened: Open, upstream: Upstream) -> None:
    reads = [call("read", document=name) for name in ("moon.md", "places/tower.txt", "元朝.txt")]
    upstream.reply = turns(calls(*reads), "Apollo 11 landed [1].")
    answer = await opened(max_tool_tokens=768).ask("What landed?", agent=True)
    assert sum(step.tokens for step in answer.trace) <= 768
    assert [source.document_id for source in answer.sources] == ["moon.md", "places/tower.txt", "元朝.txt"]


async def test_calls_that_no_room_is_left_for_are_not_made(opened: Open, upstream: Upstream) -> None:
    reads = [call("read", document=name) for name in ("moon.md", "places/tower.txt", "元朝.txt")]
    upstream.reply = turns(calls(*reads), "Apollo 11 landed [1].")
    answer = await opened(max_tool_tokens=512).ask("What landed?", agent=True)
    assert ["not called" in step.error for step in answer.trace] == [False, False, True]


async def test_without_any_source_nothing_is_answered(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns("The tower is 330 metres tall, as everybody knows.")
    answer = await opened().ask("How tall is the tower?", agent=True)
    assert (answer.answered, answer.refusal, answer.trace) == (False, "not_in_documents", ())
    assert "330" not in answer.text


async def test_an_agent_abstains(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="submarines")), "NOT_IN_DOCUMENTS")
    answer = await opened().ask("How many submarines are there?", agent=True)
    assert (answer.answered, len(answer.trace)) == (False, 1)
    assert "NOT_IN" not in answer.text


async def test_an_endpoint_that_takes_no_tools_is_asked_without_and_remembered(
    opened: Open, upstream: Upstream
) -> None:
    refusal = error_body(400, message="stub-chat does not support tools", code="unsupported_value", param="tools")
    upstream.script("chat", Fault(status=400, body=refusal))
    footnote = opened()
    for _ in range(2):
        answer = await footnote.ask("How tall is the Eiffel Tower?", agent=True)
        assert answer.answered
        assert any("answered without an agent" in note for note in answer.notes)
    assert ["tools" in call.json for call in upstream.calls("chat")] == [True, False, False]


async def test_the_embedded_answerer_answers_without_an_agent_and_says_so(ingested: Path) -> None:
    async with Footnote.open(ingested, environ={}) as footnote:
        answer = await footnote.ask("How tall is the Eiffel Tower?", agent=True)
    assert answer.answered
    assert any("without an agent" in note for note in answer.notes)


async def test_a_failing_model_fails_the_question(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="tower height")), "never")
    upstream.script("chat", None, Fault(status=500, headers={"x-should-retry": "false"}))
    with pytest.raises(GenerationError):
        await opened().ask("How tall is the tower?", agent=True)


async def test_an_answer_comes_as_it_is_written_once_it_cites(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(
        calls(call("search", query="tower")), "It is 330 metres tall [1]. " + "It stands in Paris [1]. " * 3
    )
    upstream.script("chat", None, Fault(events_per_s=200))  # what comes at once may be shown at once
    deltas = [event.text for event in await events_of(opened(), "How tall?") if isinstance(event, TextDelta)]
    assert deltas[0].startswith("It is 330 metres tall [1].")
    assert len(deltas) > 5


async def test_only_documents_that_the_filter_allows_can_be_read(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(
        calls(call("read", document="moon.md"), call("search", query="Moon landing", filter="path = 'moon.md'")),
        calls(call("read", document="places/tower.txt")),
        "It is 330 metres tall [1].",
    )
    answer = await opened().ask("How tall?", agent=True, filter="path like 'places/**'")
    assert {source.document_id for source in answer.sources} == {"places/tower.txt"}
    assert "No document matches" in results(upstream.calls("chat")[1].json)[1]
    assert answer.trace[0].error.startswith("no document 'moon.md'")


async def test_closing_the_stream_stops_the_model(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("search", query="tower height")), "never")
    upstream.script("chat", None, Fault(hang=True))
    stream = opened().stream("How tall is the tower?", agent=True)
    assert isinstance(await anext(stream), Step)
    assert await asyncio.to_thread(upstream.wait_until, lambda: len(upstream.calls("chat")) == 2)
    await stream.aclose()
    assert await asyncio.to_thread(upstream.wait_until, lambda: upstream.disconnects == 1)


async def test_sources_keep_their_numbers_in_a_conversation(opened: Open, library: Path, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("read", document="places/tower.txt")), "It is 330 metres tall [1].")
    footnote = opened(library)
    thread = footnote.threads.create()
    first = await footnote.ask("How tall is the tower?", agent=True, thread=thread.id)
    reads = calls(call("read", document="moon.md"), call("read", document="places/tower.txt"))
    # the first answer is an assistant's message of the second question, and not one of its turns
    upstream.reply = lambda request: "It stands in Paris [1]." if results(request) else reads
    second = await footnote.ask("And where does it stand?", agent=True, thread=thread.id)
    assert [source.marker for source in first.sources] == [1]
    assert {source.document_id: source.marker for source in second.sources} == {"moon.md": 2, "places/tower.txt": 1}
    assert second.citations[0].document == "places/tower.txt"
    assert "Numbers in the earlier answers name the same sources" in str(upstream.calls("chat")[2].json)


async def test_an_answer_that_is_written_again_is_written_from_what_was_shown(opened: Open, upstream: Upstream) -> None:
    upstream.reply = turns(calls(call("read", document="places/tower.txt")), "It is 331 metres tall [1].")
    said = iter(
        [calls(call("read", document="places/tower.txt")), "It is 331 metres tall [1].", "It is 330 metres tall [1]."]
    )
    upstream.reply = lambda request: next(said)
    answer = await opened().ask("How tall is the tower?", agent=True, unsupported="regenerate")
    assert answer.text == "It is 330 metres tall [1]."
    assert "tools" not in upstream.calls("chat")[2].json
    assert len(answer.trace) == 1


async def test_a_form_is_filled_in_from_what_was_shown(opened: Open, upstream: Upstream) -> None:
    schema = {"type": "object", "properties": {"metres": {"type": "integer"}}, "required": ["metres"]}
    form = {"type": "json_schema", "json_schema": {"name": "height", "schema": schema}}
    filled = json.dumps({"answer": {"metres": 330}, "citations": [{"path": "/metres", "sources": [1]}]})
    said = iter([calls(call("read", document="places/tower.txt")), "It is 330 metres tall [1].", filled])
    upstream.reply = lambda request: next(said)
    answer = await opened().ask("How tall?", agent=True, generation=GenerationSettings(response_format=form))
    asked = [call.json for call in upstream.calls("chat")]
    assert ["response_format" in one for one in asked[:3]] == [False, False, True]
    assert "tools" not in asked[2]
    assert "It is 330 metres tall" in str(asked[2]["messages"])
    assert [step.tool for step in answer.trace] == ["read"]
    assert json.loads(answer.text) == {"metres": 330}
    assert [citation.path for citation in answer.citations] == ["/metres"]
    assert answer.usage.output_tokens > 6  # the words of the answer that was not used, and the form
