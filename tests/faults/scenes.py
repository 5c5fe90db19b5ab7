"""What is ingested while things go wrong: a folder before and after a day's work; three commands run over it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.ingest.pdf_bytes import pdf_bytes, scan_bytes
from tests.tesseract import picture_bytes
from tests.upstream import Upstream

__all__ = ["CONCURRENCY", "MAX_INPUTS", "SCENES", "Scene", "environ_of", "write_documents"]

MAX_INPUTS = 4
CONCURRENCY = 2


@dataclass(frozen=True)
class Scene:
    """A command, whether there is a library before it, and whether the folder has changed since.

    ``repair`` is of a library that was damaged, and finished by an ingest.
    """

    name: str
    words: str
    has_library: bool
    changes: bool
    rebuild: bool = False
    repair: bool = False
    tokens: int = 96


SCENES = (
    Scene("first", "`rag ingest` into nothing", has_library=False, changes=False),
    Scene("update", "`rag ingest` after changes", has_library=True, changes=True),
    Scene("rebuild", "`rag ingest --rebuild`", has_library=True, changes=False, rebuild=True, tokens=64),
    Scene("repair", "`rag status --repair`", has_library=True, changes=False, repair=True),
)


def marker(name: str, version: int) -> str:
    """Return the word that only this version of this file holds."""
    return "mark" + "".join(c for c in name if c.isalpha()) + "xyz"[version]


def prose(name: str, version: int, n: int) -> str:
    word = marker(name, version)
    return "\n\n".join(
        f"Line {i} of {word} says that {i * 7 + version} follows {word} in this place." for i in range(n)
    )


def write_documents(folder: Path, *, changed: bool) -> None:
    """Write the folder as it was, or as it is after files came, changed, moved, went, and were spoilt."""
    folder.mkdir(exist_ok=True)
    plain = {"keep.txt": 12, "change.md": 260, "rename.txt": 10, "remove.txt": 8, "empties.txt": 8}
    if not changed:
        for name, n in plain.items():
            (folder / name).write_text(f"{prose(name, 0, n)}\n", encoding="utf-8")
        lines = prose("spoilt.pdf", 0, 9).split("\n\n")
        (folder / "spoilt.pdf").write_bytes(pdf_bytes([lines[:5], lines[5:]]))
        (folder / "scan.pdf").write_bytes(scan_bytes([picture_bytes("a page"), picture_bytes("another")]))
        return
    (folder / "change.md").write_text(f"# Anew\n\n{prose('change.md', 1, 250)}\n", encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "rename.txt").rename(folder / "sub" / "renamed.txt")
    (folder / "remove.txt").unlink()
    (folder / "empties.txt").write_text("  \n", encoding="utf-8")
    (folder / "spoilt.pdf").write_bytes(b"%PDF-1.7\nnothing of a PDF after this")
    (folder / "scan.pdf").write_bytes(scan_bytes([picture_bytes("a page"), picture_bytes("a page instead")]))
    (folder / "added.txt").write_text(prose("added.txt", 0, 12), encoding="utf-8")
    (folder / "more.html").write_text(f"<h1>More</h1><p>{prose('more.html', 0, 6)}</p>", encoding="utf-8")
    (folder / "rubbish.bin").write_bytes(bytes(range(256)) * 4)


def environ_of(upstream: Upstream, library: Path, *, tokens: int) -> dict[str, str]:
    """Return the environment of a `rag` command: this library, the scripted endpoint, small chunks and requests."""
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_LIBRARY": str(library),
        "RAG_COLLECTION": "main",
        "RAG_CHUNKING_TOKENS": str(tokens),
        "RAG_CHUNKING_OVERLAP": "0",
        "RAG_OCR_PROVIDER": "vision",
        "RAG_VISION_MODEL": "eye",
        "RAG_VISION_CONCURRENCY": "1",
        "RAG_EMBEDDINGS_MAX_INPUTS": str(MAX_INPUTS),
        "RAG_EMBEDDINGS_CONCURRENCY": str(CONCURRENCY),
        "HOME": str(library.parent),
        "PATH": os.environ.get("PATH", ""),
    }
