"""A chat model looks again at what rests on words alone, over a scripted endpoint; missing facts stay missing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rag.answering.answer import Answerer, AnswerSettings
from rag.answering.delivery import Unsupported
from rag.answering.verification import Verifier
from rag.gateway.chat import ChatClient
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.providers import provider_named
from rag.types import Answer, Citation, Statement, TextDelta, Usage
from tests.fakes import CannedGenerator, CannedRetriever, Shelf, WordTokenizer, document, whole
from tests.upstream import Fault, Upstream

BOOK = document(
    "book.pdf", "The pump starts at 40 bar. It is painted red so that nobody overlooks it.", title="Pump book"
)
STARTS = "The pump starts at 40 bar [1]."
LIKE = "Its bright colour catches every eye [1]."
WORDS = "It is painted red [1]."
FALSE_NUMBER = "The pump starts at 55 bar [1]."


def says(**verdicts: str) -> Any:
    """Return a reply that gives the verdict on each statement that holds the word, and remembers nothing."""

    def reply(request: dict[str, Any]) -> str:
        asked = json.loads(request["messages"][-1]["content"])["statements"]
        listed = [
            {"statement": one["number"], "verdict": verdict, "reason": "so I read it"}
            for one in asked
            for word, verdict in verdicts.items()
            if word in one["statement"]
        ]
        return f"```json\n{json.dumps({'verdicts': listed})}\n```"

    return reply


@pytest.fixture
async def chat(upstream: Upstream) -> AsyncIterator[ChatClient]:
    transport = HttpxTransport(n_pools=1)
    endpoint = Endpoint(provider_named("openai-compatible"), base_url=upstream.base_url, timeout_s=5.0, max_retries=0)
    yield ChatClient(EndpointClient(endpoint, transport))
    await transport.aclose()


async def answered(
    chat: ChatClient,
    *sentences: str,
    unsupported: Unsupported = "flag",
    max_tokens: int = 6000,
    timeout_s: float = 5.0,
) -> tuple[Answer, list[Any]]:
    verifier = Verifier(chat, model="judge", tokenizer=WordTokenizer(), max_tokens=max_tokens, timeout_s=timeout_s)
    answerer = Answerer(
        CannedRetriever(whole(BOOK)),
        CannedGenerator(" ".join(sentences), usage=Usage(5, 5)),
        Shelf(BOOK),
        WordTokenizer(),
        verifier=verifier,
        settings=AnswerSettings(unsupported=unsupported),
    )
    events = [event async for event in answerer.stream("When does it start?")]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    assert tuple(event for event in events if isinstance(event, Citation)) == answer.citations
    assert tuple(event for event in events if isinstance(event, Statement)) == answer.statements
    return answer, events


def verdicts(answer: Answer) -> list[str]:
    return [statement.verdict for statement in answer.statements]


async def test_words_that_rules_do_not_know_are_judged_by_the_model(chat: ChatClient, upstream: Upstream) -> None:
    upstream.reply = says(colour="supported")
    answer, _ = await answered(chat, STARTS, LIKE)
    assert verdicts(answer) == ["supported", "supported"]
    assert answer.statements[1].reason == "judge: so I read it"
    assert [citation.verdict for citation in answer.citations] == ["supported", "supported"]
    (call,) = upstream.calls("chat")
    sent = json.loads(call.json["messages"][-1]["content"])
    assert call.json["model"] == "judge"
    assert [one["statement"] for one in sent["statements"]] == ["Its bright colour catches every eye ."]
    assert BOOK.text in sent["sources"]["1"]
    assert answer.usage.input_tokens > 5


async def test_the_model_cannot_bring_back_a_number_that_is_missing(chat: ChatClient, upstream: Upstream) -> None:
    upstream.reply = says(colour="supported", pump="supported")
    answer, _ = await answered(chat, FALSE_NUMBER, LIKE)
    assert verdicts(answer) == ["unsupported", "supported"]
    assert answer.statements[0].missing[0].text == "55"


async def test_words_alone_may_also_be_found_wanting(chat: ChatClient, upstream: Upstream) -> None:
    upstream.reply = says(painted="unsupported")
    answer, _ = await answered(chat, STARTS, WORDS, unsupported="remove")
    assert answer.text == STARTS
    assert [(one.text, one.verdict, one.reason) for one in answer.removed] == [
        (WORDS, "unsupported", "judge: so I read it")
    ]


async def test_an_answer_of_plain_facts_costs_no_call(chat: ChatClient, upstream: Upstream) -> None:
    answer, _ = await answered(chat, STARTS)
    assert (verdicts(answer), upstream.calls("chat")) == (["supported"], [])


async def test_the_text_goes_on_while_verdicts_wait(chat: ChatClient, upstream: Upstream) -> None:
    upstream.reply = says(colour="partly")
    _, events = await answered(chat, LIKE, STARTS)
    kinds = [type(event) for event in events if not isinstance(event, Answer)]
    assert kinds[-4:] == [Citation, Statement, Citation, Statement]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("All is well.", "the reply is no such JSON: 'All is well.'"),
        ('{"verdicts": 3}', "the reply is no such JSON"),
        ('{"verdicts": [{"statement": 1, "verdict": "fine"}, 7]}', "gave no verdict on 1 of 1 statements"),
    ],
)
async def test_another_reply_leaves_the_verdicts_of_the_rules(
    chat: ChatClient, upstream: Upstream, reply: str, said: str
) -> None:
    upstream.reply = lambda request: reply
    answer, _ = await answered(chat, LIKE)
    assert verdicts(answer) == ["unsupported"]
    assert said in answer.notes[0]


@pytest.mark.parametrize(
    ("fault", "said"), [(Fault(status=400), "judge could not verify"), (Fault(hang=True), "0.2 s")]
)
async def test_an_endpoint_that_fails_or_is_late_leaves_the_verdicts_of_the_rules(
    chat: ChatClient, upstream: Upstream, fault: Fault, said: str
) -> None:
    upstream.always("chat", fault)
    answer, _ = await answered(chat, STARTS, LIKE, timeout_s=0.2)
    assert verdicts(answer) == ["supported", "unsupported"]
    assert said in answer.notes[0]


async def test_what_does_not_fit_the_budget_is_not_sent_and_said(chat: ChatClient, upstream: Upstream) -> None:
    upstream.reply = says(colour="supported", painted="supported")
    answer, _ = await answered(chat, LIKE, *[WORDS] * 3, max_tokens=120)
    sent = json.loads(upstream.calls("chat")[0].json["messages"][-1]["content"])["statements"]
    assert len(sent) < 4
    assert answer.notes == (
        f"{4 - len(sent)} of 4 doubtful statements were not verified: answer.verify_tokens is too low",
    )
