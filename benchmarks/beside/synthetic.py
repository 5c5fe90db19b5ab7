"""A collection of any size that resembles a real one: sentences of real texts, vectors mixed of the embedded model's.

A text is a few sentences of one real passage and of one other, so that words are as common as they are in prose. A
vector is one real vector, moved towards a second one and blurred: clusters overlap, as those of real texts do.
Questions are real ones, with the model's own vectors of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.collection import Collection
from index.library import Library
from index.records import CollectionConfig, LedgerEntry
from index.writer import Replacement
from rag.local.embedder import LocalEmbedder
from rag.types import Chunk, ChunkingSettings, Document, Embeddings, chunk_id, content_address

__all__ = ["CONFIG", "Material", "add", "material", "vectors_like"]

DIMENSIONS = 384
CONFIG = CollectionConfig("synthetic", DIMENSIONS, "words", ChunkingSettings(128, 16))
CORPORA = ("scifact_train", "nq_oracle", "mtragun_en", "anthropic_docs")
N_PASSAGES, N_QUESTIONS = 3000, 300
CHUNKS_A_DOCUMENT = 50
DOCUMENTS_A_TRANSACTION = 40
MOVED, BLUR = 0.6, 0.55  # at most so far towards another vector; the length of the noise

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Material:
    """Sentences and vector of each real passage; questions with their vectors."""

    sentences: Sequence[Sequence[str]]
    vectors: Vectors
    questions: Sequence[str]
    question_vectors: Vectors


def material(data: Path, cache: Path) -> Material:
    """Read what collections are made of; the vectors are kept in ``cache``, as the model takes a minute for them."""
    texts: list[str] = []
    questions: list[str] = []
    for corpus in CORPORA:
        for name, into, share in (("corpus", texts, N_PASSAGES), ("queries", questions, N_QUESTIONS)):
            lines = (data / corpus / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
            chosen = np.random.default_rng(1).permutation(len(lines))[: share // len(CORPORA)]
            into += [str(json.loads(lines[place])["text"]) for place in chosen]
    texts = [text for text in texts if len(text) > 100]
    if cache.exists():
        vectors = np.load(cache)
    else:
        vectors = np.concatenate([_embedded(texts, "document"), _embedded(questions, "query")])
        np.save(cache, vectors)
    sentences = [[part for part in re.split(r"(?<=[.!?])\s+", text) if part] for text in texts]
    return Material(sentences, vectors[: len(texts)], questions, vectors[len(texts) :])


def _embedded(texts: Sequence[str], kind: str) -> Vectors:
    embedder = LocalEmbedder()
    parts = [
        asyncio.run(embedder.embed([text[:400] for text in texts[at : at + 64]], kind=kind)).vectors  # type: ignore[arg-type]
        for at in range(0, len(texts), 64)
    ]
    return np.concatenate(parts)


def vectors_like(real: Vectors, n: int, rng: np.random.Generator) -> Vectors:
    """Return ``n`` unit vectors, each near a real one."""
    real = real[np.linalg.norm(real, axis=1) > 0.5]  # what the model cannot read has zeros
    first, second = rng.integers(0, len(real), (2, n))
    moved = (MOVED * rng.random(n, np.float32))[:, None]
    noise = rng.standard_normal((n, real.shape[1]), np.float32) * np.float32(BLUR / np.sqrt(real.shape[1]))
    mixed = (1 - moved) * real[first] + moved * real[second] + noise
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def add(
    library: Library, collection: Collection, stuff: Material, n_chunks: int, *, name: str, seed: int, indexed: bool
) -> None:
    """Write documents ``name-0`` ... of ``n_chunks`` in all; ``indexed`` brings the derived indexes up to date too."""
    rng = np.random.default_rng(seed)
    with collection.writer("benchmark") as writer:
        batch: list[Replacement] = []
        for one in _documents(stuff, n_chunks, name, rng):
            batch.append(one)
            if len(batch) == DOCUMENTS_A_TRANSACTION:
                _store(library, collection, stuff, batch, rng)
                _raise_any(writer.replace_all(batch))
                batch = []
        if batch:
            _store(library, collection, stuff, batch, rng)
            _raise_any(writer.replace_all(batch))
        if not indexed:
            writer.leave_indexes()


def _raise_any(errors: Sequence[Exception | None]) -> None:
    for error in errors:
        if error is not None:
            raise error


def _store(
    library: Library, collection: Collection, stuff: Material, batch: Sequence[Replacement], rng: np.random.Generator
) -> None:
    addresses = [content_address(chunk.embedded_text) for one in batch for chunk in one.chunks]
    vectors = vectors_like(stuff.vectors, len(addresses), rng)
    library.vectors.put(collection.space, addresses, Embeddings(vectors, np.ones(len(vectors), np.bool_), 1))


def _documents(stuff: Material, n_chunks: int, name: str, rng: np.random.Generator) -> Iterator[Replacement]:
    for number, first in enumerate(range(0, n_chunks, CHUNKS_A_DOCUMENT)):
        n = min(CHUNKS_A_DOCUMENT, n_chunks - first)
        pieces = [_text(stuff, rng) for _ in range(n)]
        text = "\n".join(pieces)
        title = f"{name}-{number}"
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        document = Document(title, title, text, sha256, "text/plain", "text 1")
        chunks, at = [], 0
        for piece in pieces:
            chunks.append(Chunk(chunk_id(title, at, piece), title, at, at + len(piece), piece, len(piece) // 5))
            at += len(piece) + 1
        entry = LedgerEntry(title, "docs", "indexed", sha256, n_chunks=n, reader="text 1")
        yield Replacement(document, chunks, entry)


def _text(stuff: Material, rng: np.random.Generator) -> str:
    passages = rng.integers(0, len(stuff.sentences), 2)
    parts = [
        sentences[place]
        for sentences in (stuff.sentences[passage] for passage in passages)
        for place in sorted(rng.integers(0, len(sentences), 2))
    ]
    return " ".join([*parts, f"No. {rng.integers(0, 10**9)}."])[:700]
