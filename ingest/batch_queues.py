"""What takes the texts of a run by batches: one queue orders them, the other lets pass what has its vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from index.vector_store import VectorSpace, VectorStore
from ingest.batch_orders import OrderWriter
from ingest.batch_report import ON_ORDER
from ingest.embedding import Filled
from rag.errors import EmbeddingError
from rag.types import Chunk, content_address

__all__ = ["HeldBackQueue", "OrderingQueue"]


class OrderingQueue:
    """Takes the texts of a run: those without a vector are ordered, and their documents told to wait."""

    def __init__(self, vectors: VectorStore, space: VectorSpace, writer: OrderWriter, on_order: set[bytes]) -> None:
        self._vectors = vectors
        self._space = space
        self._writer = writer
        self._on_order = on_order
        self.n_texts = 0

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        by_address = {content_address(chunk.embedded_text): chunk for chunk in chunks}
        missing = await asyncio.to_thread(self._vectors.missing, self._space, list(by_address))
        if not missing:
            return Filled(0, 0)
        for address in missing:
            if address not in self._on_order:
                self._on_order.add(address)
                self._writer.add(address, by_address[address].embedded_text, n_tokens=by_address[address].n_tokens)
                self.n_texts += 1
        raise EmbeddingError(ON_ORDER)


class HeldBackQueue:
    """Lets pass the documents whose vectors are all there, and sends nothing."""

    def __init__(self, vectors: VectorStore, space: VectorSpace, reason: str) -> None:
        self._vectors = vectors
        self._space = space
        self._reason = reason

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        addresses = [content_address(chunk.embedded_text) for chunk in chunks]
        if await asyncio.to_thread(self._vectors.missing, self._space, addresses):
            raise EmbeddingError(self._reason)
        return Filled(0, 0)
