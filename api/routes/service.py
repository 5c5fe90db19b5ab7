"""What the service says of itself: health, its name, and its documentation."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from api import schemas
from api.docs_page import render_docs
from api.edge import JSONReply
from api.routes.current import SeenFootnote

__all__ = ["VERSION", "router"]

VERSION = version("footnote-rag")

router = APIRouter(tags=["service"])


@router.get("/health", response_model=schemas.Health)
def health(footnote: SeenFootnote) -> Response:
    """Say that the service runs and can read its library. Needs no key, and no model."""
    return JSONReply({"status": "ok", "version": VERSION, "n_collections": len(footnote.collections())})


@router.get("/", include_in_schema=False)
def welcome() -> Response:
    return JSONReply({"name": "Footnote", "version": VERSION, "docs": "/docs", "openapi": "/openapi.json"})


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(render_docs(request.app.openapi()))
