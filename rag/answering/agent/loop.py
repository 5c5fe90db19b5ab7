"""Lets a model call tools until it answers, or has to: its turns, the calls in them side by side, what they cost.

The text of a turn may be the answer, or words beside a call of a tool; which, is known when the turn ends. So that an
answer can be read while it is written, text is let go as soon as it cites a source that was shown, which words beside a
call do not.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from rag.answering.agent.budget import Budget
from rag.answering.agent.model import ToolModel, TurnDone, TurnEvent
from rag.answering.agent.own import call_own, ordered_by
from rag.answering.agent.sources import Found, ShownSources
from rag.answering.agent.tools import AgentTool, Tool, ToolError, checked_arguments, parsed_arguments, schema_of
from rag.answering.markers import find_markers
from rag.contracts import ABSTENTION, Tokenizer
from rag.gateway.chat import ToolCall
from rag.types import GenerationDone, GenerationEvent, GenerationSettings, Prompt, Step, TextDelta, Usage

__all__ = ["LEAST_TOKENS", "MAX_CALLS", "AgentLoop"]

MAX_CALLS = 8
"""Calls of one turn that are made, if there is room for their results; the model is told of the others."""
LEAST_TOKENS = 256
"""What the result of a call may have at least: with less to share, fewer calls of a turn are made."""

_ENDED = (
    "No more tools can be called: {reason}. Answer the question now from the sources that were shown, with their "
    f"numbers in square brackets after each sentence, or reply {ABSTENTION}."
)

_AGAIN = "as in step"

Notify = Callable[[Step], Awaitable[None]]


class AgentLoop:
    """One question under way. Call ``prepare`` once, then read ``generate``: it satisfies ``Generator``.

    ``sources``, ``steps`` and ``notes`` grow with it.
    """

    def __init__(
        self,
        model: ToolModel,
        tools: Sequence[AgentTool],
        budget: Budget,
        *,
        tokenizer: Tokenizer,
        own: Sequence[Tool] = (),
        shown: ShownSources | None = None,
        notify: Notify | None = None,
    ) -> None:
        """``own`` are the caller's tools; they wait until ``cleared`` is set. ``notify`` is awaited with each step."""
        self.cleared = asyncio.Event()
        self.question = ""
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.budget = budget
        self.shown = shown or ShownSources()
        self._model = model
        self._tools = {tool.name: tool for tool in tools}
        self._own = {tool.name: tool for tool in own}
        self._tokenizer = tokenizer
        self._notify = notify
        self._messages: list[Mapping[str, Any]] = []
        self._made: dict[tuple[str, str], int] = {}
        self._first: GenerationEvent | None = None
        self._events: AsyncGenerator[GenerationEvent] | None = None

    @property
    def model(self) -> str:
        return self._model.model

    @property
    def queries(self) -> tuple[str, ...]:
        """What was searched with so far."""
        asked = (orjson.loads(key)["query"] for name, key in self._made if name == "search")
        return tuple(dict.fromkeys(asked))

    async def prepare(self, messages: Sequence[Mapping[str, Any]], *, settings: GenerationSettings) -> None:
        """Let the model call tools until it begins to answer. Raises GenerationError, ToolsRefusedError among them."""
        self._messages = list(messages)
        self._events = self._run(settings)
        self._first = await anext(self._events)

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent]:
        """Yield the answer that ``prepare`` has seen begin; what it was asked there holds, not ``prompt``."""
        assert self._events is not None, "prepare comes first"
        assert self._first is not None
        async with aclosing(self._events) as events:
            yield self._first
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """Stop what is under way."""
        if self._events is not None:
            await self._events.aclose()

    async def _run(self, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent]:
        while True:
            reason = self.budget.spent(next_input=self._n_tokens(self._messages))
            if reason:
                self._end(reason)
            done: TurnDone | None = None
            said, is_shown = "", False
            try:
                async with aclosing(self._turn(settings, with_tools=not reason)) as events:
                    while (event := await self._next(events, limited=not reason and not is_shown)) is not None:
                        if isinstance(event, TurnDone):
                            done = event
                            continue
                        said += event.text
                        if is_shown:
                            yield event
                        elif reason or self._cites(said):
                            is_shown = True
                            yield TextDelta(said)
            except TimeoutError:
                continue  # the time is over: the next round asks for the answer
            assert done is not None, "a turn ends with TurnDone"
            self._pay(done, said)
            if not done.calls or is_shown:
                if done.calls:
                    names = ", ".join(dict.fromkeys(call.name for call in done.calls))
                    self.notes.append(f"calls of tools after the answer had begun were not made: {names}")
                if said and not is_shown:
                    yield TextDelta(said)
                yield GenerationDone(done.finish_reason, done.model, self.budget.usage, done.notes)
                return
            self._messages.append(done.message)
            self._messages += await self._results(done.calls, said)

    def _end(self, reason: str) -> None:
        self.notes.append(f"the agent had to answer: {reason}")
        self._messages.append({"role": "user", "content": _ENDED.format(reason=reason)})

    def _turn(self, settings: GenerationSettings, *, with_tools: bool) -> AsyncGenerator[TurnEvent]:
        tools = [schema_of(tool) for tool in self._tools.values()] + [tool.wire_schema for tool in self._own.values()]
        tools = tools if with_tools else []
        choice = "auto" if self.shown.sources or self.budget.n_turns else "required"
        return self._model.turn(self._messages, tools=tools, tool_choice=choice, settings=settings)

    async def _next(self, events: AsyncGenerator[TurnEvent], *, limited: bool) -> TurnEvent | None:
        """Return the next event, None after the last. Raises TimeoutError when the time is over before it comes."""
        try:
            async with asyncio.timeout(self.budget.seconds_left if limited else None):
                return await anext(events)
        except StopAsyncIteration:
            return None

    def _cites(self, text: str) -> bool:
        known = {source.marker for source in self.shown.sources}
        return any(known.intersection(marker.numbers) for marker in find_markers(text))

    def _pay(self, done: TurnDone, said: str) -> None:
        usage = done.usage
        if usage is None:
            written = said + "".join(call.name + call.arguments for call in done.calls)
            n_input = self._n_tokens(self._messages)
            usage = Usage(n_input, self._tokenizer.count(written), estimated=True)
        self.budget.spend(usage)

    def _n_tokens(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Return about how many tokens messages cost."""
        texts = [str(message.get("content") or "") for message in messages]
        texts += [json.dumps(message["tool_calls"]) for message in messages if message.get("tool_calls")]
        return sum(self._tokenizer.count(text) for text in texts) + 4 * len(messages)

    # --- calls

    async def _results(self, calls: Sequence[ToolCall], said: str) -> list[Mapping[str, Any]]:
        """Make the calls of a turn side by side; return their results as messages, in the order of the calls."""
        self.budget.n_turns += 1
        room = self.budget.limits.max_tool_tokens
        most = min(MAX_CALLS, max(1, room // LEAST_TOKENS))
        share = room // min(len(calls), most)
        first = len(self.steps) + 1
        outcomes = await asyncio.gather(
            *(self._outcome(call, first + place, share if place < most else 0) for place, call in enumerate(calls))
        )
        messages: list[Mapping[str, Any]] = []
        for place, (call, outcome) in enumerate(zip(calls, outcomes, strict=True)):
            found, error, took_ms = outcome
            content, markers = (
                (f"Error: {error}", ()) if found is None else await asyncio.to_thread(self.shown.render, found)
            )
            step = Step(
                number=first + place,
                turn=self.budget.n_turns,
                tool=call.name,
                arguments=call.arguments,
                summary="" if found is None else found.summary,
                markers=markers,
                tokens=self._tokenizer.count(content),
                took_ms=took_ms,
                error=error,
                is_repeated=found is not None and found.summary.startswith(_AGAIN),
                said=said if place == 0 else "",
            )
            self.steps.append(step)
            if self._notify is not None:
                await self._notify(step)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        return messages

    async def _outcome(self, call: ToolCall, number: int, max_tokens: int) -> tuple[Found | None, str, float]:
        """Return what a call brought, or what is wrong with it, and the milliseconds it took."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.budget.seconds_left):
                found, error = await self._found(call, number, max_tokens), ""
        except ToolError as wrong:
            found, error = None, str(wrong)
        except TimeoutError:
            found, error = None, "the time for tools is over (agent.timeout_s)"
        return found, error, (time.perf_counter() - started) * 1000

    async def _found(self, call: ToolCall, number: int, max_tokens: int) -> Found:
        if not max_tokens:
            raise ToolError("not called: too many calls at once; call it again if you still need it")
        tool, own = self._tools.get(call.name), self._own.get(call.name)
        if tool is not None:
            arguments = checked_arguments(call.arguments, tool.parameters)
        elif own is not None:
            arguments = parsed_arguments(call.arguments)
        else:
            raise ToolError(f"there is no tool {call.name!r}; there are {', '.join([*self._tools, *self._own])}")
        source = ordered_by(call.name, arguments, self.shown.sources, self.question)
        if source is not None and (own is not None or call.name == "search"):
            said = f"step {number} ({call.name}) repeats words of source [{source.marker}], which addresses a model"
            self.notes.append(f"{said}{'; it was not made' if own is not None else ''}")
            if own is not None:
                raise ToolError(f"not called: the arguments come from source [{source.marker}], which is data")
        key = (call.name, orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode())
        if (earlier := self._made.setdefault(key, number)) != number:
            return Found(f"{_AGAIN} {earlier}", about="This call has been made before: its result stands above.")
        try:
            if tool is not None:
                return await tool.call(arguments, max_tokens=max_tokens)
            assert own is not None
            await self.cleared.wait()
            return await call_own(own, arguments, number=number, tokenizer=self._tokenizer, max_tokens=max_tokens)
        except BaseException:
            del self._made[key]  # a call that failed may be made again
            raise
