"""What a chat request looks like to each provider: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from rag.errors import EndpointError
from rag.gateway.providers import Provider
from rag.types import GenerationSettings

__all__ = ["ChatPayload", "ChatRequest", "chat_payload", "refused_parameter"]

_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_LENGTH = ("max_tokens", "max_completion_tokens")
_EXTRAS = ("logit_bias", "verbosity", "service_tier", "store", "metadata")
_THINKING = ("reasoning_effort", "thinking", "enable_thinking")
_WHO = ("user", "safety_identifier")
# What may be left out when an endpoint refuses it: the answer stays an answer to the same question. Tools and stop are
# not among them; a response_format is asked for in words then.
_DISPENSABLE = (*_SAMPLING, *_LENGTH, "seed", "stream_options", *_EXTRAS, *_THINKING, *_WHO)
_SCHEMA, _FORMAT = "json_schema", "response_format"
_REFUSAL = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|extra (?:inputs|fields)|not (?:permitted|allowed)"
    r"|invalid parameter|不支持",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of a chat model. ``messages`` are as on the wire; ``extra`` fields are sent as they are."""

    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    model: str
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ChatPayload:
    """The JSON to send, and in words what of the request is not in it as it was asked for."""

    body: Mapping[str, Any]
    dropped: tuple[str, ...] = ()


def chat_payload(
    provider: Provider, request: ChatRequest, *, stream: bool, refused: frozenset[str] = frozenset()
) -> ChatPayload:
    """Return the payload of a request in this provider's dialect. ``refused`` are parameters it is known to reject."""
    dropped: list[str] = []
    body = _asked(provider, request, refused)
    _fit_reasoning(provider, body, dropped)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    for name in _left_out(provider, request.model, refused):
        if body.pop(name, None) is not None and name != "stream_options":
            dropped.append(f"{name} (not taken by {provider.title})")
    _fit_temperature(provider, body, dropped)
    _fit_tool_choice(provider, body, dropped)
    _fit_messages(provider, body)
    _fit_format(provider, body, dropped, refused)
    return ChatPayload({**body, **request.extra}, tuple(dropped))


def refused_parameter(error: EndpointError, payload: ChatPayload) -> str | None:
    """Return the dispensable parameter that this error says the endpoint does not know; None for any other error."""
    if error.status not in (400, 422):
        return None
    code = error.code or ""
    if not (code.startswith(("unsupported", "unknown_param")) or _REFUSAL.search(str(error))):
        return None
    sent = [name for name in _DISPENSABLE if name in payload.body]
    format_sent = payload.body.get(_FORMAT)
    if error.param:
        first = re.split(r"[.\[]", error.param)[0]
        if first == _FORMAT and format_sent:
            return _refused_format(format_sent, str(error))
        return first if first in sent else None
    mentioned = [name for name in sent if re.search(rf"(?<![\w]){name}(?![\w])", str(error))]
    if not mentioned and format_sent and re.search(rf"{_FORMAT}|{_SCHEMA}|json_object", str(error)):
        return _refused_format(format_sent, str(error))
    return mentioned[0] if mentioned else None


def _refused_format(sent: Mapping[str, Any], said: str) -> str | None:
    """Return what of a response format the endpoint lacks; None where it only dislikes this one schema."""
    if re.search(r"invalid schema|invalid_json_schema", said, re.IGNORECASE):
        return None
    return _SCHEMA if sent.get("type") == _SCHEMA else _FORMAT


def _asked(provider: Provider, request: ChatRequest, refused: frozenset[str]) -> dict[str, Any]:
    settings = request.settings
    values = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        _length_field(provider, request.model, refused): settings.max_tokens,
        "frequency_penalty": settings.frequency_penalty,
        "presence_penalty": settings.presence_penalty,
        "seed": settings.seed,
        "stop": list(settings.stop or ()) or None,
        "logit_bias": dict(settings.logit_bias) if settings.logit_bias else None,
        "reasoning_effort": settings.reasoning_effort,
        "verbosity": settings.verbosity,
        "service_tier": settings.service_tier,
        "store": settings.store,
        "metadata": dict(settings.metadata) if settings.metadata else None,
        provider.chat.user_field: settings.user,
        "response_format": dict(settings.response_format) if settings.response_format else None,
        "tools": [dict(tool) for tool in request.tools] or None,
        "tool_choice": request.tool_choice,
    }
    body: dict[str, Any] = {"model": request.model, "messages": [dict(message) for message in request.messages]}
    return body | {name: value for name, value in values.items() if value is not None}


def _length_field(provider: Provider, model: str, refused: frozenset[str]) -> str:
    quirks = provider.chat
    name = "max_completion_tokens" if model.startswith(quirks.reasoning_prefixes) else quirks.max_tokens_field
    other = _LENGTH[1 - _LENGTH.index(name)]
    return other if name in refused and other not in refused else name


def _left_out(provider: Provider, model: str, refused: frozenset[str]) -> list[str]:
    quirks = provider.chat
    names = {*refused, *quirks.unsupported} - {_FORMAT}  # it is asked for in words instead
    if model.startswith(quirks.fixed_sampling_prefixes):
        names.update(_SAMPLING)
    if not quirks.stream_options:
        names.add("stream_options")
    return sorted(names)


def _fit_temperature(provider: Provider, body: dict[str, Any], dropped: list[str]) -> None:
    asked = body.get("temperature")
    if asked is None:
        return
    low, high = provider.chat.temperature
    lowest = low + 0.01 if provider.chat.open_low else low
    fitted = min(max(asked, lowest), high)
    if fitted != asked:
        body["temperature"] = fitted
        dropped.append(f"temperature {asked:g} (sent as {fitted:g}, the nearest {provider.title} takes)")


def _fit_tool_choice(provider: Provider, body: dict[str, Any], dropped: list[str]) -> None:
    if body.get("tool_choice") == "required" and not provider.chat.tool_choice_required:
        body["tool_choice"] = "auto"
        dropped.append(f"tool_choice required (sent as auto: {provider.title} knows no other)")


def _fit_messages(provider: Provider, body: dict[str, Any]) -> None:
    quirks = provider.chat
    for message in body["messages"]:
        if message.get("role") == "developer" and not quirks.developer_role:
            message["role"] = "system"
        if not quirks.echo_reasoning:
            message.pop("reasoning_content", None)


def _fit_reasoning(provider: Provider, body: dict[str, Any], dropped: list[str]) -> None:
    """Say in the provider's words how much the model is to think."""
    effort, how = body.get("reasoning_effort"), provider.chat.reasoning
    if effort is None or how == "effort" or (how == "effort and toggle" and effort != "none"):
        return
    del body["reasoning_effort"]
    if how == "none":
        dropped.append(f"reasoning_effort (not taken by {provider.title})")
    elif how == "flag":
        body["enable_thinking"] = effort != "none"
    else:
        body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    if how in ("flag", "toggle") and effort != "none":
        dropped.append(f"reasoning_effort {effort} (sent as thinking: {provider.title} knows no degrees)")


def _fit_format(provider: Provider, body: dict[str, Any], dropped: list[str], refused: frozenset[str]) -> None:
    """Ask in words for what a provider cannot be held to: a schema, or any format."""
    wanted = body.get(_FORMAT) or {}
    lacks_format = _FORMAT in refused or _FORMAT in provider.chat.unsupported
    lacks_schema = wanted.get("type") == _SCHEMA and (_SCHEMA in refused or not provider.chat.json_schema)
    if wanted.get("type") not in (_SCHEMA, "json_object") or not (lacks_schema or lacks_format):
        return
    asking = "Answer with one JSON object, and nothing else."
    if wanted["type"] == _SCHEMA:
        schema = orjson.dumps((wanted.get(_SCHEMA) or {}).get("schema") or {}).decode()
        asking = f"Answer with one JSON object that follows this JSON schema, and nothing else: {schema}"
    body["messages"] = [{"role": "system", "content": asking}, *body["messages"]]
    if lacks_format:
        del body[_FORMAT]
        dropped.append(f"{_FORMAT} (asked for in words: {provider.title} takes none)")
    else:
        body[_FORMAT] = {"type": "json_object"}
        dropped.append(f"{_SCHEMA} (asked for in words: {provider.title} takes json_object only)")
