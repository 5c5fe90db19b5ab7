"""PDF: pages, quotes, headings, and files that only look like documents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.readers import read
from ingest.readers.lines import rejoined_words, running_text
from ingest.readers.pypdf_text import second_opinion
from rag.errors import DocumentReadError
from rag.types import Document
from tests.ingest.pdf_bytes import pdf_bytes

DATA = Path(__file__).parents[2] / "../shared/data/badinputs"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared sample files")

PARAGRAPH = [
    "Retrieval augmented generation answers questions from a folder of documents, and every state-",
    "ment in an answer carries a footnote that can be checked by anybody who has the file and the",
    "page and the exact words in front of him, because the quote was cut from the stored text of the",
    "document and never from what a model wrote about it, which is the point of the whole exercise.",
    "A second paragraph is short.",
    "3 Numbered heading",
    "It has one line.",
    "7",
]


def _read(data: bytes, name: str = "a.pdf") -> Document:
    return read(Path(name), document_id=name, data=data)


def test_pages_cover_the_text_in_order() -> None:
    document = _read(pdf_bytes([["First page."], [], ["Third page,", "two lines."]]))
    spans = [(page.number, document.text[page.start : page.end].strip()) for page in document.pages]
    assert spans == [(1, "First page."), (2, ""), (3, "Third page,\ntwo lines.")]
    assert [page.start for page in document.pages[1:]] == [page.end for page in document.pages[:-1]]
    assert (document.pages[0].start, document.pages[-1].end) == (0, len(document.text))
    assert document.page_at(document.text.index("Third")) == 3


def test_missing_pages_are_counted() -> None:
    document = _read(pdf_bytes([["text"], [], []]))
    assert document.warnings == (
        "2 of 3 pages have no text (scanned?); install Tesseract, or name a vision model (vision.model), and run the "
        "same command again",
    )
    assert document.unread == ("page",)


def test_a_file_without_any_text_is_a_document_with_a_warning() -> None:
    document = _read(pdf_bytes([[], []]))
    assert (document.text, len(document.pages)) == ("", 2)
    assert document.warnings[0].startswith("2 of 2 pages have no text (scanned?); install Tesseract")


def test_title_author_and_date_come_from_the_file() -> None:
    document = _read(pdf_bytes([["x"]], title="The report"))
    assert document.title == "The report"
    assert document.metadata == {"author": "A. Writer", "created": "2024-05-06"}


@pytest.mark.parametrize("title", ["", "untitled", "(anonymous)", "Microsoft Word - draft.docx", "a", "---"])
def test_a_title_that_nobody_wrote_is_not_one(title: str) -> None:
    assert _read(pdf_bytes([["x"]], title=title)).title == "a"


def test_the_outline_gives_headings_at_their_lines() -> None:
    pages = [["Contents"], ["1 Alpha", "text", "2 Beta", "more"], ["page top", "other"]]
    document = _read(pdf_bytes(pages, outline=[("Alpha", 1), ("Beta", 1), ("Elsewhere", 2)]))
    places = [(heading.title, document.text[heading.start :][:7]) for heading in document.headings]
    assert places == [("Alpha", "1 Alpha"), ("Beta", "2 Beta\n"), ("Elsewhere", "page to")]


def test_lines_of_a_paragraph_are_joined_and_parted_words_put_together() -> None:
    text = _read(pdf_bytes([PARAGRAPH])).text
    assert "every statement in an answer carries a footnote" in text
    assert text.endswith("exercise.\nA second paragraph is short.\n3 Numbered heading\nIt has one line.\n7")


def test_chinese_lines_are_joined_without_a_space() -> None:
    lines = [
        "检索增强生成系统应当正确解析中文文档，人工智能模型的回答必须引用来",
        "源，否则读者无法核对。" + "文" * 20,
    ] * 4
    assert "必须引用来源，否则" in running_text("\r\n".join(lines))


@pytest.mark.parametrize(
    "lines",
    [["Item Quantity", "Widget A 5", "Widget B 7"] * 3, ["- first", "- second"] * 5, ["短行", "表格"] * 6],
    ids=["table", "list", "labels"],
)
def test_lines_that_are_not_full_stay_lines(lines: list[str]) -> None:
    assert running_text("\r\n".join(lines)) == "\n".join(lines)


def test_the_document_decides_whether_a_hyphen_belongs_to_a_word() -> None:
    pages = ["a chat\ufffeoptimised model", "con\ufffefirming GPT\ufffe4 v\ufffeslot of-the\ufffeart", "chat-optimised"]
    assert rejoined_words(pages) == ["a chat-optimised model", "confirming GPT-4 v-slot of-the-art", "chat-optimised"]


@given(st.text("abc 中文.\n-", max_size=300))
def test_joining_lines_only_changes_blanks(page: str) -> None:
    assert "".join(running_text(page).split()) == "".join(page.split())


BODY = ["first line,", "second line,", "and so on,", "and so on,", "and so on,", "to the end,", "of the page."]


def test_running_heads_and_page_numbers_are_left_out_after_the_first() -> None:
    bodies = [[f"{letter} has its", *BODY, f"{letter} ends."] for letter in "VWXYZ"]
    pages = [["The Guide 2024", *body, "A chapter", str(place + 5)] for place, body in enumerate(bodies)]
    document = _read(pdf_bytes(pages))
    first, *others = [document.text[page.start : page.end].strip().split("\n") for page in document.pages]
    assert first == ["The Guide 2024", *bodies[0], "A chapter"]
    assert others == bodies[1:]


def test_a_head_that_begins_with_the_title_may_go_on_as_it_likes() -> None:
    pages = [["The Guide: " + chapter, *BODY, chapter] for chapter in ("one", "two", "three", "four")]
    assert _read(pdf_bytes(pages, title="The Guide")).text.count("The Guide") == 1


def test_numbers_that_do_not_count_pages_are_contents() -> None:
    pages = [[f"Customer {number}", *BODY, f"Total {number * 7}"] for number in (105, 32, 77, 41)]
    text = _read(pdf_bytes(pages)).text
    assert all(f"Customer {number}\n" in text and f"\nTotal {number * 7}" in text for number in (105, 32, 77, 41))


def test_short_pages_stay_whole() -> None:
    assert _read(pdf_bytes([["Agenda", "the same"]] * 4)).text.count("Agenda") == 4


def test_a_sentence_that_goes_on_over_the_page_is_not_parted_by_an_empty_line() -> None:
    document = _read(pdf_bytes([["one sentence that goes"], ["on here."], ["Another."]]))
    assert document.text == "one sentence that goes\non here.\n\nAnother."
    assert [page.end for page in document.pages] == [23, 33, 41]


def test_ligatures_are_letters_in_the_text() -> None:
    assert _read(pdf_bytes([["10² metres, ½ a mile"]])).text == "10² metres, ½ a mile"


def test_many_threads_read_at_once() -> None:
    files = [pdf_bytes([[f"file {number} page {page}"] for page in range(5)]) for number in range(12)]
    with ThreadPoolExecutor(4) as pool:
        texts = [document.text for document in pool.map(_read, files)]
    assert texts == ["\n\n".join(f"file {number} page {page}" for page in range(5)) for number in range(12)]


def test_the_second_opinion_reads_the_pages_asked_for() -> None:
    data = pdf_bytes([["one"], ["two"], []])
    assert second_opinion(data, [1, 2, 9]) == {1: "two\n"}
    assert second_opinion(data, None) == {0: "one\n", 1: "two\n"}
    assert second_opinion(b"%PDF-1.7 garbage", None) == {}


def test_a_pdf_with_junk_before_it_is_read() -> None:
    assert _read(b"GARBAGE\n" * 50 + pdf_bytes([["found"]])).text == "found"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.4\n%garbage", "not a valid PDF"),
        (b"plain words", "holds no PDF"),
        (pdf_bytes([["This PDF file is protected"]]), "its contents are protected"),
        (pdf_bytes([[]]) + b"\xef\xbf\xbd" * 500, "damaged by a conversion to UTF-8"),
    ],
    ids=["garbage", "text", "protected", "mangled"],
)
def test_what_is_not_the_document_is_an_error_that_says_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(DocumentReadError, match=words) as caught:
        _read(data)
    assert "a.pdf" in str(caught.value)
    assert ";" in str(caught.value)


@needs_data
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("py-pdf-sample-files/005-libreoffice-writer-password/libreoffice-writer-password.pdf", "encrypted"),
        ("protected-pdf/Northwind_Standard_Benefits_Details.pdf", "protected"),
        ("protected-pdf/Northwind_Health_Plus_Benefits_Details.pdf", "protected"),
        ("utf8-mangled-pdf/PerksPlus.pdf", "conversion to UTF-8"),
        ("utf8-mangled-pdf/employee_handbook.pdf", "conversion to UTF-8"),
        ("utf8-mangled-pdf/Northwind_Standard_Benefits_Details.pdf", "conversion to UTF-8"),
    ],
)
def test_real_traps_are_errors_and_not_empty_successes(name: str, words: str) -> None:
    with pytest.raises(DocumentReadError, match=words):
        read(DATA / name, document_id=name)


@needs_data
@pytest.mark.parametrize(
    ("name", "n_pages", "words"),
    [
        ("py-pdf-sample-files/026-latex-multicolumn/multicolumn.pdf", 3, "consectetuer adipiscing elit. Ut purus"),
        ("py-pdf-sample-files/004-pdflatex-4-pages/pdflatex-4-pages.pdf", 4, "what a printed text will look like"),
        ("markitdown/packages/markitdown/tests/test_files/test.pdf", 1, "reasons confirming its general feasibility"),
        ("markitdown/packages/markitdown/tests/test_files/REPAIR-2022-INV-001_multipage.pdf", 3, "GRAND TOTAL 5,738"),
    ],
)
def test_real_files_can_be_quoted(name: str, n_pages: int, words: str) -> None:
    document = read(DATA / name, document_id=name)
    assert words in document.text
    assert len(document.pages) == n_pages
