"""How the index tests make documents: by hand, with vectors from the fake embedder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from index.collection import Collection
from index.library import Library
from index.records import CollectionConfig, LedgerEntry
from index.writer import Writer
from rag.types import Chunk, ChunkingSettings, Document, Heading, Page, chunk_id, content_address
from tests.fakes import LengthEmbedder

CONFIG = CollectionConfig(model="lengths", dimensions=8, tokenizer="words", chunking=ChunkingSettings(64, 8))


def make_document(document_id: str, text: str, *, n_pages: int = 0) -> Document:
    """A document whose pages, if any, are equal slices of the text."""
    edges = [len(text) * n // n_pages for n in range(n_pages + 1)] if n_pages else []
    return Document(
        id=document_id,
        title=document_id.upper(),
        text=text,
        sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        media_type="text/plain",
        reader="text 1",
        pages=tuple(Page(n + 1, edges[n], edges[n + 1]) for n in range(n_pages)),
        headings=(Heading(1, "Top", 0),) if text else (),
        metadata={"author": "Ada"},
    )


def make_chunks(document: Document, *, size: int = 40) -> list[Chunk]:
    """Consecutive chunks of ``size`` characters; one token a word."""
    chunks = []
    for start in range(0, len(document.text), size):
        text = document.text[start : start + size]
        chunks.append(
            Chunk(
                id=chunk_id(document.id, start, text),
                document_id=document.id,
                start=start,
                end=start + len(text),
                text=text,
                n_tokens=len(text.split()),
                page=document.page_at(start),
                headings=document.headings_at(start),
            )
        )
    return chunks


def make_entry(document: Document, chunks: Sequence[Chunk], *, root: str = "/docs") -> LedgerEntry:
    return LedgerEntry(
        path=document.id,
        root=root,
        state="indexed",
        sha256=document.sha256,
        size=7,
        inode=2**64 - 1,
        n_chunks=len(chunks),
        warnings=("w",),
        reader=document.reader,
    )


def embed(library: Library, collection: Collection, chunks: list[Chunk]) -> None:
    """Put the vectors that are missing."""
    texts = {content_address(chunk.embedded_text): chunk.embedded_text for chunk in chunks}
    missing = library.vectors.missing(collection.space, list(texts))
    if missing:
        embeddings = asyncio.run(LengthEmbedder().embed([texts[address] for address in missing], kind="document"))
        library.vectors.put(collection.space, missing, embeddings)


def shelve(
    library: Library,
    collection: Collection,
    writer: Writer,
    document_id: str,
    text: str,
    *,
    size: int = 40,
    n_pages: int = 0,
    replaces: str | None = None,
) -> Document:
    """Embed and store a document."""
    document = make_document(document_id, text, n_pages=n_pages)
    chunks = make_chunks(document, size=size)
    embed(library, collection, chunks)
    writer.replace(document, chunks, entry=make_entry(document, chunks), replaces=replaces)
    return document


def open_or_create(folder: Path, name: str = "main") -> tuple[Library, Collection]:
    library = Library.open(folder, create=True)
    if name in library.collections():
        return library, library.open_collection(name)
    return library, library.create(name, CONFIG)
