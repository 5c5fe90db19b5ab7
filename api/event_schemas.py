"""The shapes of a stream's events in the OpenAPI document, which FastAPI takes from JSON replies only."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from api import schemas

__all__ = ["add_event_schemas"]


def add_event_schemas(app: FastAPI) -> None:
    """Put ``StreamEvent`` and what it is made of among the components of the service's OpenAPI document."""
    document = app.openapi

    def with_events() -> dict[str, Any]:
        made = document()  # made once, and kept by FastAPI
        shapes = made["components"]["schemas"]
        if "StreamEvent" not in shapes:
            model = schemas.StreamEvent.model_json_schema(ref_template="#/components/schemas/{model}")
            for name, shape in model.pop("$defs").items():
                shapes.setdefault(name, shape)
            shapes["StreamEvent"] = model
        return made

    app.openapi = with_events  # type: ignore[method-assign]
