"""Good replies of the Responses API, whole and as events; the shapes are checked with the official client."""

from __future__ import annotations

import re
from typing import Any

from tests.upstream.replies import CREATED, JSON, Message, words

__all__ = ["as_chat", "responses_events", "responses_reply"]


def as_chat(request: JSON) -> JSON:
    """Return the request with its messages where a chat request has them, for the script of a test."""
    given = request["input"]
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return {**request, "messages": [item for item in messages if item.get("role")]}


def _output(message: Message) -> list[JSON]:
    items: list[JSON] = []
    if message.reasoning:
        summary = [{"type": "summary_text", "text": message.reasoning}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary})
    if message.text or message.refusal:
        part: JSON = {"type": "output_text", "text": message.text, "annotations": [], "logprobs": []}
        if message.refusal:
            part = {"type": "refusal", "refusal": message.refusal}
        body = {"role": "assistant", "status": "completed", "content": [part]}
        items.append({"type": "message", "id": "msg_1", **body})
    for place, (name, arguments) in enumerate(message.tool_calls):
        call = {"call_id": f"call_{place}", "name": name, "arguments": arguments, "status": "completed"}
        items.append({"type": "function_call", "id": f"fc_{place}", **call})
    return items


def responses_reply(request: JSON, message: Message, call: int) -> JSON:
    """Return a whole response; the finish reason "length" makes it incomplete."""
    n_in = sum(len(words(str(item["content"]))) for item in as_chat(request)["messages"])
    n_out = len(words(message.text))
    is_cut = message.finish_reason == "length"
    usage = {
        "input_tokens": n_in,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": n_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": n_in + n_out,
    }
    return {
        "id": f"resp_{call}",
        "object": "response",
        "created_at": CREATED,
        "status": "incomplete" if is_cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "model": request.get("model"),
        "output": _output(message),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def responses_events(request: JSON, message: Message, call: int) -> list[Any]:
    """Return the events of a streamed response, a word each, numbered from 0 without gaps."""
    whole = responses_reply(request, message, call)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[JSON] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(whole["output"]):
        at = {"output_index": index, "item_id": item["id"]}
        bare = {**item, "content": []} if "content" in item else {**item, "arguments": ""} if "name" in item else item
        events.append({"type": "response.output_item.added", "output_index": index, "item": bare})
        if item["type"] == "reasoning":
            for piece in _pieces(message.reasoning):
                events.append(
                    {"type": "response.reasoning_summary_text.delta", **at, "summary_index": 0, "delta": piece}
                )
        for part in item.get("content") or ():
            kind, text = part["type"], part.get("text") or part.get("refusal")
            more = {"logprobs": []} if kind == "output_text" else {}
            empty = {**part, "text": ""} if "text" in part else {**part, "refusal": ""}
            events.append({"type": "response.content_part.added", **at, "content_index": 0, "part": empty})
            for piece in _pieces(text):
                events.append({"type": f"response.{kind}.delta", **at, "content_index": 0, "delta": piece, **more})
            done = {"text": text} if "text" in part else {"refusal": text}
            events.append({"type": f"response.{kind}.done", **at, "content_index": 0, **done, **more})
            events.append({"type": "response.content_part.done", **at, "content_index": 0, "part": part})
        if item["type"] == "function_call":
            events.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)
