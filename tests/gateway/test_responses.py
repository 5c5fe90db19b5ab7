"""Answers by the Responses API over real HTTP; the scripted endpoint is checked with the official client."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import AsyncOpenAI

from api.footnote import Footnote
from rag.errors import ConfigError, GenerationError
from rag.gateway.chat import ChatRequest
from rag.gateway.responses import ResponsesClient
from rag.types import GenerationSettings, Usage
from tests.upstream import Fault, Message, error_body

HELLO = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello there"})
BROKE = {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "It broke."}}}
TOOLS = ({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},)


def request(**more) -> ChatRequest:
    return ChatRequest(HELLO, "m", **more)


async def read(client, asked=None):
    return [chunk async for chunk in client.stream(asked or request())]


async def test_the_official_client_reads_what_the_scripted_endpoint_sends(upstream):
    upstream.reply = lambda asked: Message(
        "Forty bar [1].", reasoning="Let me see.", tool_calls=(("look", '{"a": 1}'),)
    )
    async with AsyncOpenAI(base_url=upstream.base_url, api_key="sk-x", max_retries=0) as official:
        whole = await official.responses.create(model="m", input="hello")
        assert (whole.output_text, whole.status, whole.usage.output_tokens) == ("Forty bar [1].", "completed", 3)
        async with official.responses.stream(model="m", input="hello") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
    assert next(event.sequence_number for event in events if hasattr(event, "sequence_number")) == 0
    assert (final.output_text, final.output[-1].name) == ("Forty bar [1].", "look")


async def test_text_reasoning_calls_usage_and_end_are_read_from_the_events(connect, upstream):
    upstream.reply = lambda asked: Message(
        "Forty bar [1].", reasoning="Let me see.", tool_calls=(("look", '{"a": 1}'),)
    )
    chunks = await read(ResponsesClient(connect()))
    assert "".join(chunk.text for chunk in chunks) == "Forty bar [1]."
    assert "".join(chunk.reasoning for chunk in chunks) == "Let me see."
    calls = [call for chunk in chunks for call in chunk.tool_calls]
    assert [(call.id, call.name, call.arguments) for call in calls] == [("call_0", "look", ""), ("", "", '{"a": 1}')]
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("tool_calls", Usage(input_tokens=4, output_tokens=3))


async def test_parameters_arrive_under_this_apis_names_and_nothing_is_stored_unasked(connect, upstream):
    settings = GenerationSettings(
        temperature=0.5,
        max_tokens=99,
        reasoning_effort="low",
        verbosity="high",
        user="u-7",
        seed=1,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    )
    chunks = await read(ResponsesClient(connect("openai")), request(settings=settings, tools=TOOLS))
    (call,) = upstream.calls("responses")
    assert call.json == {
        "model": "m",
        "input": list(HELLO),
        "store": False,
        "stream": True,
        "temperature": 0.5,
        "max_output_tokens": 99,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high", "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "safety_identifier": "u-7",
        "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    }
    assert chunks[0].dropped == ("seed (the Responses API has none)",)


async def test_calls_and_their_results_go_back_as_items(connect, upstream):
    messages = (
        {"role": "user", "content": "look"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_0", "content": "a pump"},
    )
    await read(ResponsesClient(connect()), ChatRequest(messages, "m"))
    assert upstream.calls("responses")[0].json["input"][1:] == [
        {"type": "function_call", "call_id": "call_0", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_0", "output": "a pump"},
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=500), "500"),
        (Fault(edit_events=lambda events: events[:-1]), "cut short"),
        (
            Fault(edit_events=lambda events: [*events[:2], BROKE]),
            r"It broke\. \(server_error\)",
        ),
        (
            Fault(edit_events=lambda events: [*events[:2], {"type": "error", "code": "x", "message": "No more."}]),
            "No more",
        ),
    ],
    ids=["status", "cut", "failed", "error"],
)
async def test_what_goes_wrong_is_a_generation_error(connect, upstream, fault, said):
    upstream.always("responses", fault)
    with pytest.raises(GenerationError, match=said):
        await read(ResponsesClient(connect(max_retries=0)))


async def test_a_reply_that_was_cut_by_its_length_says_so(connect, upstream):
    upstream.reply = lambda asked: Message("Forty", finish_reason="length")
    assert (await read(ResponsesClient(connect())))[-1].finish_reason == "length"


async def test_a_parameter_that_is_refused_is_left_out_from_then_on(connect, upstream):
    refusal = error_body(400, message="Unsupported parameter: 'temperature'", param="temperature")
    upstream.script("responses", Fault(status=400, body=refusal))
    client = ResponsesClient(connect())
    chunks = await read(client, request(settings=GenerationSettings(temperature=0)))
    assert ["temperature" in call.json for call in upstream.calls("responses")] == [True, False]
    assert chunks[0].dropped[0].startswith("temperature")


async def test_answers_are_written_and_cited_by_it_as_by_chat_completions(tmp_path: Path, upstream):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "moon.md").write_text("Apollo 11 landed on the Moon on 20 July 1969.\n", encoding="utf-8")
    settings = {"chat__base_url": upstream.base_url, "chat__model": "m", "embeddings__provider": "local"}
    async with Footnote.open(tmp_path / "library", environ={}, chat__api="responses", **settings) as footnote:
        await footnote.ingest(tmp_path / "docs")
        answer = await footnote.ask("When did Apollo 11 land on the Moon?")
    assert [(one.document, one.verdict) for one in answer.citations] == [("moon.md", "supported")]
    assert (len(upstream.calls("responses")), upstream.calls("chat")) == (1, [])
    keyed = {"chat__provider": "deepseek", "chat__api_key": "sk-x", "embeddings__provider": "local"}
    async with Footnote.open(tmp_path / "library", environ={}, chat__api="responses", **keyed) as footnote:
        with pytest.raises(ConfigError, match="DeepSeek has no Responses API"):
            await footnote.ask("When?")
