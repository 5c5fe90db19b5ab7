"""The transport that carries event streams over aiohttp, and the only importer of it.

httpx2 hands over each HTTP chunk by itself, at ten times the processor time, however many have come. aiohttp gives all
that is there in one piece: under load an answer then costs less a token, because tokens that came together are handled
together. Whole replies, bodies that are streamed up, and whatever goes through a proxy stay with httpx2.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from rag.errors import EndpointError
from rag.gateway.failures import FailureKind, failure, is_this_machine
from rag.gateway.http import HttpxTransport, trust
from rag.gateway.transport import HttpReply, HttpRequest, HttpStream, Timeouts

__all__ = ["StreamingTransport", "translated"]


class StreamingTransport:
    """Satisfies ``rag.gateway.transport.Transport``. Belongs to the event loop it is first used in."""

    def __init__(self, whole: HttpxTransport | None = None, *, keepalive_s: float = 30.0) -> None:
        self._whole = whole or HttpxTransport()
        self._keepalive_s = keepalive_s
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def request(self, request: HttpRequest) -> HttpReply:
        """Return the whole reply; raises EndpointUnreachableError or EndpointTimeoutError."""
        return await self._whole.request(request)

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[HttpStream]:
        """Hold a connection while its body comes; errors while reading are translated as well."""
        if callable(request.body) or _has_proxy(request.url):
            async with self._whole.stream(request) as stream:
                yield stream
            return
        with _failures_of(request):
            reply = await self._session(request.url).request(
                request.method,
                URL(request.url, encoded=True),
                # as with httpx2: a compressed stream would be held back until the compressor's block is full
                headers={**request.headers, "accept-encoding": "identity"},
                data=request.body,
                timeout=_timeout(request.timeouts),
                allow_redirects=False,
            )
        chunks = _chunks(reply, request)
        try:
            headers = {name.lower(): ", ".join(reply.headers.getall(name)) for name in reply.headers}
            yield HttpStream(reply.status, headers, chunks)
        finally:
            await chunks.aclose()
            reply.close()  # a body that was read to its end has given its connection back already

    async def aclose(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        await self._whole.aclose()

    def _session(self, url: str) -> aiohttp.ClientSession:
        is_tls = urlsplit(url).scheme == "https"
        if is_tls not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=self._keepalive_s,
                ssl=trust() if is_tls else True,  # plain HTTP needs no certificates: save the load
            )
            self._sessions[is_tls] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._sessions[is_tls]


async def _chunks(reply: aiohttp.ClientResponse, request: HttpRequest) -> AsyncGenerator[bytes, None]:
    with _failures_of(request):
        while data := await reply.content.readany():
            yield data


def _timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s, sock_read=timeouts.read_s)


def _has_proxy(url: str) -> bool:
    """Return whether the environment names a proxy for this address; none is used for this machine."""
    parts = urlsplit(url)
    if is_this_machine(parts.hostname or ""):
        return False
    proxies = getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    return bool(named) and not proxy_bypass(parts.netloc.rpartition("@")[2])


@contextmanager
def _failures_of(request: HttpRequest) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        if isinstance(error, EndpointError):
            raise
        raise translated(error, request) from error


def translated(error: Exception, request: HttpRequest) -> EndpointError:
    """Return our error for one of aiohttp's."""
    return failure(_kind(error), error, request)


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect timeout"
    if isinstance(error, TimeoutError):
        return "silence"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "no request"
    return "no request" if isinstance(error, ValueError) and not isinstance(error, OSError) else "broken"
