"""kill -9 in the middle of an ingest, at several moments: afterwards the collection is whole, nothing is paid twice."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.footnote import Footnote
from tests.upstream import Fault, Upstream

ROOT = Path(__file__).parents[2]
MAX_INPUTS = 4
CONCURRENCY = 2
IN_FLIGHT = (2 * CONCURRENCY + 1) * MAX_INPUTS
"""Texts paid for and not yet stored, at most: requests under way, and about as many replies being stored."""


def write_documents(folder: Path) -> None:
    folder.mkdir()
    for i in range(8):
        sentences = (f"Line {n} of document {i} says {n * i} and {n + i} of it." for n in range(60))
        (folder / f"doc{i}.txt").write_text("\n\n".join(sentences), encoding="utf-8")


def environ_of(upstream: Upstream, library: Path) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_LIBRARY": str(library),
        "RAG_CHUNKING_TOKENS": "64",
        "RAG_CHUNKING_OVERLAP": "0",
        "RAG_EMBEDDINGS_MAX_INPUTS": str(MAX_INPUTS),
        "RAG_EMBEDDINGS_CONCURRENCY": str(CONCURRENCY),
    }


@pytest.mark.parametrize("n_requests", [1, 3, 8, 20])
async def test_a_killed_ingest_goes_on_where_it_was(tmp_path: Path, upstream: Upstream, n_requests: int) -> None:
    write_documents(tmp_path / "docs")
    environ = environ_of(upstream, tmp_path / "library")
    upstream.always("embeddings", Fault(delay_s=0.01))
    child = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "ingest", str(tmp_path / "docs"), "--quiet"],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    reached = await asyncio.to_thread(
        upstream.wait_until, lambda: len(upstream.calls("embeddings")) > n_requests, timeout_s=30
    )
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert reached
    assert child.returncode == -signal.SIGKILL, "the ingest was over before it could be killed"
    upstream.wait_until(lambda: upstream.in_flight == 0)

    async with Footnote.open(environ=environ) as footnote:
        assert footnote.collection().check() == []
        for info in footnote.documents():  # what is committed is whole
            stored = footnote.document(info.id).text
            chunks = footnote.collection().document_chunks(info.id)
            assert chunks
            assert all(stored[chunk.start : chunk.end] == chunk.text for chunk in chunks)
        (report,) = await footnote.ingest(tmp_path / "docs")
        assert (report.exit_code, len(footnote.documents())) == (0, 8)
        assert footnote.check() == []
        n_chunks = footnote.status().n_chunks
    paid = sum(n for text, n in upstream.embedded.items() if "your vectors" not in text)
    assert paid <= n_chunks + IN_FLIGHT


@pytest.mark.parametrize("n_calls", [1, 2], ids=["the collection is being made", "texts are being embedded"])
async def test_a_second_ingest_at_the_same_time_is_told_who_writes(
    tmp_path: Path, upstream: Upstream, n_calls: int
) -> None:
    write_documents(tmp_path / "docs")
    environ = environ_of(upstream, tmp_path / "library")
    upstream.always("embeddings", Fault(delay_s=3))
    command = [sys.executable, "-m", "api.cli.main", "ingest", str(tmp_path / "docs"), "--quiet"]
    first = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert await asyncio.to_thread(
            upstream.wait_until, lambda: len(upstream.calls("embeddings")) >= n_calls, timeout_s=30
        )
        second = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True
        )
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert "rag ingest" in second.stderr
    assert second.stderr.count("\n") == 1, "one line, no traceback"
