"""An answer as server-sent events, while it is written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.events import HEARTBEAT, error_json, event_json, server_sent_event
from api.routes.disconnect import unless_disconnected
from rag.errors import RagError
from rag.types import AnswerEvent

__all__ = ["EventStream"]

logger = logging.getLogger("footnote.http")


class EventStream(Response):
    """Sends events as they come, and a comment whenever none came for ``heartbeat_s``.

    The status is sent with the first event or heartbeat, so that what fails before is an ordinary error reply; what
    fails after is an ``error`` event. When the client leaves, the iterator is closed, and so the upstream call.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[AnswerEvent], *, heartbeat_s: float) -> None:
        # no-transform and x-accel-buffering: proxies that compress or collect would hold the events back
        super().__init__(headers={"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await unless_disconnected(receive, self._send_all(_Sender(send, self)))

    async def _send_all(self, sender: _Sender) -> None:
        # subtle: one task walks the iterator from start to end, as its timeouts and task groups belong to a task
        beating = asyncio.create_task(self._beat(sender))
        try:
            async with contextlib.aclosing(self._events) as events:  # type: ignore[type-var]
                async for event in events:
                    await sender.event(event_json(event))
        except ClientDisconnect:
            raise
        except Exception as error:
            if not sender.started:
                raise
            if not isinstance(error, RagError):
                logger.exception("an answer failed in mid-stream")
            await sender.event(error_json(error))
        finally:
            beating.cancel()
        await sender.end()

    async def _beat(self, sender: _Sender) -> None:
        while True:
            before = sender.n_events
            await asyncio.sleep(self._heartbeat_s)
            if sender.n_events == before:
                await sender.write(HEARTBEAT)


class _Sender:
    def __init__(self, send: Send, response: Response) -> None:
        self._send = send
        self._response = response
        self._writing = asyncio.Lock()  # the heartbeat must not come between status and first event
        self.started = False
        self.n_events = 0

    async def event(self, data: Mapping[str, Any]) -> None:
        number, self.n_events = self.n_events, self.n_events + 1
        await self.write(server_sent_event(data, number=number))

    async def write(self, data: bytes) -> None:
        async with self._writing:
            if not self.started:
                self.started = True
                headers = self._response.raw_headers
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
