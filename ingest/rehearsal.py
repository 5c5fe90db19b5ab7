"""Stand-ins with which a run goes through all its steps, and neither embeds nor writes.

So a dry run is the run itself, on real files and a real ledger: what it finds is what the run would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from index.collection import Collection
from index.records import CollectionConfig, LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from index.writer import free_prefix
from rag.types import Chunk, Document, EmbedderProfile, Embeddings, TextKind

__all__ = ["CountingEmbedder", "HasId", "Rehearsal", "RehearsedVectors", "VectorCache"]


class HasId(Protocol):
    @property
    def id(self) -> str: ...


class VectorCache(Protocol):
    """What embedding needs of a VectorStore."""

    def missing(self, space: VectorSpace, addresses: Sequence[bytes]) -> list[bytes]: ...

    def put(self, space: VectorSpace, addresses: Sequence[bytes], embeddings: Embeddings) -> None: ...


@dataclass(frozen=True, slots=True)
class _Named:
    id: str


class Rehearsal:
    """A collection and its writer in one: it begins as ``collection`` is (None: empty), and remembers what it is told.

    Several paths may be rehearsed one after the other, as they would be ingested.
    """

    def __init__(self, name: str, config: CollectionConfig, collection: Collection | None = None) -> None:
        self.name = name
        self.config = config
        self._ledger = {} if collection is None else collection.ledger()
        self._held = set() if collection is None else {info.id for info in collection.documents()}
        self._prefixes = {} if collection is None else collection.prefixes()

    def ledger(self) -> dict[str, LedgerEntry]:
        return dict(self._ledger)

    def documents(self) -> Sequence[HasId]:
        return [_Named(document_id) for document_id in sorted(self._held)]

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


class RehearsedVectors:
    """A vector store to read from, and the memory of what would have been put into it. ``store`` is None for none."""

    def __init__(self, store: VectorStore | None) -> None:
        self._store = store
        self._put: set[bytes] = set()

    def missing(self, space: VectorSpace, addresses: Sequence[bytes]) -> list[bytes]:
        unknown = list(dict.fromkeys(addresses)) if self._store is None else self._store.missing(space, addresses)
        return [address for address in unknown if address not in self._put]

    def put(self, space: VectorSpace, addresses: Iterable[bytes], embeddings: Embeddings) -> None:
        self._put.update(addresses)


class CountingEmbedder:
    """Counts requests and sends none; the vectors it gives say nothing."""

    def __init__(self, profile: EmbedderProfile, *, dimensions: int) -> None:
        self.profile = replace(profile, dimensions=dimensions)
        self.n_requests = 0
        self._row = np.eye(1, dimensions, dtype=np.float32)

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        self.n_requests += 1
        vectors = np.broadcast_to(self._row, (len(texts), self._row.shape[1]))
        return Embeddings(vectors, np.ones(len(texts), np.bool_), 0)
