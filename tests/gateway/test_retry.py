"""The retry policy by hand-worked cases."""

from __future__ import annotations

import pytest

from rag.errors import AuthenticationError, EndpointResponseError, QuotaExhaustedError, RateLimitError
from rag.gateway.retry import RetryPolicy, duration_s, is_retriable_status, retry_after_s, wait_before_retry

POLICY = RetryPolicy(max_retries=5, first_s=0.5, cap_s=8, max_wait_s=60)
NOW = 1_445_412_420.0  # Wed, 21 Oct 2015 07:27:00 GMT


def busy(**more) -> EndpointResponseError:
    return EndpointResponseError("busy", status=503, retriable=True, **more)


def test_the_wait_doubles_up_to_the_cap_and_is_fully_jittered():
    waits = [wait_before_retry(busy(), attempt=n, policy=POLICY, random=0.999999) for n in range(5)]
    assert waits == pytest.approx([0.5, 1, 2, 4, 8], rel=1e-4)
    assert wait_before_retry(busy(), attempt=3, policy=POLICY, random=0.0) == 0
    assert wait_before_retry(busy(), attempt=5, policy=POLICY, random=0.5) is None


def test_the_wish_of_the_endpoint_is_granted_within_limits():
    assert 4 <= wait_before_retry(busy(retry_after_s=4), attempt=0, policy=POLICY, random=0.5) <= 5
    assert wait_before_retry(busy(retry_after_s=61), attempt=0, policy=POLICY, random=0.5) is None


@pytest.mark.parametrize("error", [AuthenticationError, QuotaExhaustedError])
def test_what_waiting_cannot_mend_stops_at_once(error):
    assert wait_before_retry(error("no", retriable=True), attempt=0, policy=POLICY, random=0.5) is None
    assert wait_before_retry(RateLimitError("no"), attempt=0, policy=POLICY, random=0.5) is None


def test_which_statuses_are_worth_another_try():
    assert [s for s in range(200, 600) if is_retriable_status(s)] == [408, 409, 429, 500, *range(502, 600)]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:26:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_form(headers, seconds):
    assert retry_after_s(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("6m0s", 360), ("1h2m3.5s", 3723.5), ("120ms", 0.12), ("17", 17), ("1d", 86_400), ("", None), ("6 minutes", None)],
)
def test_durations_of_rate_limit_headers(value, seconds):
    assert duration_s(value) == seconds
