"""Recorded answers, and what people say of them."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, SeenFootnote, needs_json

__all__ = ["router"]

router = APIRouter(tags=["answers"])


@router.get("/answers", response_model=schemas.RecordedAnswerList)
async def list_answers(
    footnote: CurrentFootnote,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    before: Annotated[str, Query(description="id of the last answer of the page before")] = "",
    rating: Annotated[Literal["up", "down"] | None, Query(description="only those rated so")] = None,
) -> Response:
    """List recorded answers, newest first; there are some where `observe.records` is on."""
    found = await asyncio.to_thread(footnote.records.page, limit=limit, before=before, rating=rating)
    following = found[-1].id if len(found) == limit else None
    return JSONReply({"answers": [dataclasses.asdict(record) for record in found], "next_before": following})


@router.get("/answers/{answer_id}", response_model=schemas.RecordedAnswer)
async def show_answer(answer_id: str, footnote: CurrentFootnote) -> Response:
    """Show what was recorded of an answer, and what was said of it."""
    return JSONReply(dataclasses.asdict(await asyncio.to_thread(footnote.records.get, answer_id)))


@router.post("/answers/{answer_id}/feedback", response_model=schemas.Feedback, dependencies=[Depends(needs_json)])
async def rate_answer(answer_id: str, body: schemas.NewFeedback, footnote: SeenFootnote) -> Response:
    """Store what somebody says of a recorded answer, in place of what was said before."""
    stored = await asyncio.to_thread(
        footnote.records.rate, answer_id, body.rating, correction=body.correction, comment=body.comment
    )
    return JSONReply(dataclasses.asdict(stored))
