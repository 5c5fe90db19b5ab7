"""What a chat request looks like to the Responses API: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rag.gateway.chat_payload import ChatPayload, ChatRequest
from rag.gateway.providers import Provider

__all__ = ["responses_payload"]

_LACKING = ("frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias")


def responses_payload(
    provider: Provider, request: ChatRequest, *, stream: bool, refused: frozenset[str] = frozenset()
) -> ChatPayload:
    """Return the payload of a request. ``refused`` are parameters that the endpoint is known to reject.

    Nothing is stored there unless the settings say so: left to itself, this API keeps every answer.
    """
    settings = request.settings
    dropped = [f"{name} (the Responses API has none)" for name in _LACKING if getattr(settings, name)]
    values = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_output_tokens": settings.max_tokens,
        "service_tier": settings.service_tier,
        "metadata": dict(settings.metadata) if settings.metadata else None,
        provider.chat.user_field: settings.user,
        "reasoning": {"effort": settings.reasoning_effort} if settings.reasoning_effort else None,
        "text": _text(request),
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "stream": stream or None,
    }
    for name in sorted(refused & values.keys()):
        if values.pop(name) is not None:
            dropped.append(f"{name} (not taken by {provider.title})")
    body: dict[str, Any] = {"model": request.model, "input": list(_items(request)), "store": bool(settings.store)}
    body |= {name: value for name, value in values.items() if value is not None}
    return ChatPayload({**body, **request.extra}, tuple(dropped))


def _text(request: ChatRequest) -> dict[str, Any] | None:
    wanted, verbosity = request.settings.response_format, request.settings.verbosity
    text: dict[str, Any] = {"verbosity": verbosity} if verbosity else {}
    if wanted:
        text["format"] = {"type": wanted.get("type"), **(wanted.get("json_schema") or {})}
    return text or None


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool of a chat request as this API has it: without the level of "function"."""
    return {"type": "function", **tool["function"]} if tool.get("type") == "function" else dict(tool)


def _tool_choice(choice: str | Mapping[str, Any] | None) -> Any:
    if isinstance(choice, Mapping) and "function" in choice:
        return {"type": "function", "name": choice["function"]["name"]}
    return choice


def _items(request: ChatRequest) -> Iterator[dict[str, Any]]:
    """Yield the messages as items: calls and their results stand beside the messages here, not in them."""
    for message in request.messages:
        if message.get("role") == "tool":
            yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            continue
        if message.get("content"):
            yield {"role": message["role"], "content": message["content"]}
        for call in message.get("tool_calls") or ():
            yield {"type": "function_call", "call_id": call["id"], **call["function"]}
