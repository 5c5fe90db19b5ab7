"""One GET at a time from hosts nobody vouches for; the only importer of httpcore2, the core of httpx2.

Names are resolved here, every address found is judged, and the connection is made to a judged address, never by the
name: what a name means cannot change in between. Host, TLS name and certificate stay those of the name. One layer below
httpx2, because the address is chosen there, and because bodies come as they were sent: whoever reads them bounds what
they unfold to. No cookies, no credentials, no redirects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from ingest.web.addresses import Network, refusal
from rag.errors import ConfigError, DocumentReadError

__all__ = ["PageClient", "RawReply", "Resolver", "resolve"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses of a host's name, best first; raises OSError where it has none."""

MAX_ADDRESSES = 4
"""Addresses of a name that are tried, one after the other."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """A reply whose body is still coming, as it was sent. Header names are lower case, repeated ones joined."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes] = field(repr=False)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system knows for a name, in the order it prefers."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PageClient:
    """Sends GET requests to public addresses and those in ``allowed``. Belongs to the event loop it is used in.

    ``proxy`` connects in our place: then a name is judged by what it resolves to here, if it does, and the rest is up
    to the proxy. Proxies of the environment are not used, for they would take that judgement away unasked.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        resolver: Resolver = resolve,
        connect_s: float = 10.0,
        read_s: float = 20.0,
        max_connections: int = 32,
        proxy: str = "",
    ) -> None:
        self._judge = _Judge(allowed, resolver)
        self._timeouts = {"connect": connect_s, "read": read_s, "write": read_s, "pool": 600.0}
        self._read_s = read_s
        self._max_connections = max_connections
        self._proxy = _proxy(proxy) if proxy else None
        self._pools: dict[bool, httpcore2.AsyncConnectionPool] = {}  # by whether they encrypt

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[RawReply]:
        """Hold a connection while a canonical address is read. Raises DocumentReadError, also from its chunks."""
        with _failures_of(url):
            if self._proxy:
                await self._judge.before_proxy(url)
            request = httpcore2.Request(
                "GET",
                url,
                headers=[("Host", urlsplit(url).netloc), *headers.items()],
                extensions={"timeout": self._timeouts},
            )
            reply = await self._pool_for(url).handle_async_request(request)
        chunks = _chunks(reply, url)
        try:
            async with aclosing(chunks):
                yield RawReply(reply.status, _joined_headers(reply.headers), chunks)
        finally:
            await reply.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool_for(self, url: str) -> httpcore2.AsyncConnectionPool:
        is_tls = url.startswith("https:")
        if is_tls not in self._pools:
            self._pools[is_tls] = httpcore2.AsyncConnectionPool(
                # Certificates take 50 ms to load: not where nothing is encrypted.
                ssl_context=httpcore2.default_ssl_context() if is_tls else None,
                proxy=self._proxy,
                max_connections=self._max_connections,
                keepalive_expiry=15.0,
                network_backend=None if self._proxy else _Judged(self._judge),
            )
        return self._pools[is_tls]


class _Judge:
    """Says where a name may be connected to."""

    def __init__(self, allowed: Sequence[Network], resolver: Resolver) -> None:
        self._allowed = allowed
        self._resolver = resolver

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host. Raises DocumentReadError where one of them is refused, OSError for none.

        One refused address is enough: no honest host has a public and a private one.
        """
        found = [host] if _is_literal(host) else list(await self._resolver(host, port))
        for address in found:
            if reason := refusal(address, allowed=self._allowed):
                raise DocumentReadError(
                    f"{host} is {reason} ({address}), which is not fetched; if it is a host of yours, name its network "
                    "in web.private_networks"
                )
        if not found:
            raise OSError("the name has no address")
        return found[:MAX_ADDRESSES]

    async def before_proxy(self, url: str) -> None:
        """Refuse what resolves here to an address that is refused; a name that only the proxy knows is its affair."""
        parts = urlsplit(url)
        try:
            await self.addresses(parts.hostname or "", parts.port or 80)
        except OSError:
            return


class _Judged(httpcore2.AsyncNetworkBackend):
    """Connects to judged addresses only: whatever asks for a connection, for a first request or after a redirect."""

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge
        self._network = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            try:
                addresses = await self._judge.addresses(host.strip("[]"), port)
            except OSError as error:
                raise httpcore2.ConnectError(f"the name cannot be resolved: {error.strerror or error}") from error
            for address in addresses:
                try:
                    return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
                except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                    if address == addresses[-1]:
                        raise
        raise AssertionError("a host has at least one address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _proxy(url: str) -> httpcore2.Proxy:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("web.proxy must be an address as in http://proxy.example:3128")
    auth = (parts.username, parts.password or "") if parts.username else None
    return httpcore2.Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", auth=auth)


def _joined_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


async def _chunks(reply: httpcore2.Response, url: str) -> AsyncGenerator[bytes, None]:
    with _failures_of(url):
        async for chunk in reply.aiter_stream():
            yield chunk


@contextmanager
def _failures_of(url: str) -> Iterator[None]:
    """Translate what a connection may raise. What a certificate or an address forbids does not change by itself."""
    host = urlsplit(url).netloc
    try:
        yield
    except httpcore2.ConnectTimeout as error:
        raise DocumentReadError(f"{host}: no connection in time; try again later", retriable=True) from error
    except (httpcore2.TimeoutException, TimeoutError) as error:
        raise DocumentReadError(f"{host}: no answer in time; try again later", retriable=True) from error
    except httpcore2.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DocumentReadError(f"{host}: its certificate is not trusted ({_certificate(error)})") from error
        raise DocumentReadError(f"{host}: no connection ({_reason(error)}); try again later", retriable=True) from error
    except (httpcore2.UnsupportedProtocol, httpcore2.LocalProtocolError) as error:
        raise DocumentReadError(f"{host}: no request can be made ({_reason(error)})") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError, OSError) as error:
        raise DocumentReadError(f"{host}: the connection broke ({_reason(error)})", retriable=True) from error


def _certificate(error: Exception) -> str:
    return str(error).partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "it cannot be verified"


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
