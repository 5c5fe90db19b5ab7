"""Stored conversations: make, list, read, change, export, delete. Questions are asked in them by ``POST /ask``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, needs_json
from api.thread_views import message_json, thread_json

__all__ = ["router"]

router = APIRouter(prefix="/threads", tags=["conversations"])

# Routes without `async` touch the disk; FastAPI runs them in threads.

_EXPORTS = {"markdown": ("text/markdown", "md"), "json": ("application/json", "json")}


@router.post("", response_model=schemas.Thread, status_code=201, dependencies=[Depends(needs_json)])
def create_thread(body: schemas.NewThread, footnote: CurrentFootnote) -> Response:
    """Make a conversation; `POST /ask` with its id as `thread` asks in it."""
    thread = footnote.threads.create(body.title, collections=body.collections, metadata=body.metadata)
    return JSONReply(thread_json(thread), status_code=201)


@router.get("", response_model=schemas.ThreadList)
def list_threads(
    footnote: CurrentFootnote,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    after: Annotated[str, Query(max_length=100, description="the `next_after` of the page before")] = "",
) -> Response:
    """List the conversations, the one changed last first, a page at a time."""
    page = footnote.threads.list(limit=limit, after=after)
    return JSONReply({"threads": [thread_json(thread) for thread in page.threads], "next_after": page.next_after})


@router.get("/{thread_id}", response_model=schemas.Thread)
def show_thread(thread_id: str, footnote: CurrentFootnote) -> Response:
    """Show a conversation at a glance."""
    return JSONReply(thread_json(footnote.threads.get(thread_id)))


@router.patch("/{thread_id}", response_model=schemas.Thread, dependencies=[Depends(needs_json)])
def change_thread(thread_id: str, body: schemas.ThreadChange, footnote: CurrentFootnote) -> Response:
    """Change title, collections or metadata of a conversation."""
    changed = footnote.threads.change(thread_id, title=body.title, collections=body.collections, metadata=body.metadata)
    return JSONReply(thread_json(changed))


@router.delete("/{thread_id}", response_model=schemas.Deleted)
def delete_thread(thread_id: str, footnote: CurrentFootnote) -> Response:
    """Delete a conversation; not while a question of it is being answered."""
    footnote.threads.delete(thread_id)
    return JSONReply({"id": thread_id, "deleted": True})


@router.get("/{thread_id}/messages", response_model=schemas.MessageList)
def list_messages(
    thread_id: str,
    footnote: CurrentFootnote,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, lt=2**53, description="the `next_after` of the page before")] = 0,
) -> Response:
    """List the messages of a conversation, oldest first; citations say whether their documents have changed since."""
    page = footnote.threads.messages(thread_id, limit=limit, after=after)
    return JSONReply({"messages": [message_json(one) for one in page.messages], "next_after": page.next_after})


@router.get(
    "/{thread_id}/export",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {}, "application/json": {}}}},
)
def export_thread(
    thread_id: str, footnote: CurrentFootnote, format: Literal["markdown", "json"] = "markdown"
) -> Response:
    """Send a conversation as one file: `markdown` to read, `json` to keep and import."""
    media_type, ending = _EXPORTS[format]
    # subtle: a lone surrogate (of a file name that is not UTF-8) cannot be encoded; JSON has it escaped already
    content = footnote.threads.export(thread_id, format=format).encode("utf-8", "backslashreplace")
    name = {"content-disposition": f'attachment; filename="{footnote.threads.get(thread_id).id}.{ending}"'}
    return Response(content, media_type=media_type, headers=name)
