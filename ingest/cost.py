"""What an ingest pays: a limit that no request is sent beyond, and the estimate before anything is paid."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest.report import Change, IngestReport, MediaCount
from rag.contracts import Embedder, MediaReader, Tokenizer
from rag.errors import ConfigError, EmbeddingError, EndpointTimeoutError, MediaError, QuotaExhaustedError
from rag.prices import Price, money
from rag.types import EmbedderProfile, Embeddings, MediaKind, MediaProfile, MediaText, MediaUsage, Medium, TextKind

__all__ = ["IngestEstimate", "MaxCostError", "Spending", "total_cost"]


class MaxCostError(QuotaExhaustedError):
    """The limit that the user set would be exceeded: nothing more is sent, as with an empty account."""


class Spending:
    """What one command may spend, over all its paths. Used from one event loop.

    What a request will cost is counted and reserved before it is sent, so that requests under way at once cannot exceed
    the limit together; the reply's own count replaces the estimate. Where an endpoint counts more tokens than the
    tokenizer here, later estimates are raised by the worst ratio seen; likewise those of media. A request that ran into
    a timeout counts as paid, because it may have been; one that was refused does not.
    """

    def __init__(
        self,
        price: Price | None,
        *,
        limit: float | None = None,
        counts_reuse: bool = True,
        media: Mapping[MediaKind, MediaProfile] | None = None,
    ) -> None:
        """Raise ConfigError for a limit where a price is not known, or is in another currency: it could not be kept.

        ``counts_reuse`` is False in a run by batches: texts that a batch has just paid for look like known ones.
        ``media`` says who reads media.
        """
        profiles = list((media or {}).values())
        if limit is not None:
            _require_prices(price, profiles)
        self.price = price
        self.limit = limit
        self.counts_reuse = counts_reuse
        priced = [profile.price for profile in profiles if profile.price is not None]
        self._media_currency = next((price.currency for price in priced if not price.is_free), "")
        self._paid = 0
        self._reserved = 0
        self._media_paid = 0.0
        self._media_reserved = 0.0
        self._worst_ratio = 1.0
        self._worst_media_ratio = 1.0
        self._refusal: MaxCostError | None = None
        self._settled = asyncio.Condition()

    @property
    def currency(self) -> str:
        return (self.price.currency if self.price else "") or self._media_currency

    @property
    def media_paid(self) -> float:
        """What reading media has cost so far, where there is a limit."""
        return self._media_paid

    def cost(self, n_tokens: int) -> float | None:
        """Return what tokens cost; None where the price is not known."""
        return self.price.cost(n_tokens) if self.price else None

    def total(self, n_tokens: int, media: Sequence[MediaCount]) -> float | None:
        """Return what tokens and media cost together; None where a price is not known, or in another currency."""
        return total_cost(self.cost(n_tokens), self.currency, media)

    def metered(self, embedder: Embedder, tokenizer: Tokenizer) -> Embedder:
        """Return the embedder within the limit; ``tokenizer`` counts what a request will cost."""
        is_free = self.limit is None or self.price is None or self.price.is_free
        return embedder if is_free else _MeteredEmbedder(embedder, tokenizer, self)

    def metered_media(self, readers: Mapping[MediaKind, MediaReader]) -> dict[MediaKind, MediaReader]:
        """Return the readers within the limit."""
        return {
            kind: _MeteredReader(reader, self) if self.limit is not None and _is_paid(reader.profile) else reader
            for kind, reader in readers.items()
        }

    async def reserve(self, n_tokens: int) -> int:
        """Set tokens aside for a request and return how many; raise MaxCostError where they exceed the limit.

        While other requests are under way it waits for what they really cost, before it says no.
        """
        reserved, _ = await self._reserve(lambda: (math.ceil(n_tokens * self._worst_ratio), 0.0))
        return reserved

    async def settle(self, reserved: int, *, n_counted: int, n_paid: int) -> None:
        """Replace a reservation by what was paid. ``n_counted`` is the count from which it was made."""
        async with self._settled:
            self._reserved -= reserved
            self._paid += n_paid
            self._worst_ratio = max(self._worst_ratio, n_paid / max(n_counted, 1))
            self._settled.notify_all()

    async def reserve_media(self, amount: float) -> float:
        """Set money aside for a medium and return how much, as ``reserve`` does."""
        _, reserved = await self._reserve(lambda: (0, amount * self._worst_media_ratio))
        return reserved

    async def settle_media(self, reserved: float, *, counted: float, paid: float) -> None:
        """Replace a reservation for a medium by what was paid; ``counted`` is the estimate from which it was made."""
        async with self._settled:
            self._media_reserved = max(0.0, self._media_reserved - reserved)
            self._media_paid += paid
            if counted > 0:
                self._worst_media_ratio = max(self._worst_media_ratio, paid / counted)
            self._settled.notify_all()

    async def _reserve(self, wanted: Callable[[], tuple[int, float]]) -> tuple[int, float]:
        """Set tokens and money aside, and return them. ``wanted`` is asked anew: what others have cost may raise it."""
        async with self._settled:
            await self._settled.wait_for(lambda: self._is_idle or self._refusal or self._fits(*wanted()))
            n_tokens, amount = wanted()
            if self._refusal is None and not self._fits(n_tokens, amount):
                self._refusal = self._refused(n_tokens, amount)
            if self._refusal is not None:
                self._settled.notify_all()
                raise self._refusal
            self._reserved += n_tokens
            self._media_reserved += amount
            return n_tokens, amount

    @property
    def _is_idle(self) -> bool:
        return self._reserved == 0 and self._media_reserved == 0

    def _fits(self, n_tokens: int, amount: float) -> bool:
        if self._refusal is not None or self.limit is None:
            return self._refusal is None
        media = self._media_paid + self._media_reserved + amount
        if self.price is None or self.price.is_free:
            return media <= self.limit
        left = self.limit - media
        return left >= 0 and self._paid + self._reserved + n_tokens <= self.price.affordable(left)

    def _refused(self, n_tokens: int, amount: float) -> MaxCostError:
        assert self.limit is not None
        limit, paid, more = (
            money(value, self.currency)
            for value in (
                self.limit,
                (self.cost(self._paid) or 0.0) + self._media_paid,
                (self.cost(n_tokens) or 0.0) + amount,
            )
        )
        return MaxCostError(
            f"the limit of {limit} would be exceeded: {paid} spent, the next request costs {more}; what was paid for "
            "is kept, the same command with a higher --max-cost (ingest.max_cost) goes on from there"
        )


def total_cost(embeddings: float | None, currency: str, media: Sequence[MediaCount]) -> float | None:
    """Return what embeddings and media cost together; None where a price is not known, or in another currency."""
    total = embeddings
    for count in media:
        if count.n_read == 0 or (count.price is not None and count.price.is_free):
            continue
        if total is None or count.cost is None or count.price is None or count.price.currency != currency:
            return None
        total += count.cost
    return total


def _is_paid(profile: MediaProfile) -> bool:
    return profile.price is None or not profile.price.is_free


def _require_prices(price: Price | None, media: Sequence[MediaProfile]) -> None:
    """Raise ConfigError where a limit could not be kept."""
    leave = "or leave --max-cost (ingest.max_cost) out"
    if price is None:
        raise ConfigError(
            "the price of this embedding model is not known, so a limit on the cost cannot be kept; "
            f"set embeddings.price_per_million, {leave}"
        )
    currencies = {} if price.is_free else {price.currency: "embeddings"}
    for profile in media:
        if profile.price is None:
            raise ConfigError(
                f"the price of {profile.title}, which reads pages, pictures or recordings, is not known, so a limit on "
                f"the cost cannot be kept; set it (vision.input_per_million, say), {leave}"
            )
        if not profile.price.is_free:
            currencies[profile.price.currency] = profile.title
    if len(currencies) > 1:
        named = ", ".join(f"{currency} for {what}" for currency, what in currencies.items())
        raise ConfigError(f"a limit on the cost needs one currency, and prices are in {named}; set the prices, {leave}")


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


class _MeteredReader:
    def __init__(self, reader: MediaReader, spending: Spending) -> None:
        self._reader = reader
        self._spending = spending

    @property
    def profile(self) -> MediaProfile:
        return self._reader.profile

    def expected_usage(self, medium: Medium) -> MediaUsage:
        return self._reader.expected_usage(medium)

    async def read(self, medium: Medium) -> MediaText:
        price = self.profile.price
        assert price is not None, "a limit needs a price"
        counted = self.expected_usage(medium).cost(price)
        try:
            reserved = await self._spending.reserve_media(counted)
        except MaxCostError as error:
            raise MediaError(str(error)) from error
        paid = reserved  # of a request that is cancelled nobody knows whether it was served
        try:
            text = await self._reader.read(medium)
            paid = text.usage.cost(price)
        except MediaError as error:
            paid = reserved if isinstance(error.__cause__, EndpointTimeoutError) else 0.0
            raise
        finally:
            await self._spending.settle_media(reserved, counted=counted, paid=paid)
        return text


@dataclass(frozen=True, slots=True)
class IngestEstimate:
    """What an ingest of one path would do and cost. ``report`` is the one that the run would end with.

    ``n_texts`` and ``n_tokens`` are what would be sent, each text once; the report's ``n_texts_reused`` are paid for
    already. ``n_requests`` is how many requests that makes, about. ``seconds`` is None where no earlier run tells how
    fast the endpoint is. ``cost`` is None where a price is not known. ``notes`` say what could not be known. What media
    would be read is in ``report.media``, with about what that takes.
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
    def embedding_cost(self) -> float | None:
        return None if self.price is None else self.price.cost(self.n_tokens)

    @property
    def currency(self) -> str:
        paid = (count.price.currency for count in self.report.media if count.price)
        return (self.price.currency if self.price else "") or next((currency for currency in paid if currency), "")

    @property
    def cost(self) -> float | None:
        """What embeddings and media would cost together."""
        return total_cost(self.embedding_cost, self.currency, self.report.media)

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
            "embedding_cost": self.embedding_cost,
            "media": [count.to_json() for count in self.report.media],
            "cost": self.cost,
            "batch_cost": self.batch_cost,
            "currency": self.currency,
            "max_cost": self.max_cost,
            "exceeds_limit": self.exceeds_limit,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "files": files,
            "exit_code": self.exit_code,
        }
