"""The transport over httpx2, and the only importer of it.

One httpx2 pool is walked whole at every connection event, so that hundreds of streams in one pool spend their time
there. Connections are therefore spread over several small pools; a request goes to the one with the fewest under way.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import httpx2

from rag.errors import EndpointError
from rag.gateway.failures import FailureKind, failure, is_this_machine
from rag.gateway.transport import HttpReply, HttpRequest, HttpStream, Timeouts

__all__ = ["HttpxTransport", "translated", "trust"]


class _Pool:
    """A client with its own connections, and how many requests it has under way."""

    __slots__ = ("client", "in_flight")

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.in_flight = 0


class HttpxTransport:
    """Sends requests over httpx2. Belongs to the event loop it is first used in.

    ``n_pools`` pools of ``pool_connections`` connections each are opened for each kind of address, when first needed.
    HTTPS trusts what the system trusts (or ``SSL_CERT_FILE``). Proxies of the environment are used, except for
    addresses of this machine.
    """

    def __init__(self, *, n_pools: int = 16, pool_connections: int = 64, keepalive_s: float = 30.0) -> None:
        if n_pools < 1 or pool_connections < 1:
            raise ValueError(f"need at least one pool of one connection, got {n_pools} of {pool_connections}")
        self._n_pools = n_pools
        self._limits = httpx2.Limits(
            max_connections=pool_connections,
            max_keepalive_connections=pool_connections,
            keepalive_expiry=keepalive_s,
        )
        self._pools: dict[tuple[bool, bool], list[_Pool]] = {}
        self._trust: ssl.SSLContext | None = None

    async def request(self, request: HttpRequest) -> HttpReply:
        """Return the whole reply; raises EndpointUnreachableError or EndpointTimeoutError."""
        with _failures_of(request), self._pool_for(request.url) as client:
            reply = await client.request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.body() if callable(request.body) else request.body,
                timeout=_timeout(request.timeouts),
            )
            return HttpReply(reply.status_code, _headers(reply), reply.content)

    @asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[HttpStream]:
        """Hold a connection while its body comes; errors while reading are translated as well."""
        with self._pool_for(request.url) as client:
            with _failures_of(request):
                # subtle: a compressed stream would be held back by the compressor until its block is full.
                reply = await client.send(
                    client.build_request(
                        request.method,
                        request.url,
                        headers={**request.headers, "accept-encoding": "identity"},
                        content=request.body() if callable(request.body) else request.body,
                        timeout=_timeout(request.timeouts),
                    ),
                    stream=True,
                )
            chunks = _chunks(reply, request)
            try:
                yield HttpStream(reply.status_code, _headers(reply), chunks)
            finally:
                with _failures_of(request):
                    await chunks.aclose()
                    await reply.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for pools in self._pools.values():
            for pool in pools:
                await pool.client.aclose()
        self._pools.clear()

    @contextmanager
    def _pool_for(self, url: str) -> Iterator[httpx2.AsyncClient]:
        pool = self._least_busy(url)
        pool.in_flight += 1
        try:
            yield pool.client
        finally:
            pool.in_flight -= 1

    def _least_busy(self, url: str) -> _Pool:
        parts = urlsplit(url)
        kind = (parts.scheme == "https", is_this_machine(parts.hostname or ""))
        pools = self._pools.setdefault(kind, [])
        # The first of the least busy: a lone caller keeps to one pool, and so to one warm connection.
        best = min(pools, key=lambda pool: pool.in_flight, default=None)
        if best is None or (best.in_flight and len(pools) < self._n_pools):
            best = _Pool(self._new_client(is_tls=kind[0], is_local=kind[1]))
            pools.append(best)
        return best

    def _new_client(self, *, is_tls: bool, is_local: bool) -> httpx2.AsyncClient:
        if is_tls and self._trust is None:
            self._trust = trust()
        return httpx2.AsyncClient(
            verify=self._trust if is_tls and self._trust else False,  # plain HTTP needs no certificates: save the load
            trust_env=not is_local,
            limits=self._limits,
            follow_redirects=False,
        )


def trust() -> ssl.SSLContext:
    """Return what certificates are checked with: what the system trusts, or ``SSL_CERT_FILE``."""
    return httpx2.create_ssl_context()


def _timeout(timeouts: Timeouts) -> httpx2.Timeout:
    return httpx2.Timeout(
        connect=timeouts.connect_s, read=timeouts.read_s, write=timeouts.write_s, pool=timeouts.pool_s
    )


def _headers(reply: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items()}


async def _chunks(reply: httpx2.Response, request: HttpRequest) -> AsyncGenerator[bytes, None]:
    with _failures_of(request):
        async for chunk in reply.aiter_bytes():
            yield chunk


@contextmanager
def _failures_of(request: HttpRequest) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, httpx2.CookieConflict, OSError) as error:
        raise translated(error, request) from error


def translated(error: Exception, request: HttpRequest) -> EndpointError:
    """Return our error for one of httpx2's. The message names the address, without query, user or password."""
    return failure(_kind(error), error, request)


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, httpx2.ConnectTimeout):
        return "connect timeout"
    if isinstance(error, httpx2.PoolTimeout):
        return "pool timeout"
    if isinstance(error, httpx2.TimeoutException):
        return "silence"
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError)):
        return "no request"
    return "no connection" if isinstance(error, httpx2.ConnectError) else "broken"
