"""Takes out the reasoning that some servers leave in the text: ``<think>...</think>`` before the answer."""

from __future__ import annotations

__all__ = ["ThinkingFilter"]

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkingFilter:
    """Feed it the pieces of a text, and ``finish``; what they return is the text without the reasoning it begins with.

    Only at the very beginning: the word later on is text. Reasoning that is never closed leaves no text.
    """

    def __init__(self) -> None:
        self._held: str | None = ""

    def feed(self, piece: str) -> str:
        if self._held is None:
            return piece
        self._held += piece
        body = self._held.lstrip()
        if body.startswith(_OPEN):
            _, closed, rest = body.partition(_CLOSE)
            if not closed:
                self._held = _OPEN + body[len(_OPEN) :][1 - len(_CLOSE) :]  # enough to see the end of a long reasoning
            if not rest.strip():
                return ""
            self._held = None
            return rest.lstrip()
        if _OPEN.startswith(body):
            return ""
        held, self._held = self._held, None
        return held

    def finish(self) -> str:
        """Return what was held back because more text could have made it reasoning."""
        held, self._held = self._held or "", None
        return "" if held.lstrip().startswith(_OPEN) else held
