"""One endpoint and how it is called: keys, retries, tolerance of odd replies, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import orjson

from rag.errors import ConfigError, EndpointError, EndpointResponseError
from rag.gateway.error_bodies import CallContext, ErrorBody, endpoint_error, error_in, json_of, parse_error_body
from rag.gateway.providers import Provider
from rag.gateway.retry import RetryPolicy, wait_before_retry
from rag.gateway.sse import SseEvent, SseParser
from rag.gateway.transport import HttpReply, HttpRequest, HttpStream, Timeouts, Transport

__all__ = ["DONE", "CallReply", "Endpoint", "EndpointClient", "StreamedBody"]

DONE: dict[str, Any] = {"object": "[DONE]"}
"""Yielded last, itself and not a copy, by a stream whose end the endpoint has announced with ``[DONE]``."""

_LOG = logging.getLogger(__name__)
_DRAIN_S = 0.1


R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a family of models is, and how to call it.

    ``timeout_s`` is the longest silence, not the longest call. ``headers`` are sent as they are, after our own.
    """

    provider: Provider
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    max_retries: int = 3

    def __post_init__(self) -> None:
        if not _is_base_url(self.base_url):
            raise ConfigError(
                f"base URL {self.base_url!r} of {self.provider.title} is not one; write it as https://host/v1"
            )
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable() and " " not in self.api_key):
            names = " or ".join(self.provider.key_env)
            raise ConfigError(
                f"the key of {self.provider.title} holds blanks or characters that no key has; copy it again ({names})"
            )

    def url(self, path: str) -> str:
        """Return the address of a path such as "/embeddings"; a query of the base URL (Azure's api-version) is kept."""
        parts = urlsplit(self.base_url)
        return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path, fragment=""))

    @property
    def address(self) -> str:
        """The base URL as it may be shown and stored: without what may be a secret."""
        parts = urlsplit(self.base_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")).rstrip("/")

    def auth_headers(self) -> dict[str, str]:
        """Return the header that carries the key, if there is one."""
        if not self.api_key:
            return {}
        if self.provider.auth == "api-key":
            return {"api-key": self.api_key}
        return {"authorization": f"Bearer {self.api_key}"}


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """A request body that is read while it is sent. ``begin`` starts from the first byte, once for every try."""

    content_type: str
    n_bytes: int
    begin: Callable[[], AsyncIterator[bytes]] = field(repr=False)


Body = Mapping[str, Any] | StreamedBody
"""What a call sends: an object, as JSON, or a streamed body."""


@dataclass(frozen=True, slots=True)
class CallReply:
    """The JSON object of a reply, and its headers by lower-case name."""

    value: dict[str, Any] = field(repr=False)
    headers: Mapping[str, str]


class EndpointClient:
    """Calls one endpoint over a transport that others may share.

    ``sleep``, ``uniform`` (a random number in [0, 1)) and ``clock`` (seconds since 1970) are there for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        *,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._policy = policy or RetryPolicy(max_retries=endpoint.max_retries)
        self._sleep = sleep
        self._uniform = uniform
        self._clock = clock

    async def post_json(self, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON and return the JSON object of the reply; raises EndpointError once the retries are spent."""
        return (await self._whole("POST", path, payload, self._value_of))[0]

    async def post(
        self, path: str, payload: Mapping[str, Any], *, retries: bool = True
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Send JSON and return the JSON object of the reply and its headers, whose names are lower case.

        Without ``retries`` the first failure is raised: for a caller that has a queue and tries again itself.
        """
        return await self._whole("POST", path, payload, self._value_of, retries=retries)

    async def post_form(self, path: str, form: StreamedBody, *, retries: bool = True) -> dict[str, Any] | str:
        """Send a form and return the reply: the JSON object that it is, else its text."""
        return (await self._whole("POST", path, form, self._value_or_text, retries=retries))[0]

    async def get_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object found at a path; raises EndpointError once the retries are spent."""
        return (await self._whole("GET", path, None, self._value_of))[0]

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        done_already: Callable[[], Awaitable[dict[str, Any] | None]] | None = None,
    ) -> CallReply:
        """Make any call and return the JSON object and the headers of the reply.

        A call that makes something passes ``done_already``: it is asked before each new try whether the failed one was
        heard after all, and what it returns, unless None, is the reply.
        """
        return CallReply(*await self._whole(method, path, body, self._value_of, done_already=done_already))

    async def download(self, path: str, destination: Path) -> None:
        """Write the body of a reply, whatever it is, to a file: whole and on disk when this returns, or not there."""
        request = self._request("GET", path, None, accept="*/*")
        context = self._context(request, None)
        attempt = 0
        while True:
            try:
                async with self._transport.stream(request) as stream:
                    if not 200 <= stream.status < 300:
                        body = b"".join([chunk async for chunk in stream.chunks])
                        raise self._error(stream.status, parse_error_body(body), stream.headers, context)
                    await _save(stream.chunks, destination)
                    return
            except EndpointError as error:
                await self._wait_or_raise(error, attempt)
                attempt += 1

    async def stream_events(self, path: str, payload: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Send JSON and yield the events of the reply, decoded, up to ``[DONE]`` (yielded as ``DONE``) or the end.

        Tried again only while nothing has been yielded. An error event raises EndpointError. A reply that is plain JSON
        after all is yielded whole. Closing the iterator closes the connection.
        """
        async with aclosing(self.stream_batches(path, payload)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def stream_batches(
        self, path: str, payload: Mapping[str, Any]
    ) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
        """As ``stream_events``, but yield the events that came together together: at least one each time."""
        request = self._request("POST", path, payload, accept="text/event-stream, application/json")
        context = self._context(request, payload)
        attempt = 0
        while True:
            n_yielded = 0
            try:
                async with (
                    self._transport.stream(request) as stream,
                    aclosing(self._events_of(stream, context)) as events,
                ):
                    async for batch in events:
                        n_yielded += 1
                        yield batch
                return
            except EndpointError as error:
                if n_yielded:
                    raise
                await self._wait_or_raise(error, attempt)
                attempt += 1

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _whole(
        self,
        method: str,
        path: str,
        body: Body | None,
        read: Callable[[HttpReply, CallContext], R],
        *,
        retries: bool = True,
        done_already: Callable[[], Awaitable[R | None]] | None = None,
    ) -> tuple[R, Mapping[str, str]]:
        """Return what ``read`` makes of the reply, and its headers."""
        request = self._request(method, path, body, accept="application/json")
        context = self._context(request, body if isinstance(body, Mapping) else None)
        attempt = 0
        while True:
            try:
                reply = await self._transport.request(request)
                return read(reply, context), reply.headers
            except EndpointError as error:
                if not retries:
                    raise
                await self._wait_or_raise(error, attempt)
                attempt += 1
            if done_already is not None and (made := await done_already()) is not None:
                return made, {}

    async def _wait_or_raise(self, error: EndpointError, attempt: int) -> None:
        wait_s = wait_before_retry(error, attempt=attempt, policy=self._policy, random=self._uniform())
        if wait_s is None:
            raise error
        _LOG.info("trying again in %.2f s (%d of %d): %s", wait_s, attempt + 1, self._policy.max_retries, error)
        await self._sleep(wait_s)

    def _request(self, method: str, path: str, content: Body | None, *, accept: str) -> HttpRequest:
        headers = {"accept": accept, "user-agent": "footnote-rag", **self.endpoint.auth_headers()}
        body: bytes | Callable[[], AsyncIterator[bytes]] | None = None
        if isinstance(content, StreamedBody):
            headers["content-type"] = content.content_type
            headers["content-length"] = str(content.n_bytes)
            body = content.begin
        elif content is not None:
            headers["content-type"] = "application/json"
            body = _json_bytes(content)
        silence_s = self.endpoint.timeout_s
        return HttpRequest(
            method,
            self.endpoint.url(path),
            headers={**headers, **{name.lower(): value for name, value in self.endpoint.headers.items()}},
            body=body,
            timeouts=Timeouts(self.endpoint.connect_timeout_s, silence_s, silence_s, silence_s),
        )

    def _context(self, request: HttpRequest, payload: Mapping[str, Any] | None) -> CallContext:
        parts = urlsplit(request.url)
        address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
        return CallContext(
            doing=f"{self.endpoint.provider.title} at {address}",
            key_settings=" or ".join((*self.endpoint.provider.key_env, "api_key in rag.toml")),
            has_key=bool(self.endpoint.api_key),
            secret=self.endpoint.api_key or "",
            texts=[payload.get(name) for name in ("messages", "input")] if payload else None,
        )

    # --- replies -----------------------------------------------------------------------------------------------------

    def _error(self, status: int, found: ErrorBody, headers: Mapping[str, str], context: CallContext) -> EndpointError:
        return endpoint_error(status, found, context, headers=headers, now=self._clock())

    def _value_of(self, reply: HttpReply, context: CallContext) -> dict[str, Any]:
        """Return the JSON object of a reply; raises the error that it is, or that it is no object."""
        if not 200 <= reply.status < 300:
            raise self._error(reply.status, parse_error_body(reply.body), reply.headers, context)
        try:
            value = json_of(reply.body)
        except ValueError as error:
            found = parse_error_body(reply.body).message[:100] or "an empty body"
            raise EndpointResponseError(
                f"{context.doing}: the reply is not JSON but {found!r}; check the base URL (most end in /v1)",
                status=reply.status,
            ) from error
        if found_error := error_in(value):
            raise self._error(reply.status, found_error, reply.headers, context)
        if not isinstance(value, dict):
            raise EndpointResponseError(
                f"{context.doing}: the reply is a JSON {type(value).__name__}, not an object; check the base URL",
                status=reply.status,
            )
        return value

    def _value_or_text(self, reply: HttpReply, context: CallContext) -> dict[str, Any] | str:
        """Return the JSON object of a reply, or its text where it is plain text; a web page is neither."""
        if 200 <= reply.status < 300 and reply.body and not reply.body.lstrip().startswith((b"{", b"<")):
            text = reply.body.decode("utf-8", "replace")
            try:
                value = json_of(reply.body)
            except ValueError:
                return text
            return value if isinstance(value, str) else text
        return self._value_of(reply, context)

    async def _events_of(
        self, stream: HttpStream, context: CallContext
    ) -> AsyncGenerator[Sequence[dict[str, Any]], None]:
        """Yield the JSON objects of a stream's events; raises the error that the reply or an event is."""
        is_json = stream.headers.get("content-type", "").startswith("application/json")
        if not 200 <= stream.status < 300 or is_json:
            body = b"".join([chunk async for chunk in stream.chunks])
            yield [self._value_of(HttpReply(stream.status, stream.headers, body), context)]
            return
        parser = SseParser()
        async for chunk in stream.chunks:
            batch, error = self._batch(parser.feed(chunk), stream, context)
            is_done = bool(batch) and batch[-1] is DONE
            if is_done:
                await _drain(stream.chunks)
            if batch:
                yield batch
            if error is not None:
                raise error
            if is_done:
                return
        batch, error = self._batch(parser.finish(), stream, context)
        if batch:
            yield batch
        if error is not None:
            raise error

    def _batch(
        self, events: Sequence[SseEvent], stream: HttpStream, context: CallContext
    ) -> tuple[list[dict[str, Any]], EndpointError | None]:
        """Return the decoded events up to ``DONE`` or the first that is an error, and that error."""
        batch: list[dict[str, Any]] = []
        for event in events:
            if event.data.strip() == b"[DONE]":
                batch.append(DONE)
                break
            try:
                value = self._decoded(event, stream, context)
            except EndpointError as error:
                return batch, error
            if value:
                batch.append(value)
        return batch, None

    def _decoded(self, event: SseEvent, stream: HttpStream, context: CallContext) -> dict[str, Any]:
        """Return the JSON object of an event; an empty one where it carries nothing."""
        if not event.data.strip():
            return {}
        try:
            value = orjson.loads(event.data)
        except ValueError as error:
            raise EndpointResponseError(
                f"{context.doing}: an event of {len(event.data)} bytes is not JSON; the stream was cut or is not one",
                status=stream.status,
                retriable=True,
            ) from error
        if found := error_in(value):
            raise self._error(stream.status, found, stream.headers, context)
        if event.name == "error":
            raise self._error(stream.status, parse_error_body(event.data), stream.headers, context)
        return value if isinstance(value, dict) else {}


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed bracket, a port that is no number
        return False


def _json_bytes(payload: Mapping[str, Any]) -> bytes:
    """Return the payload as UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes "?"."""
    try:
        return orjson.dumps(payload, default=_plain)
    except TypeError:
        return json.dumps(payload, default=_plain, ensure_ascii=False).encode("utf-8", "replace")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a request cannot hold a {type(value).__name__}")


async def _save(chunks: AsyncIterator[bytes], destination: Path) -> None:
    """Write the chunks beside the destination, and put the file in its place when it is on disk."""
    partial = destination.with_name(f"{destination.name}.part")
    with partial.open("wb") as file:
        async for chunk in chunks:
            file.write(chunk)
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())
    os.replace(partial, destination)


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read what is left after the last event, usually nothing: a connection read to its end can be used again."""
    with suppress(TimeoutError, EndpointError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass
