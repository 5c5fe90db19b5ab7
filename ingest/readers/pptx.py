"""PowerPoint presentations: a slide is a page; the only importer of python-pptx."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from ingest.readers.draft import Draft, one_line
from ingest.readers.packages import open_package
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError

__all__ = ["read_pptx"]

_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"


def read_pptx(data: bytes, name: str) -> Reading:
    """Read a presentation: each slide with its title, text, tables, chart values and notes; a place is "slide 3"."""
    # Imported late: with lxml it takes longer to load than most presentations to read.
    from pptx import Presentation
    from pptx.exc import PythonPptxError

    package = open_package(data, name, part="ppt/presentation.xml")
    try:
        presentation = Presentation(io.BytesIO(data))
    except (PythonPptxError, ValueError, KeyError, SyntaxError) as error:  # lxml's errors are SyntaxErrors
        raise DocumentReadError(
            f"cannot read {name!r}: it is not a whole presentation ({error}); open it and save it again"
        ) from error
    draft = Draft()
    for number, slide in enumerate(presentation.slides, start=1):
        hidden = slide.element.get("show") in ("0", "false")
        draft.page(f"slide {number} (hidden)" if hidden else f"slide {number}")
        _write(draft, slide)
    facts = package.office_facts()
    title = facts.pop("title", "")
    return draft.reading(_MEDIA_TYPE, title="" if title.lower() == "powerpoint presentation" else title, metadata=facts)


def _write(draft: Draft, slide: Any) -> None:
    title = slide.shapes.title
    if title is not None and title.has_text_frame:
        draft.heading(1, title.text_frame.text)
    for shape in _shapes(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            lines = [("  " * paragraph.level, _line(paragraph)) for paragraph in shape.text_frame.paragraphs]
            draft.add("\n".join(f"{indent}- {line}" if indent else line for indent, line in lines if line.strip()))
        elif getattr(shape, "has_table", False):
            rows = [[one_line(cell.text) for cell in row.cells] for row in shape.table.rows]
            draft.table(rows, n_header=int(shape.table.first_row and len(rows) > 1))
        elif getattr(shape, "has_chart", False):
            draft.add(_chart(shape.chart))
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
        draft.add("Notes: " + notes.text.replace("\v", "\n").strip())


def _line(paragraph: Any) -> str:
    return str(paragraph.text).replace("\v", "\n")


def _shapes(shapes: Any) -> Iterator[Any]:
    """Yield the shapes in their order, those of groups at the place of the group."""
    stack = list(reversed(list(shapes)))
    while stack:
        shape = stack.pop()
        if hasattr(shape, "shapes"):
            stack += reversed(list(shape.shapes))
        else:
            yield shape


def _chart(chart: Any) -> str:
    """Return the values of a chart as rows: what a viewer reads off it."""
    lines = (
        [one_line(chart.chart_title.text_frame.text)] if chart.has_title and chart.chart_title.has_text_frame else []
    )
    for plot in chart.plots:
        categories = [str(category) for category in plot.categories]
        for series in plot.series:
            values = ["" if value is None else f"{value:g}" for value in series.values]
            named = zip(categories, values, strict=False) if categories else (("", value) for value in values)
            pairs = ", ".join(f"{category}: {value}" if category else value for category, value in named if value)
            lines.append(f"{one_line(series.name or 'series')} | {pairs}")
    return "\n".join(line for line in lines if line)
