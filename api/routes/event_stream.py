"""An answer as server-sent events, while it is written."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.events import HEARTBEAT
from api.live_answers import Reader
from api.routes.disconnect import departure

__all__ = ["EVENT_STREAM", "EventStream"]

_EXAMPLE = """id: 0
event: started
data: {"type":"started","id":"answer-5f0c","created":1790000000,"resume_s":0.0,"sequence_number":0}

id: 1
event: delta
data: {"type":"delta","text":"On 20 July 1969","sequence_number":1}
"""
_SCHEMA = {"$ref": "#/components/schemas/StreamEvent"}
EVENT_STREAM: dict[str, Any] = {
    "description": "The answer, or with `text/event-stream` its events as they come; `x-answer-id` names it",
    "content": {"text/event-stream": {"schema": _SCHEMA, "example": _EXAMPLE}},
}
"""What the documentation says of a reply that is an event stream."""


class EventStream(Response):
    """Sends what a reader of an answer gets, and a comment whenever that was nothing for ``heartbeat_s``.

    The status is sent with the first event or heartbeat, so that what fails before is an ordinary error reply; what
    fails after is an ``error`` event. When the client leaves, so does its reader.
    """

    media_type = "text/event-stream"

    def __init__(self, reader: Reader, *, heartbeat_s: float) -> None:
        # no-transform and x-accel-buffering: proxies that compress or collect would hold the events back
        headers = {
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "x-answer-id": reader.answer.id,
        }
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self._reader = reader
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = self._reader
        watching = asyncio.create_task(self._watch(receive))
        beating = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)
        self._beating = beating
        try:
            await self._send_all(send)
        finally:
            self._beating.cancel()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await reader.leave()
        if reader.is_gone:
            raise ClientDisconnect

    async def _send_all(self, send: Send) -> None:
        is_started = False
        while (data := await self._reader.next(heartbeat=HEARTBEAT)) is not None:
            if not is_started:
                is_started = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if not self._reader.is_gone:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        await departure(receive)
        self._reader.go()

    def _beat(self) -> None:
        self._reader.beat()
        self._beating = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)
