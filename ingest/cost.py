"""What an ingest pays: a limit that no request is sent beyond, and the estimate before anything is paid."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest.report import Change, IngestReport
from rag.contracts import Embedder, Tokenizer
from rag.errors import ConfigError, EmbeddingError, EndpointTimeoutError, QuotaExhaustedError
from rag.prices import Price, money
from rag.types import EmbedderProfile, Embeddings, TextKind

__all__ = ["IngestEstimate", "MaxCostError", "Spending"]


class MaxCostError(QuotaExhaustedError):
    """The limit that the user set would be exceeded: nothing more is sent, as with an empty account."""


class Spending:
    """What one command may spend, over all its paths. Used from one event loop.

    What a request will cost is counted and reserved before it is sent, so that requests under way at once cannot exceed
    the limit together; the reply's own count replaces the estimate. Where an endpoint counts more tokens than the
    tokenizer here, later estimates are raised by the worst ratio seen. A request that ran into a timeout counts as
    paid, because it may have been; one that was refused does not.
    """

    def __init__(self, price: Price | None, *, limit: float | None = None, counts_reuse: bool = True) -> None:
        """Raise ConfigError for a limit where the price is not known: it could not be kept.

        ``counts_reuse`` is False in a run by batches: texts that a batch has just paid for look like known ones.
        """
        if limit is not None and price is None:
            raise ConfigError(
                "the price of this embedding model is not known, so a limit on the cost cannot be kept; "
                "set embeddings.price_per_million, or leave --max-cost (ingest.max_cost) out"
            )
        self.price = price
        self.limit = limit
        self.counts_reuse = counts_reuse
        self._limit_tokens = math.inf if limit is None or price is None or price.is_free else price.affordable(limit)
        self._paid = 0
        self._reserved = 0
        self._worst_ratio = 1.0
        self._refusal: MaxCostError | None = None
        self._settled = asyncio.Condition()

    @property
    def currency(self) -> str:
        return self.price.currency if self.price else ""

    @property
    def is_spent(self) -> bool:
        """Whether a request was refused because of the limit: all that follow are, too."""
        return self._refusal is not None

    def cost(self, n_tokens: int) -> float | None:
        """Return what tokens cost; None where the price is not known."""
        return self.price.cost(n_tokens) if self.price else None

    def metered(self, embedder: Embedder, tokenizer: Tokenizer) -> Embedder:
        """Return the embedder within the limit; ``tokenizer`` counts what a request will cost."""
        return embedder if self._limit_tokens == math.inf else _MeteredEmbedder(embedder, tokenizer, self)

    async def reserve(self, n_tokens: int) -> int:
        """Set tokens aside for a request and return how many; raise MaxCostError where they exceed the limit.

        While other requests are under way it waits for what they really cost, before it says no.
        """
        async with self._settled:
            await self._settled.wait_for(lambda: self._reserved == 0 or self._refusal or self._fits(n_tokens))
            if self._refusal is None and not self._fits(n_tokens):
                self._refusal = self._refused(n_tokens)
            if self._refusal is not None:
                self._settled.notify_all()
                raise self._refusal
            wanted = self._wanted(n_tokens)
            self._reserved += wanted
            return wanted

    async def settle(self, reserved: int, *, n_counted: int, n_paid: int) -> None:
        """Replace a reservation by what was paid. ``n_counted`` is the count from which it was made."""
        async with self._settled:
            self._reserved -= reserved
            self._paid += n_paid
            self._worst_ratio = max(self._worst_ratio, n_paid / max(n_counted, 1))
            self._settled.notify_all()

    def _wanted(self, n_tokens: int) -> int:
        return math.ceil(n_tokens * self._worst_ratio)

    def _fits(self, n_tokens: int) -> bool:
        return self._refusal is None and self._paid + self._reserved + self._wanted(n_tokens) <= self._limit_tokens

    def _refused(self, n_tokens: int) -> MaxCostError:
        assert self.price is not None
        assert self.limit is not None
        limit, paid, more = (
            money(amount, self.price.currency)
            for amount in (self.limit, self.price.cost(self._paid), self.price.cost(self._wanted(n_tokens)))
        )
        return MaxCostError(
            f"the limit of {limit} would be exceeded: {paid} spent, the next request costs {more}; what was paid for "
            "is kept, the same command with a higher --max-cost (ingest.max_cost) goes on from there"
        )


class _MeteredEmbedder:
    def __init__(self, embedder: Embedder, tokenizer: Tokenizer, spending: Spending) -> None:
        self._embedder = embedder
        self._tokenizer = tokenizer
        self._spending = spending

    @property
    def profile(self) -> EmbedderProfile:
        return self._embedder.profile

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        n_counted = await asyncio.to_thread(lambda: sum(map(self._tokenizer.count, texts)))
        try:
            reserved = await self._spending.reserve(n_counted)
        except MaxCostError as error:
            raise EmbeddingError(str(error)) from error
        n_paid = reserved  # of a request that is cancelled nobody knows whether it was served
        try:
            embeddings = await self._embedder.embed(texts, kind=kind)
            n_paid = embeddings.n_tokens
        except EmbeddingError as error:
            n_paid = reserved if isinstance(error.__cause__, EndpointTimeoutError) else 0
            raise
        finally:
            await self._spending.settle(reserved, n_counted=n_counted, n_paid=n_paid)
        return embeddings


@dataclass(frozen=True, slots=True)
class IngestEstimate:
    """What an ingest of one path would do and cost. ``report`` is the one that the run would end with.

    ``n_texts`` and ``n_tokens`` are what would be sent, each text once; the report's ``n_texts_reused`` are paid for
    already. ``n_requests`` is how many requests that makes, about. ``seconds`` is None where no earlier run tells how
    fast the endpoint is. ``cost`` is None where the price is not known. ``notes`` say what could not be known.
    """

    report: IngestReport
    model: str
    tokenizer: str
    n_texts: int
    n_tokens: int
    n_requests: int
    price: Price | None
    seconds: float | None = None
    max_cost: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.price.cost(self.n_tokens)

    @property
    def n_chunks(self) -> int:
        """Chunks of the files that would be indexed; those of unchanged files are not cut again."""
        return sum(file.n_chunks for file in self.report.files if file.state == "indexed")

    @property
    def n_tokens_of_chunks(self) -> int:
        return sum(file.n_tokens for file in self.report.files if file.state == "indexed")

    @property
    def batch_cost(self) -> float | None:
        """What the same texts cost through the Batch API; None where that price is not known."""
        return None if self.price is None else self.price.batch_cost(self.n_tokens)

    @property
    def changes(self) -> Mapping[Change, int]:
        """How many files would be indexed as new, changed and renamed."""
        counted = Counter(file.change for file in self.report.files)
        names: tuple[Change, ...] = ("new", "changed", "renamed")
        return {name: counted[name] for name in names}

    @property
    def exceeds_limit(self) -> bool:
        return self.cost is not None and self.max_cost is not None and self.cost > self.max_cost

    @property
    def exit_code(self) -> int:
        """1 where a file could not be read, or the run would stop at its limit."""
        return 1 if self.report.failed or self.exceeds_limit else 0

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain values."""
        files = [
            {name: getattr(file, name) for name in ("path", "state", "change", "reason", "n_chunks", "n_tokens")}
            for file in self.report.files
        ]
        return {
            "root": self.report.root,
            "collection": self.report.collection,
            "counts": dict(self.report.counts),
            "changes": dict(self.changes),
            "removed": list(self.report.removed),
            "n_chunks": self.n_chunks,
            "n_tokens_of_chunks": self.n_tokens_of_chunks,
            "n_texts_reused": self.report.n_texts_reused,
            "n_tokens_reused": self.report.n_tokens_reused,
            "n_texts_to_pay": self.n_texts,
            "n_tokens_to_pay": self.n_tokens,
            "n_requests": self.n_requests,
            "model": self.model,
            "tokenizer": self.tokenizer,
            "price": None if self.price is None else asdict(self.price),
            "cost": self.cost,
            "batch_cost": self.batch_cost,
            "currency": self.price.currency if self.price else "",
            "max_cost": self.max_cost,
            "exceeds_limit": self.exceeds_limit,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "files": files,
            "exit_code": self.exit_code,
        }
