"""Rerankers over real HTTP: the common endpoint in its dialects, and a chat model."""

from __future__ import annotations

import json

import pytest

from rag.answering.chat_reranker import ChatReranker
from rag.errors import EndpointResponseError, RateLimitError, RerankError
from rag.gateway.chat import ChatClient
from rag.gateway.rerank import EndpointReranker
from tests.upstream import Fault

TEXTS = ["Tea with milk.", "The tower is 330 metres tall.", "Towers are tall."]
QUERY = "How tall is the tower?"


async def test_each_text_gets_its_score_in_its_place(connect, upstream):
    scores = await EndpointReranker(connect(), model="stub-rerank").rerank(QUERY, TEXTS)
    assert scores[1] > scores[2] > scores[0] >= 0
    (call,) = upstream.calls("rerank")
    assert call.json == {
        "model": "stub-rerank",
        "query": QUERY,
        "documents": TEXTS,
        "top_n": 3,
        "return_documents": False,
    }


@pytest.mark.parametrize(
    "body",
    [
        {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},  # Jina, Cohere
        {
            "results": [
                {"index": 0, "relevance_score": 0.2, "document": {"text": "x"}},
                {"index": 1, "relevance_score": 0.9},
            ]
        },
        {
            "data": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
            "object": "list",
        },  # Voyage
    ],
    ids=["best first", "with documents", "data"],
)
async def test_replies_of_several_providers_are_understood(connect, upstream, body):
    upstream.script("rerank", Fault(body=body))
    assert await EndpointReranker(connect(), model="m").rerank("q", ["a", "b"]) == [0.2, 0.9]


async def test_logits_are_put_between_zero_and_one_in_their_order(connect, upstream):
    results = [{"index": place, "relevance_score": score} for place, score in enumerate((-2000.0, 0.0, 7.5))]
    upstream.script("rerank", Fault(body={"results": results}))
    low, middle, high = await EndpointReranker(connect(), model="m").rerank("q", ["a", "b", "c"])
    assert 0 <= low < middle == 0.5 < high <= 1


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(edit=lambda reply: {"results": reply["results"][1:]}), EndpointResponseError),
        (
            Fault(edit=lambda reply: {"results": [*reply["results"], {"index": 9, "relevance_score": 1}]}),
            EndpointResponseError,
        ),
        (Fault(body={"results": [{"index": 0, "relevance_score": "high"}]}), EndpointResponseError),
        (Fault(body={}), EndpointResponseError),
        (Fault(status=404), EndpointResponseError),
        (Fault(status=429), RateLimitError),
    ],
)
async def test_scores_that_are_not_one_for_each_text_are_an_error(connect, upstream, fault, cause):
    upstream.always("rerank", fault)
    with pytest.raises(RerankError, match="reranking 3 passages with 'm'") as caught:
        await EndpointReranker(connect(), model="m").rerank(QUERY, TEXTS)
    assert isinstance(caught.value.__cause__, cause)


async def test_no_texts_cost_nothing(connect, upstream):
    assert await EndpointReranker(connect(), model="m").rerank(QUERY, []) == []
    assert await ChatReranker(ChatClient(connect()), model="m").rerank(QUERY, []) == []
    assert not upstream.requests


# --- a chat model


async def test_a_chat_model_grades_all_passages_in_one_call(connect, upstream):
    upstream.reply = lambda request: 'Here you are: {"grades": [0, 10, 12]}'
    assert await ChatReranker(ChatClient(connect()), model="stub-chat").rerank(QUERY, TEXTS) == [0.0, 1.0, 1.0]
    (call,) = upstream.calls("chat")
    assert json.loads(call.json["messages"][-1]["content"]) == {"query": QUERY, "passages": TEXTS}
    assert call.json["temperature"] == 0
    assert call.json["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "reply", ["all good", '{"grades": [1, 2]}', '{"grades": ["high", 1, 2]}', "{", '{"grades": 3}']
)
async def test_a_reply_that_does_not_grade_each_passage_is_an_error(connect, upstream, reply):
    upstream.reply = lambda request: reply
    with pytest.raises(RerankError, match=r"it sent [02] grades"):
        await ChatReranker(ChatClient(connect()), model="m").rerank(QUERY, TEXTS)


async def test_an_endpoint_that_fails_is_an_error_with_its_cause(connect, upstream):
    upstream.always("chat", Fault(status=500))
    with pytest.raises(RerankError, match="reranking 3 passages with 'm'"):
        await ChatReranker(ChatClient(connect()), model="m").rerank(QUERY, TEXTS)
