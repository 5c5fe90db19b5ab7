"""Another generator for the time that the first one is down."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from rag.contracts import Generator
from rag.errors import (
    EndpointError,
    EndpointTimeoutError,
    EndpointUnreachableError,
    GenerationError,
    QuotaExhaustedError,
    RateLimitError,
)
from rag.types import GenerationDone, GenerationEvent, GenerationSettings, Prompt

__all__ = ["FallbackGenerator", "is_down"]

_LOG = logging.getLogger(__name__)
PAUSE_S = 30.0
"""Seconds for which the first is not asked again once it was down: nobody is to wait for its retries each time."""

_DOWN = (EndpointTimeoutError, EndpointUnreachableError, QuotaExhaustedError, RateLimitError)


def is_down(error: GenerationError) -> bool:
    """Tell whether an endpoint, and not the request, is the reason: no connection, no time, no quota, too many
    requests, 5xx. A key or a request that it refuses is a mistake, which is to be seen.
    """
    cause = error.__cause__
    if not isinstance(cause, EndpointError):
        return False
    return isinstance(cause, _DOWN) or (cause.status is not None and cause.status >= 500)


class FallbackGenerator:
    """Satisfies ``rag.contracts.Generator``: asks ``first``, and ``second`` where the first is down.

    Only before the first word: what has been shown cannot be taken back, so a stream that breaks later is an error.
    The notes of the answer say who answered, and why; its model is the one that did. ``clock`` is in seconds.
    """

    def __init__(
        self,
        first: Generator,
        second: Generator,
        *,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._second = second
        self._pause_s = pause_s
        self._clock = clock
        self._down_until = -1.0
        self._why = ""

    @property
    def model(self) -> str:
        return self._first.model

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent, None]:
        """Yield what the one or the other writes. Raises GenerationError, naming both where both are down."""
        if self._clock() >= self._down_until:
            has_begun = False
            try:
                async with aclosing(_events(self._first, prompt, settings)) as events:
                    async for event in events:
                        has_begun = True
                        yield event
                return
            except GenerationError as error:
                if has_begun or not is_down(error):
                    raise
                _LOG.warning("%s; asking %s instead", error, self._second.model)
                self._down_until, self._why = self._clock() + self._pause_s, str(error)
        note = f"answered by {self._second.model}, because {self._first.model} is down: {self._why}"
        try:
            async with aclosing(_events(self._second, prompt, settings)) as events:
                async for event in events:
                    yield replace(event, notes=(note, *event.notes)) if isinstance(event, GenerationDone) else event
        except GenerationError as error:
            raise GenerationError(f"{error}; it was asked because {self._why}") from error.__cause__


async def _events(
    generator: Generator, prompt: Prompt, settings: GenerationSettings
) -> AsyncGenerator[GenerationEvent, None]:
    """Yield a generator's events; closing this closes it, where it can be closed."""
    events = generator.generate(prompt, settings=settings)
    try:
        async for event in events:
            yield event
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
