"""The transport of event streams: real sockets, every error class of aiohttp, and tokens that come together."""

from __future__ import annotations

import asyncio
import inspect
import socket

import aiohttp
import pytest

from rag.errors import EndpointTimeoutError, EndpointUnreachableError
from rag.gateway.chat import ChatChunk, joined
from rag.gateway.streaming import StreamingTransport, translated
from rag.gateway.transport import HttpRequest, Timeouts
from rag.types import Usage
from tests.gateway.test_http import REQUEST, made
from tests.upstream import Fault

ERRORS = [
    value
    for _, value in inspect.getmembers(aiohttp, inspect.isclass)
    if issubclass(value, aiohttp.ClientError) and not issubclass(value, Warning)
]


@pytest.fixture
async def transport():
    transport = StreamingTransport()
    yield transport
    await transport.aclose()


def streamed(upstream, **options):
    return HttpRequest("GET", f"{upstream.base_url}/models", **options)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_becomes_one_of_ours(kind, monkeypatch):
    monkeypatch.setattr(kind, "__str__", lambda self: "it failed", raising=False)  # some look at fields they lack here
    error = translated(made(kind), REQUEST)
    wanted = EndpointTimeoutError if issubclass(kind, TimeoutError) else EndpointUnreachableError
    assert type(error) is wanted
    assert "https://host.example/v1/models: " in str(error)
    assert "password" not in str(error)
    assert "hidden" not in str(error)


async def test_a_stream_has_status_headers_and_body(transport, upstream):
    async with transport.stream(streamed(upstream)) as stream:
        assert (stream.status, stream.headers["x-request-id"]) == (200, "req_upstream")
        assert b"stub-chat" in b"".join([chunk async for chunk in stream.chunks])


async def test_nobody_listens(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EndpointUnreachableError, match="is the server running") as caught:
        async with transport.stream(HttpRequest("GET", f"http://127.0.0.1:{port}/v1")):
            pass
    assert caught.value.retriable


async def test_silence_is_a_timeout_and_drops_the_connection(transport, upstream):
    upstream.always("models", Fault(hang=True))
    with pytest.raises(EndpointTimeoutError, match=r"no answer within 0\.05 s"):
        async with transport.stream(streamed(upstream, timeouts=Timeouts(read_s=0.05))):
            pass
    # in a thread: the loop closes the socket in its next turn
    assert await asyncio.to_thread(upstream.wait_until, lambda: upstream.disconnects == 1)


async def test_a_broken_body_is_a_broken_connection(transport, upstream):
    upstream.always("models", Fault(cut_after=0))
    with pytest.raises(EndpointUnreachableError, match="connection broke") as caught:
        async with transport.stream(streamed(upstream)) as stream:
            [_ async for _ in stream.chunks]
    assert caught.value.retriable


async def test_an_address_that_is_none_is_told(transport):
    for url in ("ftp://x/", "no-scheme", "http:///path"):
        with pytest.raises(EndpointUnreachableError, match="check the base URL"):
            async with transport.stream(HttpRequest("GET", url)):
                pass


async def test_what_goes_through_a_proxy_is_left_to_httpx2(transport, upstream, monkeypatch):
    monkeypatch.setenv("http_proxy", upstream.base_url.removesuffix("/v1"))
    async with transport.stream(HttpRequest("GET", "http://footnote.invalid/v1/models")) as stream:
        assert stream.status == 200  # the upstream answers in place of the proxy
    assert not transport._sessions
    async with transport.stream(streamed(upstream)) as stream:
        assert stream.status == 200
    assert transport._sessions


def chunk(text: str = "", **fields: object) -> ChatChunk:
    usual = {"reasoning": "", "tool_calls": (), "finish_reason": None, "usage": None, "model": "m", "refusal": None}
    return ChatChunk(text=text, raw={}, **{**usual, **fields})


def test_text_that_came_together_is_one_piece_and_all_else_stays_apart():
    end = chunk(finish_reason="stop", usage=Usage(1, 2))
    found = joined([chunk("a"), chunk("b"), chunk("c"), chunk(reasoning="r"), chunk("d"), chunk("e"), end])
    assert [(each.text, each.reasoning, each.finish_reason) for each in found] == [
        ("abc", "", None),
        ("", "r", None),
        ("de", "", None),
        ("", "", "stop"),
    ]
    assert joined([]) == []
    assert joined([chunk("a")]) == [chunk("a")]
