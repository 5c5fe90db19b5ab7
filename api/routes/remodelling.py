"""A change of embedding model in the background: start, look, cancel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import schemas
from api.background import Change
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, needs_json
from api.schemas import CollectionName

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}/rebuild", tags=["collections"])


@router.post("", response_model=schemas.ModelChange, status_code=202, dependencies=[Depends(needs_json)])
async def start_rebuild(name: CollectionName, body: schemas.Rebuilding, footnote: CurrentFootnote) -> Response:
    """Begin to make a collection anew for the service's embedding model; with `dry_run` say what it would cost."""
    if body.dry_run:
        report = await footnote.change_model(name, dry_run=True)
        planned = Change(name, "done", 0, report.n_documents, report)
        return JSONReply(_json(planned), status_code=202)
    return JSONReply(_json(footnote.start_change_of_model(name)), status_code=202)


@router.get("", response_model=schemas.ModelChange)
async def show_rebuild(name: CollectionName, footnote: CurrentFootnote) -> Response:
    """Show how far it is, or how it ended."""
    return JSONReply(_json(footnote.changes.get(name)))


@router.delete("", response_model=schemas.ModelChange)
async def cancel_rebuild(name: CollectionName, footnote: CurrentFootnote) -> Response:
    """Stop it soon: the old collection answers on, and the next one finds what was paid for."""
    change = footnote.changes.get(name)
    change.stop.set()
    return JSONReply(_json(change))


def _json(change: Change) -> dict[str, Any]:
    return {
        "collection": change.collection,
        "state": change.state,
        "n_done": change.n_done,
        "n_all": change.n_all,
        "error": change.error,
        "report": None if change.report is None else asdict(change.report),
    }
