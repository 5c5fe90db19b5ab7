"""Spans of a text that are better not cut: code between fences, as Markdown writes it."""

from __future__ import annotations

__all__ = ["fenced_code"]

_FENCES = ("```", "~~~")


def fenced_code(text: str) -> list[tuple[int, int]]:
    """Return the spans of code between fences, in order and apart; a fence that is not closed protects nothing."""
    apart: list[tuple[int, int]] = []
    for start, end in sorted(_fenced(text)):
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart


def _fenced(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for fence in _FENCES:
        at = text.find(fence) if fence[0] in text else -1  # a single character is found ten times as fast
        while at >= 0:
            start = text.rfind("\n", 0, at) + 1
            # Within a line it is none; tildes under a line are the underline of a heading.
            if text[start:at].strip() or (fence == "~~~" and not text.endswith("\n\n", 0, start) and start > 0):
                at = text.find(fence, at + 3)
                continue
            mark = fence + fence[0] * _run_length(text, at + 3, fence[0])
            end = _closing(text, mark, at + len(mark))
            if end:
                spans.append((start, end))
            at = text.find(fence, end or at + len(mark))
    return spans


def _closing(text: str, mark: str, at: int) -> int:
    """The end of the next line that holds this fence and nothing else, or 0."""
    while (at := text.find(mark, at)) >= 0:
        start = text.rfind("\n", 0, at) + 1
        line_end = _line_end(text, at)
        if not text[start:line_end].strip(mark[0] + " "):
            return line_end
        at = line_end
    return 0


def _run_length(text: str, at: int, character: str) -> int:
    end = at
    while text.startswith(character, end):
        end += 1
    return end - at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)
