"""Parameters beyond sampling: how each provider is told, what is left out, and what is asked for in words instead."""

from __future__ import annotations

import pytest

from rag.gateway.chat import ChatClient, ChatRequest
from rag.gateway.chat_payload import chat_payload
from rag.gateway.providers import provider_named
from rag.types import GenerationSettings
from tests.upstream import Fault, error_body

HELLO = ({"role": "user", "content": "hello there"},)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "title": "Pump"}}}
EXTRAS = GenerationSettings(
    verbosity="low",
    service_tier="flex",
    store=False,
    metadata={"team": "a"},
    logit_bias={"50256": -100},
    user="u-7",
)


def sent(provider: str, **asked):
    payload = chat_payload(
        provider_named(provider), ChatRequest(HELLO, "m", settings=GenerationSettings(**asked)), stream=False
    )
    return {k: v for k, v in payload.body.items() if k not in ("model", "messages")}, payload.dropped


def test_openai_gets_all_of_them_under_its_own_names():
    body = chat_payload(provider_named("openai"), ChatRequest(HELLO, "m", settings=EXTRAS), stream=False).body
    assert {k: v for k, v in body.items() if k not in ("model", "messages")} == {
        "verbosity": "low",
        "service_tier": "flex",
        "store": False,
        "metadata": {"team": "a"},
        "logit_bias": {"50256": -100},
        "safety_identifier": "u-7",
    }


def test_what_a_provider_does_not_document_is_left_out_and_named():
    payload = chat_payload(provider_named("deepseek"), ChatRequest(HELLO, "m", settings=EXTRAS), stream=False)
    assert {k: v for k, v in payload.body.items() if k not in ("model", "messages")} == {"user": "u-7"}
    assert sorted(each.split()[0] for each in payload.dropped) == [
        "logit_bias",
        "metadata",
        "service_tier",
        "store",
        "verbosity",
    ]


@pytest.mark.parametrize(
    ("provider", "effort", "body", "told"),
    [
        ("openai", "high", {"reasoning_effort": "high"}, ""),
        ("openai", "none", {"reasoning_effort": "none"}, ""),
        ("deepseek", "high", {"reasoning_effort": "high"}, ""),
        ("deepseek", "none", {"thinking": {"type": "disabled"}}, ""),
        ("kimi", "none", {"thinking": {"type": "disabled"}}, ""),
        ("kimi", "low", {"thinking": {"type": "enabled"}}, "reasoning_effort low (sent as thinking"),
        ("qwen", "none", {"enable_thinking": False}, ""),
        ("qwen", "max", {"enable_thinking": True}, "reasoning_effort max (sent as thinking"),
        ("spark", "low", {}, "reasoning_effort (not taken"),
    ],
)
def test_a_model_is_told_to_think_in_its_providers_words(provider, effort, body, told):
    found, dropped = sent(provider, reasoning_effort=effort)
    assert found == body
    assert "; ".join(dropped).startswith(told)
    assert bool(dropped) == bool(told)


async def test_an_effort_that_a_model_refuses_is_left_out_from_then_on(connect, upstream):
    refusal = error_body(400, message="Unsupported parameter", code="unsupported_parameter", param="reasoning_effort")
    upstream.script("chat", Fault(status=400, body=refusal))
    client = ChatClient(connect())
    asked = ChatRequest(HELLO, "m", settings=GenerationSettings(reasoning_effort="low"))
    first, second = await client.complete(asked), await client.complete(asked)
    assert ["reasoning_effort" in call.json for call in upstream.calls("chat")] == [True, False, False]
    assert first.dropped == second.dropped
    assert first.dropped[0].startswith("reasoning_effort")


@pytest.mark.parametrize(
    "refusal",
    [
        error_body(400, message="This response_format type is unavailable now: not supported", param="response_format"),
        error_body(400, message="json_schema is not supported by this model"),
    ],
)
async def test_a_schema_that_an_endpoint_lacks_is_asked_for_in_words(connect, upstream, refusal):
    upstream.script("chat", Fault(status=400, body=refusal))
    reply = await ChatClient(connect()).complete(
        ChatRequest(HELLO, "m", settings=GenerationSettings(response_format=SCHEMA))
    )
    first, second = (call.json for call in upstream.calls("chat"))
    assert first["response_format"] == SCHEMA
    assert second["response_format"] == {"type": "json_object"}
    assert '"title":"Pump"' in second["messages"][0]["content"]
    assert "json_schema (asked for in words" in reply.dropped[0]


async def test_an_endpoint_without_any_format_is_asked_in_words_alone(connect, upstream):
    refusal = error_body(400, message="unknown field response_format", param="response_format")
    upstream.script("chat", Fault(status=400, body=refusal), Fault(status=400, body=refusal))
    reply = await ChatClient(connect()).complete(
        ChatRequest(HELLO, "m", settings=GenerationSettings(response_format=SCHEMA))
    )
    last = upstream.calls("chat")[-1].json
    assert "response_format" not in last
    assert '"title":"Pump"' in last["messages"][0]["content"]
    assert "response_format (asked for in words" in reply.dropped[0]


async def test_a_schema_that_is_wrong_itself_is_no_reason_to_ask_without_schemas(connect, upstream):
    wrong = error_body(400, message="Invalid schema for response_format 'n': not permitted", param="response_format")
    upstream.script("chat", Fault(status=400, body=wrong))
    client = ChatClient(connect())
    asked = ChatRequest(HELLO, "m", settings=GenerationSettings(response_format=SCHEMA))
    with pytest.raises(Exception, match="Invalid schema"):
        await client.complete(asked)
    await client.complete(asked)
    assert upstream.calls("chat")[-1].json["response_format"] == SCHEMA


@pytest.mark.parametrize(
    "wrong",
    [
        {"reasoning_effort": "much"},
        {"verbosity": "none"},
        {"logit_bias": {"hello": 1}},
        {"logit_bias": {"1": 101}},
        {"metadata": {str(n): "x" for n in range(17)}},
        {"metadata": {"k": "x" * 513}},
        {"user": "x" * 65},
        {"stop": ("a", "b", "c", "d", "e")},
        {"seed": 2**63},
    ],
    ids=str,
)
def test_a_parameter_out_of_its_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GenerationSettings(**wrong)


def test_what_was_said_comes_before_what_stood_there_also_when_it_is_nothing():
    base = GenerationSettings(temperature=0.5, stop=("END",), seed=1)
    over = GenerationSettings(temperature=0.0, stop=()).over(base)
    assert (over.temperature, over.stop, over.seed) == (0.0, (), 1)
