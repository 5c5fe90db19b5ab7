"""Scanned pages and pictures from file to citation: read once, kept, priced before, never in the way of the rest."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.cli.cache import _lines
from api.doctor import examine
from api.footnote import Footnote
from ingest.report import IngestReport
from rag.errors import ConfigError
from tests.ingest.one_path import estimate, ingest, only
from tests.ingest.pdf_bytes import pdf_bytes, scan_bytes
from tests.tesseract import Tesseract, picture_bytes, words_in
from tests.upstream import Fault, Message, Upstream, pictures_of

OpenFootnote = Callable[..., Footnote]
HARBOUR, LIGHTHOUSE, MARKET = "the harbour was built in 1870", "the lighthouse is 77 metres high", "fish is sold daily"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def environ(upstream: Upstream) -> dict[str, str]:
    return {
        "RAG_EMBEDDINGS_BASE_URL": upstream.base_url,
        "RAG_EMBEDDINGS_MODEL": "stub-embedding",
        "RAG_EMBEDDINGS_PRICE_PER_MILLION": "0",
    }


@pytest.fixture
def seeing(footnote_with: OpenFootnote, upstream: Upstream) -> OpenFootnote:
    """Open a Footnote with a vision model that says what the picture holds, at a price."""

    def answer(request: dict[str, Any]) -> str:
        (found,) = pictures_of(request)
        said = words_in(found) or "NO_TEXT"
        return said if "Transcribe" in str(request["messages"]) else f"A picture that says: {said}"

    upstream.reply = answer

    def open_footnote(library: str = "library", **overrides: Any) -> Footnote:
        named = {"vision__base_url": upstream.base_url, "vision__model": "eye", "vision__input_per_million": 100.0}
        return footnote_with(library, **{**named, "vision__output_per_million": 1000.0, **overrides})

    return open_footnote


def text_of(footnote: Footnote, document_id: str) -> str:
    return footnote.document(document_id).text


def scan(*texts: str | None) -> bytes:
    """Return a PDF of scanned pages that hold these words; None is an empty page."""
    return scan_bytes([None if text is None else picture_bytes(text) for text in texts])


# --- Tesseract


async def test_scanned_pages_are_read_and_a_citation_says_by_whom(
    folder: Path, footnote_with: OpenFootnote, tesseract: Tesseract
) -> None:
    (folder / "old.pdf").write_bytes(scan_bytes(["A typed first page, long enough.", picture_bytes(HARBOUR)]))
    footnote = footnote_with()
    file = only(await ingest(footnote, folder))
    assert (file.state, file.warnings) == ("indexed", ("1 of 2 pages were read by OCR (tesseract 5.9.0 (eng))",))
    document = footnote.document("old.pdf")
    assert document.place_at(document.text.index(HARBOUR)) == "page 2 (read by tesseract)"
    assert document.place_at(0) == "page 1"
    assert document.metadata["pages_read_by"] == "tesseract 5.9.0 (eng)"


async def test_a_rename_a_copy_and_a_rebuild_read_nothing_again(
    folder: Path, footnote_with: OpenFootnote, tesseract: Tesseract
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR, LIGHTHOUSE))
    footnote = footnote_with()
    await ingest(footnote, folder)
    (folder / "a.pdf").rename(folder / "b.pdf")
    (folder / "copy.pdf").write_bytes((folder / "b.pdf").read_bytes())
    report = await ingest(footnote, folder)
    (count,) = report.media
    assert [file.state for file in report.files] == ["indexed", "indexed"]
    assert (count.n_read, count.n_known) == (0, 4)
    await ingest(footnote, folder, rebuild=True)
    assert len(tesseract.calls) == 2
    assert LIGHTHOUSE in text_of(footnote, "copy.pdf")


async def test_of_a_changed_file_only_the_new_page_is_read(
    folder: Path, footnote_with: OpenFootnote, tesseract: Tesseract
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR, LIGHTHOUSE))
    footnote = footnote_with()
    await ingest(footnote, folder)
    (folder / "a.pdf").write_bytes(scan(HARBOUR, MARKET, LIGHTHOUSE))
    await ingest(footnote, folder)
    assert len(tesseract.calls) == 3
    assert re.split(r"\n+", text_of(footnote, "a.pdf")) == [HARBOUR, MARKET, LIGHTHOUSE]


async def test_without_anybody_to_read_it_a_scan_is_empty_with_advice_and_is_read_as_soon_as_somebody_can(
    folder: Path, footnote_with: OpenFootnote, tesseract: Tesseract
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR))
    (folder / "b.png").write_bytes(picture_bytes(LIGHTHOUSE, format="PNG"))
    (folder / "typed.pdf").write_bytes(pdf_bytes([["A page with words in it."]]))
    report = await ingest(footnote_with(ocr__provider="off"), folder)
    assert {file.path: file.state for file in report.files} == {
        "a.pdf": "empty",
        "b.png": "empty",
        "typed.pdf": "indexed",
    }
    assert all("install Tesseract" in file.reason for file in report.files if file.state == "empty")
    report = await ingest(footnote_with(), folder)
    assert {file.path: file.state for file in report.files} == {
        "a.pdf": "indexed",
        "b.png": "indexed",
        "typed.pdf": "unchanged",
    }
    assert only_changed(await ingest(footnote_with(), folder)) == []


def only_changed(report: IngestReport) -> list[str]:
    return [file.path for file in report.files if file.state != "unchanged"]


async def test_a_killed_run_keeps_the_pages_it_has_read(
    folder: Path, tmp_path: Path, footnote_with: OpenFootnote, tesseract: Tesseract, environ: dict[str, str]
) -> None:
    n_at_once = len(os.sched_getaffinity(0))
    n_pages = n_at_once + 3
    (folder / "a.pdf").write_bytes(scan(*(f"page number {n}" for n in range(n_pages))))
    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli.main", "ingest", str(folder), "--library", str(tmp_path / "library")),
        env={**os.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    while len(tesseract.calls) < n_at_once + 1:
        await asyncio.sleep(0.02)
    killed.kill()
    await killed.wait()
    report = await ingest(footnote_with(), folder)
    (count,) = report.media
    assert count.n_read + count.n_known == n_pages
    assert count.n_known >= 1  # one more was begun than can be under way


# --- pictures


async def test_a_picture_without_text_is_empty_and_says_what_would_help(
    folder: Path, footnote_with: OpenFootnote, tesseract: Tesseract
) -> None:
    (folder / "photo.png").write_bytes(noise())
    file = only(await ingest(footnote_with(), folder))
    assert file.state == "empty"
    assert re.search(r"no text was found in it by tesseract 5.9.0 .eng.; a vision model could describe it", file.reason)


def noise() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.effect_noise((320, 240), 90).save(out, "PNG")
    return out.getvalue()


# --- vision


async def test_a_vision_model_reads_pages_and_describes_pictures(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR))
    (folder / "b.jpg").write_bytes(picture_bytes(LIGHTHOUSE))
    footnote = seeing()
    report = await ingest(footnote, folder)
    assert text_of(footnote, "a.pdf") == HARBOUR
    assert footnote.document("a.pdf").place_at(0) == "page 1 (read by eye)"
    described = footnote.document("b.jpg")
    assert described.text == f"A picture that says: {LIGHTHOUSE}"
    assert (described.place_at(0), described.metadata["described_by"]) == ("description by eye", "eye")
    assert len(upstream.seen) == 2
    page, shown = report.media
    assert (page.kind, page.n_read, page.usage.output_tokens) == ("page", 1, len(HARBOUR.split()))
    assert report.cost == pytest.approx((page.cost or 0) + (shown.cost or 0))
    assert report.currency == "USD"


async def test_with_both_a_picture_has_its_text_and_a_description(
    folder: Path, seeing: OpenFootnote, tesseract: Tesseract, upstream: Upstream
) -> None:
    (folder / "b.jpg").write_bytes(picture_bytes(LIGHTHOUSE))
    footnote = seeing()
    await ingest(footnote, folder)
    assert text_of(footnote, "b.jpg") == f"{LIGHTHOUSE}\n\nA picture that says: {LIGHTHOUSE}"
    assert (len(tesseract.calls), len(upstream.calls("chat"))) == (1, 1)


async def test_a_key_alone_sends_no_picture_to_anybody(
    folder: Path, tmp_path: Path, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "b.jpg").write_bytes(picture_bytes(LIGHTHOUSE))
    environ = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "sk-test"}
    async with Footnote.open(tmp_path / "library", environ=environ) as footnote:
        assert only(await ingest(footnote, folder)).state == "empty"
    assert upstream.calls("chat") == []


async def test_a_page_that_the_model_refuses_is_named_and_not_paid_for_again(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR, LIGHTHOUSE))
    upstream.reply = lambda request: (
        Message(refusal="I cannot.", finish_reason="content_filter")
        if words_in(pictures_of(request)[0]) == LIGHTHOUSE
        else HARBOUR
    )
    footnote = seeing()
    file = only(await ingest(footnote, folder))
    assert file.state == "indexed"
    assert "page 2 was not read: eye refuses to read it (content_filter: I cannot.)" in file.warnings
    await ingest(footnote, folder, rebuild=True)
    assert set(upstream.seen.values()) == {1}


async def test_an_endpoint_that_is_gone_fails_the_scans_and_the_former_version_answers(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR))
    footnote = seeing(vision__patience_s=0.0)
    await ingest(footnote, folder)
    (folder / "a.pdf").write_bytes(scan(HARBOUR, LIGHTHOUSE))
    (folder / "b.md").write_text("Words that need no reading.", encoding="utf-8")
    upstream.always("chat", Fault(status=503))
    report = await ingest(footnote, folder)
    assert {file.path: (file.state, file.retriable) for file in report.files} == {
        "a.pdf": ("failed", True),
        "b.md": ("indexed", False),
    }
    assert not report.stopped
    assert text_of(footnote, "a.pdf") == HARBOUR


async def test_a_wrong_key_ends_the_run(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR))
    upstream.script("chat", Fault(status=401))
    report = await ingest(seeing(), folder)
    assert "status 401" in report.stopped
    assert only(report).state == "failed"


# --- money


async def test_a_dry_run_counts_what_the_run_reads_and_asks_nobody(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR, LIGHTHOUSE, HARBOUR))
    (folder / "copy.pdf").write_bytes(scan(LIGHTHOUSE))
    (folder / "b.jpg").write_bytes(picture_bytes(MARKET))
    footnote = seeing()
    planned = await estimate(footnote, folder)
    assert upstream.calls("chat") == []
    assert not (footnote.settings.library / "readings.db").exists()
    assert (planned.cost or 0) > 0
    assert {file.state for file in planned.report.files} == {"indexed"}
    report = await ingest(footnote, folder)
    assert [(count.kind, count.n_read) for count in report.media] == [("page", 2), ("picture", 1)]
    assert [(count.kind, count.n_read) for count in planned.report.media] == [("page", 2), ("picture", 1)]
    again = await estimate(footnote, folder)
    assert sum(count.n_read for count in again.report.media) == 0


async def test_the_limit_on_the_cost_stops_before_the_page_that_would_exceed_it(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(*(f"page {n}" for n in range(6))))
    footnote = seeing(vision__concurrency=1, ingest__max_cost=1.5)
    report = await ingest(footnote, folder)
    assert "the limit of 1.50 USD would be exceeded" in report.stopped
    assert 0 < len(upstream.seen) < 6
    assert (report.cost or 0) <= 1.5
    report = await ingest(seeing(ingest__max_cost=5.0), folder)
    assert only(report).state == "indexed"
    assert set(upstream.seen.values()) == {1}


async def test_a_limit_needs_to_know_the_price(folder: Path, footnote_with: OpenFootnote, upstream: Upstream) -> None:
    footnote = footnote_with(vision__base_url=upstream.base_url, vision__model="eye", ingest__max_cost=1.0)
    with pytest.raises(ConfigError, match="the price of eye, which reads pages, pictures or recordings, is not known"):
        await footnote.ingest(folder)


async def test_the_cache_shows_what_was_read_and_what_that_saved(
    folder: Path, seeing: OpenFootnote, upstream: Upstream, no_tesseract: None
) -> None:
    (folder / "a.pdf").write_bytes(scan(HARBOUR))
    footnote = seeing()
    await ingest(footnote, folder)
    (folder / "a.pdf").rename(folder / "b.pdf")
    await ingest(footnote, folder)
    found = footnote.cache().readings
    assert [(reader.title, reader.kind, reader.n_readings) for reader in found.readers] == [("eye", "page", 1)]
    assert (found.n_reused, found.n_orphans) == (1, 0)
    assert found.saved["USD"] > 0
    assert "1 by eye" in "\n".join(_lines(footnote.cache(), [None]))


async def test_doctor_says_who_reads(
    seeing: OpenFootnote, footnote_with: OpenFootnote, upstream: Upstream, tesseract: Tesseract
) -> None:
    upstream.reply = lambda request: "A grey square."
    found = {finding.subject: finding async for finding in examine(seeing())}
    assert found["scanned pages"].found == "read by tesseract 5.9.0 (eng)"
    assert found["vision"].found.startswith(f"eye at {upstream.base_url} answers (3 words about a grey square")
    alone = {finding.subject: finding async for finding in examine(footnote_with(ocr__provider="off"), offline=True)}
    assert alone["scanned pages"].found == "read by nobody (ocr.provider is 'off')"
    assert "RAG_VISION_MODEL" in alone["vision"].advice
