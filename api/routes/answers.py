"""Asking and searching."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.events import answer_json, retrieval_json
from api.routes.current import SeenFootnote, needs_json
from api.routes.disconnect import unless_disconnected
from api.routes.event_stream import EventStream

__all__ = ["router"]

router = APIRouter(tags=["answers"], dependencies=[Depends(needs_json)])

_STREAM_EXAMPLE = """id: 0
event: retrieved
data: {"type":"retrieved","sources":[],"sequence_number":0}

id: 1
event: delta
data: {"type":"delta","text":"On 20 July 1969","sequence_number":1}
"""


@router.post(
    "/ask",
    response_model=schemas.Answer,
    responses={200: {"content": {"text/event-stream": {"example": _STREAM_EXAMPLE}}}},
)
async def ask(body: schemas.AskRequest, request: Request, footnote: SeenFootnote) -> Response:
    """Answer a question from the documents, with citations.

    With `stream: true`, or `Accept: text/event-stream`, the reply is server-sent events: `retrieved`, `moderated`,
    `delta`, `citation`, and last `answer` (the whole answer) or `error`. Their `sequence_number` counts from 0.
    """
    options = body.options(footnote.settings.answer)
    if body.stream or _accepts_events(request):
        events = footnote.stream(body.question, **options)
        return EventStream(events, heartbeat_s=request.app.state.heartbeat_s)
    asking = footnote.ask(body.question, **options)
    return JSONReply(answer_json(await unless_disconnected(request.receive, asking)))


@router.post("/search", response_model=schemas.SearchReply)
async def search(body: schemas.SearchRequest, request: Request, footnote: SeenFootnote) -> Response:
    """Find the chunks that bear on a query, best first."""
    searching = footnote.search(
        body.query,
        collection=body.collection,
        collections=body.collections,
        k=body.k,
        filter=body.filter,
        min_score=body.min_score,
    )
    retrieval = await unless_disconnected(request.receive, searching)
    places = await asyncio.to_thread(
        footnote.places, retrieval.hits, collection=body.collection, collections=body.collections
    )
    return JSONReply(retrieval_json(body.query, retrieval, places))


def _accepts_events(request: Request) -> bool:
    kinds = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").lower().split(",")]
    return "text/event-stream" in kinds
