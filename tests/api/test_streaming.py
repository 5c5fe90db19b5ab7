"""Event streams that a page can use: followed again by id, stopped, read slowly, and left."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any, get_args

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from api import schemas
from api.app import create_app
from api.footnote import Footnote
from api.live_answers import WINDOW_BYTES, LiveAnswers
from api.routes.event_stream import EventStream
from rag.errors import AnswerEventsGoneError, AnswerNotFoundError
from rag.types import AnswerEvent, TextDelta
from tests.api.conftest import Service, serving
from tests.api.test_http_answers import QUESTION, chat_settings, events_of
from tests.upstream import Fault, Upstream

Event = dict[str, Any]


@pytest.fixture
def resuming(service: Service, upstream: Upstream) -> httpx2.Client:
    """A client of a service that keeps the events of an answer for a minute."""
    return service(**chat_settings(upstream), server__resume_s=60)


def asked(client: httpx2.Client) -> tuple[str, list[Event]]:
    """Ask for a stream and read it to its end; return the answer's id and the events."""
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        return reply.headers["x-answer-id"], list(events_of(reply.iter_lines()))


def left_after(client: httpx2.Client, n_events: int) -> tuple[str, list[Event]]:
    """Ask for a stream and leave after some events; return the answer's id and the events."""
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        events = events_of(reply.iter_lines())
        return reply.headers["x-answer-id"], [next(events) for _ in range(n_events)]


def followed(client: httpx2.Client, answer_id: str, **options: Any) -> list[Event]:
    with client.stream("GET", f"/answers/{answer_id}/events", **options) as reply:
        assert reply.status_code == 200, reply.read()
        return list(events_of(reply.iter_lines()))


# --- following again -------------------------------------------------------------------------------------------------


def test_the_answer_is_named_by_the_first_event_the_header_and_itself(resuming: httpx2.Client) -> None:
    answer_id, events = asked(resuming)
    assert events[0] == {
        "type": "started",
        "id": answer_id,
        "created": events[0]["created"],
        "resume_s": 60.0,
        "sequence_number": 0,
    }
    assert abs(events[0]["created"] - time.time()) < 60
    assert events[-2]["answer"]["id"] == answer_id


def test_a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(
    resuming: httpx2.Client, upstream: Upstream
) -> None:
    upstream.script("chat", Fault(events_per_s=100))
    answer_id, before = left_after(resuming, 4)
    after = followed(resuming, answer_id, headers={"last-event-id": str(before[-1]["sequence_number"])})
    events = before + after
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["text"] for event in events if event["type"] == "delta") == events[-2]["answer"]["text"]
    assert (events[-1]["outcome"], upstream.disconnects) == ("answered", 0)


def test_an_answer_that_ended_can_be_read_again_and_by_several(resuming: httpx2.Client) -> None:
    answer_id, events = asked(resuming)
    assert followed(resuming, answer_id) == events
    assert followed(resuming, answer_id, params={"after": 2}) == events[3:]


def test_after_the_last_event_there_is_no_more_to_ask_for(resuming: httpx2.Client) -> None:
    answer_id, events = asked(resuming)
    reply = resuming.get(f"/answers/{answer_id}/events", params={"after": len(events) - 1})
    assert (reply.status_code, reply.content) == (204, b"")


@pytest.mark.parametrize("headers", [{"last-event-id": "nine"}, {"last-event-id": "999"}], ids=["word", "future"])
def test_an_event_that_never_was_is_told_so(resuming: httpx2.Client, headers: dict[str, str]) -> None:
    answer_id, _ = asked(resuming)
    reply = resuming.get(f"/answers/{answer_id}/events", headers=headers)
    assert reply.status_code == 400
    assert headers["last-event-id"] in reply.json()["error"]["message"]


def test_an_answer_is_forgotten_after_its_time(service: Service, upstream: Upstream) -> None:
    client = service(**chat_settings(upstream), server__resume_s=0.2)
    answer_id, _ = asked(client)
    assert followed(client, answer_id)[-1]["type"] == "done"
    time.sleep(0.3)
    reply = client.get(f"/answers/{answer_id}/events")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "answer_not_found")


def test_an_answer_that_nobody_comes_back_for_stops_after_its_time(service: Service, upstream: Upstream) -> None:
    client = service(**chat_settings(upstream), server__resume_s=0.3)
    upstream.script("chat", Fault(hang_after=3))
    left_after(client, 2)
    left = time.monotonic()
    assert upstream.wait_until(lambda: upstream.in_flight == 1)
    assert upstream.wait_until(lambda: upstream.disconnects == 1)
    assert time.monotonic() - left > 0.25


def test_another_key_does_not_find_the_answer() -> None:
    async def check() -> None:
        answers = LiveAnswers(resume_s=60)
        answers.begin("a", written(1), owner="Bearer one")
        assert answers.find("a", owner="Bearer one").id == "a"
        with pytest.raises(AnswerNotFoundError):
            answers.find("a", owner="Bearer two")
        await answers.aclose()

    asyncio.run(check())


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume_s", [0, 60])
def test_a_cancelled_answer_ends_its_stream_and_the_model(service: Service, upstream: Upstream, resume_s: int) -> None:
    client = service(**chat_settings(upstream), server__resume_s=resume_s)
    upstream.script("chat", Fault(hang_after=3))
    with client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply:
        events = events_of(reply.iter_lines())
        seen = [next(events), next(events)]
        answer_id = reply.headers["x-answer-id"]
        assert upstream.wait_until(lambda: upstream.in_flight == 1)
        cancelled = client.post(f"/answers/{answer_id}/cancel").raise_for_status().json()
        assert cancelled == {"id": answer_id, "cancelled": True}
        seen += list(events)
    assert (seen[-1]["type"], seen[-1]["outcome"]) == ("done", "cancelled")
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert not [event for event in seen if event["type"] in ("answer", "error")]
    assert upstream.wait_until(lambda: upstream.disconnects == 1)


def test_an_answer_that_ended_is_not_cancelled(resuming: httpx2.Client) -> None:
    answer_id, events = asked(resuming)
    assert resuming.post(f"/answers/{answer_id}/cancel").json() == {"id": answer_id, "cancelled": False}
    assert followed(resuming, answer_id) == events


def test_an_answer_nobody_knows_is_a_404(service: Service, upstream: Upstream) -> None:
    client = service(**chat_settings(upstream))
    answer_id, _ = asked(client)
    for reply in (client.get(f"/answers/{answer_id}/events"), client.post("/answers/answer-none/cancel")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "answer_not_found")


# --- slow readers and memory -----------------------------------------------------------------------------------------


class Source:
    """Deltas of ``size`` characters, as fast as they are taken; ``n`` counts them, ``is_closed`` tells of the end."""

    def __init__(self, size: int = 50_000) -> None:
        self.size = size
        self.n = 0
        self.is_closed = False

    async def events(self) -> AsyncGenerator[AnswerEvent]:
        try:
            while True:
                await asyncio.sleep(0)
                self.n += 1
                yield TextDelta("x" * self.size)
        finally:
            self.is_closed = True


@pytest.fixture
def endless() -> Iterator[tuple[Source, LiveAnswers, int]]:
    """A service whose every reply is an endless answer: its source, its answers, and its port."""
    source, answers = Source(), LiveAnswers()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            with suppress(ClientDisconnect):
                await EventStream(answers.begin("a", source.events()), heartbeat_s=10)(scope, receive, send)

    with serving(app) as url:
        yield source, answers, httpx2.URL(url).port or 0


def settled(source: Source) -> int:
    """Wait until the source stands still; return how many events it has given."""
    deadline, before = time.monotonic() + 5, -1
    while source.n != before and time.monotonic() < deadline:
        before = source.n
        time.sleep(0.15)
    return source.n


def test_a_reader_that_does_not_read_stops_the_writing_and_leaving_frees_all(
    endless: tuple[Source, LiveAnswers, int],
) -> None:
    source, answers, port = endless
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        n = settled(source)
        assert n * source.size < 16_000_000  # what the sockets of both ends and a window hold
        assert answers.n_bytes <= WINDOW_BYTES + 2 * source.size
        for _ in range(200):  # reading on lets it go on
            connection.recv(65536)
        assert settled(source) > n
    deadline = time.monotonic() + 5
    while not (source.is_closed and not len(answers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (source.is_closed, len(answers), answers.n_bytes) == (True, 0, 0)


async def written(n: int, *, size: int = 1000) -> AsyncGenerator[AnswerEvent]:
    for _ in range(n):
        yield TextDelta("x" * size)
        await asyncio.sleep(0)


async def all_of(reader: Any) -> bytes:
    found = b""
    while (data := await reader.next(heartbeat=b"")) is not None:
        found += data
    await reader.leave()
    return found


def test_what_is_kept_is_bounded_and_the_answers_that_ended_first_are_forgotten() -> None:
    async def check() -> None:
        answers = LiveAnswers(resume_s=60, max_bytes=50_000)
        for number in range(10):
            await all_of(answers.begin(f"a{number}", written(10)))
            assert answers.n_bytes <= 50_000
        assert len(await all_of(answers.find("a9").reader())) > 10_000
        with pytest.raises(AnswerNotFoundError):
            answers.find("a0")
        await answers.aclose()
        assert (len(answers), answers.n_bytes) == (0, 0)

    asyncio.run(check())


def test_the_oldest_events_of_a_long_answer_go_and_are_told_to_be_gone() -> None:
    async def check() -> None:
        answers = LiveAnswers(resume_s=60, max_bytes=20_000)
        reader = answers.begin("a", written(100))
        assert len(await all_of(reader)) > 100_000
        assert answers.n_bytes <= 20_000
        answer = answers.find("a")
        with pytest.raises(AnswerEventsGoneError, match=r"from 8\d on"):
            answer.reader(after=2)
        assert b"id: 99\n" in await all_of(answer.reader(after=98))
        await answers.aclose()

    asyncio.run(check())


def test_the_number_of_kept_answers_is_bounded() -> None:
    async def check() -> None:
        answers = LiveAnswers(resume_s=60, max_ended=3)
        for number in range(8):
            await all_of(answers.begin(f"a{number}", written(1)))
        assert len(answers) == 3
        await answers.aclose()

    asyncio.run(check())


@given(cuts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=8))
def test_readers_that_come_and_go_at_any_time_read_the_same(cuts: list[tuple[int, int]]) -> None:
    """Each cut: so many turns of the loop later, a reader comes that has seen the events up to a number."""

    async def check() -> None:
        answers = LiveAnswers(resume_s=60)
        first = asyncio.create_task(all_of(answers.begin("a", written(30, size=5))))
        others: list[tuple[int, asyncio.Task[bytes]]] = []
        answer = answers.find("a")
        for turns, number in cuts:
            for _ in range(turns):
                await asyncio.sleep(0)
            after = min(number, answer.n_events - 1)
            others.append((after, asyncio.create_task(all_of(answer.reader(after=after)))))
        whole = (await first).split(b"\n\n")
        for after, task in others:
            assert (await task).split(b"\n\n") == whole[after + 1 :]
        await answers.aclose()

    asyncio.run(check())


# --- a client that goes away -----------------------------------------------------------------------------------------


def test_leaving_many_streams_leaves_no_task_and_no_call_behind(ingested: Any, upstream: Upstream) -> None:
    upstream.always("chat", Fault(hang_after=3))
    footnote = Footnote.open(ingested, environ={}, **chat_settings(upstream))
    app = create_app(footnote)
    names: list[str] = []

    async def tasks(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/tasks":
            names[:] = [str(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    def open_and_leave() -> None:
        with (
            httpx2.Client(base_url=url, timeout=20) as client,
            client.stream("POST", "/ask", json={"question": QUESTION, "stream": True}) as reply,
        ):
            lines = reply.iter_lines()  # held: dropping it would close the reply
            next(lines)
            barrier.wait(timeout=10)

    with serving(tasks) as url:
        httpx2.get(f"{url}/tasks")
        before = len(names)
        barrier = threading.Barrier(9)
        threads = [threading.Thread(target=open_and_leave) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert upstream.wait_until(lambda: upstream.in_flight == 8)
        barrier.wait(timeout=10)
        for thread in threads:
            thread.join()
        assert upstream.wait_until(lambda: upstream.disconnects == 8 and upstream.in_flight == 0)
        assert len(app.state.live) == 0
        httpx2.get(f"{url}/tasks")
        assert len(names) <= before, names


# --- the documented shapes -------------------------------------------------------------------------------------------


def test_every_type_of_event_is_in_the_openapi_document() -> None:
    shapes = create_app(Footnote.open(environ={})).openapi()["components"]["schemas"]
    named = {ref["$ref"].rpartition("/")[2] for ref in shapes["StreamEvent"]["oneOf"]}
    assert named <= set(shapes)
    assert {kind.__name__ for kind in get_args(schemas.StreamEvent.model_fields["root"].annotation)} == named
    of_answers = {kind.__name__.removesuffix("Delta").removeprefix("Text") for kind in get_args(AnswerEvent)}
    assert len(of_answers) + 4 == len(named)  # and started, usage, done, error
