"""Chat completions, whole and as a stream."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from rag.errors import EndpointError, EndpointResponseError, GenerationError
from rag.gateway.chat_payload import ChatPayload, ChatRequest, chat_payload, refused_parameter
from rag.gateway.endpoint import DONE, EndpointClient
from rag.types import Usage

__all__ = ["ChatChunk", "ChatClient", "ChatCompletion", "ChatRequest", "ToolCall", "ToolCallDelta"]

_LOG = logging.getLogger(__name__)
_PATH = "/chat/completions"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model wants made; ``arguments`` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of tool call number ``index``: id and name come once, the pieces of ``arguments`` are to be joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """A whole completion. ``usage`` is None where none was sent; ``raw`` is the reply with all its fields.

    ``dropped`` says in words what of the request the provider was not asked for as it stood.
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage | None
    model: str
    refusal: str | None
    raw: Mapping[str, Any] = field(repr=False)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of a completion; each field holds what this piece brings, mostly nothing."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCallDelta, ...]
    finish_reason: str | None
    usage: Usage | None
    model: str
    refusal: str | None
    raw: Mapping[str, Any] = field(repr=False)
    dropped: tuple[str, ...] = ()


class ChatClient:
    """Chat completions of one endpoint, in its provider's dialect.

    A parameter that the endpoint refuses is left out, logged, named in ``dropped`` and remembered for that model.
    """

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        self._refused: dict[str, frozenset[str]] = {}

    async def complete(self, request: ChatRequest) -> ChatCompletion:
        """Return the whole completion. Raises GenerationError."""
        while True:
            payload = self._payload(request, stream=False)
            try:
                return _completion_of(await self._client.post_json(_PATH, payload.body), request, payload)
            except EndpointError as error:
                self._learn_or_raise(error, request, payload)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Yield the completion piece by piece. Raises GenerationError, also when the stream ends before the answer.

        Closing the iterator closes the connection, and with it the upstream call.
        """
        while True:
            payload = self._payload(request, stream=True)
            n_yielded = 0
            try:
                async with aclosing(self._chunks(request, payload)) as chunks:
                    async for chunk in chunks:
                        n_yielded += 1
                        yield chunk
                return
            except EndpointError as error:
                if n_yielded:
                    raise _failed(error, request) from error
                self._learn_or_raise(error, request, payload)

    def _payload(self, request: ChatRequest, *, stream: bool) -> ChatPayload:
        refused = self._refused.get(request.model, frozenset())
        payload = chat_payload(self._client.endpoint.provider, request, stream=stream, refused=refused)
        if payload.dropped:
            _LOG.info("chat with %s is asked without %s", request.model, "; ".join(payload.dropped))
        return payload

    def _learn_or_raise(self, error: EndpointError, request: ChatRequest, payload: ChatPayload) -> None:
        name = refused_parameter(error, payload)
        known = self._refused.get(request.model, frozenset())
        if name is None or name in known:
            raise _failed(error, request) from error
        _LOG.warning("%s does not take %s: asking without it from now on", request.model, name)
        self._refused[request.model] = known | {name}

    async def _chunks(self, request: ChatRequest, payload: ChatPayload) -> AsyncGenerator[ChatChunk, None]:
        is_finished = False
        async with aclosing(self._client.stream_batches(_PATH, payload.body)) as batches:
            async for batch in batches:
                for chunk in joined([_chunk_of(event, request, payload) for event in batch if event is not DONE]):
                    is_finished = is_finished or chunk.finish_reason is not None
                    yield chunk
                if batch[-1] is DONE:
                    return
        if not is_finished:
            raise EndpointResponseError(
                "the answer was cut short: the stream ended without an end; ask again", status=200
            )


def joined(chunks: Sequence[ChatChunk]) -> list[ChatChunk]:
    """Return chunks that came together with runs of mere text made one: what follows then works once, not for each.

    The ``raw`` of such a run is that of its last piece.
    """
    found: list[ChatChunk] = []
    run: list[str] = []
    for chunk in chunks:
        if found and chunk.text and _is_text(found[-1]) and _is_text(chunk):
            run = run or [found[-1].text]
            run.append(chunk.text)
            found[-1] = chunk
        else:
            if run:
                found[-1] = replace(found[-1], text="".join(run))
                run = []
            found.append(chunk)
    if run:
        found[-1] = replace(found[-1], text="".join(run))
    return found


def _is_text(chunk: ChatChunk) -> bool:
    """Return whether a chunk brings text and nothing else."""
    return not (chunk.reasoning or chunk.tool_calls or chunk.refusal is not None or chunk.finish_reason or chunk.usage)


def _failed(error: EndpointError, request: ChatRequest) -> GenerationError:
    return GenerationError(f"chat with {request.model!r}: {error}")


# --- replies ---------------------------------------------------------------------------------------------------------


def _completion_of(reply: Mapping[str, Any], request: ChatRequest, payload: ChatPayload) -> ChatCompletion:
    choice = _first_choice(reply)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise EndpointResponseError(
            "the reply holds no message; check that the model is a chat model and the base URL leads to its API",
            status=200,
        )
    return ChatCompletion(
        text=_text(message.get("content")),
        reasoning=_reasoning(message),
        tool_calls=tuple(ToolCall(d.id, d.name, d.arguments) for d in _tool_deltas(message)),
        finish_reason=choice.get("finish_reason"),
        usage=_usage(reply, choice),
        model=str(reply.get("model") or request.model),
        refusal=message.get("refusal") or None,
        raw=reply,
        dropped=payload.dropped,
    )


def _chunk_of(event: Mapping[str, Any], request: ChatRequest, payload: ChatPayload) -> ChatChunk:
    choice = _first_choice(event)
    delta = choice.get("delta")
    is_whole = not isinstance(delta, dict) and isinstance(choice.get("message"), dict)
    if is_whole:  # the endpoint took no notice of stream=true
        delta = choice["message"]
    if not isinstance(delta, dict):
        delta = {}
    return ChatChunk(
        text=_text(delta.get("content")),
        reasoning=_reasoning(delta),
        tool_calls=tuple(_tool_deltas(delta)),
        finish_reason=choice.get("finish_reason") or ("stop" if is_whole else None),
        usage=_usage(event, choice),
        model=str(event.get("model") or request.model),
        refusal=delta.get("refusal") or None,
        raw=event,
        dropped=payload.dropped,
    )


def _first_choice(value: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = value.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _text(content: Any) -> str:
    """Return the text of a content that may be null, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return ""


def _reasoning(message: Mapping[str, Any]) -> str:
    return _text(message.get("reasoning_content") or message.get("reasoning"))


def _tool_deltas(message: Mapping[str, Any]) -> list[ToolCallDelta]:
    """Return the tool calls of a message or delta; without an index their place counts."""
    deltas = []
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        index = call.get("index")
        deltas.append(
            ToolCallDelta(
                index=place if index is None else int(index),
                id=call.get("id") or "",
                name=function.get("name") or "",
                arguments=function.get("arguments") or "",
            )
        )
    return deltas


def _usage(value: Mapping[str, Any], choice: Mapping[str, Any]) -> Usage | None:
    """Return the usage from where it is: the reply, its choice (Moonshot) or ``x_groq``."""
    for holder in (value, choice, value.get("x_groq")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            tokens_in = usage.get("prompt_tokens") or usage.get("input_tokens") or 0
            tokens_out = usage.get("completion_tokens") or usage.get("output_tokens") or 0
            if tokens_in or tokens_out:
                return Usage(input_tokens=int(tokens_in), output_tokens=int(tokens_out))
    return None
