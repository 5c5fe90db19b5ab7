"""Pages of the web as documents of a collection."""

from __future__ import annotations

import asyncio
import dataclasses

from fastapi import APIRouter, Depends
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, needs_json
from ingest.report import FileResult, IngestReport
from ingest.web.urls import canonical
from rag.errors import ConfigError

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}/urls", tags=["documents"])


@router.post("", response_model=schemas.UrlsReply, dependencies=[Depends(needs_json)])
async def ingest_urls(
    name: schemas.CollectionName, body: schemas.IngestUrlsRequest, footnote: CurrentFootnote
) -> Response:
    """Fetch pages, and the pages of sitemaps, and read them in; each has a state of its own in the reply.

    Private addresses are refused, whatever the settings of the service say.
    """
    urls = [_canonical(url, place) for place, url in enumerate(body.urls)]
    if name != footnote.settings.collection:  # the default one is made by what comes first, others are asked for
        await asyncio.to_thread(footnote.status, name)
    reports = await footnote.ingest_urls(*dict.fromkeys(urls), collection=name)
    return JSONReply(
        {
            "collection": name,
            "files": [_page_json(file) for report in reports for file in report.files],
            "removed": sorted(path for report in reports for path in _removed(report)),
            "notes": [note for report in reports for note in report.notes],
        }
    )


def _canonical(url: str, place: int) -> str:
    try:
        return canonical(url)
    except ConfigError as error:
        raise RequestValidationError(
            [{"loc": ("body", "urls", place), "msg": str(error), "type": "value_error"}]
        ) from error


def _page_json(file: FileResult) -> dict[str, object]:
    shown = [field.name for field in dataclasses.fields(FileResult) if field.name in schemas.SeenPage.model_fields]
    return {name: getattr(file, name) for name in shown} | {"warnings": list(file.warnings)}


def _removed(report: IngestReport) -> list[str]:
    """Return all documents that went: of pages no longer listed, and of pages that are there no more."""
    return [*report.removed, *(file.path for file in report.files if file.change == "removed")]
