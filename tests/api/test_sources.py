"""Where a quote stands, looked at: the marks lie where the engine itself finds the words, or there are none."""

from __future__ import annotations

import io
from pathlib import Path

import httpx2
import numpy as np
import pypdfium2
import pytest
from numpy.typing import NDArray
from PIL import Image

from api.sources import source_link
from tests.api.conftest import Service, ingest
from tests.ingest.pdf_bytes import pdf_bytes

LINES = [
    "The warranty lasts 24 months.",
    "Batteries are excluded. The warranty lasts 24 months.",
    "<b>Keep</b> the receipt.",
]
ROTATED = pdf_bytes([LINES]).replace(b"/MediaBox[0 0 612 792]", b"/Rotate 90/MediaBox[0 0 612 792]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "straight.pdf").write_bytes(pdf_bytes([["Contents of this manual"], LINES]))
    (folder / "turned.pdf").write_bytes(ROTATED)
    (folder / "note.txt").write_text("Before. <script>alert(1)</script> & after.\n", encoding="utf-8")
    ingest(tmp_path / "library", folder)
    return folder


@pytest.fixture
def client(folder: Path, service: Service) -> httpx2.Client:
    return service(folder.parent / "library")


def text_of(client: httpx2.Client, document: str) -> str:
    text: str = client.get(f"/collections/default/documents/{document}?start=0").json()["text"]
    return text


def yellow(png: bytes) -> NDArray[np.bool_]:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return (pixels[:, :, 0] > 200) & (pixels[:, :, 2] < 120)


def expected(data: bytes, page: int, words: str, nth: int, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the engine's own search box, in pixels of a picture of that shape."""
    with pypdfium2.PdfDocument(data) as pdf:
        text = pdf[page].get_textpage()
        search = text.search(words)
        for _ in range(nth):
            search.get_next()
        index, count = search.get_next()
        text.count_rects(index, count)
        left, bottom, right, top = text.get_rect(0)
        width, height = pdf[page].get_mediabox()[2:]
        turned = pdf[page].get_rotation() == 90
    if turned:  # clockwise: up becomes right
        scale = shape[1] / height
        return bottom * scale, left * scale, top * scale, right * scale
    scale = shape[1] / width
    return left * scale, (height - top) * scale, right * scale, (height - bottom) * scale


@pytest.mark.parametrize(("name", "page"), [("straight.pdf", 2), ("turned.pdf", 1)])
@pytest.mark.parametrize(("words", "nth"), [("warranty lasts", 0), ("warranty lasts", 1), ("excluded", 0)])
def test_the_marks_are_where_the_engine_finds_the_words(
    client: httpx2.Client, folder: Path, name: str, page: int, words: str, nth: int
) -> None:
    text = text_of(client, name)
    start = text.index(words)
    for _ in range(nth):
        start = text.index(words, start + 1)
    url = f"/collections/default/documents/{name}/pages/{page}.png?highlight={start}-{start + len(words)}"
    reply = client.get(url)
    assert reply.status_code == 200, reply.text
    marks = yellow(reply.content)
    rows, columns = np.nonzero(marks)
    found = (columns.min(), rows.min(), columns.max(), rows.max())
    assert (
        np.abs(np.subtract(found, expected((folder / name).read_bytes(), page - 1, words, nth, marks.shape))).max() < 8
    )
    assert client.get(url, headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304


def test_without_a_highlight_nothing_is_marked(client: httpx2.Client) -> None:
    assert not yellow(client.get("/collections/default/documents/straight.pdf/pages/1.png").content).any()


def test_a_file_that_has_changed_is_not_drawn(client: httpx2.Client, folder: Path) -> None:
    (folder / "straight.pdf").write_bytes(pdf_bytes([["Contents of this manual"], LINES[::-1]]))
    reply = client.get("/collections/default/documents/straight.pdf/pages/2.png")
    assert (reply.status_code, "has changed" in reply.text) == (422, True)
    (folder / "straight.pdf").unlink()
    reply = client.get("/collections/default/documents/straight.pdf/pages/2.png")
    assert (reply.status_code, "is gone" in reply.text) == (422, True)
    assert "<mark id=quote>Contents</mark>" in client.get("/" + source_link("default", "straight.pdf", 0, 8)).text


@pytest.mark.parametrize(
    ("place", "said", "status"),
    [
        ("straight.pdf/pages/1.png?highlight=40-50", "the page holds", 422),
        ("straight.pdf/pages/9.png", "it has 2 pages", 422),
        ("note.txt/pages/1.png", "pages of PDF files are drawn", 422),
        ("straight.pdf/pages/1.png?highlight=9-3", "highlight must be", 400),
        ("straight.pdf/pages/1.png?highlight=x", "highlight is", 400),
    ],
)
def test_what_cannot_be_drawn_is_said(client: httpx2.Client, place: str, said: str, status: int) -> None:
    reply = client.get(f"/collections/default/documents/{place}")
    assert (reply.status_code, said in reply.text) == (status, True), reply.text


def test_the_words_of_a_document_are_no_markup(client: httpx2.Client) -> None:
    start = text_of(client, "note.txt").index("<script>")
    reply = client.get("/" + source_link("default", "note.txt", start, start + 8))
    assert "Before. <mark id=quote>&lt;script&gt;</mark>alert(1)&lt;/script&gt; &amp; after." in reply.text
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
