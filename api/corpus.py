"""The documents of the collections that a question was asked of, as an agent's tools see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from index.collection import Collection
from index.globs import glob_matches
from rag.errors import DocumentNotFoundError
from rag.filter_text import as_filter
from rag.filters import Filter, all_of
from rag.types import Chunk, Document, Retrieval

__all__ = ["CollectionsCorpus", "Search"]

Search = Callable[[str, int, Filter | None], Awaitable[Retrieval]]


class CollectionsCorpus:
    """Satisfies ``rag.answering.agent.tools.Corpus``. Of several collections, documents are named by theirs first.

    Only what ``filter_`` of the question allows is found, listed and read, whatever a tool is asked for.
    """

    def __init__(self, collections: Sequence[Collection], *, search: Search, filter_: Filter | None) -> None:
        self._collections = {collection.name: collection for collection in collections}
        self._only = collections[0] if len(collections) == 1 else None
        self._search = search
        self._filter = filter_
        self._allowed: dict[str, set[str]] = {}

    async def search(self, query: str, *, k: int, filter_text: str) -> Retrieval:
        wanted = as_filter(filter_text) if filter_text.strip() else None
        return await self._search(query, k, all_of(self._filter, wanted))

    async def ids(self, *, glob: str, filter_text: str) -> Sequence[str]:
        wanted = all_of(self._filter, as_filter(filter_text) if filter_text.strip() else None)
        return await asyncio.to_thread(self._listed, glob, wanted)

    def _listed(self, glob: str, wanted: Filter | None) -> list[str]:
        found = [
            own_id if self._only is not None else f"{name}/{own_id}"
            for name, collection in self._collections.items()
            for own_id in collection.document_ids(filter_=wanted)
        ]
        return sorted(one for one in found if not glob or glob_matches(one, glob))

    async def document(self, document_id: str) -> Document:
        collection, own_id = await asyncio.to_thread(self._found, document_id)
        return await asyncio.to_thread(collection.document, own_id)

    async def chunks(self, document_id: str) -> Sequence[Chunk]:
        collection, own_id = await asyncio.to_thread(self._found, document_id)
        return await asyncio.to_thread(collection.document_chunks, own_id)

    def _found(self, document_id: str) -> tuple[Collection, str]:
        """Return the collection of a document and its id there. Raises DocumentNotFoundError."""
        collection, own_id = self._only, document_id
        if collection is None:
            name, _, own_id = document_id.partition("/")
            if (collection := self._collections.get(name)) is None:
                raise DocumentNotFoundError(f"no collection {name!r} among those that are searched")
        if self._filter is not None and own_id not in self._ids(collection):
            raise DocumentNotFoundError(f"no document {document_id!r} among those that the filter allows")
        return collection, own_id

    def _ids(self, collection: Collection) -> set[str]:
        """Return the documents of a collection that the filter allows; they are looked up once a question."""
        if collection.name not in self._allowed:
            self._allowed[collection.name] = collection.document_ids(filter_=self._filter)
        return self._allowed[collection.name]
