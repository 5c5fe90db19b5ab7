"""Plain text in every encoding, and Markdown."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from ingest.readers import read

DATA = Path(__file__).parents[2] / "../shared/data/badinputs/charset-normalizer"

SHORT, LONG = "标题和正文", "检索增强生成系统应当正确解析中文文档。\n价格为1,234.50元，日期是2024年5月6日。\n" * 40
TRADITIONAL = "檢索增強生成系統應當正確解析繁體中文文件。回答必須引用來源。\n"
KOREAN, JAPANESE = "역사적 예수 연구자들은 복음서나 사도들의 서신서", "日本語の文章をここに書きます。カタカナも。"
RUSSIAN = "Привет, как дела? Это обычный русский текст, который нужно прочитать.\n"
FRENCH = "L'été, à Noël, où est-il ? C’est ça : « déjà vu »."


def _text(data: bytes, name: str = "a.txt") -> str:
    return read(Path(name), document_id=name, data=data).text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *[("标题", "gbk"), ("你好，世界", "gbk"), ("name,价格\n苹果,5", "gbk")],
        *[(SHORT, encoding) for encoding in ("gbk", "utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig")],
        *[
            (LONG, encoding)
            for encoding in ("gbk", "gb18030", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "hz")
        ],
        *[("中文標題", "big5"), (TRADITIONAL, "big5"), (TRADITIONAL * 50, "big5"), (TRADITIONAL, "utf-16-le")],
        *[(KOREAN, "euc-kr"), (JAPANESE, "cp932"), (JAPANESE, "euc_jp"), (JAPANESE, "iso2022_jp")],
        *[(RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (RUSSIAN, "utf-16-le")],
        *[(FRENCH, "cp1252"), (FRENCH, "mac_roman"), ("¿Dónde está el niño?", "latin-1"), ("Größe, Straße", "cp1252")],
        *[("plain ascii", "utf-16-le"), ("plain ascii", "utf-16-be"), ("plain ascii", "utf-32-le")],
    ],
)
def test_text_is_read_in_its_encoding(text: str, encoding: str) -> None:
    assert _text(text.encode(encoding)).split() == text.replace("\xa0", " ").split()


def test_the_encoding_stands_in_the_metadata() -> None:
    document = read(Path("a.txt"), document_id="a.txt", data=LONG.encode("gbk"))
    assert document.metadata["encoding"] == "gb18030"
    assert document.warnings == ()


def test_a_doubtful_encoding_is_a_warning() -> None:
    document = read(Path("a.txt"), document_id="a.txt", data="ðþ Ωξ".encode("cp1253", "replace") + b"\xf0\xfe")
    assert any("guess" in warning or "unknown" in warning for warning in document.warnings)


def test_damaged_utf8_keeps_what_is_whole_and_counts_the_rest() -> None:
    data = "好的文字，".encode() * 20 + b"\xff\xfe\xfa" + "还有更多。".encode() * 20
    document = read(Path("a.txt"), document_id="a.txt", data=data)
    assert document.text.startswith("好的文字，")
    assert document.text.endswith("还有更多。")
    assert document.warnings == ("damaged UTF-8: 3 places were replaced by U+FFFD",)


def test_lines_of_another_encoding_inside_utf8_are_read_too() -> None:
    line = "检索增强生成系统应当正确解析中文文档。\n"
    document = read(Path("a.txt"), document_id="a.txt", data=line.encode() * 3 + line.encode("gbk") + line.encode() * 2)
    assert document.text == (line * 6).strip()
    assert document.warnings == ("UTF-8 with lines in gb18030",)


def test_a_mark_is_stronger_than_what_the_bytes_look_like() -> None:
    assert _text(codecs.BOM_UTF16_LE + "ab".encode("utf-16-le")) == "ab"


def test_a_long_line_is_no_trouble() -> None:
    assert len(_text(b"word " * 12_000)) == 59_999


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sample-chinese.txt", "維基大典"),
        ("sample-korean.txt", "역사적 예수"),
        ("sample-arabic-1.txt", "بالموازاة"),
        ("sample-greek.txt", "ελληνική"),
        ("sample-greek-2.txt", "ελληνική"),
        ("sample-hebrew-2.txt", "כמעט"),
        ("sample-hebrew-3.txt", "כמעט"),
        ("sample-russian.txt", "гимназии"),
        ("sample-turkish.txt", "Türkiye'nin"),
        ("sample-french-1.txt", "MOLIÈRE"),
        ("sample-spanish.txt", "principio creó"),
        ("sample-polish.txt", "POLISH"),
        ("sample-english.bom.txt", "About 2 months ago"),
        ("sample-bulgarian.txt", "образование"),
    ],
)
def test_real_files_are_read(name: str, words: str) -> None:
    if not DATA.is_dir():
        pytest.skip("needs the shared sample files")
    assert words in read(DATA / name, document_id=name).text


# --- Markdown --------------------------------------------------------------------------------------------------------

MARKDOWN = """---
title: "The guide"
author: A. Writer
tags:
  - x
---

# First `code` *one* {#first}

text

```python
# not a heading
```

Set
ext
===

- item

  ## In a list

      # indented code
"""


def test_markdown_headings_stand_at_their_lines() -> None:
    document = read(Path("g.md"), document_id="g.md", data=MARKDOWN.encode())
    assert [(heading.level, heading.title) for heading in document.headings] == [
        (1, "First code one"),
        (1, "Set ext"),
        (2, "In a list"),
    ]
    starts = [document.text[heading.start :].split("\n")[0].strip() for heading in document.headings]
    assert starts == ["# First `code` *one* {#first}", "Set", "## In a list"]


def test_markdown_front_matter_is_metadata_and_title() -> None:
    document = read(Path("g.md"), document_id="g.md", data=MARKDOWN.encode())
    assert document.title == "The guide"
    assert document.metadata["author"] == "A. Writer"
    assert document.text.startswith("---\ntitle:")


@pytest.mark.parametrize(
    ("source", "title"),
    [("intro\n\n## Two\n\n# One\n", "One"), ("no heading", "notes"), ("---\nnot front matter", "notes")],
)
def test_markdown_title_is_the_first_high_heading_else_the_name(source: str, title: str) -> None:
    assert read(Path("notes.md"), document_id="x/notes.md", data=source.encode()).title == title


def test_embedded_images_are_left_out_of_markdown() -> None:
    source = "# t\n![x](data:image/png;base64," + "QUJD" * 1000 + ") after"
    document = read(Path("a.md"), document_id="a.md", data=source.encode())
    assert document.text == "# t\n![x](data:image/png;base64,) after"
    assert document.warnings == ("1 embedded images were left out",)


def test_markdown_with_crlf_has_headings_at_the_right_places() -> None:
    document = read(Path("a.md"), document_id="a.md", data=b"x\r\n\r\n\r\n\r\n# A\r\n\r\ny\r\n\r\n## B\r\n")
    assert [document.text[heading.start :][:4].strip() for heading in document.headings] == ["# A", "## B"]
