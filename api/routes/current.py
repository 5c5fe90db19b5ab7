"""What every route needs: the Footnote that the service was made with, and checks of how a request was sent."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, HTTPException, Request

from api.footnote import Footnote

__all__ = ["CurrentFootnote", "needs_json", "needs_multipart"]


def _current_footnote(request: Request) -> Footnote:
    return cast(Footnote, request.app.state.footnote)


CurrentFootnote = Annotated[Footnote, Depends(_current_footnote)]


def needs_json(request: Request) -> None:
    """Refuse other media types. A page of another site can send forms without asking, but not JSON."""
    _needs(request, "application/json")


def needs_multipart(request: Request) -> None:
    _needs(request, "multipart/form-data")


def _needs(request: Request, wanted: str) -> None:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != wanted:
        raise HTTPException(415, f"the body must be {wanted}, got {found or 'no content-type'}")
