"""Where a quote stands, to look at: the page of a PDF, or the stored text, with the words marked."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import HTMLResponse, Response

from api import schemas
from api.routes.current import SeenFootnote
from api.sources import draw_page, excerpt_page
from rag.types import Document

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}", tags=["documents"])

Highlight = Annotated[str, Query(description="`start-end` in characters of the document's text, as in a citation")]
_GUARDED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-cache",
}
"""The words of a stranger's document are shown: whatever they are, they run nothing and load nothing."""


@router.get(
    "/documents/{document_id:path}/pages/{page}.png",
    responses={200: {"content": {"image/png": {}}}},
    response_class=Response,
)
def show_page(
    name: schemas.CollectionName,
    document_id: str,
    page: int,
    request: Request,
    footnote: SeenFootnote,
    highlight: Highlight = "",
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """Draw a page of a PDF as PNG, the words of `highlight` marked."""
    document = footnote.document(document_id, collection=name)
    start, end = _span(document, highlight)
    etag = f'"{hashlib.sha256(f"1 {document.sha256} {document.reader} {page} {start} {end}".encode()).hexdigest()}"'
    if etag in if_none_match:
        return Response(status_code=304, headers={"ETag": etag})
    with request.app.state.drawing.place():
        png = draw_page(footnote, document, page, start=start, end=end, collection=name)
    return Response(png, media_type="image/png", headers={**_GUARDED, "ETag": etag})


@router.get("/source/{document_id:path}", responses={200: {"content": {"text/html": {}}}}, response_class=Response)
def show_source(
    name: schemas.CollectionName, document_id: str, footnote: SeenFootnote, highlight: Highlight = ""
) -> Response:
    """Show the stored text around the words of `highlight`, these marked, as a page for people."""
    document = footnote.document(document_id, collection=name)
    start, end = _span(document, highlight)
    return HTMLResponse(
        excerpt_page(document, start=start, end=end, collection=name).encode("utf-8", "replace"), headers=_GUARDED
    )


def _span(document: Document, highlight: str) -> tuple[int, int]:
    if not highlight:
        return 0, 0
    match = re.fullmatch(r"(\d{1,12})-(\d{1,12})", highlight, re.ASCII)
    if match is None:
        raise _bad(f"highlight is 'start-end', two numbers such as 120-180; got {highlight!r}")
    start, end = int(match[1]), int(match[2])
    if not start < end <= len(document.text):
        raise _bad(
            f"highlight must be of at least one of the document's {len(document.text)} characters, got {highlight}"
        )
    return start, end


def _bad(message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", "highlight"), "msg": message, "type": "value_error"}])
