"""What several tests of whole ingests share: a folder of prose, and a Footnote over the scripted endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from tests.ingest.prose import prose
from tests.upstream import Upstream

N_DOCUMENTS = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six documents that share no chunk: doc0.md to doc5.md."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(N_DOCUMENTS):
        (folder / f"doc{i}.md").write_text(f"# Document {i}\n\n{prose(i)}\n", encoding="utf-8")
    return folder


@pytest.fixture
def environ(upstream: Upstream) -> dict[str, str]:
    """Small chunks and requests, no retries below the queue."""
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_CHUNKING_TOKENS": "64",
        "RAG_CHUNKING_OVERLAP": "0",
        "RAG_EMBEDDINGS_MAX_RETRIES": "0",
        "RAG_EMBEDDINGS_MAX_INPUTS": "8",
    }


@pytest.fixture
async def footnote_with(tmp_path: Path, environ: dict[str, str]) -> AsyncIterator[Callable[..., Footnote]]:
    """Open a Footnote over the scripted endpoint, with more settings: ``footnote_with(ingest__max_cost=1)``."""
    async with AsyncExitStack() as stack:

        def opened(library: str = "library", **overrides: Any) -> Footnote:
            footnote = Footnote.open(tmp_path / library, environ=environ, **overrides)
            stack.push_async_callback(footnote.aclose)
            return footnote

        yield opened


@pytest.fixture
def footnote(footnote_with: Callable[..., Footnote]) -> Footnote:
    return footnote_with()
