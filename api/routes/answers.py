"""Asking and searching."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.events import answer_json, retrieval_json
from api.live_answers import new_answer_id
from api.routes.current import SeenFootnote, needs_json
from api.routes.disconnect import unless_disconnected
from api.routes.event_stream import EVENT_STREAM, EventStream
from api.routes.following import CurrentAnswers, owner_of

__all__ = ["router"]

router = APIRouter(tags=["answers"], dependencies=[Depends(needs_json)])


@router.post(
    "/ask",
    response_model=schemas.Answer,
    responses={200: EVENT_STREAM},
)
async def ask(body: schemas.AskRequest, request: Request, footnote: SeenFootnote, live: CurrentAnswers) -> Response:
    """Answer a question from the documents, with citations.

    With `stream: true`, or `Accept: text/event-stream`, the reply is server-sent events, from `started` to `done` or
    `error`; see `StreamEvent`. Their `sequence_number` counts from 0.
    """
    options = body.options()
    if body.stream or _accepts_events(request):
        options["answer_id"] = new_answer_id()
        events = footnote.stream(body.question, **options)
        reader = live.begin(options["answer_id"], events, owner=owner_of(request))
        return EventStream(reader, heartbeat_s=request.app.state.heartbeat_s)
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
