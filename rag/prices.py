"""What tokens and minutes cost: a table with a date (``data/prices.toml``), and money in words."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

__all__ = [
    "FREE",
    "FREE_USAGE",
    "Price",
    "UsagePrice",
    "known_price",
    "known_usage_price",
    "listed_prices",
    "listed_usage_prices",
    "money",
    "money_or_unknown",
]

TABLE = Path(__file__).parent / "data" / "prices.toml"

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million embedding tokens cost.

    ``batch_per_million`` is the price through the Batch API, None where it is not known. ``source`` says in words where
    the price is from, with its date.
    """

    per_million: float
    currency: str
    source: str
    batch_per_million: float | None = None

    @property
    def is_free(self) -> bool:
        return self.per_million == 0

    def cost(self, n_tokens: int) -> float:
        """Return what ``n_tokens`` cost.

        >>> Price(0.02, "USD", "example").cost(1_500_000)
        0.03
        """
        return float(_exact(self.per_million) * n_tokens / _MILLION)

    def batch_cost(self, n_tokens: int) -> float | None:
        """Return what ``n_tokens`` cost through the Batch API; None where that price is not known."""
        if self.batch_per_million is None:
            return None
        return float(_exact(self.batch_per_million) * n_tokens / _MILLION)

    def affordable(self, amount: float) -> int:
        """Return how many tokens an amount buys at most. ValueError where they cost nothing.

        >>> Price(0.02, "USD", "example").affordable(0.03)
        1500000
        """
        if self.is_free:
            raise ValueError("tokens that cost nothing have no limit")
        return int(_exact(amount) * _MILLION / _exact(self.per_million))


FREE = Price(0.0, "", "the embedded model is free")


@dataclass(frozen=True, slots=True)
class UsagePrice:
    """What reading media costs: a million tokens in, a million tokens out, a minute of speech.

    ``source`` says in words where the price is from, with its date.
    """

    currency: str
    source: str
    input_per_million: float = 0.0
    output_per_million: float = 0.0
    per_minute: float = 0.0

    @property
    def is_free(self) -> bool:
        return self.input_per_million == self.output_per_million == self.per_minute == 0

    def cost(self, *, input_tokens: int = 0, output_tokens: int = 0, seconds: float = 0.0) -> float:
        """Return what a usage costs.

        >>> UsagePrice("USD", "example", 0.25, 2.0).cost(input_tokens=1_000_000, output_tokens=500_000)
        1.25
        """
        tokens = _exact(self.input_per_million) * input_tokens + _exact(self.output_per_million) * output_tokens
        return float(tokens / _MILLION + _exact(self.per_minute) * _exact(seconds) / 60)


FREE_USAGE = UsagePrice("", "it runs on this machine")


@functools.cache
def listed_prices() -> dict[tuple[str, str], Price]:
    """Return the price table, by provider and model."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    source = f"price table of {table['checked']}"
    return {
        (row["provider"], row["model"]): Price(
            row["per_million"], row["currency"], source, row.get("batch_per_million")
        )
        for row in table["price"]
    }


def known_price(provider: str, model: str) -> Price | None:
    """Return the listed price of a provider's model; None where it is not known.

    The name must be the listed one: what another provider asks for the same model is another price.
    """
    return listed_prices().get((provider, model))


@functools.cache
def listed_usage_prices() -> dict[tuple[str, str], UsagePrice]:
    """Return the prices of models that read media, by provider and model."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {
        (row["provider"], row["model"]): UsagePrice(
            row["currency"],
            f"price table of {row['checked']}",
            input_per_million=row.get("input_per_million", 0.0),
            output_per_million=row.get("output_per_million", 0.0),
            per_minute=row.get("per_minute", 0.0),
        )
        for row in table["usage_price"]
    }


def known_usage_price(provider: str, model: str) -> UsagePrice | None:
    """Return the listed price of a provider's model that reads media; None where it is not known."""
    return listed_usage_prices().get((provider, model))


def money(amount: float, currency: str) -> str:
    """Return an amount a person can read: cents, or two digits that count where it is less than one.

    >>> money(12.5, "USD"), money(0.01234, "USD"), money(0.0, "USD")
    ('12.50 USD', '0.012 USD', '0 USD')
    """
    if amount == 0:
        text = "0"
    elif amount >= 1:
        text = f"{amount:,.2f}"
    else:
        text = f"{Decimal(f'{amount:.2g}'):f}"
    return f"{text} {currency}".rstrip()


def money_or_unknown(amount: float | None, currency: str) -> str:
    """Return an amount in words; None is "unknown price"."""
    if amount is None:
        return "unknown price"
    return money(amount, currency) if currency else "free"


def _exact(number: float) -> Decimal:
    """Return the decimal number that was written: 0.02 is two hundredths here, not the float beside it."""
    return Decimal(str(number))
