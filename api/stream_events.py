"""The events of a stream as the bytes that are sent: those of an answer, and those that frame it.

A stream begins with ``started`` and ends with ``done`` or ``error``. Before ``done`` come ``usage`` and the whole
``answer``, unless it was cancelled.
"""

from __future__ import annotations

import time
from json.encoder import encode_basestring
from typing import Any, Literal

from api.events import error_json, event_json, json_bytes, usage_json
from rag.types import Answer, AnswerEvent, TextDelta

__all__ = ["Outcome", "done_event", "error_event", "started_event", "stream_events"]

Outcome = Literal["answered", "refused", "cancelled"]


def started_event(answer_id: str, *, resume_s: float) -> bytes:
    """Return the first event of every stream, number 0. ``resume_s``: how long events are kept for coming back."""
    content = {"id": answer_id, "created": int(time.time()), "resume_s": resume_s}
    return _event(0, {"type": "started", **content})


def stream_events(event: AnswerEvent, number: int) -> list[bytes]:
    """Return what is sent for an event of an answer, beginning with this number."""
    if isinstance(event, TextDelta):  # nearly all events are: no dict, no encoder
        return [_delta(event.text, number)]
    if not isinstance(event, Answer):
        return [_event(number, event_json(event))]
    outcome: Outcome = "answered" if event.answered else "refused"
    return [
        _event(number, {"type": "usage", "usage": usage_json(event.usage)}),
        _event(number + 1, event_json(event)),
        done_event(
            number + 2,
            outcome=outcome,
            refusal=event.refusal,
            finish_reason=event.finish_reason,
            timings_ms=dict(event.timings_ms),
        ),
    ]


def done_event(
    number: int,
    *,
    outcome: Outcome,
    refusal: str | None = None,
    finish_reason: str | None = None,
    timings_ms: dict[str, float] | None = None,
) -> bytes:
    """Return the last event of a stream in which nothing failed."""
    ending = {"outcome": outcome, "refusal": refusal, "finish_reason": finish_reason, "timings_ms": timings_ms or {}}
    return _event(number, {"type": "done", **ending})


def error_event(number: int, error: Exception) -> bytes:
    """Return the last event of a stream in which something failed."""
    return _event(number, error_json(error))


def _event(number: int, data: dict[str, Any]) -> bytes:
    content = json_bytes({**data, "sequence_number": number})
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, data["type"].encode(), content)


def _delta(text: str, number: int) -> bytes:
    # subtle: as in json_bytes, a lone surrogate is written as \udc80, which is valid JSON
    quoted = encode_basestring(text).encode("utf-8", "backslashreplace")
    return b'id: %d\nevent: delta\ndata: {"type":"delta","text":%b,"sequence_number":%d}\n\n' % (number, quoted, number)
