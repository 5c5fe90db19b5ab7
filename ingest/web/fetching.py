"""One page fetched: redirects followed by hand, limits on size and time, and second tries within bounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ingest.web.bodies import ENCODINGS, read_body
from ingest.web.client import PageClient
from ingest.web.pace import MAX_PAUSE_S, GivenUpError, Pace
from ingest.web.urls import host_of, joined
from rag.errors import ConfigError, DocumentReadError

__all__ = ["FetchLimits", "Fetched", "Fetcher", "Validators"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_MANY = frozenset({429, 503})

Permission = Callable[[str], Awaitable[None]]
"""Raises DocumentReadError where an address may not be asked for."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one page may take: bytes as unfolded, seconds in all for each reply, redirects, and second tries.

    ``retry_s`` is the first pause before a second try; it doubles.
    """

    max_bytes: int = 20 * 1024 * 1024
    total_s: float = 60.0
    max_redirects: int = 10
    max_retries: int = 2
    retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said of the version that is kept, and the address it said it at."""

    url: str
    etag: str = ""
    last_modified: str = ""

    def headers(self) -> dict[str, str]:
        wanted = {"if-none-match": self.etag, "if-modified-since": self.last_modified}
        return {name: value for name, value in wanted.items() if value}


@dataclass(frozen=True, slots=True)
class Fetched:
    """The last reply: its address after redirects, and its body where the status is 200."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)


class Fetcher:
    """Fetches pages at the pace of their hosts."""

    def __init__(self, client: PageClient, pace: Pace, *, user_agent: str, limits: FetchLimits | None = None) -> None:
        self._client = client
        self._pace = pace
        self._limits = limits or FetchLimits()
        self._headers = {
            "user-agent": user_agent,
            "accept": "text/html,application/xhtml+xml,application/pdf;q=0.9,text/*;q=0.8,*/*;q=0.5",
            "accept-encoding": ENCODINGS,
        }

    async def fetch(
        self,
        url: str,
        *,
        permission: Permission | None = None,
        validators: Validators | None = None,
        max_redirects: int | None = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """Return the reply for a canonical address, of whatever status but a redirect.

        ``permission`` is asked for every address on the way. ``validators`` are sent where they came from, and nowhere
        else. Raises DocumentReadError for what cannot be had, TooLargeError for what is too large.
        """
        seen = [url]
        while True:
            if permission is not None:
                await permission(url)
            conditions = validators.headers() if validators and validators.url == url else {}
            reply = await self._persistent(url, conditions, max_bytes or self._limits.max_bytes)
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                return reply
            url = _redirected(url, reply.headers["location"])
            if url in seen:
                raise DocumentReadError(f"redirects lead in a circle, back to {url}")
            seen.append(url)
            if len(seen) - 1 > (self._limits.max_redirects if max_redirects is None else max_redirects):
                raise DocumentReadError(f"more than {len(seen) - 2} redirects, the last to {url}")

    async def _persistent(self, url: str, conditions: Mapping[str, str], max_bytes: int) -> Fetched:
        """Ask once, and again after what may pass. The host is told of as serving or not."""
        host = host_of(url)
        for n in range(self._limits.max_retries + 1):
            is_last = n == self._limits.max_retries
            pause = self._limits.retry_s * 2**n * random.uniform(0.75, 1.25)
            try:
                reply = await self._once(url, conditions, max_bytes)
            except GivenUpError:
                raise
            except DocumentReadError as error:
                if not error.retriable:
                    raise
                self._pace.failed(host, str(error))
                if is_last:
                    raise
            else:
                if reply.status in _TOO_MANY:
                    self._pace.failed(host, f"status {reply.status}")
                else:
                    self._pace.answered(host)
                wish = _retry_after(reply.headers)
                if reply.status not in _TRY_AGAIN or is_last or (wish or 0) > MAX_PAUSE_S:
                    return reply
                if wish is not None:
                    pause = wish
            self._pace.pause(host, pause)
        raise AssertionError("the last try returns or raises")

    async def _once(self, url: str, conditions: Mapping[str, str], max_bytes: int) -> Fetched:
        host = host_of(url)
        async with self._pace.turn(host):
            try:
                async with asyncio.timeout(self._limits.total_s):
                    async with self._client.get(url, {**self._headers, **conditions}) as reply:
                        body = b""
                        if reply.status == 200:
                            body = await read_body(
                                reply.chunks,
                                encoding=reply.headers.get("content-encoding", ""),
                                declared=reply.headers.get("content-length", ""),
                                max_bytes=max_bytes,
                                host=host,
                            )
                        return Fetched(url, reply.status, reply.headers, body)
            except TimeoutError as error:
                raise DocumentReadError(
                    f"{host}: not whole within {self._limits.total_s:g} s (web.timeout_s)", retriable=True
                ) from error


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads. Raises DocumentReadError where it leads nowhere, or away from encryption."""
    try:
        # Servers send UTF-8 here, which headers do not carry: read as Latin-1, it is taken back.
        target = joined(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
    except ConfigError as error:
        raise DocumentReadError(f"redirects to what is not fetched: {error}") from error
    if url.startswith("https:") and target.startswith("http:"):
        raise DocumentReadError(f"redirects from https to {target}, which anybody on the way can read and alter")
    return target


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a reply asks to wait, given as a number or a date; None where it does not."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
