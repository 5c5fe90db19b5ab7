"""A collection for another embedding model, from the texts that are stored: no source file is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import islice

from index.collection import Collection
from index.records import CollectionConfig, LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from ingest.chunking import chunk
from ingest.cost import Spending
from ingest.embedding import EmbeddingQueue
from rag.contracts import Embedder, Tokenizer
from rag.types import Chunk, Document, content_address

__all__ = ["ReembedReport", "plan_reembedding", "reembed"]

_TOGETHER = 32  # documents whose texts share requests; those of one batch are stored before the next is read


@dataclass(frozen=True, slots=True)
class ReembedReport:
    """What a change of model did, or in a dry run would do.

    ``n_texts`` and ``n_tokens`` are what had no vector of the model yet, and ``cost`` what that costs: None where the
    price is not known. ``is_switched`` is False after a dry run, and where the run was stopped: the old one answers on.
    """

    collection: str
    model: str
    n_documents: int
    n_chunks: int
    n_texts: int
    n_tokens: int
    cost: float | None
    currency: str
    is_switched: bool


def plan_reembedding(
    old: Collection, config: CollectionConfig, vectors: VectorStore, tokenizer: Tokenizer, spending: Spending
) -> ReembedReport:
    """Return what ``reembed`` would do and cost; embeds and writes nothing."""
    space, n_documents, n_chunks, missing = VectorSpace(config.model, config.dimensions), 0, 0, dict[bytes, int]()
    for _, chunks in _cut(old, config, tokenizer):
        n_documents, n_chunks = n_documents + 1, n_chunks + len(chunks)
        tokens = {content_address(each.embedded_text): each.n_tokens for each in chunks}
        missing.update((address, tokens[address]) for address in vectors.missing(space, list(tokens)))
    return _report(old.name, config, spending, n_documents, n_chunks, len(missing), sum(missing.values()), False)


async def reembed(
    new: Collection,
    *,
    vectors: VectorStore,
    embedder: Embedder,
    tokenizer: Tokenizer,
    spending: Spending,
    name: str,
    on_progress: Callable[[int, int], None] = lambda n_done, n_all: None,
    stop: asyncio.Event | None = None,
) -> ReembedReport:
    """Cut and embed every document of ``new`` anew: a copy of a collection that has the new configuration already.

    Each document's vectors are stored before its chunks, so what was paid for is kept whatever happens. ``on_progress``
    is told how many documents are done, of how many. Raises EmbeddingError, QuotaExhaustedError where the limit of
    ``spending`` would be exceeded, and CollectionError. Setting ``stop`` ends it after the documents under way.
    """
    n_texts = n_tokens = n_done = n_chunks = 0
    n_all = len(new.documents())
    ledger = new.ledger()
    queue = EmbeddingQueue(spending.metered(embedder, tokenizer), vectors, new.space, count_tokens=tokenizer.count)
    with new.writer(f"change of model of {name}") as writer:
        async with aclosing(queue):
            cut = _cut(new, new.config, tokenizer)
            while batch := await asyncio.to_thread(lambda: list(islice(cut, _TOGETHER))):
                if stop is not None and stop.is_set():
                    writer.leave_indexes()
                    return _report(name, new.config, spending, n_done, n_chunks, n_texts, n_tokens, False)
                queue.flush()
                filled = await queue.fill([each for _, chunks in batch for each in chunks])
                n_texts, n_tokens = n_texts + filled.n_texts, n_tokens + filled.n_tokens
                for document, chunks in batch:
                    entry = replace(_entry(ledger, document), n_chunks=len(chunks), n_tokens=_n_tokens(chunks))
                    await asyncio.to_thread(writer.replace, document, chunks, entry=entry)
                    n_done, n_chunks = n_done + 1, n_chunks + len(chunks)
                    on_progress(n_done, n_all)
    return _report(name, new.config, spending, n_done, n_chunks, n_texts, n_tokens, True)


def _cut(
    collection: Collection, config: CollectionConfig, tokenizer: Tokenizer
) -> Iterator[tuple[Document, list[Chunk]]]:
    for info in collection.documents():
        document = collection.document(info.id)
        yield document, chunk(document, tokenizer, config.chunking)


def _entry(ledger: dict[str, LedgerEntry], document: Document) -> LedgerEntry:
    return ledger.get(document.id) or LedgerEntry(document.id, "", "indexed", document.sha256, reader=document.reader)


def _n_tokens(chunks: list[Chunk]) -> int:
    return sum(each.n_tokens for each in chunks)


def _report(
    name: str,
    config: CollectionConfig,
    spending: Spending,
    n_documents: int,
    n_chunks: int,
    n_texts: int,
    n_tokens: int,
    is_switched: bool,
) -> ReembedReport:
    cost = spending.cost(n_tokens)
    return ReembedReport(
        name, config.model, n_documents, n_chunks, n_texts, n_tokens, cost, spending.currency, is_switched
    )
