"""What an endpoint serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rag.errors import EndpointResponseError
from rag.gateway.endpoint import EndpointClient

__all__ = ["Model", "list_models"]


@dataclass(frozen=True, slots=True)
class Model:
    """One model. ``shutdown_date`` is YYYY-MM-DD where the provider has announced one; ``raw`` is all it said."""

    id: str
    owned_by: str | None = None
    shutdown_date: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def list_models(client: EndpointClient) -> list[Model]:
    """Return the models in the endpoint's order. Raises EndpointError; not every provider has this list."""
    reply = await client.get_json("/models")
    entries = reply.get("data")
    if not isinstance(entries, list):
        raise EndpointResponseError("the list of models holds no data; name the model in the settings", status=200)
    return [
        Model(str(entry["id"]), entry.get("owned_by"), entry.get("shutdown_date"), entry)
        for entry in entries
        if isinstance(entry, dict) and entry.get("id")
    ]
