"""Chunks keep the structure of what they were cut from: lists, code, slides, sheets, messages."""

from __future__ import annotations

import io
import re
from pathlib import Path

import openpyxl
import pptx
import pytest

from ingest.chunking import chunk
from ingest.readers import read
from rag.tokens import tokenizer
from rag.types import Chunk, ChunkingSettings, Document
from tests.ingest.test_readers_office import saved


def cut(name: str, data: str | bytes, *, tokens: int = 40, overlap: int = 8) -> tuple[Document, list[Chunk]]:
    document = read(Path(name), document_id=name, data=data if isinstance(data, bytes) else data.encode())
    return document, chunk(document, tokenizer("cl100k_base"), ChunkingSettings(tokens, overlap))


@pytest.mark.parametrize("mark", ["- {}", "* {}", "{}. {}", "  - {}", "{}) {}"])
@pytest.mark.parametrize("overlap", [0, 8])
def test_an_item_of_a_list_keeps_its_mark(mark: str, overlap: int) -> None:
    items = [mark.format(n, f"item {n}. It says e.g. one thing, and then another; no more") for n in range(40)]
    if mark.count("{}") == 1:
        items = [mark.format(f"item {n}. It says e.g. one thing, and then another; no more") for n in range(40)]
    document, chunks = cut("a.md", "# List\n\n" + "\n".join(items), overlap=overlap)
    assert len(chunks) > 10
    for piece in chunks[:-1]:
        following = document.text[piece.end :].lstrip()
        assert re.match(r"(?:[-*]|\d+[.)]) item \d", following), following[:40]


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.py", "class Pump:\n    def start(self):\n{body}\n", ("class Pump", "def start")),
        ("a.java", "class Pump {{\n    void start() {{\n{body}\n    }}\n}}\n", ("class Pump", "start")),
        ("a.ts", "class Pump {{\n  async start() {{\n{body}\n  }}\n}}\n", ("class Pump", "start")),
        ("a.rb", "class Pump\n  def start\n{body}\n  end\nend\n", ("class Pump", "def start")),
    ],
)
def test_a_piece_of_a_method_knows_its_class(name: str, source: str, expected: tuple[str, ...]) -> None:
    body = "\n".join(f"        valve_{n} = {n}" for n in range(60))
    _, chunks = cut(name, source.format(body=body))
    assert len(chunks) > 5
    assert {piece.headings for piece in chunks[1:]} == {expected}


def test_a_piece_of_a_message_knows_its_number_and_subject() -> None:
    words = " ".join(f"Sentence {n} of the message." for n in range(30))
    letters = [f"From x Mon Jan  1 00:00:00 2024\nSubject: About {n}\nFrom: Li <l@x.y>\n\n{words}\n\n" for n in (1, 2)]
    document, chunks = cut("a.mbox", "".join(letters))
    seen = {(document.place_at(piece.start), piece.headings) for piece in chunks}
    assert seen == {("message 1", ("About 1",)), ("message 2", ("About 2",))}
    assert "From: Li <l@x.y>" in next(piece.text for piece in chunks if piece.page == 2)


def test_a_piece_of_a_slide_knows_its_number_and_title() -> None:
    file = pptx.Presentation()
    for n in (1, 2):
        slide = file.slides.add_slide(file.slide_layouts[1])
        slide.shapes.title.text = f"Title {n}"
        slide.placeholders[1].text_frame.text = " ".join(f"Sentence {i} of the slide." for i in range(20))
    document, chunks = cut("a.pptx", saved(file))
    seen = {(document.place_at(piece.start), piece.headings) for piece in chunks}
    assert seen == {("slide 1", ("Title 1",)), ("slide 2", ("Title 2",))}


def test_a_row_of_a_sheet_names_its_columns_its_sheet_and_its_cells() -> None:
    book = openpyxl.Workbook()
    book.active.title = "Costs"
    for row in [("part", "price"), *((f"part {n}", n) for n in range(60))]:
        book.active.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    document, chunks = cut("a.xlsx", buffer.getvalue(), overlap=0)
    at = document.text.index("price: 57")
    piece = next(piece for piece in chunks if piece.start <= at < piece.end)
    assert "part: part 57\nprice: 57" in piece.text
    assert piece.headings == ("Costs",)
    assert document.place_at(at) == "sheet 'Costs' A52:B61"
