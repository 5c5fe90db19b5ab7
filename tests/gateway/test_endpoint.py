"""Calls over real HTTP to an upstream with faults: retried, translated, tolerated."""

from __future__ import annotations

import asyncio

import pytest

from rag.errors import (
    AuthenticationError,
    ConfigError,
    EndpointError,
    EndpointResponseError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    QuotaExhaustedError,
    RateLimitError,
)
from rag.gateway.endpoint import DONE, Endpoint
from rag.gateway.providers import GENERIC
from tests.upstream import Fault, error_body
from tests.upstream.faults import HTML_PAGE, OUT_OF_QUOTA

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}


async def events(client):
    stream = client.stream_events("/chat/completions", {**CHAT, "stream": True})
    return [event async for event in stream if event is not DONE]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, headers={"retry-after": "0"}),
        Fault(status=500),
        Fault(status=503),
        HTML_PAGE,
        Fault(cut_after=0),
        Fault(hang=True),
        Fault(body={"error": {"message": "overloaded", "type": "server_error", "code": None}}),
        Fault(body={"code": 11202, "message": "too fast", "sid": "x"}),
        Fault(status=400, headers={"x-should-retry": "true"}),
    ],
    ids=["429", "500", "503", "html", "cut", "hang", "200 with error", "200 with code", "x-should-retry"],
)
async def test_what_may_pass_is_tried_again(connect, upstream, fault):
    upstream.script("chat", fault)
    client = connect(timeout_s=0.15)
    reply = await client.post_json("/chat/completions", CHAT)
    assert reply["choices"]
    upstream.script("chat", fault)
    assert await events(client)
    assert len(upstream.calls("chat")) == 4
    assert len(connect.slept) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=400), EndpointResponseError),
        (Fault(status=401), AuthenticationError),
        (Fault(status=402), QuotaExhaustedError),
        (Fault(status=403), AuthenticationError),
        (Fault(status=404), EndpointResponseError),
        (OUT_OF_QUOTA, QuotaExhaustedError),
        (Fault(status=429, headers={"retry-after": "3600"}), RateLimitError),
        (Fault(status=503, headers={"x-should-retry": "false"}), EndpointResponseError),
        (Fault(body="not json"), EndpointResponseError),
        (Fault(body="<html>hi</html>"), EndpointResponseError),
        (Fault(body="[1, 2]"), EndpointResponseError),
        (Fault(body=""), EndpointResponseError),
        (Fault(body={"code": 10013, "message": "refused"}), EndpointResponseError),
    ],
)
async def test_what_will_not_pass_stops_at_once(connect, upstream, fault, kind):
    upstream.always("chat", fault)
    client = connect()
    for call in (client.post_json("/chat/completions", CHAT), events(client)):
        with pytest.raises(kind) as caught:
            await call
        assert str(caught.value).startswith("an OpenAI-compatible endpoint at http://127.0.0.1:")
        assert "hello there" not in str(caught.value)
    assert len(upstream.calls("chat")) == 2


async def test_retries_end_with_the_last_error(connect, upstream):
    upstream.always("chat", Fault(status=503))
    client = connect(max_retries=2)
    with pytest.raises(EndpointResponseError, match="overloaded") as caught:
        await client.post_json("/chat/completions", CHAT)
    assert caught.value.request_id == "req_upstream"
    assert connect.slept == [0.25, 0.5]
    assert len(upstream.calls("chat")) == 3


async def test_the_wish_of_the_endpoint_is_waited_for(connect, upstream):
    upstream.script("chat", Fault(status=429, headers={"retry-after-ms": "4000"}))
    client = connect()
    await client.post_json("/chat/completions", CHAT)
    assert connect.slept == [4.5]


async def test_timeouts_and_refused_connections_are_told_apart(connect, upstream):
    upstream.always("models", Fault(hang=True))
    with pytest.raises(EndpointTimeoutError):
        await connect(timeout_s=0.05, max_retries=0).get_json("/models")
    with pytest.raises(EndpointUnreachableError):
        await connect(base_url="http://127.0.0.1:1/v1").get_json("/models")


@pytest.mark.parametrize("preamble", [b"\n\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
async def test_blank_lines_and_a_bom_before_json_are_skipped(connect, upstream, preamble):
    upstream.script("models", Fault(preamble=preamble))
    assert (await connect().get_json("/models"))["data"]


async def test_bearer_and_azure_keys(connect, upstream):
    await connect(api_key="sk-1", headers={"X-Team": "a"}).get_json("/models")
    await connect("azure", api_key="sk-2").get_json("/models")
    await connect(base_url=f"{upstream.base_url}/?api-version=v1").get_json("/models")
    bearer, azure, plain = upstream.calls("models")
    assert bearer.headers["authorization"] == "Bearer sk-1"
    assert bearer.headers["x-team"] == "a"
    assert (azure.headers["api-key"], "authorization" in azure.headers) == ("sk-2", False)
    assert (plain.path, plain.query, "authorization" in plain.headers) == ("/v1/models", "api-version=v1", False)


def test_neither_key_nor_headers_are_shown():
    endpoint = Endpoint(GENERIC, "http://localhost/v1", api_key="sk-secret", headers={"x": "hidden"})
    assert "secret" not in repr(endpoint)
    assert "hidden" not in repr(endpoint)


@pytest.mark.parametrize("url", ["", "api.openai.com/v1", "ftp://x", "http://", "http://[::1", "http://h:port/v1"])
def test_a_base_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="is not one"):
        Endpoint(GENERIC, url)


@pytest.mark.parametrize("key", ["sk-\n", "sk 1", "sk-\uff41", "Bearer x"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key):
    with pytest.raises(ConfigError, match="copy it again") as caught:
        Endpoint(GENERIC, "http://localhost/v1", api_key=key)
    assert key not in str(caught.value)


# --- streams ---


@pytest.mark.parametrize(
    "style",
    [
        Fault(),
        Fault(newline="\r\n", comment="keep-alive"),
        Fault(newline="\r", data="data:"),
        Fault(done=False),
        Fault(pieces_of=3),
        Fault(preamble=b"\xef\xbb\xbf: hello\n\n"),
        Fault(edit_events=lambda events: [b"data: \n\n", b"event: ping\ndata: {}\n\n", *events]),
    ],
    ids=["plain", "crlf+comments", "cr", "no done", "3 bytes", "bom", "empty events"],
)
async def test_each_style_of_stream_gives_the_same_events(connect, upstream, style):
    upstream.script("chat", Fault(), style)
    client = connect()
    plain, styled = await events(client), await events(client)
    assert len(plain) > 3
    assert [event["choices"] for event in styled] == [event["choices"] for event in plain]


async def test_a_stream_is_not_tried_again_once_events_have_been_delivered(connect, upstream):
    upstream.always("chat", Fault(cut_after=2))
    stream = connect().stream_events("/chat/completions", {**CHAT, "stream": True})
    await anext(stream)
    await anext(stream)
    with pytest.raises(EndpointUnreachableError):
        await anext(stream)
    assert len(upstream.calls("chat")) == 1


async def test_an_error_in_the_middle_of_a_stream_is_raised(connect, upstream):
    def edit(events):
        return [*events[:2], error_body(429)]

    upstream.always("chat", Fault(edit_events=edit))
    with pytest.raises(RateLimitError):
        await events(connect())
    assert len(upstream.calls("chat")) == 1


async def test_an_error_as_the_first_event_is_tried_again(connect, upstream):
    upstream.script("chat", Fault(edit_events=lambda events: [error_body(429)]))
    assert await events(connect())
    assert len(upstream.calls("chat")) == 2


async def test_an_event_that_is_no_json_is_an_error(connect, upstream):
    upstream.always("chat", Fault(edit_events=lambda events: [*events[:1], '{"choices": [']))
    with pytest.raises(EndpointResponseError, match="is not JSON"):
        await events(connect())


async def test_a_json_reply_to_a_stream_request_is_taken_whole(connect, upstream):
    upstream.script("chat", Fault(body={"choices": [{"message": {"content": "x"}}]}))
    assert await events(connect()) == [{"choices": [{"message": {"content": "x"}}]}]


async def test_closing_the_iterator_closes_the_connection(connect, upstream):
    upstream.always("chat", Fault(hang_after=1))
    stream = connect().stream_events("/chat/completions", {**CHAT, "stream": True})
    await anext(stream)
    await stream.aclose()
    assert upstream.wait_until(lambda: upstream.disconnects == 1)


async def test_a_finished_stream_leaves_its_connection_for_the_next(connect, upstream):
    client = connect()
    for _ in range(3):
        await events(client)
    (pools,) = client._transport._pools.values()
    assert len(pools) == 1
    assert len(pools[0].client._transport._pool.connections) == 1


async def test_any_error_is_an_endpoint_error(connect):
    with pytest.raises(EndpointError, match="check the model name and the base URL"):
        await connect().get_json("/nothing")


async def test_a_server_that_lingers_after_its_end_does_not_hold_us(connect, upstream):
    upstream.reply = lambda _: "ok"
    upstream.always("chat", Fault(edit_events=lambda events: [*events, "[DONE]", "{}"], hang_after=4))
    async with asyncio.timeout(2):
        assert len(await events(connect())) == 3
    assert upstream.wait_until(lambda: upstream.disconnects == 1)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_cancelling_the_task_stops_the_upstream_call(connect, upstream, is_stream):
    upstream.always("chat", Fault(hang_after=1) if is_stream else Fault(hang=True))
    client = connect()
    task = asyncio.create_task(events(client) if is_stream else client.post_json("/chat/completions", CHAT))
    while not upstream.calls("chat"):
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.wait_until(lambda: upstream.disconnects == 1)
    upstream.reset()
    assert (await client.get_json("/models"))["data"]


async def test_a_concurrency_limit_is_lived_with(connect, upstream):
    upstream.concurrency = 2
    upstream.always("chat", Fault(delay_s=0.01))
    client = connect(max_retries=50)
    replies = await asyncio.gather(*(client.post_json("/chat/completions", CHAT) for _ in range(8)))
    assert all(reply["choices"] for reply in replies)


async def test_texts_and_keys_are_never_logged(connect, upstream, caplog):
    caplog.set_level("DEBUG")
    upstream.script("chat", Fault(status=500, body=error_body(500, message="failed on: hello there sk-secret")))
    await connect(api_key="sk-secret").post_json("/chat/completions", CHAT)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("rag")]
    assert len(ours) == 1
    assert "sk-secret" not in caplog.text
