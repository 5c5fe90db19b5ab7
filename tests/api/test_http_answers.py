"""Asking and searching over HTTP: answers, event streams, and clients that leave."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from api import schemas
from rag.contracts import ABSTENTION
from tests.api.conftest import DOCUMENTS, Service
from tests.upstream import Fault, Upstream

QUESTION = "When did Apollo 11 land on the Moon?"


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the data of each server-sent event, after checking it against its id and name; comments as {"type": ""}."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield {"type": ""}
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            data = json.loads(fields["data"])
            assert (fields["event"], int(fields["id"])) == (data["type"], data["sequence_number"])
            yield data
            fields = {}


def ask_for_events(client: httpx2.Client, **body: Any) -> list[dict[str, Any]]:
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True, **body}) as reply:
        assert reply.status_code == 200, reply.read()
        assert reply.headers["content-type"].startswith("text/event-stream")
        return list(events_of(reply.iter_lines()))


def chat_settings(upstream: Upstream) -> dict[str, Any]:
    """Return settings of a set-up with an endpoint for chat, and embedded vectors."""
    return {
        "chat__base_url": upstream.base_url,
        "chat__model": "stub-chat",
        "chat__max_retries": 0,
        "embeddings__provider": "local",
    }


@pytest.fixture
def chatting(service: Service, upstream: Upstream) -> httpx2.Client:
    return service(**chat_settings(upstream))


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_cites_the_words_of_the_document(reader: httpx2.Client) -> None:
    answer = reader.post("/ask", json={"question": QUESTION}).raise_for_status().json()
    schemas.Answer.model_validate(answer)
    assert answer["answered"]
    (citation, *_) = answer["citations"]
    assert citation["document"] == "moon.md"
    assert "20 July 1969" in citation["quote"]
    assert f"[{citation['marker']}]" in answer["text"]


def test_a_quote_is_found_at_its_offsets_in_the_stored_text(reader: httpx2.Client) -> None:
    answer = reader.post("/ask", json={"question": QUESTION}).json()
    for citation in answer["citations"]:
        span = {"start": citation["start"], "end": citation["end"]}
        stored = reader.get(f"/collections/default/documents/{citation['document']}", params=span).json()
        assert stored["text"] == citation["quote"]


def test_a_chinese_question_is_answered(reader: httpx2.Client) -> None:
    answer = reader.post("/ask", json={"question": "元朝的首都是哪里?"}).json()
    assert answer["answered"]
    assert "元朝.txt" in {citation["document"] for citation in answer["citations"]}


def test_what_the_documents_do_not_say_is_a_normal_answer(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.reply = lambda request: ABSTENTION
    reply = chatting.post("/ask", json={"question": "Who was the first person on Mars?"})
    assert reply.status_code == 200
    assert (reply.json()["answered"], reply.json()["refusal"]) == (False, "not_in_documents")


def test_a_search_finds_the_best_chunk_first(reader: httpx2.Client) -> None:
    found = reader.post("/search", json={"query": "height of the Eiffel Tower", "k": 2}).raise_for_status().json()
    schemas.SearchReply.model_validate(found)
    assert found["hits"][0]["document"] == "places/tower.txt"
    assert found["hits"][0]["text"] in DOCUMENTS["places/tower.txt"]
    assert len(found["hits"]) <= 2


def test_a_search_leaves_out_what_is_less_relevant_than_asked(reader: httpx2.Client) -> None:
    body = {"query": "height of the Eiffel Tower", "k": 20}
    hits = reader.post("/search", json=body).raise_for_status().json()["hits"]
    assert max(hits, key=lambda hit: hit["relevance"])["document"] == "places/tower.txt"
    least = sorted(hit["relevance"] for hit in hits)[-1]
    kept = reader.post("/search", json={**body, "min_score": least}).raise_for_status().json()["hits"]
    assert kept == [hit for hit in hits if hit["relevance"] >= least]
    assert len(kept) < len(hits)
    assert reader.post("/search", json={**body, "min_score": 1.5}).status_code == 400


def test_a_question_with_a_floor_that_nothing_reaches_is_not_answered(reader: httpx2.Client) -> None:
    body = {"question": "What is the height of the Eiffel Tower?"}
    assert reader.post("/ask", json=body).raise_for_status().json()["answered"]
    refused = reader.post("/ask", json={**body, "min_score": 1}).raise_for_status().json()
    assert (refused["answered"], refused["sources"]) == (False, [])
    assert "min_score asks for 1" in " ".join(refused["notes"])


def test_the_sampling_parameters_and_the_history_reach_the_model(chatting: httpx2.Client, upstream: Upstream) -> None:
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 50, "presence_penalty": 1, "seed": 7, "stop": "END"}
    sampling |= {"frequency_penalty": -1, "response_format": {"type": "text"}}
    history = [{"role": "user", "text": "Tell me of the Moon."}, {"role": "assistant", "text": "It is far."}]
    chatting.post("/ask", json={"question": QUESTION, "history": history, **sampling}).raise_for_status()
    (call,) = upstream.calls("chat")
    for name, value in sampling.items():
        assert call.json[name] == ([value] if name == "stop" else value)
    assert "It is far." in json.dumps(call.json["messages"])


def test_a_parameter_left_out_has_the_value_of_the_settings(service: Service, upstream: Upstream) -> None:
    client = service(**chat_settings(upstream), answer__temperature=0.25, answer__seed=3)
    client.post("/ask", json={"question": QUESTION, "temperature": 0.75}).raise_for_status()
    (call,) = upstream.calls("chat")
    assert (call.json["temperature"], call.json["seed"]) == (0.75, 3)


def test_an_unknown_collection_is_a_404_streamed_or_not(reader: httpx2.Client) -> None:
    for stream in (False, True):
        reply = reader.post("/ask", json={"question": QUESTION, "collection": "nowhere", "stream": stream})
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == "collection_not_found"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(status=401), 502, "upstream_authentication"),
        (Fault(status=429, headers={"retry-after": "7"}), 429, "rate_limit_exceeded"),
        (Fault(status=500), 502, "upstream_error"),
    ],
)
def test_a_failing_model_has_the_status_of_its_failure(
    chatting: httpx2.Client, upstream: Upstream, fault: Fault, status: int, code: str
) -> None:
    upstream.script("chat", fault)
    reply = chatting.post("/ask", json={"question": QUESTION})
    assert reply.status_code == status
    assert status == 502 or reply.json()["error"]["code"] == code
    assert status != 429 or reply.headers["retry-after"] == "7"


def test_a_model_that_is_not_there_is_a_503(service: Service) -> None:
    client = service(chat__base_url="http://127.0.0.1:9/v1", chat__model="m", chat__max_retries=0)
    reply = client.post("/ask", json={"question": QUESTION})
    assert reply.status_code == 503
    assert reply.headers["retry-after"]


def test_a_model_that_says_nothing_is_a_504(service: Service, upstream: Upstream) -> None:
    upstream.script("chat", Fault(hang=True))
    client = service(**chat_settings(upstream), chat__timeout_s=0.3)
    assert client.post("/ask", json={"question": QUESTION}).status_code == 504


# --- event streams ---------------------------------------------------------------------------------------------------


def test_a_stream_brings_sources_text_citations_and_last_the_whole_answer(chatting: httpx2.Client) -> None:
    events = ask_for_events(chatting)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["started", "retrieved"]
    assert kinds[-3:] == ["usage", "answer", "done"]
    assert {"delta", "citation"} <= set(kinds)
    for event in events:
        schemas.StreamEvent.model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    answer = events[-2]["answer"]
    assert (events[0]["id"], events[-3]["usage"]) == (answer["id"], answer["usage"])
    assert (events[-1]["outcome"], events[-1]["timings_ms"]) == ("answered", answer["timings_ms"])
    assert "".join(event["text"] for event in events if event["type"] == "delta") == answer["text"]
    assert [event["citation"] for event in events if event["type"] == "citation"] == answer["citations"]
    assert events[1]["sources"] == answer["sources"]


def test_the_accept_header_asks_for_a_stream_too(reader: httpx2.Client) -> None:
    headers = {"accept": "application/json;q=0.1, Text/Event-Stream"}
    reply = reader.post("/ask", json={"question": QUESTION}, headers=headers)
    assert list(events_of(reply.iter_lines()))[-1]["type"] == "done"


def test_a_flagged_question_is_told_in_the_stream(service: Service, upstream: Upstream) -> None:
    moderation = {"moderation__base_url": upstream.base_url, "moderation__model": "m", "moderation__provider": "openai"}
    client = service(**chat_settings(upstream), **moderation, moderation__api_key="k")
    events = ask_for_events(client, question="How was the attack on the Moon planned?")
    moderated = next(event for event in events if event["type"] == "moderated")
    assert (moderated["target"], moderated["blocked"]) == ("question", True)
    assert moderated["verdict"]["categories"] == ["violence"]
    assert events[-2]["answer"]["refusal"] == "moderation"
    assert (events[-1]["outcome"], events[-1]["refusal"]) == ("refused", "moderation")


def test_text_arrives_while_the_model_is_still_writing(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.reply = lambda request: "The landing was in 1969 [1]. " * 8
    upstream.script("chat", Fault(events_per_s=50))
    with chatting.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        arrivals = [time.monotonic() for event in events_of(reply.iter_lines()) if event["type"] == "delta"]
    assert arrivals[-1] - arrivals[0] > 0.3


def test_a_failure_in_mid_stream_is_an_error_event(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.script("chat", Fault(cut_after=4))
    events = ask_for_events(chatting)
    assert events[-1]["type"] == "error"
    assert set(events[-1]["error"]) == {"message", "type", "param", "code"}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert not [event for event in events if event["type"] == "answer"]


def test_a_quiet_stream_is_kept_open_by_comments(service: Service, upstream: Upstream) -> None:
    upstream.script("chat", Fault(delay_s=0.5))
    events = ask_for_events(service(heartbeat_s=0.1, **chat_settings(upstream)))
    assert [event["type"] for event in events].count("") >= 3
    assert events[-1]["type"] == "done"


# --- clients that leave ----------------------------------------------------------------------------------------------


def test_a_client_that_leaves_a_stream_stops_the_model(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.script("chat", Fault(hang_after=3))
    with chatting.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        events = events_of(reply.iter_lines())  # held: dropping it would close the reply
        assert [next(events)["type"], next(events)["type"]] == ["started", "retrieved"]
        assert upstream.wait_until(lambda: upstream.in_flight == 1)
        assert upstream.disconnects == 0
    assert upstream.wait_until(lambda: upstream.disconnects == 1)


def test_a_client_that_leaves_before_its_answer_stops_the_model(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.script("chat", Fault(hang=True))
    with pytest.raises(httpx2.ReadTimeout):
        chatting.post("/ask", json={"question": QUESTION}, timeout=1)
    assert upstream.wait_until(lambda: upstream.disconnects == 1)
    assert chatting.post("/ask", json={"question": QUESTION}).status_code == 200


def test_many_answers_at_once_are_told_apart(chatting: httpx2.Client, upstream: Upstream) -> None:
    upstream.always("chat", Fault(delay_s=0.3))
    questions = [f"{QUESTION} Question {n}" for n in range(12)]
    started = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda question: chatting.post("/ask", json={"question": question}).json(), questions))
    assert [reply["question"] for reply in replies] == questions
    assert time.monotonic() - started < 12 * 0.3
