"""What an endpoint's error says, in whichever of the known shapes it comes, and which of our errors that is: pure.

Known shapes: ``{"error": {...}}``, ``{"error": "text"}``, ``{"code", "message"[, "sid"]}`` also with status 200,
``{"object": "error", ...}``, ``{"type": "error", ...}``, ``{"detail": "text" | [{"loc", "msg"}]}``, a web page and
nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from rag.errors import (
    AuthenticationError,
    EndpointError,
    EndpointResponseError,
    EndpointTimeoutError,
    QuotaExhaustedError,
    RateLimitError,
)
from rag.gateway.retry import is_retriable_status, reset_after_s, retry_after_s, should_retry_header

__all__ = ["CallContext", "ErrorBody", "endpoint_error", "error_in", "json_of", "parse_error_body"]

# No money, no quota: waiting does not help. OpenAI, Moonshot, Zhipu 1113, SiliconFlow 30001, Volcengine, DashScope.
_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "insufficient_user_quota",
        "1113",
        "30001",
        "accountoverdueerror",
        "arrearage",
        "free_quota_exhausted",
        "allocationquota.freetieronly",
    }
)
_RATE_CODES = frozenset(
    {
        "rate_limit_exceeded",
        "rate_limit_reached_error",
        "engine_overloaded_error",
        "throttling",
        "throttling.ratequota",
        "1302",  # Zhipu: too many at once
        "1305",
        "11202",  # Spark: too many a second
        "11203",  # Spark: too many at once
    }
)
_AUTH_CODES = frozenset(
    {
        "invalid_api_key",
        "invalidapikey",
        "invalid_authentication_error",
        "authenticationerror",
        "authentication_error",
        "1000",  # Zhipu: authentication failed
        "1002",
        "11200",  # Spark: not authorised for this model
    }
)
_TOO_LONG_CODES = frozenset(
    {"context_length_exceeded", "string_above_max_length", "max_tokens_exceeded", "1261", "10907"}
)

_MAX_SAID = 300
_KEYLIKE = re.compile(r"\b(?:sk|ak|ark|key)-[\w*.\-]{4,}|Bearer\s+\S+", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_WINDOW = 16  # characters


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An endpoint's error: what it says and the names it gives. An empty message means that it said nothing."""

    message: str
    type: str | None = None
    param: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a message may say of the call that failed.

    ``doing`` names provider and address ("DeepSeek at https://..."), ``key_settings`` where a key is set. ``secret``
    (the key) and ``texts`` (of the request) are only there to be kept out of the message.
    """

    doing: str
    key_settings: str
    has_key: bool = True
    secret: str = field(default="", repr=False)
    texts: object = field(default=None, repr=False)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body that may begin with a BOM or blank lines (DeepSeek keeps alive with them).

    Raises ValueError when there is none.
    """
    return orjson.loads(body.removeprefix(b"\xef\xbb\xbf").strip())


def parse_error_body(body: bytes) -> ErrorBody:
    """Return what the body of a failed call says; never raises."""
    try:
        value = json_of(body)
    except ValueError:
        return ErrorBody(_text_of(body))
    if found := error_in(value):
        return found
    if isinstance(value, dict):
        detail = value.get("detail", value.get("message", value.get("msg")))
        return ErrorBody(_detail(detail), _name(value.get("type")), _name(value.get("param")), _name(value.get("code")))
    return ErrorBody(_detail(value))


def error_in(value: Any) -> ErrorBody | None:
    """Return the error that a reply of status 200, or an event of a stream, turns out to be; None for a good one.

    >>> error_in({"code": 10013, "message": "refused", "sid": "x"})
    ErrorBody(message='refused', type=None, param=None, code='10013')
    """
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict) and error:
        message = error.get("message") or error.get("msg") or error.get("detail") or ""
        return ErrorBody(
            _detail(message), _name(error.get("type")), _name(error.get("param")), _name(error.get("code"))
        )
    if isinstance(error, str) and error:
        said = value.get("message")
        return ErrorBody(
            f"{error}: {said}" if isinstance(said, str) and said != error else error, code=_name(value.get("code"))
        )
    is_flat = value.get("object") == "error" or value.get("type") == "error" or _is_bad_code(value)
    if not is_flat:
        return None
    message = value.get("message") or value.get("msg") or ""
    return ErrorBody(_detail(message), _name(value.get("type")), _name(value.get("param")), _name(value.get("code")))


def _is_bad_code(value: Mapping[str, Any]) -> bool:
    """Return whether this is {code, message} without an answer; good ones carry 0 (Spark), 20000 (SiliconFlow)."""
    code = value.get("code")
    is_good = code in (None, "", 0, "0", 200, "200", 20000, "Success", "success")
    return not is_good and ("message" in value or "msg" in value) and not value.get("choices")


def _detail(value: Any) -> str:
    """Return an error text that may be a list of validation errors ({"loc": [...], "msg": ...}) as one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        nested = value.get("message") or value.get("msg") or value.get("error")
        place = ".".join(str(part) for part in value.get("loc", ()) if part != "body")
        return f"{place}: {_detail(nested)}" if place else _detail(nested)
    if isinstance(value, list):
        return "; ".join(_detail(item) for item in value[:5])
    return "" if value is None else str(value)


def _name(value: Any) -> str | None:
    return None if value is None or value == "" or isinstance(value, (dict, list)) else str(value)


def _text_of(body: bytes) -> str:
    """Return what a body that is not JSON says: a web page's title, or the first line of a plain text."""
    if title := _TITLE.search(body[:20_000]):
        return f"a web page titled {_one_line(title.group(1).decode('utf-8', 'replace'))!r}"
    text = _one_line(body[:2_000].decode("utf-8", "replace"))
    return "a web page" if text.startswith("<") else text


def _one_line(text: str) -> str:
    return " ".join(text.split())


# --- which error it is -----------------------------------------------------------------------------------------------


def endpoint_error(
    status: int, error: ErrorBody, context: CallContext, *, headers: Mapping[str, str], now: float
) -> EndpointError:
    """Return our error for an endpoint's: what failed, what was found, what to do.

    ``status`` is 200 for an error inside a good reply or a stream; its code then decides. Header names are lower case.
    """
    effective = _effective_status(status, error)
    kind, advice = _classify(effective, error, context)
    said = _presentable(error.message, context) or "no explanation"
    code = f", code {error.code}" if error.code and error.code != str(status) else ""
    param = f", parameter {error.param}" if error.param else ""
    request_id = headers.get("x-request-id") or headers.get("x-ds-trace-id")
    told = f" [request {request_id}]" if request_id else ""
    asked = should_retry_header(headers)
    wait_s = retry_after_s(headers, now=now)
    if wait_s is None and kind is RateLimitError:
        wait_s = reset_after_s(headers)
    if wait_s:
        advice = f"it asks to wait {wait_s:.0f} s; {advice}"
    return kind(
        f"{context.doing}: status {status}{code}{param}: {said}; {advice}{told}",
        status=status,
        code=error.code,
        param=error.param,
        request_id=request_id,
        retriable=_is_retriable(kind, effective) if asked is None else asked,
        retry_after_s=wait_s,
    )


def _effective_status(status: int, error: ErrorBody) -> int:
    """Return the status, or for an error that came with a good one the status that its code or type stands for."""
    if status >= 400:
        return status
    for name in (error.code, error.type):
        if name and name.isdigit() and 400 <= int(name) <= 599:
            return int(name)
        if name and name.lower() in {"server_error", "internal_server_error", "overloaded", "internal_error"}:
            return 500
    return 400


def _is_retriable(kind: type[EndpointError], effective: int) -> bool:
    if kind in (AuthenticationError, QuotaExhaustedError):
        return False
    return kind is RateLimitError or is_retriable_status(effective)


def _classify(status: int, error: ErrorBody, context: CallContext) -> tuple[type[EndpointError], str]:
    names = {name.lower() for name in (error.code, error.type) if name}
    if status == 402 or names & _QUOTA_CODES:
        return QuotaExhaustedError, "the account has no quota or money left: top it up or use another provider"
    if status in (401, 403) or names & _AUTH_CODES:
        if not context.has_key:
            return AuthenticationError, f"no key was sent: set {context.key_settings}"
        return AuthenticationError, f"check the key ({context.key_settings}) and what it is allowed to use"
    if status == 429 or names & _RATE_CODES:
        return RateLimitError, "lower the concurrency or try again later"
    if names & _TOO_LONG_CODES:
        return EndpointResponseError, "the request is longer than the model takes: send less, or name another model"
    if status in (408, 504):
        return EndpointTimeoutError, "raise timeout_s or try again later"
    return EndpointResponseError, _advice(status)


def _advice(status: int) -> str:
    if status == 404:
        return "check the model name and the base URL (most end in /v1)"
    if status == 405:
        return "check the base URL (most end in /v1)"
    if status == 413:
        return "send less at once"
    if 300 <= status < 400:
        return "the address has moved: set the base URL to the new one"
    if status >= 500:
        return "the provider has a fault or is starting up: try again later"
    return "change the request or the model settings as it says"


def _presentable(message: str, context: CallContext) -> str:
    """Return the endpoint's words as one short line without keys and without what the request quoted."""
    text = _one_line(message)
    if context.secret:
        text = text.replace(context.secret, "[key]")
    text = _without_quotations(_KEYLIKE.sub("[key]", text)[: 2 * _MAX_SAID], context.texts)
    return text if len(text) <= _MAX_SAID else text[: _MAX_SAID - 3] + "..."


def _without_quotations(text: str, texts: object) -> str:
    """Replace by [...] what stands in the texts of the request too: it may be a document or a question.

    Shared runs of two or more windows count, so that common words stay.
    """
    if texts is None:
        return text
    sent = orjson.dumps(texts, default=str).decode("utf-8", "replace")
    step = _WINDOW // 2
    shared = [place for place in range(0, len(text) - _WINDOW + 1, step) if text[place : place + _WINDOW] in sent]
    spans: list[list[int]] = []
    for place in shared:
        if spans and place <= spans[-1][1]:
            spans[-1][1] = place + _WINDOW
        else:
            spans.append([place, place + _WINDOW])
    for start, end in reversed(spans):
        if end - start > _WINDOW:
            text = f"{text[:start]}[...]{text[end:]}"
    return text
