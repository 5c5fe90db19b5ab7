"""Queries that a chat model writes: what is asked, how hits merge, and that no failure of it is one of the answer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from rag.answering.asking import Asking, merged
from rag.answering.queries import QueryWriter
from rag.errors import GenerationError
from rag.gateway.chat import ChatCompletion, ChatRequest
from rag.tokens import tokenizer as named_tokenizer
from rag.types import Retrieval, Turn, Usage
from tests.fakes import CannedRetriever, document, whole

HISTORY = (Turn("user", "How tall is the Eiffel Tower?"), Turn("assistant", "330 metres [1]."))
PLAIN = "How tall is the Eiffel Tower?\nHow old is it?"
ALONE = "How old is the Eiffel Tower?"


class CannedChat:
    """Replies with the same text, after ``delay_s``, or raises."""

    def __init__(self, reply: str, *, delay_s: float = 0, fails: bool = False) -> None:
        self.requests: list[ChatRequest] = []
        self._reply, self._delay_s, self._fails = reply, delay_s, fails

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        self.requests.append(request)
        await asyncio.sleep(self._delay_s)
        if self._fails:
            raise GenerationError("no route to the model")
        return ChatCompletion(self._reply, "", (), "stop", Usage(40, 9), "m", None, {})


def asking(chat: CannedChat, **options: Any) -> Asking:
    writer = QueryWriter(
        chat,  # type: ignore[arg-type]
        model="m",
        tokenizer=named_tokenizer("o200k_base"),
        max_tokens=500,
        timeout_s=0.05,
    )
    return Asking(writer, **options)


async def test_a_follow_up_is_searched_as_rewritten() -> None:
    chat, retriever = CannedChat(json.dumps({"question": ALONE})), CannedRetriever(whole(document("a.txt", "old")))
    found = await asking(chat).retrieve(retriever, "How old is it?", HISTORY, k=3)
    assert (found.queries, found.usage, found.notes) == ((ALONE,), Usage(40, 9), ())
    assert [hit.chunk.document_id for hit in found.hits] == ["a.txt"]
    told = json.loads(chat.requests[0].messages[1]["content"])
    assert (told["question"], told["conversation"][0]["text"]) == ("How old is it?", "How tall is the Eiffel Tower?")


async def test_a_question_that_stands_alone_asks_no_model() -> None:
    chat, retriever = CannedChat("{}"), CannedRetriever()
    for history in ((), HISTORY):
        found = await asking(chat).retrieve(retriever, "Who landed on the Moon in 1969?", history, k=3)
        assert found.queries == ("Who landed on the Moon in 1969?",)
    assert chat.requests == []


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        (CannedChat("It is old."), "no JSON"),
        (CannedChat("[1]"), "no JSON object"),
        (CannedChat('{"question": " "}'), "'question' of the reply"),
        (CannedChat('{"question": 7}'), "'question' of the reply"),
        (CannedChat("{}", delay_s=1), "did not answer within 0.05 s"),
        (CannedChat("{}", fails=True), "no route to the model"),
    ],
    ids=["words", "list", "empty", "number", "late", "failing"],
)
async def test_the_plain_query_serves_where_none_can_be_written(chat: CannedChat, said: str) -> None:
    found = await asking(chat).retrieve(
        CannedRetriever(whole(document("a.txt", "old"))), "How old is it?", HISTORY, k=3
    )
    assert (found.queries, len(found.hits)) == ((PLAIN,), 1)
    assert said in found.notes[0]


async def test_other_wordings_and_a_passage_are_searched_beside_the_question() -> None:
    reply = (
        "```json\n" + json.dumps({"alternatives": ["tower height", "high tower"], "passage": "It is tall."}) + "\n```"
    )
    retriever = CannedRetriever()
    question = "How tall is the tower in Paris, France?"
    found = await asking(CannedChat(reply), alternatives=2, hyde=True).retrieve(retriever, question, (), k=3)
    assert found.queries == (question, "tower height", "high tower", "It is tall.")
    assert sorted(retriever.queries) == sorted(found.queries)


CHINESE = "埃菲尔铁塔有多高?"
TRANSLATED = json.dumps({"translation": "How tall is the Eiffel Tower?"})


@pytest.mark.parametrize(
    ("question", "languages", "translate", "asked"),
    [
        (CHINESE, ("en",), True, (CHINESE, "How tall is the Eiffel Tower?")),
        (CHINESE, ("en", "zh"), True, (CHINESE,)),
        (CHINESE, (), True, (CHINESE,)),
        (CHINESE, ("en",), False, (CHINESE,)),
        ("330 m?", ("zh",), True, ("330 m?",)),
    ],
    ids=["other language", "one of two", "unknown", "off", "no words"],
)
async def test_a_question_is_also_asked_in_the_language_of_the_documents(
    question: str, languages: tuple[str, ...], translate: bool, asked: tuple[str, ...]
) -> None:
    chat = CannedChat(TRANSLATED)
    both = asking(chat, languages=languages, translate=translate)
    found = await both.retrieve(CannedRetriever(), question, (), k=3)
    assert found.queries == asked
    assert len(chat.requests) == len(asked) - 1
    for request in chat.requests:
        assert '"translation": the question in English' in request.messages[0]["content"]


async def test_a_reply_that_is_of_no_use_is_counted_all_the_same() -> None:
    found = await asking(CannedChat("It is old.")).retrieve(CannedRetriever(), "How old is it?", HISTORY, k=3)
    assert found.usage == Usage(40, 9)


async def test_the_same_turn_is_paid_for_once() -> None:
    chat = CannedChat(json.dumps({"question": ALONE}))
    twice = asking(chat)
    usages = [(await twice.retrieve(CannedRetriever(), "How old is it?", HISTORY, k=3)).usage for _ in range(2)]
    assert (len(chat.requests), usages) == (1, [Usage(40, 9), Usage()])


def test_a_chunk_has_the_best_of_its_scores() -> None:
    a, b, c = (whole(document(name, "text")) for name in ("a", "b", "c"))
    one = Retrieval((replace(a, score=0.9), replace(b, score=0.2)), ("vectors",), {"fuse": 2.0})
    other = Retrieval((replace(b, score=0.7), replace(c, score=0.7)), ("keywords",), {"fuse": 3.0})
    both = merged([one, other], k=3)
    assert [(hit.chunk.document_id, hit.score) for hit in both.hits] == [("a", 0.9), ("b", 0.7), ("c", 0.7)]
    assert (both.hits, both.timings_ms) == (merged([other, one], k=3).hits, {"fuse": 3.0})
    assert len(merged([one, other], k=2).hits) == 2
