"""What can go wrong with a reply: a ``Fault``, and edits of the reply's JSON to put in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One reply that is not as it should be. Without arguments: a good reply.

    ``body`` replaces the reply (a dict is sent as JSON); with a status of 400 or more and no body, an OpenAI error body
    is sent. ``edit`` changes the JSON of the good reply; ``edit_events`` the list of a stream's events, where bytes
    and strings are sent as they are. ``cut_after`` drops the connection after so many events (stream) or after half of
    the body. ``hang`` never answers; ``hang_after`` stalls after so many events. ``preamble`` goes before the body.
    The rest is the style of the stream: ``events_per_s``, ``pieces_of`` (bytes per TCP write), ``newline``, ``data``
    (the field with or without its space), ``comment`` (a keep-alive before every event), ``done`` (the last [DONE]).
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | JSON | None = None
    delay_s: float = 0.0
    hang: bool = False
    hang_after: int | None = None
    cut_after: int | None = None
    preamble: bytes = b""
    edit: Callable[[JSON], Any] | None = None
    edit_events: Callable[[list[Any]], list[Any]] | None = None
    events_per_s: float | None = None
    pieces_of: int | None = None
    newline: str = "\n"
    data: str = "data: "
    comment: str | None = None
    done: bool = True


_ERRORS = {
    400: ("invalid_request_error", None, "The request is wrong."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("unknown_error", "invalid_request_error", "Insufficient Balance"),
    403: ("permission_error", None, "You may not do this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached."),
    503: ("server_error", "overloaded", "The engine is overloaded."),
}


def error_body(status: int, *, message: str | None = None, code: str | None = None, param: str | None = None) -> JSON:
    """Return OpenAI's error body as it comes with this status."""
    kind, usual_code, text = _ERRORS.get(status, ("server_error", None, "The server had an error."))
    return {"error": {"message": message or text, "type": kind, "param": param, "code": code or usual_code}}


OUT_OF_QUOTA = Fault(status=429, body=error_body(429, message="You exceeded your quota.", code="insufficient_quota"))
HTML_PAGE = Fault(
    status=502, headers={"content-type": "text/html"}, body="<html><head><title>502 Bad Gateway</title></head></html>"
)


# --- edits of a JSON reply -------------------------------------------------------------------------------------------


def without(*names: str) -> Callable[[JSON], JSON]:
    """Remove fields from the reply and from the items of its ``data``."""

    def edit(reply: JSON) -> JSON:
        bare = {key: value for key, value in reply.items() if key not in names}
        if "data" in bare:
            bare["data"] = [{key: value for key, value in item.items() if key not in names} for item in bare["data"]]
        return bare

    return edit


def reversed_data(reply: JSON) -> JSON:
    """Send the rows last first; their ``index`` still tells their place."""
    return {**reply, "data": reply["data"][::-1]}


def lose_last_row(reply: JSON) -> JSON:
    return {**reply, "data": reply["data"][:-1]}


def repeat_first_index(reply: JSON) -> JSON:
    return {**reply, "data": [{**item, "index": 0} for item in reply["data"]]}


def first_row(*values: float) -> Callable[[JSON], JSON]:
    """Put these values in place of the first vector."""

    def edit(reply: JSON) -> JSON:
        row = {**reply["data"][0], "embedding": [None if math.isnan(value) else value for value in values]}
        return {**reply, "data": [row, *reply["data"][1:]]}

    return edit


# --- edits of a chat stream's events ---------------------------------------------------------------------------------


def usage_in_choice(events: list[Any]) -> list[Any]:
    """Move the usage into the last choice, as Moonshot does."""
    usage = next(event["usage"] for event in events if event.get("usage"))
    kept = [{key: value for key, value in event.items() if key != "usage"} for event in events if event["choices"]]
    kept[-1]["choices"] = [{**kept[-1]["choices"][0], "usage": usage}]
    return kept


def no_usage(events: list[Any]) -> list[Any]:
    return [{key: value for key, value in event.items() if key != "usage"} for event in events if event["choices"]]


def no_finish(events: list[Any]) -> list[Any]:
    """End the stream before its finish reason."""
    return [event for event in events if event["choices"] and not event["choices"][0]["finish_reason"]]


def error_after(n: int, error: JSON) -> Callable[[list[Any]], list[Any]]:
    """Put an error event after ``n`` events and end there."""
    return lambda events: [*events[:n], error]
