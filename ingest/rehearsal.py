"""Stand-ins with which a run goes through all its steps, and neither embeds nor writes.

So a dry run is the run itself, on real files and a real ledger: what it finds is what the run would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from index.collection import Collection
from index.records import CollectionConfig, LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from index.writer import free_prefix
from ingest.embedding import Filled
from ingest.packing import pack
from ingest.roots import is_under
from rag.types import Chunk, Document, EmbeddingLimits, content_address

__all__ = ["Rehearsal", "RehearsedTexts", "n_requests"]


class Rehearsal:
    """A collection and its writer in one: it begins as ``collection`` is (None: empty), and remembers what it is told.

    Several paths may be rehearsed one after the other, as they would be ingested.
    """

    def __init__(self, name: str, config: CollectionConfig, collection: Collection | None = None) -> None:
        self.name = name
        self.config = config
        self._ledger = {} if collection is None else collection.ledger()
        self._held = set() if collection is None else collection.document_ids()
        self._prefixes = {} if collection is None else collection.prefixes()

    def ledger(self, *, within: Sequence[str] | None = None) -> dict[str, LedgerEntry]:
        return {path: entry for path, entry in self._ledger.items() if _is_within(path, within)}

    def roots(self) -> set[str]:
        return {entry.root for entry in self._ledger.values()}

    def document_ids(self, *, within: Sequence[str] | None = None) -> set[str]:
        return {document_id for document_id in self._held if _is_within(document_id, within)}

    def prefix_for(self, root: str) -> str:
        if root not in self._prefixes:
            names = {*self._ledger, *self._held}
            self._prefixes[root] = free_prefix(set(self._prefixes.values()), names, root)
        return self._prefixes[root]

    def replace(
        self, document: Document, chunks: Sequence[Chunk], *, entry: LedgerEntry, replaces: str | None = None
    ) -> None:
        if replaces is not None:
            self.forget(replaces)
        self._held.add(document.id)
        self._ledger[document.id] = entry

    def record(self, entry: LedgerEntry, *, drop_document: bool) -> None:
        if drop_document:
            self._held.discard(entry.path)
        self._ledger[entry.path] = entry

    def forget(self, path: str) -> None:
        self._held.discard(path)
        self._ledger.pop(path, None)


class RehearsedTexts:
    """Counts the texts that would be sent, each once, instead of sending them. ``store`` is None where there is none.

    A text is not counted that ``store`` has a vector of in ``space``; None for a space that is not known yet.
    """

    def __init__(self, store: VectorStore | None, space: VectorSpace | None) -> None:
        self._store = store
        self._space = space
        self._counted: set[bytes] = set()
        self.sizes: list[int] = []
        """tokens of each text, in the order of sending"""

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return what this document's texts would cost."""
        sizes = {content_address(chunk.text): chunk.n_tokens for chunk in chunks}
        unknown = list(sizes)
        if self._store is not None and self._space is not None:
            unknown = await asyncio.to_thread(self._store.missing, self._space, unknown)
        new = [address for address in unknown if address not in self._counted]
        self._counted.update(new)
        self.sizes += [sizes[address] for address in new]
        return Filled(len(new), sum(sizes[address] for address in new))


def _is_within(path: str, within: Sequence[str] | None) -> bool:
    return within is None or any(is_under(path, part) for part in within)


def n_requests(sizes: Sequence[int], limits: EmbeddingLimits) -> int:
    """Return how many full requests texts of these token counts make.

    >>> n_requests([100] * 5, EmbeddingLimits(max_inputs=2))
    3
    """
    n, start = 0, 0
    while start < len(sizes):
        start += pack(sizes[start : start + limits.max_inputs], limits)
        n += 1
    return n
