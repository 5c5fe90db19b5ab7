"""When a failed call is tried again, and after how long: pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from rag.errors import AuthenticationError, EndpointError, QuotaExhaustedError
from rag.types import Allowance

__all__ = [
    "RetryPolicy",
    "allowance",
    "duration_s",
    "is_retriable_status",
    "reset_after_s",
    "retry_after_s",
    "should_retry_header",
    "wait_before_retry",
]

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most ``max_retries`` further tries, waiting up to ``first_s`` * 2**n seconds, never more than ``cap_s``.

    An endpoint that asks for a longer wait than ``max_wait_s`` is not waited for: the caller is told at once.
    """

    max_retries: int = 3
    first_s: float = 0.5
    cap_s: float = 8.0
    max_wait_s: float = 60.0


def is_retriable_status(status: int) -> bool:
    """Return whether the same request may fare better later: 408, 409, 429 and 5xx, except 501 (never implemented)."""
    return status in (408, 409, 429) or (status >= 500 and status != 501)


def should_retry_header(headers: Mapping[str, str]) -> bool | None:
    """Return what ``x-should-retry`` says; None where it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds the endpoint asks to wait, never below 0; None where it does not say, or not legibly.

    ``retry-after-ms`` comes first, then ``retry-after`` as seconds or as an HTTP date. ``now`` is seconds since 1970.
    Header names are lower case.
    """
    in_ms = _number(headers.get("retry-after-ms"))
    if in_ms is not None:
        return max(0.0, in_ms / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return None if seconds is None else max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def duration_s(value: str) -> float | None:
    """Return the seconds of a duration as the rate limit headers have it; None where it is none.

    A bare number is seconds.

    >>> duration_s("6m0s"), duration_s("120ms"), duration_s("soon")
    (360.0, 0.12, None)
    """
    value = value.strip().lower()
    number = _number(value)
    if number is not None:
        return max(0.0, number)
    parts = _DURATION_PART.findall(value)
    if not parts or "".join(amount + unit for amount, unit in parts) != value:
        return None
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in parts)


def allowance(headers: Mapping[str, str], of: str) -> Allowance | None:
    """Return what ``x-ratelimit-*`` says is left ``of`` "requests" or "tokens"; None unless it says all of it."""
    limit, left = (_number(headers.get(f"x-ratelimit-{name}-{of}")) for name in ("limit", "remaining"))
    reset_s = duration_s(headers.get(f"x-ratelimit-reset-{of}", ""))
    if limit is None or left is None or reset_s is None or limit <= 0:
        return None
    return Allowance(limit, min(max(left, 0.0), limit), reset_s)


def reset_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a used up allowance is there again; None where none is told to be used up."""
    told = [allowance(headers, of) for of in ("requests", "tokens")]
    return max((found.reset_s for found in told if found is not None and found.left < 1), default=None)


def wait_before_retry(error: EndpointError, *, attempt: int, policy: RetryPolicy, random: float) -> float | None:
    """Return the seconds to wait before trying again; None to give up.

    ``attempt`` counts from 0; ``random`` is uniform in [0, 1). Without a wish of the endpoint the wait is exponential
    with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015); with one, it is that and a bit, so
    that callers turned away together do not come back together.
    """
    if attempt >= policy.max_retries or not error.retriable:
        return None
    if isinstance(error, (AuthenticationError, QuotaExhaustedError)):
        return None
    if error.retry_after_s is None:
        return random * min(policy.cap_s, policy.first_s * 2.0**attempt)
    if error.retry_after_s > policy.max_wait_s:
        return None
    return error.retry_after_s + random * min(1.0, error.retry_after_s / 4)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
