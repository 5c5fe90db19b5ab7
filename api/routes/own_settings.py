"""The settings that a collection has of its own."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, needs_json

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}/settings", tags=["collections"])


@router.get("", response_model=schemas.CollectionSettings)
def show_settings(name: schemas.CollectionName, footnote: CurrentFootnote) -> Response:
    """Show the settings that a collection has of its own; all others are the service's."""
    return JSONReply(_settings_json(name, footnote.own_settings(name)))


@router.put("", response_model=schemas.CollectionSettings, dependencies=[Depends(needs_json)])
async def replace_settings(
    name: schemas.CollectionName, body: schemas.NewSettings, footnote: CurrentFootnote
) -> Response:
    """Put these settings in the place of those that a collection has of its own; `{"answer": {}}` takes all back."""
    given = {"answer": {key: value for key, value in body.answer.items() if value is not None}}
    own = await asyncio.to_thread(footnote.set_own_settings, given, name)
    return JSONReply(_settings_json(name, own))


def _settings_json(name: str, own: dict[str, dict[str, object]]) -> dict[str, object]:
    return {"collection": name, "answer": own.get("answer", {})}
