"""Stored conversations over HTTP."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from api import schemas
from tests.api.conftest import Service
from tests.api.test_conversing import MOON, TOWER, quoting
from tests.api.test_http_answers import ask_for_events, chat_settings
from tests.api.test_http_errors import error_of
from tests.upstream import Fault, Upstream


@pytest.fixture
def client(service: Service, library: Path, upstream: Upstream) -> httpx2.Client:
    upstream.reply = quoting
    return service(library, **chat_settings(upstream), query__rewrite="off")


def made(client: httpx2.Client, **body: object) -> str:
    reply = client.post("/threads", json=body)
    assert reply.status_code == 201
    return str(schemas.Thread.model_validate(reply.json()).id)


def messages(client: httpx2.Client, thread: str, **params: int) -> list[schemas.Message]:
    reply = client.get(f"/threads/{thread}/messages", params=params).raise_for_status()
    return schemas.MessageList.model_validate(reply.json()).messages


def test_questions_asked_in_a_thread_are_there_with_their_answers(client: httpx2.Client) -> None:
    thread = made(client)
    first = client.post("/ask", json={"question": TOWER, "thread": thread, "k": 1}).raise_for_status().json()
    second = ask_for_events(client, question=MOON, thread=thread, k=1)[-2]["answer"]
    assert [one["citations"][0]["marker"] for one in (first, second)] == [1, 2]
    found = messages(client, thread)
    assert [(one.role, one.text) for one in found] == [
        ("user", TOWER),
        ("assistant", first["text"]),
        ("user", MOON),
        ("assistant", second["text"]),
    ]
    answer = found[3].answer
    assert answer is not None
    assert answer["id"] == second["id"]  # the id that its stream told
    assert answer["citations"][0]["version"]["now"] == "unchanged"
    assert client.get(f"/threads/{thread}").json()["title"] == TOWER


def test_threads_come_in_pages_and_messages_too(client: httpx2.Client) -> None:
    threads = [made(client, title=f"t{n}") for n in range(3)]
    page = client.get("/threads", params={"limit": 2}).json()
    rest = client.get("/threads", params={"limit": 2, "after": page["next_after"]}).json()
    assert [thread["id"] for thread in page["threads"] + rest["threads"]] == threads[::-1]
    assert rest["next_after"] is None
    client.post("/ask", json={"question": TOWER, "thread": threads[0]}).raise_for_status()
    assert [one.position for one in messages(client, threads[0], limit=1, after=1)] == [2]
    wrong = client.get("/threads", params={"after": "nonsense"})
    assert (wrong.status_code, error_of(wrong)["code"]) == (400, "invalid_thread")


def test_a_thread_is_changed_exported_and_deleted(client: httpx2.Client) -> None:
    thread = made(client, title="Old", collections=["default"], metadata={"a": 1})
    changed = client.patch(f"/threads/{thread}", json={"title": "New"}).raise_for_status().json()
    assert (changed["title"], changed["collections"], changed["metadata"]) == ("New", ["default"], {"a": 1})
    client.post("/ask", json={"question": TOWER, "thread": thread}).raise_for_status()
    text = client.get(f"/threads/{thread}/export").raise_for_status()
    assert text.headers["content-type"].startswith("text/markdown")
    assert f'filename="{thread}.md"' in text.headers["content-disposition"]
    assert text.text.startswith("# New\n")
    whole = client.get(f"/threads/{thread}/export", params={"format": "json"}).raise_for_status()
    assert json.loads(whole.text)["turns"][0]["question"] == TOWER
    assert client.delete(f"/threads/{thread}").json() == {"id": thread, "deleted": True}
    for gone in (
        client.get(f"/threads/{thread}"),
        client.delete(f"/threads/{thread}"),
        client.get(f"/threads/{thread}/messages"),
        client.post("/ask", json={"question": TOWER, "thread": thread}),
        client.post("/ask", json={"question": TOWER, "thread": thread, "stream": True}),
    ):
        assert (gone.status_code, error_of(gone)["code"]) == (404, "thread_not_found")


def test_two_questions_at_once_are_one_answer_and_a_409(client: httpx2.Client, upstream: Upstream) -> None:
    thread = made(client)
    upstream.script("chat", Fault(delay_s=0.4))
    with ThreadPoolExecutor(2) as pool:
        replies = list(
            pool.map(lambda body: client.post("/ask", json={"question": TOWER, "thread": thread, **body}), [{}, {}])
        )
    busy, answered = sorted(replies, key=lambda reply: -reply.status_code)
    assert answered.status_code == 200
    assert (busy.status_code, error_of(busy)["code"]) == (409, "thread_busy")
    assert busy.headers["retry-after"]
    assert [one.state for one in messages(client, thread)] == ["answered", "answered"]


def test_a_client_that_leaves_leaves_a_question_and_no_half_answer(client: httpx2.Client, upstream: Upstream) -> None:
    thread = made(client)
    upstream.script("chat", Fault(hang=True))
    with pytest.raises(httpx2.ReadTimeout):
        client.post("/ask", json={"question": TOWER, "thread": thread}, timeout=1)
    assert upstream.wait_until(lambda: upstream.disconnects == 1)
    assert upstream.wait_until(lambda: [one.state for one in messages(client, thread)] == ["cancelled"])
    assert client.post("/ask", json={"question": TOWER, "thread": thread}).status_code == 200


def test_a_model_that_fails_in_mid_stream_leaves_the_reason(client: httpx2.Client, upstream: Upstream) -> None:
    thread = made(client)
    upstream.script("chat", Fault(cut_after=4))
    error = ask_for_events(client, question=TOWER, thread=thread)[-1]
    assert error["type"] == "error"
    (question,) = messages(client, thread)
    assert (question.state, question.reason) == ("failed", error["error"]["message"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"title": "x" * 201}, "invalid_value"),
        ({"titel": "x"}, "unknown_parameter"),
        ({"metadata": []}, "invalid_value"),
        ({"metadata": {"x": "y" * 20_000}}, "invalid_thread"),
        ({"collections": ["../x"]}, "invalid_value"),
    ],
)
def test_a_thread_that_cannot_be_is_a_400(client: httpx2.Client, body: dict[str, object], code: str) -> None:
    reply = client.post("/threads", json=body)
    assert (reply.status_code, error_of(reply)["code"]) == (400, code)


def test_a_question_goes_with_a_thread_or_a_history(client: httpx2.Client) -> None:
    history = [{"role": "user", "text": "Hello?"}]
    reply = client.post("/ask", json={"question": TOWER, "thread": made(client), "history": history})
    assert (reply.status_code, error_of(reply)["code"]) == (400, "invalid_question")
