"""Answers a question from sources that the model looks for itself; all else is as in an answer without an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from rag.answering.agent.loop import AgentLoop, Notify
from rag.answering.agent.model import ToolsRefusedError
from rag.answering.agent.rendering import agent_messages
from rag.answering.answer import Answerer
from rag.answering.answer import _Draft as Draft
from rag.answering.forms import form_of
from rag.answering.moderation import Check
from rag.answering.numbering import Numbering
from rag.answering.prompt import instructions, pack_history
from rag.contracts import Generator
from rag.types import Answer, AnswerEvent, GenerationEvent, GenerationSettings, Hit, Prompt, Retrieval, Source, Turn

__all__ = ["AgentAnswerer", "NewLoop"]

NewLoop = Callable[[Notify], AgentLoop]
"""Begins the loop of one question; it is told whom to notify of steps."""


class AgentAnswerer(Answerer):
    """Answers one question, in which a model calls tools; a second question needs another of these.

    Where there is no loop, or the endpoint turns out to take no tools, it is answered as without an agent, and a note
    says so.
    """

    def __init__(
        self,
        answerer: Answerer,
        new_loop: NewLoop | None,
        *,
        why_not: str = "",
        refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        """Answer as ``answerer`` would, with a loop of tools in place of its retrieval.

        ``why_not`` says in words why there is no loop. ``refused`` is told what an endpoint said that takes no tools.
        """
        vars(self).update(vars(answerer))
        self._queue: asyncio.Queue[AnswerEvent | Exception | None] = asyncio.Queue(maxsize=1)
        self._loop: AgentLoop | None = None if new_loop is None else new_loop(self._queue.put)
        self._why_not = why_not
        self._refused = refused
        self._asked_with = GenerationSettings()

    async def _stream(
        self,
        question: str,
        history: Sequence[Turn],
        generation: GenerationSettings,
        k: int,
        numbering: Numbering | None,
    ) -> AsyncGenerator[AnswerEvent]:
        """Yield the events of the answer, and each step as it is done, in the order in which they come about."""
        self._asked_with = generation
        if self._loop is not None:
            self._loop.shown.numbering = numbering
        pump = asyncio.create_task(self._pump(super()._stream(question, history, generation, k, numbering)))
        try:
            while (event := await self._queue.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield self._traced(event) if isinstance(event, Answer) else event
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self, events: AsyncGenerator[AnswerEvent]) -> None:
        """Read the answer in one task from beginning to end: steps come from inside of it, and may not wait for it."""
        try:
            async with aclosing(events):
                async for event in events:
                    await self._queue.put(event)
            await self._queue.put(None)
        except Exception as error:
            await self._queue.put(error)
        finally:
            if self._loop is not None:
                await self._loop.aclose()

    def _traced(self, answer: Answer) -> Answer:
        if self._loop is None:
            return answer
        return replace(answer, trace=tuple(self._loop.steps), notes=(*answer.notes, *self._loop.notes))

    async def _retrieved(self, draft: Draft, history: Sequence[Turn], k: int) -> Retrieval:
        """Let the model look for sources until it begins to answer."""
        loop = self._loop
        if loop is None:
            return await self._plain(draft, history, k)
        loop.question = draft.question
        if self._check("question") is None:
            loop.cleared.set()
        turns = pack_history(history, tokenizer=self._tokenizer, budget_tokens=self._settings.history_tokens)
        options = self._settings
        rules = instructions(options.extra_instructions, wishes=options.wishes, language=options.language)
        is_numbered = loop.shown.numbering is not None
        prompt = Prompt(rules, (), draft.question, turns, is_numbered=is_numbered, language=options.language)
        in_form = form_of(self._asked_with.response_format) is not None
        settings = replace(self._asked_with, response_format=None) if in_form else self._asked_with
        try:
            with draft.timed("agent"):
                await loop.prepare(agent_messages(prompt), settings=settings)
        except ToolsRefusedError as error:
            if loop.steps:
                raise
            self._loop, self._why_not = None, str(error)
            self._refused(self._why_not)
            return await self._plain(draft, history, k)
        if in_form:  # the sources are found in words, and the form is filled in from them by a call of its own
            async for _ in loop.generate(prompt, settings=settings):
                pass
            return Retrieval((), usage=loop.budget.usage, queries=loop.queries)
        self._generator = _Writer(loop, self._generator)
        usage = None if loop.shown.sources else loop.budget.usage  # with sources, an answer follows and tells it
        return Retrieval((), usage=usage, queries=loop.queries)

    async def _judge_question(self, draft: Draft, check: Check) -> None:
        """Judge the question beside the search; only when it passes may tools of the caller's run."""
        await super()._judge_question(draft, check)
        if self._loop is not None:
            self._loop.cleared.set()

    async def _plain(self, draft: Draft, history: Sequence[Turn], k: int) -> Retrieval:
        found = await super()._retrieved(draft, history, k)
        return replace(found, notes=(*found.notes, f"answered without an agent: {self._why_not}"))

    async def _packed(self, draft: Draft, hits: Sequence[Hit], numbering: Numbering | None) -> tuple[Source, ...]:
        if self._loop is None:
            return await super()._packed(draft, hits, numbering)
        return self._loop.shown.sources


class _Writer:
    """Writes the answer that the loop has begun; one that is to be written again, the ordinary way from its sources."""

    def __init__(self, loop: AgentLoop, generator: Generator) -> None:
        self._loop = loop
        self._generator = generator
        self._is_begun = False

    @property
    def model(self) -> str:
        return self._generator.model

    def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncIterator[GenerationEvent]:
        if self._is_begun:
            return self._generator.generate(prompt, settings=settings)
        self._is_begun = True
        return self._loop.generate(prompt, settings=settings)
