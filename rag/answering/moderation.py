"""What moderation does to a question and to an answer as it is written: the policy, and the gate that enforces it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from rag.answering.sentences import settled_spans
from rag.contracts import Moderator
from rag.errors import ConfigError, ModerationError
from rag.types import ModerationVerdict

__all__ = ["Check", "ModerationPolicy", "by_policy", "check_text", "gated", "whole_sentences"]

Check = Callable[[str], Awaitable[ModerationVerdict | None]]

_log = logging.getLogger(__name__)
_LOOKAHEAD = 4  # sentences under moderation ahead of the reader; then generation waits


@dataclass(frozen=True, slots=True)
class ModerationPolicy:
    """What is moderated and what follows.

    ``action``: "block" stops a flagged text, "flag" only reports it, "off" asks no moderator. ``when_unreachable``:
    "open" lets a text pass that could not be judged, "closed" fails with ModerationError. ``thresholds`` are scores in
    (0, 1] by category, from which on that category counts as flagged; other categories are as the moderator says.
    """

    action: Literal["block", "flag", "off"] = "block"
    when_unreachable: Literal["open", "closed"] = "open"
    question: bool = True
    answer: bool = True
    thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for category, threshold in self.thresholds.items():
            if not 0 < threshold <= 1:
                raise ConfigError(f"moderation threshold of {category!r} must be in (0, 1], got {threshold}")

    def covers(self, target: Literal["question", "answer"]) -> bool:
        """Tell whether such a text is moderated at all."""
        return self.action != "off" and (self.question if target == "question" else self.answer)


def by_policy(policy: ModerationPolicy, verdict: ModerationVerdict) -> ModerationVerdict:
    """Return the verdict as the policy's thresholds see it: its categories and flag, with the scores as they were."""
    own = [category for category in verdict.categories if category not in policy.thresholds]
    above = [name for name, threshold in policy.thresholds.items() if verdict.scores.get(name, 0.0) >= threshold]
    unnamed = verdict.flagged and not verdict.categories
    return replace(verdict, categories=tuple([*own, *above]), flagged=bool(own or above or unnamed))


async def check_text(text: str, *, moderator: Moderator, policy: ModerationPolicy) -> ModerationVerdict | None:
    """Return the verdict on a text, by the policy; None where the moderator is unreachable and the policy open.

    Raises ModerationError where it is unreachable and the policy closed.
    """
    try:
        (verdict,) = await moderator.moderate([text])
    except ModerationError as error:
        if policy.when_unreachable == "closed":
            raise
        _log.warning("a text passed without moderation: %s", error)
        return None
    return by_policy(policy, verdict)


async def whole_sentences(texts: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """Yield the same text in pieces of whole sentences, each as soon as it is complete."""
    text, given, start = "", 0, 0
    async with aclosing(texts):
        async for delta in texts:
            text += delta
            _, start = settled_spans(text, start)
            if text[given:start].strip():
                yield text[given:start]
                given = start
    if given < len(text):
        yield text[given:]


async def gated(pieces: AsyncGenerator[str], check: Check) -> AsyncGenerator[tuple[str, ModerationVerdict | None]]:
    """Yield the pieces in order, each with its verdict once that is known, while the next are written and judged.

    Errors of the pieces and of the check come out in their place. Closing stops both.
    """
    queue: asyncio.Queue[tuple[str, asyncio.Task[ModerationVerdict | None]] | None] = asyncio.Queue(_LOOKAHEAD)
    checks: set[asyncio.Task[ModerationVerdict | None]] = set()

    async def judged(piece: str) -> ModerationVerdict | None:
        return await check(piece)

    async def pump() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    task = asyncio.create_task(judged(piece))
                    checks.add(task)
                    await queue.put((piece, task))
        finally:
            # subtle: when cancelled nobody reads the queue any more, so this must not wait for room in it
            if not (current := asyncio.current_task()) or not current.cancelling():
                await queue.put(None)

    pumping = asyncio.create_task(pump())
    try:
        while (item := await queue.get()) is not None:
            piece, task = item
            yield piece, await task
            checks.discard(task)
        await pumping
    finally:
        for waiting in (pumping, *checks):
            waiting.cancel()
        await asyncio.gather(pumping, *checks, return_exceptions=True)
