"""How a library's batches are reached: its orders, the embeddings endpoint, and one process at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from api.wiring import Wiring
from index.collection import Collection
from index.library import Library
from ingest.batch import Batches
from ingest.batch import ingest_by_batch as run_by_batch
from ingest.batch_orders import OrderBook
from ingest.batch_report import BatchProgress, BatchReport, BatchRun
from ingest.cost import Spending
from ingest.report import IngestReport
from ingest.run import TextQueue
from rag.errors import ConfigError
from rag.gateway.embeddings import EndpointEmbedder
from rag.gateway.endpoint import EndpointClient

__all__ = ["cancel_batches", "ingest_by_batch"]


async def ingest_by_batch(
    wiring: Wiring,
    library: Library,
    collection: Collection,
    ingest: Callable[[TextQueue | None], Awaitable[list[IngestReport]]],
    *,
    spending: Spending,
    wait: bool,
    on_batch: Callable[[BatchProgress], None],
) -> BatchRun:
    """Run ``ingest.batch.ingest_by_batch`` for a collection. Raises ConfigError where its model runs here."""
    client = _client(wiring)
    embedder = await wiring.embedder(collection.config)
    if not isinstance(embedder, EndpointEmbedder):
        raise ConfigError(_NO_ENDPOINT)
    book = OrderBook(library.folder)
    with book.locked():
        batches = Batches(book, client, library.vectors, on_progress=on_batch)
        return await run_by_batch(batches, embedder, collection.space, ingest, spending=spending, wait=wait)


async def cancel_batches(
    wiring: Wiring, library: Library, *, wait: bool, on_batch: Callable[[BatchProgress], None]
) -> BatchReport:
    """Cancel the batches of a library at the endpoint of the settings, and store what they finished."""
    client = _client(wiring)
    book = OrderBook(library.folder)
    with book.locked():
        batches = Batches(book, client, library.vectors, on_progress=on_batch)
        await batches.cancel()
        await batches.settle(wait=wait)
        return batches.report(n_texts_ordered=0)


_NO_ENDPOINT = "--batch needs an embeddings endpoint, and the embedded model runs here for nothing; leave --batch out"


def _client(wiring: Wiring) -> EndpointClient:
    choice = wiring.choice("embeddings")
    if choice.kind != "endpoint":
        raise ConfigError(_NO_ENDPOINT)
    return wiring.client(choice)
