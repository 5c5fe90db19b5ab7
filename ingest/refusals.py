"""What an endpoint means by refusing a request, and so what helps: pure.

Providers word the same limit in many ways, and use 400, 413, 422 and 500 for it. The words decide, then the status.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from rag.errors import (
    AuthenticationError,
    EmbeddingInputError,
    EndpointError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    QuotaExhaustedError,
    RagError,
    RateLimitError,
)

__all__ = ["Refusal", "RefusalKind", "refusal_of"]

RefusalKind = Literal[
    "rate",  # wait, and send fewer at once
    "trouble",  # overloaded, silent, out of reach: wait
    "inputs",  # too many texts in a request
    "request_tokens",  # too many tokens in a request
    "input_tokens",  # a text is too long
    "size",  # too large, in a way that is not said
    "malformed",  # answered with something that is no answer: not one vector a text, say
    "input",  # something is wrong with a text
    "hopeless",  # nothing that is sent would be answered
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused. ``numbers`` stand in the endpoint's words: a limit may be among them."""

    kind: RefusalKind
    numbers: tuple[int, ...] = ()
    retry_after_s: float | None = None

    def limit_below(self, n: int) -> int | None:
        """Return the largest number told that is below what was sent: the limit, most likely."""
        return max((number for number in self.numbers if 1 <= number < n), default=None)

    def scaled_limit(self, n_tokens: int) -> int:
        """Return the limit in our tokens: by what the endpoint told of its limit and of its count, else half."""
        if (share := self._share()) is not None:
            return max(1, int(n_tokens * min(share, 0.98)))
        if any(n_tokens <= number <= 2 * n_tokens for number in self.numbers):
            return max(1, n_tokens * 9 // 10)  # it counts more tokens than we do
        told = self.limit_below(n_tokens)
        return told if told is not None and told >= n_tokens / 8 else max(1, n_tokens // 2)

    def n_parts(self) -> int:
        """Return into how many parts a text that is too long must be cut, at least."""
        share = self._share()
        return 2 if share is None else max(2, math.ceil(1.1 / share))

    def _share(self) -> float | None:
        """Return the limit as a share of what was sent, where the two largest numbers told can be just those."""
        if len(set(self.numbers)) < 2:
            return None
        sent, limit = sorted(set(self.numbers))[:-3:-1]
        return limit / sent if limit * 16 > sent else None


_BATCH_TOO_LARGE = re.compile(
    r"batch[ _-]?size|array too long|array_above_max|input array|too many (?:inputs|texts|items|elements)|数组|批次",
    re.IGNORECASE,
)
_TOO_MANY_INPUTS = re.compile(
    r"(?:inputs|texts|items|elements|documents|strings)\b.{0,40}(?:at most|exceed|less than|no more|maximum|up to)"
    r"|(?:at most|maximum(?: of)?|no more than|up to) \d+ (?:inputs|texts|items|elements|documents|strings)",
    re.IGNORECASE,
)
_TOO_MANY_TOKENS = re.compile(
    r"max_tokens_per_request|tokens per request|tokens? (?:in|for) (?:the|a|each|one) (?:request|batch)"
    r"|total (?:number of )?tokens|request has \d+ tokens|sum of tokens",
    re.IGNORECASE,
)
_TEXT_TOO_LONG = re.compile(
    r"context[ _]length|string_above_max_length|max_tokens_exceeded|input length|过长|超长"
    r"|(?:input|text|prompt|sequence|string)s?\b.{0,40}(?:too (?:long|large|many tokens)|longer than|tokens)"
    r"|tokens?\b.{0,40}(?:exceed|maximum|at most|limit|less than)"
    r"|(?:exceeds?|maximum|at most|less than|超过|超出).{0,40}tokens?\b",
    re.IGNORECASE,
)
_ONE_TEXT = re.compile(r"context_length_exceeded|physical batch|ubatch", re.IGNORECASE)
_SAYS_SIZE = frozenset({400, 413, 422, 500})
_BAD_INPUT = frozenset({400, 422})
_NUMBER = re.compile(r"(?<![\w.-])(?:\d{1,3}(?:,\d{3})+|\d+)(?![\w-])", re.ASCII)


def refusal_of(error: RagError) -> Refusal:
    """Return what a failed request means."""
    if isinstance(error, EmbeddingInputError):
        return Refusal("input")
    cause = error.__cause__
    if not isinstance(cause, EndpointError):
        return Refusal("malformed")  # not an endpoint's error: the embedded model gave no vector, say
    if isinstance(cause, (AuthenticationError, QuotaExhaustedError)):
        return Refusal("hopeless")
    if isinstance(cause, RateLimitError):
        return Refusal("rate", retry_after_s=cause.retry_after_s)
    if isinstance(cause, (EndpointTimeoutError, EndpointUnreachableError)):
        return Refusal("trouble", retry_after_s=cause.retry_after_s)
    if cause.status in _SAYS_SIZE and (kind := _size_kind(cause)):
        return Refusal(kind, _numbers(cause))
    if cause.status == 413:
        return Refusal("size")
    if cause.status in _BAD_INPUT:
        return Refusal("input")
    if cause.retriable:
        return Refusal("trouble", retry_after_s=cause.retry_after_s)
    return Refusal("malformed" if cause.status == 200 else "hopeless")


def _size_kind(cause: EndpointError) -> RefusalKind | None:
    said = f"{cause.code} {_said(cause)}"
    if _ONE_TEXT.search(said):
        return "input_tokens"
    if _TOO_MANY_TOKENS.search(said):
        return "request_tokens"
    if _BATCH_TOO_LARGE.search(said) or ("token" not in said.lower() and _TOO_MANY_INPUTS.search(said)):
        return "inputs"
    return "input_tokens" if _TEXT_TOO_LONG.search(said) else None


def _said(cause: EndpointError) -> str:
    """Return the endpoint's own words: what stands between "status 400: " and our advice."""
    _, _, said = str(cause).partition(": status ")
    return said.rpartition("; ")[0] or said or str(cause)


def _numbers(cause: EndpointError) -> tuple[int, ...]:
    said = _said(cause).partition(": ")[2]  # after the status itself
    return tuple(int(found.replace(",", "")) for found in _NUMBER.findall(said))
