"""JSON and JSON Lines: each record becomes a paragraph of ``key: value`` lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ingest.readers.encoding import decode
from ingest.readers.reading import Reading, normalised_text

__all__ = ["read_json", "read_jsonl"]

_MAX_WARNINGS = 20


def read_json(data: bytes, name: str) -> Reading:
    """Read JSON: one paragraph for each item of a list, one for any other value.

    What is not valid JSON but is JSON on each line is read as JSON Lines; anything else as plain text, with a warning.
    """
    decoded = decode(data)
    try:
        value = _load(decoded.text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in decoded.text.splitlines()[:10] if line.strip()]
        if len(lines) > 1 and all(_is_record(line) for line in lines[:-1]):
            return read_jsonl(data, name)
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        text, warnings = normalised_text(decoded.text)
        warnings = (f"not read as JSON, {reason}; read as plain text", *decoded.warnings, *warnings)
        return Reading(text, "application/json", metadata={"encoding": decoded.encoding}, warnings=warnings)
    records = value if isinstance(value, list) else [value]
    text, warnings = normalised_text("\n\n".join(map(_paragraph, records)))
    title = value.get("title") if isinstance(value, dict) else None
    return Reading(
        text,
        "application/json",
        title=title if isinstance(title, str) else "",
        metadata={"encoding": decoded.encoding, "records": str(len(records))},
        warnings=(*decoded.warnings, *warnings),
    )


def read_jsonl(data: bytes, name: str) -> Reading:
    """Read JSON Lines. A line that is not JSON stays in the text as it is, with a warning that names the line."""
    decoded = decode(data)
    paragraphs: list[str] = []
    broken: list[str] = []
    # subtle: str.splitlines would cut at U+2028, which JSON allows inside a string
    for number, line in enumerate(decoded.text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            paragraphs.append(_paragraph(_load(line)))
        except (ValueError, RecursionError) as error:
            broken.append(f"line {number} is not JSON ({str(error)[:100]}); kept as plain text")
            paragraphs.append(line.strip())
    if len(broken) > _MAX_WARNINGS:
        broken[_MAX_WARNINGS:] = [f"{len(broken) - _MAX_WARNINGS} more lines are not JSON"]
    text, warnings = normalised_text("\n\n".join(paragraphs))
    metadata = {"encoding": decoded.encoding, "records": str(len(paragraphs))}
    warnings = (*decoded.warnings, *broken, *warnings)
    return Reading(text, "application/jsonl", metadata=metadata, warnings=warnings)


def _load(text: str) -> Any:
    # Numbers stay as they are written: 1.10 is a version, and 0.1 + 0.2 is nobody's business here.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _is_record(line: str) -> bool:
    try:
        return isinstance(_load(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _paragraph(record: Any) -> str:
    """Return one record as lines; an inner key is written with a dot, an item of a list of records with its number."""
    return "\n".join(f"{path}: {value}" if path else value for path, value in _leaves(record))


def _leaves(record: Any) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the values that hold text, in order. A list of plain values is one."""
    stack: list[tuple[str, Any]] = [("", record)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict):
            stack += [(f"{path}.{key}" if path else str(key), item) for key, item in reversed(value.items())]
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            stack += [(f"{path}[{place}]", value[place - 1]) for place in range(len(value), 0, -1)]
        else:
            text = ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
            if text:
                yield path, text


def _plain(value: Any) -> str:
    """Return a scalar as text, without empty lines: those separate records."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return re.sub(r"\n\s*\n", "\n", str(value).strip())
