"""Watches answers go by, and tells what was seen of each to those who record it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from api.ask_options import AskOptions
from api.live_answers import new_answer_id
from api.recording import Recorded
from index.answer_records import AnswerRecord, Outcome
from rag.errors import RagError
from rag.prices import FREE_USAGE, UsagePrice
from rag.settings import ObserveOptions
from rag.types import Answer, AnswerEvent, Retrieved, Source, TextDelta

__all__ = ["Observation", "Observing", "RecordKeeper", "Watcher"]

logger = logging.getLogger("footnote.observe")


@dataclass(slots=True)
class Observation:
    """One answer as it goes by. Times are ``time.time()``; ``retrieved_at`` and ``first_token_at`` 0 until then."""

    id: str
    question: str
    collections: tuple[str, ...]
    began_at: float = field(default_factory=time.time)
    retrieved_at: float = 0.0
    first_token_at: float = 0.0
    ended_at: float = 0.0
    outcome: Outcome = "cancelled"
    sources: tuple[Source, ...] = ()
    answer: Answer | None = None
    error: Exception | None = None
    cost: float | None = None
    currency: str = ""

    def see(self, event: AnswerEvent) -> None:
        if isinstance(event, TextDelta):
            self.first_token_at = self.first_token_at or time.time()
        elif isinstance(event, Retrieved):
            self.sources, self.retrieved_at = event.sources, time.time()
        elif isinstance(event, Answer):
            self.answer = event
            self.outcome = event.refusal or "answered"


class Watcher(Protocol):
    """Is told of answers. A RagError or OSError that it raises is logged, and no trouble of the answer's."""

    def begin(self, seen: Observation) -> None:
        """An answer was asked for."""

    async def end(self, seen: Observation) -> None:
        """It has ended, one way or another."""


class Observing:
    """Passes the events of answers on, and tells the watchers. ``price`` is that of the model that writes."""

    def __init__(self, watchers: Sequence[Watcher], *, price: Any) -> None:
        self.watchers = list(watchers)
        self._price = price

    async def watched(
        self, events: AsyncGenerator[AnswerEvent], question: str, options: AskOptions, *, collections: Sequence[str]
    ) -> AsyncGenerator[AnswerEvent]:
        """Yield the events unchanged."""
        seen = Observation(options.get("answer_id") or new_answer_id(), question, tuple(collections))
        for watcher in self.watchers:
            watcher.begin(seen)
        try:
            async with aclosing(events):
                async for event in events:
                    seen.see(event)
                    yield event
        except Exception as error:
            seen.error, seen.outcome = error, "error"
            raise
        finally:
            # shielded: a client that leaves cancels the answer, not what is told of it
            await asyncio.shield(self._tell(seen))

    async def _tell(self, seen: Observation) -> None:
        seen.ended_at = time.time()
        if seen.answer is not None:
            seen.id = seen.answer.id
            self._add_cost(seen, seen.answer)
        for watcher in self.watchers:
            try:
                await watcher.end(seen)
            except (RagError, OSError) as error:
                logger.warning("answer %s was not recorded: %s", seen.id, error)

    def _add_cost(self, seen: Observation, answer: Answer) -> None:
        price: UsagePrice | None = self._price(answer.model)
        if price is not None:
            usage = answer.usage
            seen.cost = price.cost(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
            seen.currency = price.currency if price is not FREE_USAGE else ""


class RecordKeeper:
    """Writes each answer into the records of the library."""

    def __init__(self, recorded: Recorded, options: ObserveOptions) -> None:
        self._recorded = recorded
        self._with_text = options.text == "on"

    def begin(self, seen: Observation) -> None:
        pass

    async def end(self, seen: Observation) -> None:
        await asyncio.to_thread(self._add, record_of(seen, with_text=self._with_text))

    def _add(self, record: AnswerRecord) -> None:
        self._recorded.store.add(record)  # opened here: not on the event loop


def record_of(seen: Observation, *, with_text: bool) -> AnswerRecord:
    """Return what is kept of an answer; its words only ``with_text``."""
    answer = seen.answer
    verdicts: dict[str, int] = {}
    for statement in answer.statements if answer else ():
        verdicts[statement.verdict] = verdicts.get(statement.verdict, 0) + 1
    timings = dict(answer.timings_ms) if answer else {}
    if seen.first_token_at:
        timings["until_first_token"] = (seen.first_token_at - seen.began_at) * 1000
    timings["until_end"] = (seen.ended_at - seen.began_at) * 1000
    return AnswerRecord(
        id=seen.id,
        at=seen.began_at,
        outcome=seen.outcome,
        question_hash=hashlib.sha256(seen.question.encode("utf-8", "surrogatepass")).hexdigest(),
        collections=seen.collections,
        model=answer.model if answer else "",
        finish_reason=answer.finish_reason if answer else None,
        error=type(seen.error).__name__ if seen.error else "",
        hits=tuple(_hit(source) for source in seen.sources),
        cited=_cited(answer, with_text=with_text) if answer else (),
        verdicts=verdicts,
        usage=asdict(answer.usage) if answer else {},
        cost=seen.cost,
        currency=seen.currency,
        timings_ms={name: round(value, 3) for name, value in timings.items()},
        question=seen.question if with_text else None,
        text=answer.text if answer and with_text else None,
    )


def _hit(source: Source) -> dict[str, Any]:
    return {
        "marker": source.marker,
        "document": source.document_id,
        "start": source.start,
        "end": source.end,
        "score": round(source.score, 6),
        "chunk_ids": list(source.chunk_ids),
    }


def _cited(answer: Answer, *, with_text: bool) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "marker": citation.marker,
            "document": citation.document,
            "page": citation.page,
            "start": citation.start,
            "end": citation.end,
            "verdict": citation.verdict,
            **({"quote": citation.quote} if with_text else {}),
        }
        for citation in answer.citations
    )
