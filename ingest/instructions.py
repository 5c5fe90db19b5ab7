"""Warnings of text in a document that addresses the model which will read it."""

from __future__ import annotations

from collections.abc import Sequence

from rag.answering.injection import suspicion_of
from rag.types import Chunk, Document

__all__ = ["addressed_to_models"]

_NAMED = 3


def addressed_to_models(document: Document, chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """Return a warning that names the first places with such text, and what it looks like; none without any."""
    found = [(made, suspicion) for made in chunks if (suspicion := suspicion_of(made.text)).is_flagged]
    if not found:
        return ()
    places = dict.fromkeys(
        f"{document.place_at(made.start)} ({', '.join(suspicion.features)})" for made, suspicion in found
    )
    named = "; ".join(list(places)[:_NAMED])
    more = f"; and {len(places) - _NAMED} more places" if len(places) > _NAMED else ""
    return (f"it holds text that addresses a model as instructions do: {named}{more}",)
