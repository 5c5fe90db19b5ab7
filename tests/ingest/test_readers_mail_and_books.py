"""Mail, e-books, notebooks, rich text and subtitles: their words, and places a person can find."""

from __future__ import annotations

import base64
import json
from email.message import EmailMessage
from pathlib import Path

import pytest

from ingest.readers import read
from rag.errors import DocumentReadError
from rag.types import Document
from tests.ingest.test_readers_office import SAMPLES, package, sample, samples

RTF = SAMPLES.parents[2] / "markitdown-sample-plugin/tests/test_files/test.rtf"


def read_bytes(name: str, data: str | bytes) -> Document:
    return read(Path(name), document_id=name, data=data if isinstance(data, bytes) else data.encode())


# --- mail


def message() -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = "关于合同"
    mail["From"] = "Zoë <zoe@example.com>"
    mail["To"] = "li@example.com"
    mail["Date"] = "Mon, 06 May 2024 10:00:00 +0000"
    mail.set_content("The contract ends on 1 June.\n")
    mail.add_alternative("<p>The <b>contract</b> ends.</p>", subtype="html")
    mail.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="合同.pdf")
    return mail


def test_a_mail_has_its_headers_its_text_and_the_names_of_its_attachments() -> None:
    document = read_bytes("a.eml", message().as_bytes())
    assert document.title == "关于合同"
    assert document.text.split("\n\n") == [
        "关于合同",
        "From: Zoë <zoe@example.com>\nTo: li@example.com\nDate: Mon, 06 May 2024 10:00:00 +0000",
        "The contract ends on 1 June.",
        "Attachment: 合同.pdf (application/pdf)",
    ]
    assert document.metadata["from"] == "Zoë <zoe@example.com>"


def test_a_page_as_mail_in_chinese_code_is_read_as_its_text() -> None:
    subject = base64.b64encode("测试".encode("gb2312")).decode()
    head = f"Subject: =?gb2312?B?{subject}?=\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=gb2312\r\n"
    data = head.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n<p>" + "价格为￥1，朱镕基".encode("gbk") + b"</p>"
    assert read_bytes("a.eml", data).text == "测试\n\n价格为￥1,朱镕基".replace(",", "，")


def test_headers_of_raw_bytes_and_wrong_labels_are_read_by_their_look() -> None:
    data = b"Subject: " + "关于合同的通知".encode("gbk") + b"\nContent-Type: text/plain; charset=x-none\n\n"
    document = read_bytes("a.eml", data + "这是一个关于合同的重要通知".encode("gbk"))
    assert document.text == "关于合同的通知\n\n这是一个关于合同的重要通知"


def test_each_message_of_a_mailbox_has_its_number() -> None:
    box = (
        b"From a@b Mon Jan  1 00:00:00 2024\nSubject: One\n\nBody one.\n>From here on.\nFrom 2019 to 2024\n\n"
        b"From c@d Mon Jan  1 00:00:00 2024\nSubject: Two\n\nBody two.\n"
    )
    document = read_bytes("a.mbox", box)
    assert document.text == "One\n\nBody one.\nFrom here on.\nFrom 2019 to 2024\n\nTwo\n\nBody two."
    assert document.place_at(document.text.index("Body two")) == "message 2"
    assert document.metadata["messages"] == "2"


@samples
def test_an_outlook_message_is_read() -> None:
    document = sample("test_outlook_msg.msg")
    assert document.title == "Test Email Message"
    assert "From: M. C. Kurtuluş <muratcan.kurtulus@gmail.com>" in document.text
    assert document.text.endswith("This is the body of the test email message")


def test_a_damaged_outlook_message_is_an_error() -> None:
    with pytest.raises(DocumentReadError, match=r"a\.msg"):
        read_bytes("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))


# --- e-books

CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"""
BOOK = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>茶书</dc:title><dc:creator>Lu Yu</dc:creator></metadata><manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="two%20.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="one.xhtml" media-type="application/xhtml+xml"/>
<item id="c" href="gone.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="nav"/><itemref idref="a"/><itemref idref="b"/><itemref idref="c"/></spine></package>"""
CHAPTERS = {
    "OEBPS/nav.xhtml": "<html><body>CONTENTS</body></html>",
    "OEBPS/one.xhtml": "<!DOCTYPE html><html><body><h1>Origins</h1><p>Tea is a tree.</p></body></html>",
    "OEBPS/two .xhtml": "<html><body><h1>Tools</h1><p>A stove.</p></body></html>",
}


def test_a_book_is_read_in_the_order_of_its_spine() -> None:
    document = read_bytes("a.epub", package({"META-INF/container.xml": CONTAINER, "OEBPS/book.opf": BOOK, **CHAPTERS}))
    assert document.text == "Origins\n\nTea is a tree.\n\nTools\n\nA stove."
    assert (document.title, document.metadata["author"]) == ("茶书", "Lu Yu")
    assert document.place_at(document.text.index("stove")) == "§ Tools, line 7"
    assert document.warnings == ("1 chapters are not in the file: OEBPS/gone.xhtml",)


def test_a_locked_book_is_refused() -> None:
    cipher = '<CipherReference xmlns="http://www.w3.org/2001/04/xmlenc#" URI="OEBPS/one.xhtml"/>'
    lock = f"<encryption>{cipher}</encryption>"
    members = {"META-INF/container.xml": CONTAINER, "META-INF/encryption.xml": lock, "OEBPS/book.opf": BOOK}
    with pytest.raises(DocumentReadError, match="rights lock"):
        read_bytes("a.epub", package({**members, **CHAPTERS}))


@samples
def test_a_book_from_the_world_is_read() -> None:
    document = sample("test.epub")
    assert document.title == "Test EPUB Document"
    assert [heading.title for heading in document.headings] == ["Chapter 1: Test Content", "Chapter 2: More Content"]


# --- notebooks


def test_a_notebook_is_read_cell_by_cell_with_its_printed_results() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {
            "cell_type": "code",
            "source": "1 + 1",
            "outputs": [
                {"output_type": "stream", "text": ["printed\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "2", "image/png": "iVBOR"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'x'"},
            ],
        },
    ]
    notebook = {"cells": cells, "metadata": {"kernelspec": {"language": "python"}}, "nbformat": 4}
    document = read_bytes("a.ipynb", json.dumps(notebook))
    assert document.text == "# Title\nWords.\n\n```python\n1 + 1\n```\n\nprinted\n\n2\n\nKeyError: 'x'"
    assert document.place_at(document.text.index("printed")) == "cell 2"
    assert document.title == "Title"


@pytest.mark.parametrize("data", ["{", "[1]", '{"cells": [1]}', '{"cells": {}}', "[" * 100_000])
def test_what_is_no_notebook_is_said(data: str) -> None:
    with pytest.raises(DocumentReadError, match="not a whole notebook"):
        read_bytes("a.ipynb", data)


@samples
def test_a_notebook_from_the_world_is_read() -> None:
    assert 'print("markitdown")' in sample("test_notebook.ipynb").text


# --- rich text and subtitles


def test_rich_text_is_read_in_its_code_page() -> None:
    data = rb"{\rtf1\ansi\ansicpg936{\info{\title Notice}} \'d6\'d0\'ce\'c4 text\par {\b bold} \u20013?\u25991?}"
    document = read_bytes("a.rtf", data)
    assert (document.text, document.title) == ("中文 text\nbold 中文", "Notice")


@pytest.mark.skipif(not RTF.is_file(), reason="needs the shared sample files")
def test_rich_text_from_the_world_is_read() -> None:
    assert read(RTF, document_id="test.rtf").text.startswith("This is a Sample RTF File\n\nIt is included to test")


SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello</i> there.\r\n\r\n2\r\n01:01:12,500 --> 01:01:15,000\r\n你好。\r\n"
)
VTT = (
    "WEBVTT\n\nNOTE not said\n\nSTYLE\n::cue { color: red }\n\n"
    "intro\n01:12.500 --> 01:15.000 align:start\n<v Bob>Hi &amp; bye\n"
)


def test_subtitles_are_what_is_said_and_a_place_is_a_time() -> None:
    srt, vtt = read_bytes("a.srt", SRT), read_bytes("a.vtt", VTT)
    assert srt.text == "Hello there.\n你好。"
    assert [srt.place_at(0), srt.place_at(len(srt.text) - 1)] == ["00:00:01", "01:01:12"]
    assert (vtt.text, vtt.place_at(0)) == ("Hi & bye", "00:01:12")


def test_subtitles_without_times_are_text_with_a_warning() -> None:
    document = read_bytes("a.srt", "just words")
    assert (document.text, document.warnings) == ("just words", ("no times were found; read as plain text",))
