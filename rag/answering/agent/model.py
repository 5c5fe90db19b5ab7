"""A chat model that can call tools, one turn at a time: what the loop needs of it, and that over chat completions."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from rag.answering.thinking import ThinkingFilter
from rag.errors import EndpointError, GenerationError
from rag.gateway.chat import ChatClient, ChatRequest, ToolCall, ToolCallDelta
from rag.types import GenerationSettings, TextDelta, Usage

__all__ = ["ChatToolModel", "ToolModel", "ToolsRefusedError", "TurnDone", "TurnEvent"]

_ABOUT_TOOLS = re.compile(r"\btools?\b|\btool_choice\b|function[ _-]?call|\bfunctions?\b", re.IGNORECASE)


class ToolsRefusedError(GenerationError):
    """The endpoint does not take tools for this model."""


@dataclass(frozen=True, slots=True)
class TurnDone:
    """The end of a turn. ``message`` is the turn as it is sent back with the results of its ``calls``.

    ``notes`` say what was not done as it was asked for.
    """

    calls: tuple[ToolCall, ...]
    message: Mapping[str, Any] = field(repr=False)
    finish_reason: str | None
    model: str
    usage: Usage | None
    notes: tuple[str, ...] = ()


TurnEvent = TextDelta | TurnDone


class ToolModel(Protocol):
    """A model that writes text and calls tools."""

    @property
    def model(self) -> str: ...

    def turn(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]],
        tool_choice: str | None,
        settings: GenerationSettings,
    ) -> AsyncGenerator[TurnEvent]:
        """Yield the text of a turn as it is written, and last TurnDone.

        ``messages`` and ``tools`` are as in chat completions. Without ``tools`` none can be called. Raises
        GenerationError, and of these ToolsRefusedError where the endpoint takes no tools.
        """
        ...


class ChatToolModel:
    """Satisfies ``ToolModel`` over chat completions. ``extra`` are request fields of the provider."""

    def __init__(self, client: ChatClient, *, model: str, extra: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._model = model
        self._extra = extra or {}

    @property
    def model(self) -> str:
        return self._model

    async def turn(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]],
        tool_choice: str | None,
        settings: GenerationSettings,
    ) -> AsyncGenerator[TurnEvent]:
        request = ChatRequest(
            messages=messages,
            model=self._model,
            settings=settings,
            tools=tools,
            tool_choice=tool_choice if tools else None,
            extra=self._extra,
        )
        text, reasoning, calls = "", "", _Calls()
        finish_reason: str | None = None
        model, usage = self._model, None
        notes: tuple[str, ...] = ()
        thinking = ThinkingFilter()
        try:
            async with aclosing(self._client.stream(request)) as chunks:
                async for chunk in chunks:
                    if chunk.refusal is not None:
                        finish_reason = "refusal"
                    elif finish_reason != "refusal":
                        finish_reason = chunk.finish_reason or finish_reason
                    model, usage = chunk.model or model, chunk.usage or usage
                    reasoning += chunk.reasoning
                    notes = tuple(f"asked without {each}" for each in chunk.dropped)
                    calls.feed(chunk.tool_calls)
                    if piece := thinking.feed(chunk.text) + (chunk.refusal or ""):
                        text += piece
                        yield TextDelta(piece)
        except GenerationError as error:
            if tools and _refuses_tools(error):
                raise ToolsRefusedError(str(error)) from error
            raise
        if piece := thinking.finish():
            text += piece
            yield TextDelta(piece)
        made = calls.made() if tools else ()
        yield TurnDone(made, _message(text, reasoning, made), finish_reason, model, usage, notes)


class _Calls:
    """The calls of a turn, put together from their pieces."""

    def __init__(self) -> None:
        self._pieces: dict[int, ToolCallDelta] = {}

    def feed(self, deltas: Sequence[ToolCallDelta]) -> None:
        for delta in deltas:
            known = self._pieces.get(delta.index, ToolCallDelta(delta.index))
            self._pieces[delta.index] = ToolCallDelta(
                delta.index, known.id or delta.id, known.name or delta.name, known.arguments + delta.arguments
            )

    def made(self) -> tuple[ToolCall, ...]:
        """Return the calls in their order; one that came without an id gets one."""
        pieces = [self._pieces[index] for index in sorted(self._pieces)]
        return tuple(ToolCall(one.id or f"call_{one.index}", one.name, one.arguments) for one in pieces)


def _message(text: str, reasoning: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if reasoning:
        message["reasoning_content"] = reasoning  # left out again for providers that do not want it back
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in calls
        ]
    return message


def _refuses_tools(error: GenerationError) -> bool:
    cause = error.__cause__
    if not isinstance(cause, EndpointError) or cause.status not in (400, 404, 422, 501):
        return False
    return bool(_ABOUT_TOOLS.search(cause.param or "") or _ABOUT_TOOLS.search(str(cause)))
