"""Office files: what a reader of the page sees, with slides, sheets and headings to cite; bombs are refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from ingest.readers import read
from rag.errors import DocumentReadError
from rag.types import Document

SAMPLES = Path(__file__).parents[2] / "../shared/data/badinputs/markitdown/packages/markitdown/tests/test_files"
samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the shared sample files")


def read_bytes(name: str, data: bytes) -> Document:
    return read(Path(name), document_id=name, data=data)


def sample(name: str) -> Document:
    return read(SAMPLES / name, document_id=name)


def saved(file: object) -> bytes:
    buffer = io.BytesIO()
    file.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def package(members: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def repacked(data: bytes, changes: dict[str, str | bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return package({name: archive.read(name) for name in archive.namelist()} | changes)


# --- Word


def test_word_headings_lists_and_tables_are_kept() -> None:
    file = docx.Document()
    file.add_heading("设备手册", 0)
    file.add_heading("Pumps", 1)
    file.add_paragraph("The pump starts at 40 bar.")
    file.add_paragraph("red", "List Bullet")
    file.add_paragraph("green", "List Bullet")
    file.add_paragraph("first", "List Number")
    file.add_paragraph("second", "List Number")
    table = file.add_table(2, 2)
    for cell, text in zip((cell for row in table.rows for cell in row.cells), ("a", "b", "1", "2"), strict=True):
        cell.text = text
    file.sections[0].header.paragraphs[0].text = "HEADER ON EVERY PAGE"
    document = read_bytes("a.docx", saved(file))
    assert document.text.split("\n\n") == [
        "设备手册",
        "Pumps",
        "The pump starts at 40 bar.",
        "- red\n- green\n1. first\n2. second",
        "a | b\n1 | 2",
    ]
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "设备手册"), (1, "Pumps")]
    assert document.title == "设备手册"
    assert document.place_at(document.text.index("40 bar")) == "§ Pumps, line 5"


def test_word_shows_insertions_and_text_boxes_but_no_deletions_hidden_runs_or_codes() -> None:
    file = docx.Document()
    inner = (
        "<w:r><w:t>Kept </w:t></w:r><w:ins><w:r><w:t>inserted </w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>DELETED</w:delText></w:r></w:del>"
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>HIDDEN</w:t></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>"
        "<w:r><w:t>end.</w:t></w:r><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p>"
        "</w:txbxContent></w:pict></w:r>"
    )
    file.element.body.insert(0, parse_xml(f"<w:p {nsdecls('w')}>{inner}</w:p>"))
    assert read_bytes("a.docx", saved(file)).text == "Kept inserted end.\n\nIn a box."


def test_word_comments_stand_at_the_end_with_their_authors() -> None:
    file = docx.Document()
    paragraph = file.add_paragraph("A claim.")
    file.add_comment(paragraph.runs, text="Who says so?", author="Li")
    assert read_bytes("a.docx", saved(file)).text == "A claim.\n\nComments\n\nLi: Who says so?"


@samples
def test_a_word_file_from_the_world_is_read() -> None:
    document = sample("test.docx")
    assert document.title.startswith("AutoGen: Enabling Next-Gen LLM Applications")
    assert [heading.title for heading in document.headings[1:3]] == ["Abstract", "Introduction"]
    assert document.metadata["author"] == "Adam Fourney"
    assert " | " in document.text, "its table"
    assert "sinθ" in sample("equations.docx").text


# --- PowerPoint


def test_each_slide_is_a_page_with_its_number() -> None:
    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[1])
    slide.shapes.title.text = "Results"
    slide.placeholders[1].text_frame.text = "Sales grew."
    inner = slide.placeholders[1].text_frame.add_paragraph()
    inner.text, inner.level = "by 4 %", 1
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    file.slides.add_slide(file.slide_layouts[6])
    last = file.slides.add_slide(file.slide_layouts[5])
    last.shapes.title.text = "Costs"
    table = last.shapes.add_table(1, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "rent", "12"
    data = CategoryChartData()
    data.categories = ["East", "West"]
    data.add_series("2023", (1.5, 2))
    last.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(3), Inches(4), Inches(2), data)
    document = read_bytes("a.pptx", saved(file))
    assert document.text.split("\n\n") == [
        "Results",
        "Sales grew.\n  - by 4 %",
        "Notes: Say it slowly.",
        "Costs",
        "rent | 12",
        "2023 | East: 1.5, West: 2",
    ]
    assert [page.place for page in document.pages] == ["slide 1", "slide 2", "slide 3"]
    assert document.pages[1].start == document.pages[1].end, "an empty slide has an empty span"
    assert document.place_at(document.text.index("rent")) == "slide 3"
    assert document.title == "Results"


@samples
def test_a_presentation_from_the_world_is_read() -> None:
    document = sample("test.pptx")
    assert len(document.pages) >= 6
    assert document.text[document.pages[0].start :].startswith("AutoGen")
    assert document.pages[-1].end == len(document.text)


# --- Excel


def workbook() -> openpyxl.Workbook:
    file = openpyxl.Workbook()
    sheet = file.active
    sheet.title = "Costs"
    sheet["B2"] = "Costs of the year"
    for row in (["item", "price", "paid"], ["rent", 1200.5, True], ["茶", 3, False]):
        sheet.append([None, *row])
    secret = file.create_sheet("Secret")
    secret["A1"] = "HIDDEN"
    secret.sheet_state = "hidden"
    return file


def test_rows_are_records_and_a_place_names_sheet_and_cells() -> None:
    document = read_bytes("a.xlsx", saved(workbook()))
    assert document.text.split("\n\n") == [
        "Costs",
        "Costs of the year",
        "item: rent\nprice: 1200.5\npaid: TRUE",
        "item: 茶\nprice: 3\npaid: FALSE",
    ]
    assert document.place_at(document.text.index("rent")) == "sheet 'Costs' B3:D5"
    assert [heading.title for heading in document.headings] == ["Costs"]
    assert document.title == "a"
    assert document.warnings == ("1 hidden sheets were left out: Secret",)


def test_a_long_sheet_is_cited_by_a_few_rows() -> None:
    file = openpyxl.Workbook()
    file.active.append(["n", "square"])
    for n in range(1, 100):
        file.active.append([n, n * n])
    document = read_bytes("a.xlsx", saved(file))
    assert document.place_at(document.text.index("square: 2500")) == "sheet 'Sheet' A42:B51"
    assert document.pages[-1].label == "sheet 'Sheet' A92:B100"


def test_a_sheet_without_names_has_its_letters() -> None:
    file = openpyxl.Workbook()
    file.active["C1"], file.active["D1"] = 1, 2
    assert read_bytes("a.xlsx", saved(file)).text == "Sheet\n\ncolumn C: 1\ncolumn D: 2"


@samples
def test_a_workbook_from_the_world_is_read() -> None:
    document = sample("test.xlsx")
    assert document.text.startswith("Sheet1\n\nAlpha: 89\nBeta: 82\nGamma: 100\nDelta: 12")
    assert document.pages[0].label == "sheet 'Sheet1' A1:D11"


# --- OpenDocument


ODT = """<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"><office:body><office:text>
<text:tracked-changes><text:p>DELETED</text:p></text:tracked-changes>
<text:h text:outline-level="2">标题</text:h>
<text:p>One<text:s text:c="2"/><text:span>two</text:span> three<text:note><text:note-citation>1</text:note-citation>
<text:note-body><text:p>A note.</text:p></text:note-body></text:note>.</text:p>
<text:list><text:list-item><text:p>a</text:p></text:list-item><text:list-item><text:p>b</text:p></text:list-item></text:list>
<table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell><table:table-cell><text:p>y</text:p>
</table:table-cell></table:table-row></table:table></office:text></office:body></office:document-content>"""


def test_an_opendocument_text_keeps_its_structure() -> None:
    document = read_bytes("a.odt", package({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": ODT}))
    assert document.text.split("\n\n") == ["标题", "One two three.", "Footnote 1: A note.", "- a\n- b", "x | y"]
    assert [(heading.level, heading.title) for heading in document.headings] == [(2, "标题")]


# --- what is refused


@pytest.mark.parametrize("doctype", ['<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>', "<!DOCTYPE d>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_package_with_a_document_type_is_refused(doctype: str, encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}' + ODT
    with pytest.raises(DocumentReadError, match="declares a document type or entities"):
        read_bytes("a.odt", package({"content.xml": body.encode(encoding)}))


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".xlsx", ".odt", ".epub"])
def test_a_bomb_is_refused_before_it_is_unfolded(suffix: str) -> None:
    parts = ("word/document.xml", "ppt/presentation.xml", "xl/workbook.xml", "content.xml", "META-INF/container.xml")
    data = package({**dict.fromkeys(parts, "<a/>"), "bomb": bytes(100_000_000)})
    with pytest.raises(DocumentReadError, match="made to overwhelm its reader"):
        read_bytes(f"a{suffix}", data)


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".xlsx", ".odt", ".epub"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "but is empty"),
        (b"plain text", "but is something else"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "encrypted with a password, or"),
        (b"PK\x03\x04 rest", "the package is damaged"),
        (package({"a.txt": "hi"}), "not what its name says"),
    ],
    ids=["empty", "text", "encrypted", "torn", "other archive"],
)
def test_what_is_not_the_package_its_name_says_is_said(suffix: str, data: bytes, said: str) -> None:
    with pytest.raises(DocumentReadError, match=said):
        read_bytes(f"a{suffix}", data)


def test_a_package_without_facts_has_none() -> None:
    file = docx.Document()
    file.add_paragraph("text")
    data = saved(file)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        bare = package({name: archive.read(name) for name in archive.namelist() if name != "docProps/core.xml"})
    relations = zipfile.ZipFile(io.BytesIO(data)).read("_rels/.rels").decode()
    start = relations.index("<Relationship ", relations.index("core-properties") - 200)
    without = relations[:start] + relations[relations.index("/>", relations.index("docProps/core.xml")) + 2 :]
    assert dict(read_bytes("a.docx", repacked(bare, {"_rels/.rels": without})).metadata) == {}


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    word = docx.Document()
    word.add_heading("Title", 1)
    word.add_paragraph("Text.", "List Bullet")
    slides = pptx.Presentation()
    slides.slides.add_slide(slides.slide_layouts[1]).shapes.title.text = "Title"
    files = {"a.docx": saved(word), "a.pptx": saved(slides), "a.xlsx": saved(workbook())}
    return files | {"a.odt": package({"content.xml": ODT})}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.docx", "a.pptx", "a.xlsx", "a.odt"]),
    damage=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=8),
    inside=st.booleans(),
)
def test_a_damaged_package_ends_as_a_document_or_an_error(
    originals: dict[str, bytes], name: str, damage: list[tuple[int, int]], inside: bool
) -> None:
    data = originals[name]
    parts = {"a.docx": "word/document.xml", "a.pptx": "ppt/slides/slide1.xml", "a.xlsx": "xl/worksheets/sheet1.xml"}
    part = parts.get(name, "content.xml")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        broken = bytearray(archive.read(part) if inside else data)
    for place, byte in damage:
        broken[place % len(broken)] = byte
    try:
        document = read_bytes(name, repacked(data, {part: bytes(broken)}) if inside else bytes(broken))
    except DocumentReadError:
        assert damage
    else:
        assert all(0 <= page.start <= page.end <= len(document.text) for page in document.pages)
        assert all(0 <= heading.start <= len(document.text) for heading in document.headings)
