"""When documents were written, as far as they or somebody said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from index.collection import Collection

__all__ = ["dates_of"]

_KEYS = ("date", "published", "updated", "created")
"""Attributes that say it, the first that a document has; ``modified`` is when a file was copied as often as not."""


def dates_of(collections: Sequence[Collection], document_ids: Sequence[str]) -> Mapping[str, str]:
    """Return the dates of documents by id, ``2024-03-01``; of several collections the id begins with the name."""
    found: dict[str, str] = {}
    for collection in collections:
        prefix = f"{collection.name}/" if len(collections) > 1 else ""
        ids = [one.removeprefix(prefix) for one in document_ids if one.startswith(prefix)]
        for document_id, attributes in collection.attributes(ids).items():
            for key in _KEYS:
                if (date := str(attributes.get(key, ""))[:10]) and date[:4].isdigit():
                    found[prefix + document_id] = date
                    break
    return found
