"""The httpx2 transport: real sockets, and every error class of the library."""

from __future__ import annotations

import asyncio
import inspect
import socket

import httpx2
import pytest

from rag.errors import EndpointError, EndpointTimeoutError, EndpointUnreachableError
from rag.gateway.http import HttpxTransport, translated
from rag.gateway.transport import HttpRequest, Timeouts
from tests.upstream import Fault

REQUEST = HttpRequest("GET", "https://user:password@host.example/v1/models?key=hidden")
ERRORS = [
    value
    for _, value in inspect.getmembers(httpx2, inspect.isclass)
    if issubclass(value, Exception) and not issubclass(value, Warning)
]


def made(kind: type[Exception]) -> Exception:
    """Make an error of this class without caring for its own arguments."""
    error = kind.__new__(kind)
    error.args = ("it failed",)
    return error


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_httpx2_becomes_one_of_ours(kind):
    error = translated(made(kind), REQUEST)
    wanted = EndpointTimeoutError if issubclass(kind, httpx2.TimeoutException) else EndpointUnreachableError
    assert type(error) is wanted
    assert "https://host.example/v1/models: " in str(error)
    assert "password" not in str(error)
    assert "hidden" not in str(error)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
async def test_every_error_is_caught_where_requests_are_sent(kind, monkeypatch):
    async def fail(*_, **__):
        raise made(kind)

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", fail)
    transport = HttpxTransport()
    with pytest.raises(EndpointError):
        await transport.request(HttpRequest("GET", "http://127.0.0.1:1/"))
    with pytest.raises(EndpointError):
        async with transport.stream(HttpRequest("GET", "http://127.0.0.1:1/")):
            pass
    await transport.aclose()


@pytest.fixture
async def transport():
    transport = HttpxTransport(n_pools=3)
    yield transport
    await transport.aclose()


async def test_a_whole_reply(transport, upstream):
    reply = await transport.request(HttpRequest("GET", f"{upstream.base_url}/models"))
    assert reply.status == 200
    assert reply.headers["x-request-id"] == "req_upstream"
    assert b"stub-chat" in reply.body


async def test_nobody_listens(transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EndpointUnreachableError, match="is the server running") as caught:
        await transport.request(HttpRequest("GET", f"http://127.0.0.1:{port}/v1"))
    assert caught.value.retriable


async def test_silence_is_a_timeout(transport, upstream):
    upstream.always("models", Fault(hang=True))
    request = HttpRequest("GET", f"{upstream.base_url}/models", timeouts=Timeouts(read_s=0.05))
    with pytest.raises(EndpointTimeoutError, match=r"no answer within 0\.05 s"):
        await transport.request(request)
    with pytest.raises(EndpointTimeoutError):
        async with transport.stream(request):
            pass
    assert upstream.wait_until(lambda: upstream.disconnects == 2)


async def test_a_broken_body_is_a_broken_connection(transport, upstream):
    upstream.always("models", Fault(cut_after=0))
    request = HttpRequest("GET", f"{upstream.base_url}/models")
    with pytest.raises(EndpointUnreachableError, match="connection broke") as caught:
        await transport.request(request)
    assert caught.value.retriable
    with pytest.raises(EndpointUnreachableError):
        async with transport.stream(request) as stream:
            [_ async for _ in stream.chunks]


async def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(upstream, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    transport = HttpxTransport()
    assert (await transport.request(HttpRequest("GET", f"{upstream.base_url}/models"))).status == 200
    with pytest.raises(EndpointUnreachableError):
        await transport.request(HttpRequest("GET", "http://footnote.invalid/"))
    await transport.aclose()


async def test_concurrent_requests_are_spread_and_a_lone_one_reuses_its_connection(transport, upstream):
    request = HttpRequest("GET", f"{upstream.base_url}/models")
    await asyncio.gather(*(transport.request(request) for _ in range(30)))
    (pools,) = transport._pools.values()
    assert len(pools) == 3
    assert all(pool.in_flight == 0 for pool in pools)


async def test_an_address_that_is_none_is_told(transport):
    for url in ("ftp://x/", "no-scheme", "http://a b/", "http:///path"):
        with pytest.raises(EndpointUnreachableError):
            await transport.request(HttpRequest("GET", url))
