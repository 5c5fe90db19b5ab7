"""Jupyter notebooks: prose, code and printed results, cell by cell."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ingest.readers.draft import Draft
from ingest.readers.encoding import decode
from ingest.readers.markdown import read_markdown
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError

__all__ = ["read_ipynb"]


def read_ipynb(data: bytes, name: str) -> Reading:
    """Read a notebook: Markdown, code and the text of its results; a place is "cell 3". Pictures are not read."""
    if not data.strip():
        return Reading("", "application/x-ipynb+json")
    try:
        notebook = json.loads(decode(data).text)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, str(error)) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict):  # before version 4
        sheets = notebook.get("worksheets")
        cells = [cell for sheet in sheets for cell in sheet["cells"]] if isinstance(sheets, list) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise _damaged(name, "it has no list of cells")
    metadata = notebook.get("metadata") or {}
    language = str((metadata.get("kernelspec") or {}).get("language") or "")
    draft = Draft()
    for number, cell in enumerate(cells, start=1):
        draft.page(f"cell {number}")
        _write(draft, cell, language)
    title = str(metadata.get("title") or "")
    facts = {"cells": str(len(cells)), "language": language}
    return draft.reading("application/x-ipynb+json", title=title, metadata=facts)


def _write(draft: Draft, cell: dict[str, Any], language: str) -> None:
    source = _joined(cell.get("source", cell.get("input", "")))
    match cell.get("cell_type"):
        case "markdown":
            draft.include(read_markdown(source.encode("utf-8", "replace"), ""))
        case "heading":
            draft.heading(int(cell.get("level", 1)), source)
        case "code":
            if source.strip():
                draft.add(f"```{language}\n{source.rstrip()}\n```")
            for output in cell.get("outputs") or ():
                draft.add(_result(output) if isinstance(output, dict) else "")
        case _:
            draft.add(source)


def _result(output: dict[str, Any]) -> str:
    """Return what an output shows as text: "" for a picture."""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
    if "text" in output:
        return _joined(output["text"]).rstrip()
    shown = output.get("data")
    return _joined(shown.get("text/plain", "")).rstrip() if isinstance(shown, dict) else ""


def _joined(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, Iterable) and not isinstance(lines, str) else str(lines)


def _damaged(name: str, found: str) -> DocumentReadError:
    return DocumentReadError(f"cannot read {name!r}: it is not a whole notebook ({found}); open it and save it again")
