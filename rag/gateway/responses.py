"""The Responses API as a chat: the same requests, and the same pieces of a reply, over ``/responses``."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from rag.errors import EndpointError, EndpointResponseError, GenerationError, RateLimitError
from rag.gateway.chat import ChatChunk, ToolCallDelta
from rag.gateway.chat_payload import ChatPayload, ChatRequest, refused_parameter
from rag.gateway.endpoint import DONE, EndpointClient
from rag.gateway.responses_payload import responses_payload
from rag.types import Usage

__all__ = ["ResponsesClient"]

_LOG = logging.getLogger(__name__)
_PATH = "/responses"
_REASONING = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ResponsesClient:
    """Streams what a model writes, as ``ChatClient`` does. What an endpoint refuses is left out from then on."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        self._refused: dict[str, frozenset[str]] = {}

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Yield the reply piece by piece. Raises GenerationError, also when the stream ends before the reply does.

        Closing the iterator closes the connection, and with it the upstream call.
        """
        while True:
            refused = self._refused.get(request.model, frozenset())
            payload = responses_payload(self._client.endpoint.provider, request, stream=True, refused=refused)
            n_yielded = 0
            try:
                async with aclosing(self._chunks(request, payload)) as chunks:
                    async for chunk in chunks:
                        n_yielded += 1
                        yield chunk
                return
            except EndpointError as error:
                name = None if n_yielded else refused_parameter(error, payload)
                if name is None or name in refused:
                    raise GenerationError(f"chat with {request.model!r}: {error}") from error
                _LOG.warning("%s does not take %s: asking without it from now on", request.model, name)
                self._refused[request.model] = refused | {name}

    async def _chunks(self, request: ChatRequest, payload: ChatPayload) -> AsyncGenerator[ChatChunk, None]:
        async with aclosing(self._client.stream_events(_PATH, payload.body)) as events:
            async for event in events:
                if event is DONE:
                    break
                if event.get("object") == "response":  # the endpoint took no notice of stream=true
                    for piece in _whole(event):
                        yield _chunk(piece, request, payload)
                    return
                if (chunk := _chunk(event, request, payload)) is not None:
                    yield chunk
                if event.get("type") in _ENDS:
                    return
        raise EndpointResponseError("the answer was cut short: the stream ended without an end; ask again", status=200)


def _chunk(event: Mapping[str, Any], request: ChatRequest, payload: ChatPayload) -> ChatChunk:
    """Return what an event brings, mostly text. Raises the error that a failed response is."""
    kind = str(event.get("type") or "")
    piece = event.get("delta")
    delta = piece if isinstance(piece, str) else ""
    response = event.get("response") if kind in _ENDS else None
    response = response if isinstance(response, Mapping) else {}
    if kind == "response.failed":
        raise _failure(response)
    return ChatChunk(
        text=delta if kind == "response.output_text.delta" else "",
        reasoning=delta if kind in _REASONING else "",
        tool_calls=_calls(event, kind),
        finish_reason=_finish(response) if kind in _ENDS else None,
        usage=_usage(response),
        model=str(response.get("model") or request.model),
        refusal=delta if kind == "response.refusal.delta" else None,
        raw=event,
        dropped=payload.dropped,
    )


def _calls(event: Mapping[str, Any], kind: str) -> tuple[ToolCallDelta, ...]:
    index = int(event.get("output_index") or 0)
    if kind == "response.function_call_arguments.delta":
        return (ToolCallDelta(index, arguments=str(event.get("delta") or "")),)
    item = event.get("item")
    if kind == "response.output_item.added" and isinstance(item, Mapping) and item.get("type") == "function_call":
        return (ToolCallDelta(index, str(item.get("call_id") or ""), str(item.get("name") or "")),)
    return ()


def _finish(response: Mapping[str, Any]) -> str:
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        return "length" if reason == "max_output_tokens" else str(reason or "incomplete")
    return "tool_calls" if any(item.get("type") == "function_call" for item in response.get("output") or ()) else "stop"


def _usage(response: Mapping[str, Any]) -> Usage | None:
    usage = response.get("usage")
    if not isinstance(usage, Mapping):
        return None
    return Usage(input_tokens=int(usage.get("input_tokens") or 0), output_tokens=int(usage.get("output_tokens") or 0))


def _failure(response: Mapping[str, Any]) -> EndpointError:
    """Return the error of a response that failed after its stream had begun."""
    error = response.get("error")
    error = error if isinstance(error, Mapping) else {}
    code, message = str(error.get("code") or "server_error"), str(error.get("message") or "no reason given")
    said = f"the endpoint gave up: {message[:300]} ({code}); ask again"
    if code == "rate_limit_exceeded":
        return RateLimitError(said, status=429, code=code, retriable=True)
    return EndpointResponseError(said, status=500 if code == "server_error" else 400, code=code)


def _whole(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a whole response as the events that it would have been streamed as."""
    events: list[dict[str, Any]] = []
    for index, item in enumerate(response.get("output") or ()):
        if item.get("type") == "function_call":
            events.append({"type": "response.output_item.added", "output_index": index, "item": item})
            arguments = {"output_index": index, "delta": item.get("arguments") or ""}
            events.append({"type": "response.function_call_arguments.delta", **arguments})
        for part in item.get("content") or () if item.get("type") == "message" else ():
            kind = "refusal" if part.get("type") == "refusal" else "output_text"
            events.append({"type": f"response.{kind}.delta", "delta": part.get("text") or part.get("refusal") or ""})
    return [*events, {"type": f"response.{response.get('status') or 'completed'}", "response": dict(response)}]
