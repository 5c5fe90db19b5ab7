"""What the gateway asks of an HTTP client, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["HttpReply", "HttpRequest", "HttpStream", "Timeouts", "Transport"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The longest wait for a connection, for the next bytes in either direction, and for a free place in the pool."""

    connect_s: float = 10.0
    read_s: float = 60.0
    write_s: float = 60.0
    pool_s: float = 60.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Headers and body are not shown: they hold keys and texts.

    A body too large for memory is a function that begins to yield it; its length is then in the headers.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | Callable[[], AsyncIterator[bytes]] | None = field(default=None, repr=False)
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole reply, decompressed. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpStream:
    """A reply whose body is still coming, decompressed, in pieces of any size. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes] = field(repr=False)


class Transport(Protocol):
    """Sends requests. Every failure to get an answer is EndpointUnreachableError or EndpointTimeoutError.

    An answer of any status is a reply, not an error. Redirects are not followed: keys go nowhere else.
    """

    async def request(self, request: HttpRequest) -> HttpReply:
        """Return the whole reply."""
        ...

    def stream(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpStream]:
        """Return a context that holds the connection; leaving it early drops the connection."""
        ...

    async def aclose(self) -> None:
        """Close all connections; requests under way fail."""
        ...
