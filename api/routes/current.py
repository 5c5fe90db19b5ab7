"""What every route needs: the Footnote that the service was made with, and checks of how a request was sent."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request

from api.auth import Caller
from api.edge import CALLER
from api.footnote import Footnote
from rag.errors import AccessDeniedError

__all__ = ["CurrentFootnote", "SeenFootnote", "needs_json", "needs_multipart"]


def _whole_footnote(request: Request) -> Footnote:
    caller: Caller = request.scope[CALLER]
    if caller.labels is not None:
        raise AccessDeniedError(
            f"the key {caller.name!r} is a reader's: it may ask, search and read; {request.method} {request.url.path} "
            "wants the key in server.api_key"
        )
    return cast(Footnote, request.app.state.footnote)


def _seen_footnote(request: Request) -> Footnote:
    caller: Caller = request.scope[CALLER]
    footnote = cast(Footnote, request.app.state.footnote)
    return footnote if caller.labels is None else footnote.seen_by(caller.labels)


CurrentFootnote = Annotated[Footnote, Depends(_whole_footnote)]
"""All of it: a reader's key is refused, so that a new route is closed to it until somebody opens it."""

SeenFootnote = Annotated[Footnote, Depends(_seen_footnote)]
"""What the caller may see of it."""


def needs_json(request: Request) -> None:
    """Refuse other media types. A page of another site can send forms without asking, but not JSON."""
    _needs(request, "application/json")


def needs_multipart(request: Request) -> None:
    _needs(request, "multipart/form-data")


def _needs(request: Request, wanted: str) -> None:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != wanted:
        raise HTTPException(415, f"the body must be {wanted}, got {found or 'no content-type'}")
