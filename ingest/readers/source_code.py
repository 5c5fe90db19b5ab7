"""Source code: the text stays; classes and functions are its headings."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from ingest.readers.encoding import decode
from ingest.readers.reading import Reading, normalised_text
from rag.types import Heading

__all__ = ["read_code", "read_python"]

_NAME = r"[A-Za-z_$][\w$]*"
# A line that opens a definition in the languages with braces, and in Ruby. Calls end otherwise, or begin with less.
_DEFINITION = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?:export|default|public|private|protected|internal|static|final|abstract|async"
    r"|pub(?:\([a-z]+\))?|unsafe|override|open|sealed|data|partial|virtual|inline|extern)[ ]+)*"
    r"(?:(?P<kind>class|interface|struct|enum|trait|impl|module|namespace|object|protocol|record|function\*?|fn|func|fun|def)"
    rf"(?:<[^>\n]*>)?[ ]+(?P<name>(?:\([^)\n]*\)[ ]*)?{_NAME}(?:[.:]+{_NAME})*))",
    re.MULTILINE,
)
# C, C++, Java, C#: a type, a name, parameters, and a brace at the end of the line or on the next.
_C_FUNCTION = re.compile(
    rf"^(?P<indent>[ \t]{{0,8}})(?!(?:return|else|new|throw|if|for|while|switch|case|goto|delete|await|yield)\b)"
    rf"(?:[\w$:<>,*&\[\]]+[ ]+)+[*&]*(?P<name>{_NAME}(?:::~?{_NAME})*)"
    rf"\([^;{{}}\n]*\)[^;{{}}\n=]*(?:\{{[^\n]*|\n[ \t]*\{{)",
    re.MULTILINE,
)
_MAX_LINE = 5_000
"""A longer line was written by a machine: its names are not for people."""


def read_python(data: bytes, name: str) -> Reading:
    """Read Python. The text is the source; headings are its classes and functions."""
    text, doubts, encoding = _source(data)
    headings = tuple(_python_headings(text))
    return Reading(text, "text/x-python", headings=headings, metadata={"encoding": encoding}, warnings=doubts)


def read_code(data: bytes, name: str) -> Reading:
    """Read source code. The text is the source; headings are the classes and functions that its lines open."""
    text, doubts, encoding = _source(data)
    headings = () if _is_machine_written(text) else tuple(_headings(text))
    return Reading(text, "text/x-source", headings=headings, metadata={"encoding": encoding}, warnings=doubts)


def _source(data: bytes) -> tuple[str, tuple[str, ...], str]:
    decoded = decode(data)
    text, doubts = normalised_text(decoded.text)
    return text, (*decoded.warnings, *doubts), decoded.encoding


def _is_machine_written(text: str) -> bool:
    return max(map(len, text.split("\n"))) > _MAX_LINE


def _python_headings(text: str) -> Iterator[Heading]:
    """Yield the definitions, their level that of their nesting; nothing where the source is not of today's Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the source, which are its author's business
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    stack: list[tuple[ast.AST, int]] = [(tree, 0)]
    while stack:
        node, level = stack.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            level += 1
            kind = "class" if isinstance(node, ast.ClassDef) else "def"
            line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield Heading(level, f"{kind} {node.name}", starts[line - 1])
        children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]
        stack += [(child, level) for child in reversed(children)]


def _headings(text: str) -> Iterator[Heading]:
    """Yield the definitions; the level is that of the indentation."""
    found = {match.start(): match for match in _C_FUNCTION.finditer(text)}
    found |= {match.start(): match for match in _DEFINITION.finditer(text)}
    indents: list[int] = []
    for start in sorted(found):
        match = found[start]
        indent = len(match["indent"].expandtabs(4))
        while indents and indents[-1] >= indent:
            indents.pop()
        indents.append(indent)
        kind = match.groupdict().get("kind") or ""
        yield Heading(len(indents), f"{kind} {match['name']}".strip(), start)
