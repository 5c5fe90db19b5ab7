"""The pacer against simulated endpoints: a clock that jumps from event to event, nothing random."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import pytest

from ingest.pacing import Pacer, Ticket
from rag.types import Allowance

LATENCY_S = 0.2


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pacer_of(clock: Clock, *, first: int = 8, most: int = 32) -> Pacer:
    return Pacer(first=first, most=most, clock=clock, uniform=lambda: 0.5)


class Endpoint:
    """Serves ``limit`` requests at once in ``latency_s(n under way)`` each; turns away others at once."""

    def __init__(self, limit: int, latency_s: Callable[[int], float] = lambda n: LATENCY_S) -> None:
        self.limit = limit
        self.latency_s = latency_s
        self.n_served = 0
        self.n_refused = 0
        self._busy = 0
        self._ends: list[tuple[float, int, bool, Ticket]] = []
        self._number = 0

    def run(self, pacer: Pacer, clock: Clock, seconds: float) -> int:
        """Send requests of 100 tokens as the pacer allows; return how many were served."""
        until = clock.now + seconds
        served_before = self.n_served
        ends = self._ends
        while clock.now < until:
            while (wait_s := pacer.wait_s(100)) <= 0:
                ticket = pacer.start(100)
                self._number += 1
                taken = self._busy < self.limit
                self._busy += taken
                took = self.latency_s(self._busy) if taken else 0.01
                heapq.heappush(ends, (clock.now + took, self._number, taken, ticket))
            if ends and ends[0][0] <= clock.now + wait_s:
                clock.now, _, taken, ticket = heapq.heappop(ends)
                if taken:
                    self._busy -= 1
                    self.n_served += 1
                    pacer.succeed(ticket)
                else:
                    self.n_refused += 1
                    pacer.refuse(ticket, retry_after_s=0.02)
            else:
                clock.now += max(wait_s, 1e-6)
        return self.n_served - served_before


@pytest.mark.parametrize("limit", [1, 2, 4, 8, 20])
def test_an_endpoint_that_bears_so_many_at_once_is_kept_busy(limit: int) -> None:
    clock, endpoint = Clock(), Endpoint(limit)
    pacer = pacer_of(clock)
    endpoint.run(pacer, clock, 10)
    refused_at_first = endpoint.n_refused
    served = endpoint.run(pacer, clock, 120)
    assert served >= 0.97 * limit * 120 / LATENCY_S
    assert endpoint.n_refused - refused_at_first <= 10


def test_a_limit_that_is_raised_is_found() -> None:
    clock, endpoint = Clock(), Endpoint(4)
    pacer = pacer_of(clock)
    endpoint.run(pacer, clock, 30)
    endpoint.limit = 16
    endpoint.run(pacer, clock, 120)
    assert endpoint.run(pacer, clock, 30) >= 0.95 * 16 * 30 / LATENCY_S


def test_no_more_than_the_most_and_no_fewer_than_one() -> None:
    clock = Clock()
    pacer = pacer_of(clock, first=8, most=10)
    Endpoint(100).run(pacer, clock, 60)
    assert pacer.concurrency == 10
    for _ in range(20):
        clock.now += 100
        pacer.fail(pacer.start(1), "failing")
    assert pacer.concurrency == 1


def test_a_server_that_works_on_two_at_a_time_is_not_buried() -> None:
    """It queues instead of refusing: all it does by more at once is make each wait longer."""
    clock = Clock()
    endpoint = Endpoint(1000, latency_s=lambda n: LATENCY_S * max(1.0, n / 2))
    pacer = pacer_of(clock)
    endpoint.run(pacer, clock, 60)
    assert 2 <= pacer.concurrency <= 12


def test_a_pause_is_for_all_and_ends_when_it_was_said_to() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    others = [pacer.start(1) for _ in range(3)]
    pacer.refuse(pacer.start(1), retry_after_s=360)
    for other in others:
        pacer.succeed(other)
    assert (pacer.reason, round(pacer.paused_s)) == ("rate limited", 360)
    assert pacer.wait_s(1) >= 360
    clock.now += 361
    assert (pacer.wait_s(1), pacer.reason) == (0, "")


def test_requests_that_are_refused_together_are_one_refusal() -> None:
    clock = Clock()
    pacer = pacer_of(clock, first=8)
    tickets = [pacer.start(1) for _ in range(8)]
    clock.now += 0.05
    for ticket in tickets[:3]:
        pacer.refuse(ticket, retry_after_s=0.0)
    for ticket in tickets[3:]:
        clock.now += 0.05
        pacer.succeed(ticket)
    assert pacer.concurrency == 5


def test_an_outage_is_asked_about_ever_more_rarely() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    pauses = []
    for _ in range(9):
        pacer.fail(pacer.start(1), "out of reach")
        pauses.append(pacer.paused_s)
        clock.now += pacer.wait_s(1)
    assert pauses == sorted(pauses)
    assert 20 < pauses[-1] <= 30
    assert pacer.troubled_s == pytest.approx(sum(pauses))
    pacer.succeed(pacer.start(1))
    assert pacer.troubled_s == 0


def test_tokens_that_are_used_up_are_waited_for_no_longer_than_needed() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    pacer.succeed(pacer.start(1), tokens=Allowance(limit=1000, left=100, reset_s=90))  # ten a second come back
    assert pacer.wait_s(100) == 0
    pacer.start(100)
    assert pacer.wait_s(50) == pytest.approx(5)
    clock.now += 5
    assert pacer.wait_s(50) == 0


def test_a_request_larger_than_the_whole_allowance_waits_for_all_of_it_and_not_for_ever() -> None:
    clock = Clock()
    pacer = pacer_of(clock)
    pacer.succeed(pacer.start(1), tokens=Allowance(limit=1000, left=0, reset_s=60))
    assert pacer.wait_s(5000) == pytest.approx(60)


def test_when_all_places_are_taken_one_waits_for_another_to_end() -> None:
    pacer = pacer_of(Clock(), first=1, most=1)
    ticket = pacer.start(1)
    assert pacer.wait_s(1) == math.inf
    pacer.end(ticket)
    assert pacer.wait_s(1) == 0
