"""What every program under measurement gets: an endpoint that answers at once, and tiktoken's vocabulary as a file."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rag.tokens import VOCABULARIES, BytePairTokenizer, pinned_source

__all__ = ["ROOT", "endpoint", "environ_of", "ingest_command", "vocabulary_cache"]

ROOT = Path(__file__).parents[2]
CHUNK_TOKENS = 512


@contextmanager
def endpoint(dimensions: int = 1536) -> Iterator[str]:
    """Run the endpoint in a process of its own, and give its base URL."""
    script = Path(__file__).with_name("stub_endpoint.py")
    server = subprocess.Popen(
        [sys.executable, str(script), "--dimensions", str(dimensions)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    finally:
        server.kill()
        server.wait()


def environ_of(base_url: str, library: Path, *, dimensions: int = 1536) -> dict[str, str]:
    """Return the environment of a Footnote that embeds there: chunks of 512 tokens without overlap."""
    return {
        "PATH": os.environ["PATH"],
        "RAG_LIBRARY": str(library),
        "RAG_EMBEDDINGS_BASE_URL": base_url,
        "RAG_EMBEDDINGS_MODEL": "text-embedding-3-small",
        "RAG_EMBEDDINGS_DIMENSIONS": str(dimensions),
        "RAG_CHUNKING_TOKENS": str(CHUNK_TOKENS),
        "RAG_CHUNKING_OVERLAP": "0",
    }


def ingest_command(folder: Path, *options: str) -> Sequence[str]:
    return [sys.executable, "-m", "api.cli.main", "ingest", str(folder), "--quiet", *options]


def vocabulary_cache(folder: Path, name: str = "cl100k_base") -> None:
    """Write the vocabulary that ships with Footnote where tiktoken looks for what it has downloaded before."""
    url, sha256 = pinned_source(name)
    ranks: dict[bytes, int] = BytePairTokenizer(name, VOCABULARIES).encoding._mergeable_ranks
    lines = (
        b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in sorted(ranks.items(), key=lambda of: of[1])
    )
    content = b"".join(lines)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise SystemExit(f"the vocabulary {name} is not that of tiktoken")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(url.encode()).hexdigest()).write_bytes(content)
