"""The HTTP service as an ASGI application, made from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api import schemas
from api.drawing import DrawingLimit
from api.edge import Edge, JSONReply, error_response
from api.errors import error_reply, reply_for_status
from api.event_schemas import add_event_schemas
from api.footnote import Footnote
from api.keys import ReaderKeys
from api.live_answers import LiveAnswers
from api.routes import (
    answers,
    collections,
    documents,
    following,
    own_settings,
    records,
    remodelling,
    service,
    shelving,
    sources,
    threads,
    urls,
)
from rag.errors import RagError

__all__ = ["create_app"]

_DESCRIPTION = """Answers questions from a folder of documents. Every statement in an answer carries a citation that can
be checked: the document, the page, and the exact words with their offsets in the document's text.

Every error, whatever its status, has the body `{"error": {"message", "type", "param", "code"}}`, and every reply an
`x-request-id`. A service with a key wants it as `Authorization: Bearer KEY`, except on `/health`."""

_TAGS = [
    {"name": "answers", "description": "Ask the documents, or search them."},
    {"name": "conversations", "description": "Questions and answers that are kept, and understood together."},
    {"name": "collections", "description": "A collection is a named set of documents with one embedding model."},
    {"name": "documents", "description": "Put files in, look at them, take them out."},
    {"name": "service", "description": "The service itself."},
]


def create_app(footnote: Footnote, *, heartbeat_s: float = 10.0) -> FastAPI:
    """Return the service over a Footnote, which it closes at the end of its lifespan.

    ``heartbeat_s`` is how long an event stream may be silent before a comment is sent to keep it open.
    """

    options = footnote.settings.server
    live = LiveAnswers(resume_s=options.resume_s, max_bytes=options.resume_mb * 1024 * 1024)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await live.aclose()
        await footnote.aclose()

    app = FastAPI(
        title="Footnote",
        version=service.VERSION,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads its scripts from a CDN; ours needs no network
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": schemas.Error, "description": "What failed, and what to do"}},
        exception_handlers={
            RagError: _rag_error,
            RequestValidationError: _validation_error,
            HTTPException: _http_error,
        },
    )
    app.state.footnote = footnote
    app.state.live = live
    app.state.drawing = DrawingLimit()
    app.state.heartbeat_s = heartbeat_s
    app.add_middleware(Edge, server=footnote.settings.server, keys=ReaderKeys(footnote.settings.library))
    asking, keeping = (answers, following, records, threads), (collections, own_settings, shelving, remodelling)
    for part in (*asking, *keeping, sources, documents, urls, service):
        app.include_router(part.router)
    add_event_schemas(app)
    return app


async def _rag_error(request: Request, error: Exception) -> JSONReply:
    assert isinstance(error, RagError)
    return error_response(error_reply(error))


async def _http_error(request: Request, error: Exception) -> JSONReply:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code == 404:
        message = f"there is no {request.method} {request.url.path}; /docs lists the routes"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("allow", "")
        message = f"{request.url.path} knows {allowed or 'other methods'}, got {request.method}; see /docs"
    return error_response(reply_for_status(error.status_code, message, headers=error.headers))


async def _validation_error(request: Request, error: Exception) -> JSONReply:
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    param = _param(first)
    message = f"{param or 'the body'}: {first['msg']}{_found(first)}"
    if others:
        names = dict.fromkeys(_param(other) or "the body" for other in others)
        message += f" (also wrong: {', '.join(names)})"
    code = _CODES.get(first["type"], "invalid_value")
    return error_response(reply_for_status(400, f"{message}; see /docs", param=param or None, code=code))


_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
}


def _param(detail: dict[str, Any]) -> str:
    """Return a field's name as one would write it: ``history[0].role``, without body or query in front."""
    if detail["type"] == "json_invalid":  # its place is an offset in the body
        return ""
    name = ""
    for part in detail["loc"][1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _found(detail: dict[str, Any]) -> str:
    """Return what was found, if it is short and surely no text of a document or a question."""
    if detail["type"] == "json_invalid":
        return f" at character {detail['loc'][1]}: {detail['ctx']['error']}"
    found = detail.get("input")
    return f", got {found!r}" if isinstance(found, int | float) else ""
