"""Where a quote stands, looked at: the marks lie where the engine itself finds the words, or there are none."""

from __future__ import annotations

import asyncio
import html
import io
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pypdfium2
import pytest
from numpy.typing import NDArray
from PIL import Image

from api.drawing import DrawingLimit
from api.footnote import Footnote
from api.sources import source_link
from rag.errors import ServiceBusyError
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


ODD = ("a b/#1?x=%41&y.txt", "价格/表 ü.txt", 'it\'s "so"<b>.txt', "plus+semi;colon@:=.txt")


def test_the_link_of_a_citation_leads_to_the_marked_words_whatever_the_document_is_called(
    tmp_path: Path, service: Service
) -> None:
    folder = tmp_path / "files"
    for number, name in enumerate(ODD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"The zeppelin number {number} weighs {number + 3} tons.\n", encoding="utf-8")
    ingest(tmp_path / "library", folder)
    client = service(tmp_path / "library")
    reply = client.post("/ask", json={"question": "How many tons does zeppelin number 2 weigh?"}).json()
    assert reply["citations"]
    seen = set()
    for citation in [*reply["citations"], *(linked_to(source) for source in reply["sources"])]:
        page = client.get("/" + citation["link"])
        assert page.status_code == 200, citation
        marked = re.search("<mark id=quote>(.*)</mark>", page.text, re.DOTALL)
        assert marked is not None
        assert html.unescape(marked[1]) == citation["quote"]
        seen.add(citation["document"])
    assert seen == set(ODD)


def linked_to(source: dict[str, Any]) -> dict[str, Any]:
    link = source_link("default", source["document"], source["start"], source["end"])
    return {"document": source["document"], "link": link, "quote": source["text"]}


def test_links_of_several_collections_name_the_right_one(tmp_path: Path, service: Service) -> None:
    for name, weight in (("ships", 7), ("air ships", 9)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"The {name} zeppelin weighs {weight} tons.\n", encoding="utf-8")
        ingest_into(tmp_path / "library", tmp_path / name, name.replace(" ", "-"))
    client = service(tmp_path / "library")
    asked = {"question": "How many tons does the zeppelin weigh?", "collections": ["ships", "air-ships"]}
    citations = client.post("/ask", json=asked).json()["citations"]
    assert {citation["link"].split("/")[1] for citation in citations} == {"ships", "air-ships"}
    for citation in citations:
        assert f"<mark id=quote>{citation['quote']}</mark>" in client.get("/" + citation["link"]).text


def ingest_into(library: Path, folder: Path, name: str) -> None:
    async def run() -> None:
        async with Footnote.open(library, environ={}) as footnote:
            await footnote.ingest(folder, collection=name)

    asyncio.run(run())


def test_pages_are_drawn_a_few_at_a_time_and_the_rest_is_refused() -> None:
    limit = DrawingLimit(at_once=1, waiting=1, wait_s=0.05)
    with limit.place():
        with pytest.raises(ServiceBusyError, match=r"within 0\.05 s"), limit.place():
            pass
        waiting = threading.Thread(target=lambda: suppress_busy(limit))
        waiting.start()
        while limit._queue._value:  # until it waits
            time.sleep(0.001)
        with pytest.raises(ServiceBusyError, match="too many"), limit.place():
            pass
        waiting.join()
    with limit.place():
        pass


def suppress_busy(limit: DrawingLimit) -> None:
    with suppress(ServiceBusyError), limit.place():
        pass
