"""Answers in JSON over a scripted endpoint: the user's schema, citations by pointer, verdicts leaf by leaf."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.answer import Answerer
from rag.answering.chat_generator import ChatGenerator
from rag.answering.forms import Form, FormProblem, form_of, render_value
from rag.errors import AnswerFormatError, GenerationError
from rag.gateway.chat import ChatClient
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.moderations import EndpointModerator
from rag.gateway.providers import provider_named
from rag.local.extractive import ExtractiveGenerator
from rag.types import Citation, GenerationSettings, Statement, TextDelta
from tests.fakes import CannedRetriever, Shelf, WordTokenizer, document, whole
from tests.upstream import Upstream

BOOK = document(
    "book.pdf", "The pump P-7 starts at 40 bar. ", "It was built on 3 May 2019 by Li Wei.", title="Pump book"
)
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "bar": {"type": "number"},
        "built": {"type": "string"},
        "makers": {"type": "array", "items": {"type": "string"}},
        "spare": {"type": ["string", "null"]},
        "electric": {"type": "boolean"},
    },
    "required": ["name", "bar"],
    "additionalProperties": False,
}
GOOD = {"name": "P-7", "bar": 40, "built": "2019-05-03", "makers": ["Li Wei"], "spare": None}
CITED = [{"path": f"/{key}", "sources": [1]} for key in ("name", "bar", "built", "makers/0")]


def asking(schema: Any = SCHEMA, **more: Any) -> GenerationSettings:
    wanted = {"type": "json_schema", "json_schema": {"name": "pump", "schema": schema, **more}}
    return GenerationSettings(response_format=wanted)


def replying(upstream: Upstream, *replies: Any) -> None:
    left = [reply if isinstance(reply, str) else json.dumps(reply) for reply in replies]
    upstream.reply = lambda request: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
async def transport() -> AsyncIterator[HttpxTransport]:
    transport = HttpxTransport(n_pools=1)
    yield transport
    await transport.aclose()


def answerer(upstream: Upstream, transport: HttpxTransport, provider: str = "openai-compatible") -> Answerer:
    endpoint = Endpoint(
        provider=provider_named(provider), base_url=upstream.base_url, api_key="sk-x", timeout_s=5, max_retries=0
    )
    client = EndpointClient(endpoint, transport)
    return Answerer(
        CannedRetriever(whole(BOOK)),
        ChatGenerator(ChatClient(client), model="stub-chat"),
        Shelf(BOOK),
        WordTokenizer(),
        moderator=EndpointModerator(client, model="stub-moderation"),
    )


async def test_an_answer_follows_the_users_schema_and_each_value_is_cited(
    upstream: Upstream, transport: HttpxTransport
) -> None:
    replying(upstream, {"answer": GOOD, "citations": CITED})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert json.loads(answer.text) == answer.value == GOOD
    assert {one.path: (one.document, one.page, one.verdict) for one in answer.citations} == {
        "/name": ("book.pdf", 1, "supported"),
        "/bar": ("book.pdf", 1, "supported"),
        "/built": ("book.pdf", 2, "supported"),
        "/makers/0": ("book.pdf", 2, "supported"),
    }
    spans = {one.path: answer.text[one.answer_start : one.answer_end] for one in answer.citations}
    assert spans == {"/name": '"P-7"', "/bar": "40", "/built": '"2019-05-03"', "/makers/0": '"Li Wei"'}
    assert answer.answered


async def test_a_value_that_its_source_does_not_hold_is_found_out(
    upstream: Upstream, transport: HttpxTransport
) -> None:
    wrong = GOOD | {"bar": 60, "built": "2019-05-04", "electric": True}
    replying(upstream, {"answer": wrong, "citations": [*CITED, {"path": "/electric", "sources": [1]}]})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    verdicts = {one.path: one.verdict for one in answer.statements}
    assert (verdicts["/bar"], verdicts["/built"], verdicts["/name"]) == ("unsupported", "unsupported", "supported")
    assert verdicts["/electric"] == "partly"


async def test_values_without_sources_and_numbers_of_none_are_told(
    upstream: Upstream, transport: HttpxTransport
) -> None:
    replying(
        upstream,
        {"answer": GOOD, "citations": [{"path": "/name", "sources": [9]}, {"path": "/nowhere", "sources": [1]}]},
    )
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    verdicts = {one.path: one.verdict for one in answer.statements}
    assert (verdicts["/name"], verdicts["/bar"]) == ("unknown marker", "uncited")
    assert answer.unknown_markers == (9,)
    assert answer.notes == ("citations of no value were left out: /nowhere",)


async def test_an_address_that_no_source_holds_is_named(upstream: Upstream, transport: HttpxTransport) -> None:
    replying(upstream, {"answer": {"name": "https://evil.example/?q=40", "bar": 40}, "citations": CITED[:2]})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert answer.notes == ("addresses that no source holds stand at /name: do not open them",)


async def test_markers_in_texts_are_taken_out_and_count(upstream: Upstream, transport: HttpxTransport) -> None:
    replying(upstream, {"answer": {"name": "P-7 [1]", "bar": 40}, "citations": []})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert answer.value == {"name": "P-7", "bar": 40}
    assert [(one.path, one.marker) for one in answer.citations] == [("/name", 1)]


@pytest.mark.parametrize(
    "bad",
    [
        {"answer": {"name": "P-7"}, "citations": []},
        {"answer": GOOD | {"colour": "red"}, "citations": []},
        {"answer": GOOD | {"bar": "40"}, "citations": []},
        GOOD,
        "The pump P-7 [1].",
        '{"answer": {"name": "P-7", "bar": NaN}, "citations": []}',
    ],
    ids=["missing", "too much", "wrong type", "no envelope", "prose", "NaN"],
)
async def test_a_reply_out_of_form_is_asked_for_once_more_with_the_reason(
    upstream: Upstream, transport: HttpxTransport, bad: Any
) -> None:
    replying(upstream, bad, {"answer": GOOD, "citations": CITED})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    first, second = (call.json["messages"][-1]["content"] for call in upstream.calls("chat"))
    assert "was not accepted" not in first
    assert "Your first reply was not accepted" in second
    assert answer.value == GOOD
    assert answer.notes[0].startswith("asked twice")


async def test_a_second_reply_out_of_form_is_an_error(upstream: Upstream, transport: HttpxTransport) -> None:
    replying(upstream, {"answer": {"name": 7, "bar": 1}, "citations": []})
    with pytest.raises(GenerationError, match=r"twice: .*/name: 7 is not of type 'string'"):
        await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert len(upstream.calls("chat")) == 2


@pytest.mark.parametrize("reply", [{"answer": None, "citations": []}, "NOT_IN_DOCUMENTS"], ids=["null", "word"])
async def test_silence_is_kept_in_json_too(upstream: Upstream, transport: HttpxTransport, reply: Any) -> None:
    replying(upstream, reply)
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert (answer.answered, answer.refusal, answer.value) == (False, "not_in_documents", None)
    assert answer.text == "The documents do not answer this question."


async def test_json_comes_in_one_piece_and_its_citations_after_it(
    upstream: Upstream, transport: HttpxTransport
) -> None:
    replying(upstream, {"answer": GOOD, "citations": CITED})
    events = [event async for event in answerer(upstream, transport).stream("Which pump?", generation=asking())]
    assert [type(event) for event in events[1:-1]] == [TextDelta, *[Citation] * 4, *[Statement] * 4]


async def test_json_is_moderated_as_prose_is(upstream: Upstream, transport: HttpxTransport) -> None:
    replying(upstream, {"answer": GOOD | {"name": "attack"}, "citations": CITED})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asking())
    assert (answer.refusal, answer.value, "attack" in answer.text) == ("moderation", None, False)


async def test_an_object_of_any_shape_is_cited_too(upstream: Upstream, transport: HttpxTransport) -> None:
    replying(upstream, {"answer": {"start": "40 bar"}, "citations": [{"path": "/start", "sources": [1]}]})
    asked = GenerationSettings(response_format={"type": "json_object"})
    answer = await answerer(upstream, transport).answer("Which pump?", generation=asked)
    assert [(one.path, one.verdict) for one in answer.citations] == [("/start", "supported")]
    assert upstream.calls("chat")[0].json["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("provider", ["deepseek", "kimi"])
async def test_providers_without_schemas_are_asked_in_words(
    upstream: Upstream, transport: HttpxTransport, provider: str
) -> None:
    replying(upstream, {"answer": GOOD, "citations": CITED})
    answer = await answerer(upstream, transport, provider).answer("Which pump?", generation=asking())
    asked = upstream.calls("chat")[0].json
    assert asked["response_format"] == {"type": "json_object"}
    assert '"additionalProperties":false' in asked["messages"][0]["content"]
    assert answer.value == GOOD


def test_what_is_sent_is_a_schema_of_answer_and_citations_with_references_that_lead() -> None:
    schema = {
        "type": "object",
        "properties": {"part": {"$ref": "#/$defs/part"}, "more": {"$ref": "#"}},
        "$defs": {"part": {"type": "string"}},
    }
    form = form_of(asking(schema, strict=True).response_format)
    assert form is not None
    sent = form.response_format()["json_schema"]
    inner = sent["schema"]["properties"]["answer"]["anyOf"][0]
    assert sent["strict"] is True
    assert inner["properties"] == {"part": {"$ref": "#/$defs/part"}, "more": {"$ref": "#/properties/answer/anyOf/0"}}
    assert sent["schema"]["$defs"] == {"part": {"type": "string"}}
    assert form.read('```json\n{"answer": {"part": "x", "more": {"part": "y"}}, "citations": []}\n```').value
    with pytest.raises(FormProblem, match="/more/part"):
        form.read('{"answer": {"more": {"part": 1}}}')


@pytest.mark.parametrize(
    ("response_format", "said"),
    [
        ({"type": "yaml"}, "got type 'yaml'"),
        ({"type": "json_schema"}, "got type 'json_schema'"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "thing"}}}, "no usable JSON schema"),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "http://127.0.0.1:1/x"}}}, "which is not in it"),
        ({"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}, "without end"),
    ],
)
async def test_a_form_that_is_none_is_told_before_anything_is_asked(
    upstream: Upstream, transport: HttpxTransport, response_format: Any, said: str
) -> None:
    with pytest.raises(AnswerFormatError, match=said):
        answerer(upstream, transport).stream("Which?", generation=GenerationSettings(response_format=response_format))
    assert not upstream.calls("chat")


async def test_the_embedded_answerer_says_that_it_writes_no_json() -> None:
    answering = Answerer(CannedRetriever(whole(BOOK)), ExtractiveGenerator(None), Shelf(BOOK), WordTokenizer())
    with pytest.raises(AnswerFormatError, match="set a chat model"):
        await answering.answer("When was the pump built?", generation=asking())


def test_a_pattern_that_never_ends_stalls_nothing() -> None:
    form = Form({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}})
    assert form.read(json.dumps({"answer": {"a": "a" * 40 + "!"}})).value == {"a": "a" * 40 + "!"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_json_is_rendered_as_it_is_and_every_leaf_is_where_it_says(value: Any) -> None:
    text, leaves = render_value(value)
    assert json.loads(text) == value
    for leaf in leaves:
        assert json.loads(text[leaf.start : leaf.end]) == leaf.value
        found = value
        for part in leaf.path.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        assert found == leaf.value
