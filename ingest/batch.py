"""Embeddings at half the price: the missing texts of a run ordered as batches, collected, and the run gone on with.

A first pass reads and cuts every file and orders the texts that have no vector; the files wait, retriable, in the
ledger. A second pass, once the batches have ended, is an ordinary ingest: it finds the vectors that came, and sends
what failed or expired the ordinary way. Every step that cannot be repeated is noted on disk before and after, so that
whatever stops the process, the next one asks the endpoint what became of the step instead of doing it twice.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from index.vector_store import VectorSpace, VectorStore
from ingest.batch_orders import BatchLimits, Order, OrderBook, OrderWriter
from ingest.batch_replies import EndedBatch, TakenReplies
from ingest.cost import MaxCostError, Spending
from ingest.embedding import Filled
from ingest.report import IngestReport
from ingest.run import TextQueue
from rag.errors import (
    AuthenticationError,
    ConfigError,
    EmbeddingError,
    EndpointError,
    EndpointResponseError,
    QuotaExhaustedError,
)
from rag.gateway.batches import (
    Batch,
    cancel_batch,
    check_batches_are_served,
    create_batch,
    find_batch,
    get_batch,
)
from rag.gateway.embeddings import EndpointEmbedder
from rag.gateway.endpoint import EndpointClient
from rag.gateway.files import delete_file, download_file, find_file, is_missing_route, upload_file
from rag.prices import money
from rag.types import Chunk, content_address

__all__ = ["ON_ORDER", "BatchProgress", "BatchReport", "BatchRun", "Batches", "ingest_by_batch"]

ON_ORDER = "its vectors are on order; run the same command again to collect them"
"""The reason of a file that waits for a batch."""

FIRST_POLL_S = 5.0
POLL_GROWTH = 1.5
SLOWEST_POLL_S = 60.0
"""How often a batch is asked after where the endpoint does not say (``openai-poll-after-ms``)."""

LONGEST_POLL_S = 600.0
"""The longest wait between two questions that an endpoint may ask for."""

MAX_POLL_FAILURES = 20
"""Questions in a row without an answer, retries spent, before the wait is given up; the batch goes on."""

_HELD_BACK = {
    "failed": "the provider failed its batch as a whole",
    "refused": "the provider refused its batch",
    "cancelled": "its batch was cancelled",
    "lost": "its batch is done, and the provider no longer has what came of it",
}
"""What to say of files whose vectors did not come, by the end of the batch."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far the batches are: ``n_ended`` of ``n_batches``, ``n_answered`` of ``n_requests`` in those under way."""

    n_batches: int
    n_ended: int
    n_requests: int
    n_answered: int
    statuses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a run did with batches: texts it ordered, batches that ended, batches and texts still under way."""

    n_texts_ordered: int
    ended: tuple[EndedBatch, ...]
    under_way: tuple[str, ...]
    n_texts_under_way: int
    notes: tuple[str, ...] = ()

    @property
    def n_texts_stored(self) -> int:
        return sum(batch.n_stored for batch in self.ended)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "n_texts_stored": self.n_texts_stored}


@dataclass(frozen=True, slots=True)
class BatchRun:
    """An ingest by batches: its report on files, and on batches."""

    reports: tuple[IngestReport, ...]
    batch: BatchReport

    @property
    def n_files_waiting(self) -> int:
        return sum(file.reason == ON_ORDER for report in self.reports for file in report.failed)

    @property
    def exit_code(self) -> int:
        """0 when every file was dealt with or waits for a batch under way, 1 when one failed or the run was stopped."""
        failed = [file for report in self.reports for file in report.failed if file.reason != ON_ORDER]
        return 1 if failed or any(report.stopped for report in self.reports) else 0


class _OrderingQueue:
    """Takes the texts of a run: those without a vector are ordered, and their documents told to wait."""

    def __init__(self, vectors: VectorStore, space: VectorSpace, writer: OrderWriter, on_order: set[bytes]) -> None:
        self._vectors = vectors
        self._space = space
        self._writer = writer
        self._on_order = on_order
        self.n_texts = 0

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        by_address = {content_address(chunk.text): chunk for chunk in chunks}
        missing = await asyncio.to_thread(self._vectors.missing, self._space, list(by_address))
        if not missing:
            return Filled(0, 0)
        for address in missing:
            if address not in self._on_order:
                self._on_order.add(address)
                self._writer.add(address, by_address[address].text, n_tokens=by_address[address].n_tokens)
                self.n_texts += 1
        raise EmbeddingError(ON_ORDER)


class _HeldBackQueue:
    """Lets pass the documents whose vectors are all there, and sends nothing."""

    def __init__(self, vectors: VectorStore, space: VectorSpace, reason: str) -> None:
        self._vectors = vectors
        self._space = space
        self._reason = reason

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        addresses = [content_address(chunk.text) for chunk in chunks]
        if await asyncio.to_thread(self._vectors.missing, self._space, addresses):
            raise EmbeddingError(self._reason)
        return Filled(0, 0)


class Batches:
    """The orders of a library at one endpoint: made, submitted, followed, collected, cancelled.

    All of it happens while ``book.locked()`` is held.
    """

    def __init__(
        self,
        book: OrderBook,
        client: EndpointClient,
        vectors: VectorStore,
        *,
        on_progress: Callable[[BatchProgress], None] = lambda progress: None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        limits: BatchLimits | None = None,
    ) -> None:
        self._book = book
        self._client = client
        self._vectors = vectors
        self._on_progress = on_progress
        self._sleep = sleep
        self._limits = limits or BatchLimits()
        self._base_url = _address(client.endpoint.base_url)
        self._ended: list[EndedBatch] = []

    async def check(self) -> None:
        """Raise unless the endpoint serves batches, as far as the provider table and a look at their list tell."""
        provider = self._client.endpoint.provider
        lacking = sorted({"batches", "files"} - provider.families)
        if lacking:
            raise ConfigError(f"{provider.title} serves no {' and no '.join(lacking)}; leave --batch out")
        await check_batches_are_served(self._client)

    def ordering(self, embedder: EndpointEmbedder, space: VectorSpace) -> tuple[_OrderingQueue, OrderWriter]:
        """Return a queue that orders the texts it is given, and the writer to finish afterwards."""
        writer = self._book.writer(
            space,
            base_url=self._base_url,
            request_of=embedder.request_body,
            url=_line_url(self._base_url),
            limits=embedder.profile.limits,
            batch_limits=self._limits,
        )
        return _OrderingQueue(self._vectors, space, writer, self._book.addresses(space)), writer

    def held_back(self, space: VectorSpace) -> TextQueue:
        """Return a queue that sends nothing: for documents whose vectors came before the others'."""
        bad = [batch for batch in self._ended if batch.holds_back]
        if not bad:
            return _HeldBackQueue(self._vectors, space, ON_ORDER)
        reason = f"{_HELD_BACK[bad[0].status]}; order it again with --batch, or leave --batch out to pay in full"
        return _HeldBackQueue(self._vectors, space, reason)

    async def drop_stale(self) -> None:
        """Forget the orders that were not begun and whose texts have vectors by now: they would be paid for again."""
        for order in self._mine():
            if order.create_begun:
                continue
            requests = await asyncio.to_thread(self._book.requests, order)
            addresses = [address for requested in requests.values() for address in requested.addresses]
            if len(await asyncio.to_thread(self._vectors.missing, order.space, addresses)) < len(set(addresses)):
                await self._forget(order)

    def require_affordable(self, spending: Spending) -> None:
        """Raise MaxCostError where what is not begun yet would exceed the limit, even at no discount."""
        n_tokens = sum(order.n_tokens for order in self._mine() if not order.create_begun)
        cost = spending.cost(n_tokens)
        if spending.limit is not None and cost is not None and cost + spending.media_paid > spending.limit:
            limit, wanted = money(spending.limit, spending.currency), money(cost, spending.currency)
            raise MaxCostError(
                f"the batches would cost up to {wanted} ({n_tokens:,} tokens, before the discount), and the limit is "
                f"{limit}; nothing was sent, the same command with a higher --max-cost (ingest.max_cost) goes on"
            )

    async def submit(self) -> None:
        """Upload and begin every order that is not yet; one that the endpoint refuses is reported as ended."""
        for order in self._mine():
            order = await self._looked_up(order)
            if order.batch_id:
                continue
            try:
                order = await self._uploaded(order)
                await self._begun(order)
            except EndpointError as error:
                if not _is_refusal(error):
                    raise
                await self._forget(order)
                if is_missing_route(error):
                    raise
                self._ended.append(EndedBatch("", "refused", order.n_texts, 0, 0, (str(error),)))

    async def settle(self, *, wait: bool) -> None:
        """Collect every batch that has ended; with ``wait``, until none is under way."""
        n_failures = 0
        pause_s = FIRST_POLL_S
        while orders := self._mine():
            asked: list[Batch] = []
            try:
                for order in orders:
                    batch = await self._status_of(order)
                    if batch.has_ended:
                        self._ended.append(await self._collect(order, batch))
                    else:
                        asked.append(batch)
                n_failures = 0
            except EndpointError as error:
                n_failures += 1
                if not (wait and error.retriable and n_failures < MAX_POLL_FAILURES):
                    raise
                _LOG.warning("asking after the batches failed, trying again: %s", error)
            self._tell(asked)
            if not wait or not self._mine():
                return
            told = [batch.poll_after_s for batch in asked if batch.poll_after_s is not None]
            await self._sleep(min(min(told), LONGEST_POLL_S) if told else pause_s)
            pause_s = min(pause_s * POLL_GROWTH, SLOWEST_POLL_S)

    async def cancel(self) -> None:
        """Ask for the end of every batch; what was not begun is forgotten. ``settle`` collects what they finished."""
        for order in self._mine():
            order = await self._looked_up(order)
            if not order.batch_id:
                await self._forget(order)
                self._ended.append(EndedBatch("", "cancelled", order.n_texts, 0, 0, ("it was not begun yet",)))
                continue
            try:
                await cancel_batch(self._client, order.batch_id)
            except EndpointError as error:
                if error.status != 404:
                    raise
                await self._forget(order)
                problem = ("the endpoint does not know it (any more)",)
                self._ended.append(EndedBatch(order.batch_id, "cancelled", order.n_texts, 0, 0, problem))

    def report(self, *, n_texts_ordered: int) -> BatchReport:
        """Return what was done so far."""
        mine = self._mine()
        foreign = Counter(order.base_url for order in self._book.orders() if order.base_url != self._base_url)
        return BatchReport(
            n_texts_ordered=n_texts_ordered,
            ended=tuple(self._ended),
            under_way=tuple(order.batch_id for order in mine),
            n_texts_under_way=sum(order.n_texts for order in mine),
            notes=tuple(
                f"{n} batches of this library are under way at {base_url}; name that endpoint to collect them, "
                "or leave --batch out"
                for base_url, n in sorted(foreign.items())
            ),
        )

    @property
    def ended(self) -> Sequence[EndedBatch]:
        return self._ended

    # --- one order

    def _mine(self) -> list[Order]:
        return [order for order in self._book.orders() if order.base_url == self._base_url]

    async def _looked_up(self, order: Order) -> Order:
        """Return the order with the id of its batch, where it was begun by a process that did not hear the answer."""
        if order.batch_id or not order.create_begun:
            return order
        found = await find_batch(self._client, order.file_id)
        return order if found is None else self._book.note(order, batch_id=found.id)

    async def _uploaded(self, order: Order) -> Order:
        if order.file_id:
            return order
        path = self._book.folder(order) / "requests.jsonl"
        file = await find_file(self._client, order.filename) if order.upload_begun else None
        if file is None or file.n_bytes != path.stat().st_size:
            order = self._book.note(order, upload_begun=True)
            file = await upload_file(self._client, path, filename=order.filename)
        return self._book.note(order, file_id=file.id)

    async def _begun(self, order: Order) -> Order:
        order = self._book.note(order, create_begun=True)
        batch = await create_batch(
            self._client,
            order.file_id,
            endpoint=_line_url(self._base_url),
            metadata={"made_by": "footnote", "order": order.token},
        )
        return self._book.note(order, batch_id=batch.id)

    async def _status_of(self, order: Order) -> Batch:
        try:
            return await get_batch(self._client, order.batch_id)
        except EndpointError as error:
            if error.status != 404:
                raise
            raise EndpointResponseError(
                f"batch {order.batch_id} is not known to {self._base_url} with this key; use the key it was ordered "
                "with, or give it up with `rag ingest --batch-cancel`",
                status=404,
            ) from error

    async def _collect(self, order: Order, batch: Batch) -> EndedBatch:
        folder = self._book.folder(order)
        paths: list[Path] = []
        is_lost = False
        for file_id, name in ((batch.output_file_id, "output.jsonl"), (batch.error_file_id, "errors.jsonl")):
            path = folder / name
            if not file_id:
                continue
            try:
                if not path.exists():
                    await download_file(self._client, file_id, path)
                paths.append(path)
            except EndpointError as error:
                if error.status not in (404, 410):
                    raise
                is_lost = True
        requests = await asyncio.to_thread(self._book.requests, order)
        taken = TakenReplies(self._vectors, order, requests)
        for path in paths:
            await asyncio.to_thread(taken.take, path)
        ended = taken.ended(batch, status="lost" if is_lost else batch.status)
        await self._forget(order, batch.output_file_id, batch.error_file_id)
        return ended

    async def _forget(self, order: Order, *file_ids: str | None) -> None:
        """Remove an order here, and its files at the endpoint as far as that goes: they hold texts."""
        for file_id in (order.file_id, *file_ids):
            if file_id:
                with suppress(EndpointError):
                    await delete_file(self._client, file_id)
        self._book.remove(order)

    def _tell(self, under_way: Sequence[Batch]) -> None:
        progress = BatchProgress(
            n_batches=len(self._ended) + len(under_way),
            n_ended=len(self._ended),
            n_requests=sum(batch.n_requests for batch in under_way),
            n_answered=sum(batch.n_done + batch.n_failed for batch in under_way),
            statuses=tuple(batch.status for batch in under_way),
        )
        self._on_progress(progress)


async def ingest_by_batch(
    batches: Batches,
    embedder: EndpointEmbedder,
    space: VectorSpace,
    ingest: Callable[[TextQueue | None], Awaitable[list[IngestReport]]],
    *,
    spending: Spending,
    wait: bool,
) -> BatchRun:
    """Order what is missing within the limit, collect what has ended, and index what has all its vectors.

    ``ingest`` is one pass over all paths with the queue it is given, None for the ordinary one. Without ``wait`` it
    returns while batches are under way.
    """
    await batches.check()
    await batches.drop_stale()
    queue, writer = batches.ordering(embedder, space)
    try:
        reports = await ingest(queue)
        await asyncio.to_thread(writer.finish)
    finally:
        writer.discard()
    batches.require_affordable(spending)
    await batches.submit()
    await batches.settle(wait=wait)
    report = batches.report(n_texts_ordered=queue.n_texts)
    if report.ended:
        is_free = not report.under_way and not any(batch.holds_back for batch in report.ended)
        reports = await ingest(None if is_free else batches.held_back(space))
    return BatchRun(tuple(reports), report)


def _is_refusal(error: EndpointError) -> bool:
    """Return whether the endpoint objects to the order itself, rather than to us or to the moment."""
    is_about_request = error.status is not None and 400 <= error.status < 500 and error.status != 429
    return (
        is_about_request and not error.retriable and not isinstance(error, (AuthenticationError, QuotaExhaustedError))
    )


def _address(base_url: str) -> str:
    """Return a base URL without user, password and query."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _line_url(base_url: str) -> str:
    """Return the path that request lines name: the version of the base URL and the family.

    >>> _line_url("https://open.bigmodel.cn/api/paas/v4")
    '/v4/embeddings'
    """
    version = re.search(r"/(v\d+)$", base_url)
    return f"/{version.group(1) if version else 'v1'}/embeddings"
