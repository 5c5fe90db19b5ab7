"""Tables: found where they are, cut between rows, and each chunk of their rows read with the header."""

from __future__ import annotations

import io
from pathlib import Path

import docx
import pptx
import pytest
from docx.oxml import OxmlElement
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pptx.util import Inches

from ingest.blocks import fenced_code
from ingest.chunking import chunk, headless_tables
from ingest.readers import read
from ingest.tables import bar_tables, tables_of
from rag.tokens import TOKENIZERS, tokenizer
from rag.types import Chunk, ChunkingSettings, Document, Table
from tests.ingest.test_chunking import check, markdown
from tests.ingest.test_readers_office import package, saved


def opened(name: str, data: str | bytes) -> Document:
    return read(Path(name), document_id=name, data=data if isinstance(data, bytes) else data.encode())


def found(document: Document) -> list[Table]:
    return tables_of(document, apart_from=fenced_code(document.text))


def headers(document: Document) -> list[str]:
    return [document.text[table.header_start : table.header_end] for table in found(document)]


def bodies(document: Document) -> list[str]:
    return [document.text[table.start : table.end] for table in found(document)]


# --- what Markdown draws with bars -----------------------------------------------------------------------------------

LINES = [
    *("| a | b |", "a | b", "c|d|e", "| one |", "| x", r"| a \| b | c |", "x | y |", "||", "| | |", "text", "", ""),
    *("|---|---|", "--- | :-:", "|-|", "|:--|--:|---|", "| - | - |", "|---|", "|", "-", "| -- | x |"),
    *("# heading", "***", "| --- |"),
]


@given(st.lists(st.sampled_from(LINES), max_size=14))
@settings(max_examples=300, deadline=None)
def test_tables_with_a_header_are_found_where_a_markdown_parser_finds_them(lines: list[str]) -> None:
    text = "\n".join(lines)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    expected = []
    for token in tokens:
        if token.type == "table_open" and token.map:
            first, last = token.map
            header = lines[first]
            if any(map(str.isalnum, header)):
                body = text[starts[first] : starts[last]].rstrip()
                expected.append((starts[first], starts[first] + len(body), starts[first] + len(header)))
    tables = [table for table in bar_tables(text) if table.header_end > table.start]
    assert [(table.start, table.end, table.header_end) for table in tables] == expected


def test_rows_between_bars_without_a_row_of_dashes_are_a_table_without_a_header() -> None:
    text = "before\n| a | b |\n| 1 | 2 |\nafter\n\n|\n\n| x |\n|---|\n| y |"
    assert [(text[t.start : t.end], text[t.header_start : t.header_end]) for t in bar_tables(text)] == [
        ("| a | b |\n| 1 | 2 |", ""),
        ("|", ""),
        ("| x |\n|---|\n| y |", "| x |"),
    ]


def test_a_table_in_an_item_of_a_list_is_found_and_one_within_code_is_not() -> None:
    text = "- item\n\n  | a | b |\n  |---|---|\n  | 1 | 2 |\n\n```\n| c | d |\n|---|---|\n| 3 | 4 |\n```"
    assert headers(markdown(text)) == ["| a | b |"]
    assert fenced_code(text) == [(text.index("```"), len(text))]


@pytest.mark.parametrize("unit", ["|-", "|-\n", "a|b\n-|-\n", "| a |\n", "\n|---|---|\n", "|:-:", "--|--\n"], ids=repr)
def test_a_lot_of_bars_and_dashes_is_no_trouble(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    assert len(bar_tables(text)) <= len(text)


# --- chunks ----------------------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(["1", "Ada. Then more.", "价格", "/x", "a, b; c", "😀", "e\u0301", "supercalifragilistic", "3.14"]),
    st.text(st.characters(codec="utf-8", exclude_characters="|\n\r"), min_size=1, max_size=12).filter(str.strip),
)


@st.composite
def table_documents(draw: st.DrawFn) -> tuple[Document, list[str]]:
    """A document with some words, a table of Markdown or of an office file, and some words; its rows."""
    n_columns = draw(st.integers(1, 3))
    cells = st.lists(CELLS, min_size=n_columns, max_size=n_columns)
    drawn = draw(st.booleans()) or n_columns == 1
    edges = ("| ", " |") if drawn else ("", "")
    rows = [edges[0] + " | ".join(row) + edges[1] for row in draw(st.lists(cells, min_size=2, max_size=25))]
    rows = [row.strip() for row in rows if row.strip()]
    before = draw(st.sampled_from(["", "Words. ", "# Heading\n\n", "Words before it. And more of them, too.\n\n"]))
    after = draw(st.sampled_from(["", "\n\nWords after it.", "\n\n# Next\n\nAnd so on. And on."]))
    lines = [rows[0], "|" + " --- |" * n_columns, *rows[1:]] if drawn else rows
    text = "\n\n".join([before.strip(), "\n".join(lines)]).lstrip() + after
    start = text.index("\n".join(lines))
    marked = Table(start, start + len("\n".join(lines)), start, start + len(rows[0]))
    document = markdown(text)
    if not drawn:
        document = Document("d", "D", text, "", "", "", headings=document.headings, tables=(marked,))
    return document, rows


@pytest.mark.parametrize("name", TOKENIZERS)
@given(made=table_documents(), tokens=st.integers(24, 90), part=st.floats(0, 0.49))
@settings(max_examples=60, deadline=None)
def test_rows_are_whole_and_read_with_their_header(
    name: str, made: tuple[Document, list[str]], tokens: int, part: float
) -> None:
    document, _ = made
    counter = tokenizer(name)
    chunks = chunk(document, counter, ChunkingSettings(tokens, int(tokens * part)))
    check(document, chunks, counter, tokens)
    for table in found(document):
        header = document.text[table.header_start : table.header_end]
        inside = [piece for piece in chunks if table.header_end <= piece.start < table.end]
        if not header or counter.count(header + "\n") > tokens // 3:
            assert not any(piece.context for piece in inside)
            assert len(headless_tables(document, chunks)) == bool(
                header and [p for p in inside if p.start > table.start]
            )
            continue
        assert all(piece.context == header for piece in inside)
        assert not headless_tables(document, chunks)
        at = table.header_end
        for row in document.text[table.header_end : table.end].split("\n"):
            if any(map(str.isalnum, row)) and counter.count(f"{header}\n{row}") <= tokens - 8:
                assert any(piece.start <= at and at + len(row.rstrip()) <= piece.end for piece in chunks), row
            at += len(row) + 1
    for piece in chunks:
        assert not piece.context or any(t.header_end <= piece.start < t.end for t in found(document))


def cut(document: Document, tokens: int = 60, overlap: int = 12) -> list[Chunk]:
    return chunk(document, tokenizer("cl100k_base"), ChunkingSettings(tokens, overlap))


def test_a_table_that_fits_one_chunk_is_not_cut_and_brings_its_header_itself() -> None:
    rows = "".join(f"| row {n} | {n} |\n" for n in range(5))
    document = markdown("Some words before it, which take room. " * 5 + f"\n\n| name | n |\n|---|---|\n{rows}\nAfter.")
    chunks = cut(document)
    assert any(rows.strip() in piece.text and "| name | n |" in piece.text for piece in chunks)
    assert not any(piece.context for piece in chunks)


def test_no_row_is_repeated_and_what_follows_the_table_is_read_without_its_header() -> None:
    rows = "".join(f"| row {n} | {n} |\n" for n in range(40))
    document = markdown(f"| name | n |\n|---|---|\n{rows}\n\n# After\n\n" + "Words that follow it. " * 20)
    chunks = cut(document)
    assert all(sum(f"| row {n} |" in piece.text for piece in chunks) == 1 for n in range(40))
    last = max(place for place, piece in enumerate(chunks) if "| row " in piece.text)
    assert all(piece.context == "| name | n |" for piece in chunks[1 : last + 1])
    assert not any(piece.context for piece in chunks[last + 1 :])


def test_rows_of_several_lines_are_not_cut() -> None:
    rows = "".join(f"| {n} | first line |\n|   | second line |\n+---+---+\n" for n in range(20))
    document = opened("a.rst", f"+---+---+\n| k | v |\n+===+===+\n{rows}")
    chunks = cut(document)
    assert len(chunks) > 3
    assert {piece.context for piece in chunks[1:]} == {"| k | v |"}
    assert all(piece.text.count("first") == piece.text.count("second") for piece in chunks)


def test_a_header_too_long_to_be_repeated_is_told_of() -> None:
    names = " | ".join(f"a long name of a column {n}" for n in range(6))
    document = markdown(f"# T\n\n| {names} |\n{'|---' * 6}|\n" + f"| {' | '.join('123456')} |\n" * 30)
    chunks = cut(document)
    assert not any(piece.context for piece in chunks)
    assert headless_tables(document, chunks) == (
        "the header of the table in § T, line 3 is too long to be repeated in each of its chunks",
    )


# --- what readers mark -----------------------------------------------------------------------------------------------


def test_the_header_of_an_html_table_is_its_head_its_header_cells_or_a_first_row_of_names() -> None:
    document = opened(
        "a.html",
        "<table><caption>Sales</caption><thead><tr><th>Region<th>Sum<tr><td>&nbsp;<td>EUR<tbody><tr><td>East<td>5</table>"
        "<table><tr><th>a<th>b<tr><th>c<td>d</table>"
        "<p>x<table><tr><td><td>2020<td>2021<tr><td>East<td>5<td>6</table>"
        "<table><tr><td>1<td>2<tr><td>3<td>4</table>"
        "<table><tr><td>menu<td><table><tr><th>in<th>ner<tr><td>1<td>2</table></table>",
    )
    assert headers(document) == ["Sales\n\nRegion | Sum\n  | EUR", "a | b", "| 2020 | 2021", "", "in | ner"]


def test_word_tables_have_the_rows_repeated_on_each_page_or_names_as_header() -> None:
    file = docx.Document()
    file.add_paragraph("Table 1: Staff", "Caption")
    for marked, rows in ((True, [("1", "2"), ("Ada", "36")]), (False, [("name", "age"), ("Li", "7")])):
        table = file.add_table(2, 2)
        cells = [cell for row in table.rows for cell in row.cells]
        for cell, text in zip(cells, [cell for row in rows for cell in row], strict=True):
            cell.text = text
        if marked:
            table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
        file.add_paragraph("between")
    assert headers(opened("a.docx", saved(file))) == ["Table 1: Staff\n\n1 | 2", "name | age"]


def test_slides_mark_the_header_row_of_their_tables() -> None:
    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    for marked in (True, False):
        table = slide.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
        table.first_row = marked
        for place, text in enumerate(("7", "8", "9", "10")):
            table.cell(place // 2, place % 2).text = text
    assert headers(opened("a.pptx", saved(file))) == ["7 | 8", ""]


def test_open_document_tables_mark_their_header_rows() -> None:
    def row(*cells: str) -> str:
        inner = "".join(f"<t:table-cell><x:p>{cell}</x:p></t:table-cell>" for cell in cells)
        return f"<t:table-row>{inner}</t:table-row>"

    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (("o", "office"), ("x", "text"), ("t", "table"))
    )
    table = f"<t:table><t:table-header-rows>{row('1', '2')}</t:table-header-rows>{row('3', '4')}{row('', '')}</t:table>"
    content = f"<o:document-content {spaces}><o:body><o:text>{table}</o:text></o:body></o:document-content>"
    assert headers(opened("a.odt", package({"content.xml": content}))) == ["1 | 2"]


def test_tables_of_restructured_text() -> None:
    document = opened(
        "a.rst",
        "+---+---+\n| a | b |\n"
        "+===+===+\n| 1 | 2 |\n+---+---+\n\n===  ===\nk    v\n===  ===\n1    2\n\n3    4\n===  ===\n"
        "\n===  ===\n1    2\n===  ===\n\n.. list-table:: Costs\n   :header-rows: 1\n\n   * - Part\n     - Price\n"
        '   * - Pump\n     - 5\n\nAfter.\n\n.. csv-table:: T\n   :header: "n", "m"\n\n   1, 2\n\nTitle\n=====\n',
    )
    assert headers(document) == ["| a | b |", "k v", "", "* - Part\n     - Price", '"n", "m"']
    assert bodies(document)[3].startswith(".. list-table:: Costs")
    assert bodies(document)[3].endswith("- 5")


def test_tables_of_asciidoc() -> None:
    document = opened(
        "a.adoc",
        '.Sales\n|===\n|Name |Price\n\n|Pump |5\n|===\n\n[%header,cols="1,1"]\n|===\n|A\n|B\n\n|1\n|2\n|===\n\n'
        "[options=noheader]\n|===\n|a |b\n\n|1 |2\n|===\n\n|===\n|x |y\n|1 |2\n|===\n",
    )
    assert headers(document) == [".Sales\n|===\n|Name |Price", "|A\n|B", "", ""]


def test_tables_of_org() -> None:
    document = opened(
        "a.org", "#+CAPTION: Staff\n| n | m |\n|---+---|\n| 1 | 2 |\n\n|--|\n| k |\n|--|\n| 1 |\n|--|\n\n| 1 |\n| 2 |\n"
    )
    assert headers(document) == ["#+CAPTION: Staff\n| n | m |", "| k |", ""]


def test_tables_of_latex() -> None:
    document = opened(
        "a.tex",
        "\\begin{tabular}{@{}l p{3cm}@{}}\n\\toprule\nName & Age \\\\\n& years \\\\\n\\midrule\nAda & 36 \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
        "\\begin{tabularx}{\\textwidth}{|l|c|}\\hline\n\\textbf{Key} & \\textbf{Value} \\\\ \\hline\n"
        "a & 1 \\\\ \\hline\n\\end{tabularx}\n\\begin{tabular}{ll} 1 & 2 \\\\ 3 & 4 \\end{tabular}\n\\begin{tabular}",
    )
    assert headers(document) == ["Name & Age \\\\\n& years \\\\", "\\textbf{Key} & \\textbf{Value} \\\\", ""]


@pytest.mark.parametrize(
    "unit", ["\\begin{tabular}", "\\begin{tabular}{", "|===\n|a\n", "+--+\n", "== ==\n", ".. list-table::\n", "|-|\n"]
)
@pytest.mark.parametrize("name", ["a.rst", "a.adoc", "a.org", "a.tex"])
def test_a_lot_of_one_mark_is_no_trouble(name: str, unit: str) -> None:
    document = opened(name, unit * (100_000 // len(unit)))
    assert all(0 <= table.start < table.end <= len(document.text) for table in document.tables)


def test_tables_in_mail_and_books_are_those_of_their_pages() -> None:
    page = "<p>Dear all,</p><table><tr><th>name<th>age<tr><td>Ada<td>36</table>"
    mail = opened("a.eml", f"Subject: Ages\nContent-Type: text/html; charset=utf-8\n\n{page}")
    assert headers(mail) == ["name | age"]
    assert bodies(mail) == ["name | age\nAda | 36"]


def test_a_giant_row_of_a_csv_file_keeps_the_names_of_its_columns() -> None:
    names, values = zip(*((f"column {n}", f"the value of {n}, in some words") for n in range(200)), strict=True)
    document = opened("a.csv", io.StringIO(",".join(names) + "\n" + ",".join(f'"{each}"' for each in values)).read())
    for piece in cut(document):
        for n in range(200):
            assert (f"the value of {n}," in piece.text) == (f"column {n}: the value of {n}," in piece.text)
