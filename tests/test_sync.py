import asyncio
from collections.abc import AsyncIterator

import pytest

from rag.sync import Sync


class Counter:
    """An asynchronous object whose answers can be worked out by hand."""

    def __init__(self) -> None:
        self.name = "counter"
        self.closed = False
        self.iterator_closed = False
        self.loops: set[int] = set()

    async def double(self, n: int) -> int:
        self.loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return 2 * n

    async def fail(self) -> None:
        raise LookupError("nothing here")

    async def up_to(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
        finally:
            self.iterator_closed = True

    def half(self, n: int) -> int:
        return n // 2

    async def aclose(self) -> None:
        self.closed = True


def test_coroutines_give_results_on_one_loop() -> None:
    counter = Counter()
    with Sync(counter) as sync:
        assert [sync.double(1), sync.double(2), sync.half(8), sync.name] == [2, 4, 4, "counter"]
    assert len(counter.loops) == 1


def test_errors_come_through() -> None:
    with Sync(Counter()) as sync, pytest.raises(LookupError, match="nothing here"):
        sync.fail()


def test_async_iterators_become_iterators_and_close_early() -> None:
    counter = Counter()
    with Sync(counter) as sync:
        assert list(sync.up_to(3)) == [0, 1, 2]
        counter.iterator_closed = False
        numbers = sync.up_to(1000)
        assert next(numbers) == 0
        numbers.close()
        assert counter.iterator_closed


def test_leaving_closes_the_object_once() -> None:
    counter = Counter()
    sync = Sync(counter)
    sync.close()
    sync.close()
    assert counter.closed


async def test_it_works_inside_a_running_loop() -> None:
    with Sync(Counter()) as sync:
        assert sync.double(4) == 8
