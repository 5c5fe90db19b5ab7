"""A generator over any chat model of the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

from rag.answering.prompt import Boundary, new_boundary, render_messages
from rag.answering.thinking import ThinkingFilter
from rag.gateway.chat import ChatClient, ChatRequest
from rag.gateway.responses import ResponsesClient
from rag.types import GenerationDone, GenerationEvent, GenerationSettings, Prompt, TextDelta

__all__ = ["ChatGenerator"]


class ChatGenerator:
    """Satisfies ``rag.contracts.Generator``. ``extra`` are request fields of the provider, sent as they are."""

    def __init__(
        self,
        client: ChatClient | ResponsesClient,
        *,
        model: str,
        extra: Mapping[str, Any] = MappingProxyType({}),
        boundary: Boundary = new_boundary,
    ) -> None:
        self._client = client
        self._model = model
        self._extra = extra
        self._boundary = boundary

    @property
    def model(self) -> str:
        return self._model

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent, None]:
        """Yield the text the model writes, without its reasoning. Raises GenerationError.

        A model's own refusal is text too; the finish reason is then "refusal".
        """
        request = ChatRequest(
            messages=render_messages(prompt, boundary=self._boundary),
            model=self._model,
            settings=settings,
            extra=self._extra,
        )
        finish_reason: str | None = None
        model, usage = self._model, None
        notes: tuple[str, ...] = ()
        thinking = ThinkingFilter()
        async with aclosing(self._client.stream(request)) as chunks:
            async for chunk in chunks:
                if chunk.refusal is not None:
                    finish_reason = "refusal"
                elif finish_reason != "refusal":
                    finish_reason = chunk.finish_reason or finish_reason
                model = chunk.model or model
                notes = chunk.dropped
                usage = chunk.usage or usage
                if text := thinking.feed(chunk.text) + (chunk.refusal or ""):
                    yield TextDelta(text)
        if text := thinking.finish():
            yield TextDelta(text)
        yield GenerationDone(finish_reason, model, usage, tuple(f"asked without {each}" for each in notes))
