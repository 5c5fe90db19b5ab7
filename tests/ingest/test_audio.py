"""Recordings from file to citation: cut at silences, sent once, kept, priced before, placed by their times."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from ingest.report import FileResult, IngestReport
from tests.recordings import hear, spoken, wav
from tests.upstream import Upstream

OpenFootnote = Callable[..., Footnote]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
async def opened(tmp_path: Path, upstream: Upstream) -> AsyncIterator[OpenFootnote]:
    """Open a Footnote with a speech model that hears tones as words, at a price: ``opened(audio__language="en")``."""
    upstream.hear = hear
    environ = {
        "RAG_EMBEDDINGS_BASE_URL": upstream.base_url,
        "RAG_EMBEDDINGS_MODEL": "stub-embedding",
        "RAG_EMBEDDINGS_PRICE_PER_MILLION": "0",
    }
    async with AsyncExitStack() as stack:

        def open_footnote(library: str = "library", **overrides: Any) -> Footnote:
            named = {
                "audio__base_url": upstream.base_url,
                "audio__model": "whisper-x",
                "audio__part_seconds": 20,
                "audio__price_per_minute": 0.6,
            }
            footnote = Footnote.open(tmp_path / library, environ=environ, **{**named, **overrides})
            stack.push_async_callback(footnote.aclose)
            return footnote

        yield open_footnote


async def ingest(footnote: Footnote, folder: Path, **options: Any) -> IngestReport:
    (report,) = await footnote.ingest(folder, **options)
    return report


def only(report: IngestReport) -> FileResult:
    (file,) = report.files
    return file


async def test_a_citation_into_a_recording_carries_the_time(folder, opened, upstream):
    (folder / "talk.wav").write_bytes(wav(spoken("tea", 0.5, "coffee", 65.0, "garlic", "onion", 0.2)))
    async with opened() as footnote:
        report = await ingest(footnote, folder)
        assert only(report).state == "indexed", only(report)
        print(report)
        for upload in upstream.uploads():
            print(upload)
        retrieval = await footnote.search("garlic")
        for hit in retrieval.hits:
            print(hit)
