"""Many who ask at once, and what they are told."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from ingest.together import Together


class Clerk:
    """Doubles numbers; waits at the first call until it is told to go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_go_on = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        assert self.may_go_on.wait(10)
        if 13 in numbers:
            raise OSError("the disk is full")
        return [2 * number for number in numbers]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def ask(clerk: Clerk, *numbers: int, most: int = 256) -> list[int | BaseException]:
    """Ask for the first, and for all others while it is being dealt with."""
    together = Together(clerk, most=most)
    asked = [asyncio.create_task(together(numbers[0]))]
    await until(lambda: clerk.calls)
    asked += [asyncio.create_task(together(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    clerk.may_go_on.set()
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_what_comes_during_a_call_goes_into_the_next_one_and_each_gets_its_own() -> None:
    clerk = Clerk()
    assert await ask(clerk, 1, 2, 3, 4) == [2, 4, 6, 8]
    assert clerk.calls == [[1], [2, 3, 4]]


async def test_no_more_go_into_a_call_than_may() -> None:
    clerk = Clerk()
    assert await ask(clerk, 1, 2, 3, 4, 5, 6, most=2) == [2, 4, 6, 8, 10, 12]
    assert clerk.calls == [[1], [2, 3], [4, 5], [6]]


async def test_an_error_is_told_to_those_of_its_call_only() -> None:
    clerk = Clerk()
    outcomes = await ask(clerk, 1, 13, 3, 4, most=2)
    assert [type(outcome) for outcome in outcomes] == [int, OSError, OSError, int]


async def test_calls_take_turns_with_whoever_holds_the_lock() -> None:
    lock, clerk = asyncio.Lock(), Clerk()
    clerk.may_go_on.set()
    together = Together(clerk, lock=lock)
    async with lock:
        asked = asyncio.create_task(together(1))
        await asyncio.sleep(0.01)
        assert clerk.calls == []
    assert await asked == 2


async def test_who_is_cancelled_while_waiting_leaves_the_others_their_turn() -> None:
    clerk = Clerk()
    together = Together(clerk)
    first = asyncio.create_task(together(1))
    await until(lambda: clerk.calls)
    second, third = (asyncio.create_task(together(number)) for number in (2, 3))
    await asyncio.sleep(0)
    second.cancel()
    clerk.may_go_on.set()
    assert await asyncio.gather(first, third) == [2, 6]
    with pytest.raises(asyncio.CancelledError):
        await second
