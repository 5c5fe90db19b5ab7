"""Scripts for the upstream: a model that calls tools turn by turn, and what it was shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from api.footnote import Footnote
from tests.upstream.replies import Message

JSON = dict[str, Any]
Open = Callable[..., Footnote]
Turn = str | Message | Callable[[JSON], str | Message]


def call(name: str, /, **arguments: Any) -> tuple[str, str]:
    """Return one call of a tool, as ``Message.tool_calls`` holds it."""
    return name, json.dumps(arguments, ensure_ascii=False)


def calls(*made: tuple[str, str], text: str = "") -> Message:
    return Message(text=text, tool_calls=made)


def turns(*said: Turn) -> Callable[[JSON], str | Message]:
    """Return a reply that says one thing a turn; a turn is counted by the assistant's messages in the request."""

    def reply(request: JSON) -> str | Message:
        place = sum(message["role"] == "assistant" for message in request["messages"])
        turn = said[min(place, len(said) - 1)]
        return turn if isinstance(turn, str | Message) else turn(request)

    return reply


def results(request: JSON) -> list[str]:
    """Return the results of tools that a request carries, in order."""
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


def tool_names(request: JSON) -> list[str]:
    return [tool["function"]["name"] for tool in request.get("tools", ())]


def shown_texts(result: str) -> Sequence[str]:
    """Return what stands between the source tags of a result, without the heading of each."""
    return re.findall(r"<source-(\d+)>\n.*?\n\n(.*?)\n</source-\1>", result, re.DOTALL)
