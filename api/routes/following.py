"""Answers while they are written, and a while after: following one again, and stopping it."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.live_answers import LiveAnswers
from api.routes.event_stream import EVENT_STREAM, EventStream

__all__ = ["CurrentAnswers", "owner_of", "router"]

router = APIRouter(tags=["answers"])


def _current_answers(request: Request) -> LiveAnswers:
    return cast(LiveAnswers, request.app.state.live)


CurrentAnswers = Annotated[LiveAnswers, Depends(_current_answers)]


def owner_of(request: Request) -> str:
    """Return whose an answer is: another key than the one it was asked with does not find it."""
    return str(request.headers.get("authorization", ""))


@router.get(
    "/answers/{answer_id}/events",
    response_class=Response,
    responses={
        200: {**EVENT_STREAM, "description": "The events, those that are still to come included"},
        204: {"description": "That was the last event: an EventSource stops asking"},
    },
)
async def follow_answer(
    answer_id: str,
    request: Request,
    live: CurrentAnswers,
    after: Annotated[int | None, Query(ge=0, description="number of the last event that came")] = None,
    last_event_id: Annotated[str | None, Header(description="the same, as browsers send it")] = None,
) -> Response:
    """Send the events of an answer that were missed, and go on with it live."""
    answer = live.find(answer_id, owner=owner_of(request))
    seen = after if after is not None else _number(last_event_id)
    if answer.state == "ended" and seen == answer.n_events - 1:
        return Response(status_code=204)
    try:
        reader = answer.reader(after=seen)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return EventStream(reader, heartbeat_s=request.app.state.heartbeat_s)


@router.post("/answers/{answer_id}/cancel", response_model=schemas.Cancelled)
async def cancel_answer(answer_id: str, request: Request, live: CurrentAnswers) -> Response:
    """Stop writing an answer; its stream ends with `done`, whose `outcome` is `cancelled`."""
    answer = live.find(answer_id, owner=owner_of(request))
    return JSONReply({"id": answer_id, "cancelled": await answer.stop()})


def _number(last_event_id: str | None) -> int:
    if not last_event_id:
        return -1
    if not (last_event_id.isascii() and last_event_id.isdecimal()):
        raise HTTPException(400, f"Last-Event-ID must be the number of an event, got {last_event_id[:40]!r}")
    return int(last_event_id)
