"""Chat over real HTTP, whole and streamed, in each provider's dialect."""

from __future__ import annotations

import pytest

from rag.errors import (
    AuthenticationError,
    EndpointResponseError,
    EndpointUnreachableError,
    GenerationError,
    RateLimitError,
)
from rag.gateway.chat import ChatClient, ChatRequest, ToolCall
from rag.gateway.chat_payload import chat_payload
from rag.gateway.providers import PROVIDERS, provider_named
from rag.types import GenerationSettings, Usage
from tests.upstream import Fault, Message, error_body
from tests.upstream.faults import error_after, no_finish, no_usage, usage_in_choice, without

HELLO = ({"role": "user", "content": "hello there"},)
EVERYTHING = GenerationSettings(
    temperature=0.7,
    top_p=0.9,
    max_tokens=100,
    frequency_penalty=0.5,
    presence_penalty=-0.5,
    seed=7,
    stop=("END",),
    response_format={"type": "json_object"},
)
TOOLS = ({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},)


def request(model="m", **more) -> ChatRequest:
    return ChatRequest(HELLO, model, **more)


@pytest.fixture
def chat(connect):
    return lambda *args, **settings: ChatClient(connect(*args, **settings))


async def streamed(client, asked=None):
    chunks = [chunk async for chunk in client.stream(asked or request())]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    return "".join(chunk.text for chunk in chunks), (usages or [None])[-1], chunks


# --- what is sent ---


async def test_all_parameters_of_a_request_arrive(chat, upstream):
    asked = request(settings=EVERYTHING, tools=TOOLS, tool_choice="auto", extra={"top_k": 5})
    await chat().complete(asked)
    await streamed(chat("openai"), asked)
    generic, openai = (call.json for call in upstream.calls("chat"))
    assert generic == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello there"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 100,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "seed": 7,
        "stop": ["END"],
        "response_format": {"type": "json_object"},
        "tools": list(TOOLS),
        "tool_choice": "auto",
        "top_k": 5,
    }
    assert openai["max_completion_tokens"] == 100
    assert "max_tokens" not in openai
    assert (openai["stream"], openai["stream_options"]) == (True, {"include_usage": True})


async def test_nothing_is_sent_that_was_not_asked(chat, upstream):
    await chat().complete(request())
    assert set(upstream.calls("chat")[0].json) == {"model", "messages"}


@pytest.mark.parametrize(
    ("provider", "model", "asked", "sent", "dropped"),
    [
        ("spark", "4.0Ultra", {"temperature": 0}, {"temperature": 0.01}, "temperature 0"),
        ("spark", "4.0Ultra", {"temperature": 2}, {"temperature": 1.0}, "temperature 2"),
        ("spark", "4.0Ultra", {"seed": 1}, {}, "seed"),
        ("kimi", "moonshot-v1-8k", {"temperature": 1.5}, {"temperature": 1.0}, "temperature 1.5"),
        ("kimi", "kimi-k2.6", {"temperature": 0.5, "max_tokens": 5}, {"max_tokens": 5}, "temperature"),
        ("openai", "o3", {"temperature": 0.5, "max_tokens": 5}, {"max_completion_tokens": 5}, "temperature"),
        ("openai", "gpt-4o", {"temperature": 0}, {"temperature": 0}, ""),
        ("deepseek", "deepseek-v4-flash", {"temperature": 0, "seed": 1}, {"temperature": 0, "seed": 1}, ""),
    ],
)
def test_settings_are_fitted_to_the_provider_and_that_is_told(provider, model, asked, sent, dropped):
    asked = request(model, settings=GenerationSettings(**asked))
    payload = chat_payload(provider_named(provider), asked, stream=False)
    assert {k: v for k, v in payload.body.items() if k not in ("model", "messages")} == sent
    assert "; ".join(payload.dropped).startswith(dropped)
    assert bool(payload.dropped) == bool(dropped)


def test_roles_and_reasoning_are_fitted_to_the_provider():
    messages = (
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "a", "reasoning_content": "r"},
    )
    asked = ChatRequest(messages, "m")
    openai = chat_payload(provider_named("openai"), asked, stream=False).body["messages"]
    deepseek = chat_payload(provider_named("deepseek"), asked, stream=False).body["messages"]
    assert openai == [messages[0], {"role": "assistant", "content": "a"}]
    assert deepseek == [{"role": "system", "content": "Be brief."}, messages[1]]
    assert messages[1]["reasoning_content"] == "r"


def test_what_a_provider_lacks_is_asked_for_in_words():
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}
    asked = request(settings=GenerationSettings(response_format=schema), tool_choice="required")
    body = chat_payload(provider_named("zhipu"), asked, stream=True).body
    assert body["response_format"] == {"type": "json_object"}
    assert '{"type":"array"}' in body["messages"][0]["content"]
    assert body["tool_choice"] == "auto"
    assert "stream_options" not in body
    assert chat_payload(provider_named("openai"), asked, stream=True).body["response_format"] == schema


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_every_provider_gets_messages_and_model(provider):
    body = chat_payload(provider, request(settings=EVERYTHING, tools=TOOLS), stream=True).body
    assert (body["model"], body["messages"], body["stop" if "stop" in body else "stream"]) != (None, None, None)
    assert sum(name in body for name in ("max_tokens", "max_completion_tokens")) == 1


@pytest.mark.parametrize(
    ("error", "gone", "new"),
    [
        (
            error_body(
                400,
                message="Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'.",
                code="unsupported_parameter",
                param="max_tokens",
            ),
            "max_tokens",
            {"max_completion_tokens": 100},
        ),
        (error_body(400, message="Unrecognized request argument supplied: seed"), "seed", {}),
        ({"detail": [{"loc": ["body", "top_p"], "msg": "Extra inputs are not permitted"}]}, "top_p", {}),
        (
            error_body(400, message="Only the default is supported.", code="unsupported_value", param="temperature"),
            "temperature",
            {},
        ),
    ],
)
async def test_a_refused_parameter_is_left_out_told_and_remembered(chat, upstream, error, gone, new):
    upstream.script("chat", Fault(status=400, body=error), None, None)
    client = chat()
    first = await client.complete(request(settings=EVERYTHING))
    _, _, chunks = await streamed(client, request(settings=EVERYTHING))
    refused, *asked = (call.json for call in upstream.calls("chat"))
    assert gone in refused
    assert all(gone not in body and new.items() <= body.items() for body in asked)
    assert len(asked) == 2
    if not new:
        assert first.dropped[0].startswith(gone)
        assert chunks[0].dropped == first.dropped


@pytest.mark.parametrize(
    "error",
    [
        error_body(400, message="temperature must be below 1", param="temperature"),
        error_body(400, message="tools are not supported by this model", param="tools"),
        error_body(400, message="Unknown model"),
    ],
)
async def test_no_other_error_makes_us_leave_anything_out(chat, upstream, error):
    upstream.always("chat", Fault(status=400, body=error))
    with pytest.raises(GenerationError):
        await chat().complete(request(settings=EVERYTHING, tools=TOOLS))
    assert len(upstream.calls("chat")) == 1


# --- what comes back ---


async def test_a_whole_completion(chat, upstream):
    upstream.reply = lambda _: Message("Two words", "let me see", (("look", '{"at": 1}'), ("go", "{}")))
    found = await chat().complete(request())
    assert (found.text, found.reasoning, found.finish_reason) == ("Two words", "let me see", "tool_calls")
    assert found.tool_calls == (ToolCall("call_0", "look", '{"at": 1}'), ToolCall("call_1", "go", "{}"))
    assert found.usage == Usage(input_tokens=2, output_tokens=2)
    assert found.model == "m"
    assert found.raw["id"] == "chatcmpl-1"


async def test_a_streamed_completion(chat, upstream):
    upstream.reply = lambda _: Message("Two 字 words", "let me see", (("look", '{"at": 1}'), ("go", "{}")))
    text, usage, chunks = await streamed(chat())
    assert text == "Two 字 words"
    assert "".join(chunk.reasoning for chunk in chunks) == "let me see"
    calls = [delta for chunk in chunks for delta in chunk.tool_calls]
    assert "".join(delta.arguments for delta in calls if delta.index == 0) == '{"at": 1}'
    assert [(delta.index, delta.id, delta.name) for delta in calls if delta.id] == [
        (0, "call_0", "look"),
        (1, "call_1", "go"),
    ]
    assert usage == Usage(input_tokens=2, output_tokens=3)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        (Fault(edit_events=usage_in_choice), True),
        (Fault(edit_events=no_usage), False),
        (Fault(done=False), True),
        (Fault(done=False, edit_events=no_usage), False),
        (Fault(edit_events=no_finish), False),
        (Fault(edit_events=lambda events: [{"choices": []}, {"choices": None}, *events]), True),
        (Fault(edit_events=lambda events: [{"choices": [{"index": 0, "delta": None}]}, *events]), True),
        (Fault(edit_events=lambda events: [{**e, "code": 0, "message": "Success", "sid": "x"} for e in events]), True),
        (Fault(comment="keep-alive", newline="\r\n", data="data:"), True),
        (
            Fault(
                edit_events=lambda events: [{**e, "x_groq": {"usage": e.get("usage")}, "usage": None} for e in events]
            ),
            True,
        ),
    ],
    ids=[
        "usage in choice",
        "no usage",
        "no [DONE]",
        "neither",
        "[DONE] without finish",
        "empty choices",
        "null delta",
        "spark",
        "crlf",
        "x_groq",
    ],
)
async def test_each_style_of_stream_is_a_whole_answer(chat, upstream, fault, counted):
    upstream.reply = lambda _: "The answer [1]."
    upstream.script("chat", fault)
    text, usage, _ = await streamed(chat())
    assert text == "The answer [1]."
    assert usage == (Usage(input_tokens=2, output_tokens=3) if counted else None)


async def test_a_reply_that_ignores_streaming_is_one_chunk(chat, upstream):
    whole = {"choices": [{"message": {"content": [{"type": "text", "text": "all"}, {"text": " at once"}]}}]}
    upstream.script("chat", Fault(body=whole))
    text, _, (chunk,) = await streamed(chat())
    assert (text, chunk.finish_reason) == ("all at once", "stop")


async def test_unknown_fields_are_kept(chat, upstream):
    upstream.always("chat", Fault(edit=lambda reply: {**reply, "timings": {"ms": 3}}))
    assert (await chat().complete(request())).raw["timings"] == {"ms": 3}


async def test_a_refusal_is_not_a_text(chat, upstream):
    upstream.reply = lambda _: Message(refusal="I cannot.")
    whole = await chat().complete(request())
    assert (whole.text, whole.refusal) == ("", "I cannot.")
    text, _, chunks = await streamed(chat())
    assert (text, [chunk.refusal for chunk in chunks if chunk.refusal]) == ("", ["I cannot."])


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(done=False, edit_events=no_finish), EndpointResponseError),
        (Fault(cut_after=2), EndpointUnreachableError),
        (Fault(edit_events=error_after(2, error_body(429))), RateLimitError),
        (Fault(edit_events=error_after(2, {"error": "engine died"})), EndpointResponseError),
        (Fault(edit_events=error_after(2, {"code": 10013, "message": "refused"})), EndpointResponseError),
        (Fault(edit_events=error_after(2, b'event: error\ndata: {"message": "x"}\n\n')), EndpointResponseError),
    ],
)
async def test_a_stream_that_breaks_is_an_error_after_its_beginning(chat, upstream, fault, cause):
    upstream.always("chat", fault)
    stream = chat().stream(request())
    received = [await anext(stream), await anext(stream)]
    with pytest.raises(GenerationError, match="chat with 'm': ") as caught:
        [received.append(chunk) async for chunk in stream]
    assert "".join(chunk.text for chunk in received).startswith("The ")
    assert isinstance(caught.value.__cause__, cause)
    assert len(upstream.calls("chat")) == 1


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": None}]}, {"data": []}]
)
async def test_a_reply_without_message_is_an_error(chat, upstream, body):
    upstream.always("chat", Fault(body=body))
    with pytest.raises(GenerationError, match="no message"):
        await chat().complete(request())


async def test_missing_usage_is_none_and_not_zero(chat, upstream):
    upstream.always("chat", Fault(edit=without("usage")))
    assert (await chat().complete(request())).usage is None


async def test_a_refused_key_stops_both_ways(chat, upstream):
    upstream.key = "sk-right"
    client = chat(api_key="sk-wrong")
    for call in (client.complete(request()), streamed(client)):
        with pytest.raises(GenerationError) as caught:
            await call
        assert isinstance(caught.value.__cause__, AuthenticationError)
    assert len(upstream.requests) == 2


async def test_closing_the_stream_stops_the_upstream_call(chat, upstream):
    upstream.reply = lambda _: "word " * 1000
    upstream.always("chat", Fault(events_per_s=200))
    stream = chat().stream(request())
    await anext(stream)
    await stream.aclose()
    assert upstream.wait_until(lambda: upstream.disconnects == 1)
