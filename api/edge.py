"""The outermost layer of the service: request ids, who may call, body sizes, and an answer to whatever goes wrong."""

from __future__ import annotations

import logging
import re
import uuid

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import Gate
from api.errors import ErrorReply, error_reply
from api.events import json_bytes
from api.keys import ReaderKeys
from rag.settings import ServerOptions

__all__ = ["CALLER", "MAX_JSON_BYTES", "Edge", "JSONReply", "error_response"]

CALLER = "footnote.caller"
"""Where the scope of a request holds its ``api.auth.Caller``."""

logger = logging.getLogger("footnote.http")

MAX_JSON_BYTES = 4 * 1024 * 1024
"""A question with a long history is some 100 KB; what is larger is no question."""
_MULTIPART_OVERHEAD_BYTES = 1024 * 1024

_UPLOAD_PATH = re.compile(r"/collections/[^/]+/(documents|import)")
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class JSONReply(Response):
    """JSON in UTF-8 that can also carry file names which are not."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return json_bytes(content)


def error_response(reply: ErrorReply) -> JSONReply:
    return JSONReply(reply.body, status_code=reply.status, headers=dict(reply.headers))


class Edge:
    """ASGI middleware. An exception that nothing inside has answered becomes a 500 here, and a line in the log."""

    def __init__(self, app: ASGIApp, server: ServerOptions, keys: ReaderKeys) -> None:
        self._app = app
        self._server = server
        self._gate = Gate(server, keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply = _NamedReply(send, _request_id(headers.get("x-request-id", "")))
        caller = self._gate.admit(scope["path"], headers)
        try:
            if isinstance(caller, ErrorReply):
                await error_response(caller)(scope, receive, reply.send)
            else:
                scope[CALLER] = caller
                limited = _limited(receive, headers.get("content-length", ""), self._limit(scope))
                await self._app(scope, limited, reply.send)
        except ClientDisconnect:
            pass  # nobody is left to be told
        except Exception as error:
            logger.exception("%s %s (%s) failed", scope["method"], scope["path"], reply.request_id)
            if reply.started:
                raise  # the server drops the connection, so that the client sees that the reply is not whole
            await error_response(error_reply(error))(scope, receive, reply.send)

    def _limit(self, scope: Scope) -> int:
        if scope["method"] == "POST" and _UPLOAD_PATH.fullmatch(scope["path"]):
            return self._server.max_upload_mb * 1024 * 1024 + _MULTIPART_OVERHEAD_BYTES
        return MAX_JSON_BYTES


class _NamedReply:
    """Puts the request's id on the reply, and knows whether it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message["headers"], (b"x-request-id", self.request_id.encode())]}
        await self._send(message)


def _request_id(given: str) -> str:
    """Return the caller's own id where it is a plain word, so that both logs agree."""
    return given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _limited(receive: Receive, content_length: str, limit: int) -> Receive:
    """Return a ``receive`` that raises a 413 as soon as a body is known to be over the limit."""
    n_bytes = 0
    announced = int(content_length) if content_length.isdecimal() else 0

    async def receive_some() -> Message:
        nonlocal n_bytes
        if announced > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.request":
            n_bytes += len(message.get("body", b""))
            if n_bytes > limit:
                raise _too_large(limit)
        return message

    return receive_some


def _too_large(limit: int) -> HTTPException:
    return HTTPException(
        413, f"the request's body is over the limit of {limit // (1024 * 1024)} MB; send less, or in several requests"
    )
