"""Spans of a text that are better not cut: fenced code and tables, as Markdown writes them."""

from __future__ import annotations

__all__ = ["protected_blocks"]

_FENCES = ("```", "~~~")


def protected_blocks(text: str) -> list[tuple[int, int]]:
    """Return the spans of fenced code and of tables (lines that begin with a bar), in order and apart."""
    spans = sorted([*_fenced(text), *_tables(text)])
    apart: list[tuple[int, int]] = []
    for start, end in spans:
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart


def _fenced(text: str) -> list[tuple[int, int]]:
    """Code between fences; a fence that is not closed protects nothing."""
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


def _tables(text: str) -> list[tuple[int, int]]:
    """Runs of lines that begin with a bar."""
    spans: list[tuple[int, int]] = []
    at = text.find("|")
    while at >= 0:
        end = at
        if at == 0 or text[at - 1] == "\n":
            while text.startswith("|", end):
                end = _line_end(text, end) + 1
            spans.append((at, end - 1))
        else:
            end = _line_end(text, end)
        at = text.find("|", end)
    return spans


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)
