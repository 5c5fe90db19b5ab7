"""The small door for scripts: an asynchronous object, used without ``await``.

>>> with Sync(footnote) as footnote:               # doctest: +SKIP
...     print(footnote.ask("When was it built?").text)

In a notebook use ``await`` instead; there the loop is already running.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Sync"]

T = TypeVar("T")


class Sync(Generic[T]):
    """Wraps an object: its coroutine methods return results, its async iterators become iterators.

    One event loop in a thread of its own serves all calls, so connections are kept between them. An iterator that is
    closed early closes the asynchronous one. Leaving the block closes the object, if it has ``aclose``.
    """

    def __init__(self, wrapped: T) -> None:
        self._wrapped = wrapped
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rag-sync", daemon=True)
        self._thread.start()

    def __enter__(self) -> Sync[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the object and end the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        closing = getattr(self._wrapped, "aclose", None)
        if closing is not None:
            self._run(closing())
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._wrapped, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            if inspect.iscoroutine(result):
                return self._run(result)
            if isinstance(result, AsyncIterator):
                return self._iterate(result)
            return result

        return call

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C in the caller's thread stops the work in ours
            raise

    def _iterate(self, events: AsyncIterator[Any]) -> Iterator[Any]:
        async def step() -> Any:
            return await anext(events, _END)

        try:
            while (event := self._run(step())) is not _END:
                yield event
        finally:
            closing = getattr(events, "aclose", None)
            if closing is not None:
                self._run(closing())


_END = object()
