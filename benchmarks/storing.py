"""What storing costs beside bare SQLite: microseconds of CPU a vector and a chunk, written and read.

    python benchmarks/storing.py [--rounds 9] [--dimensions 384] [--folder FOLDER]

The floor writes and reads the same bytes with ``sqlite3`` itself: one table, the same page size, journal, syncs and
transactions, no checks and no index but the key's. Rounds are interleaved: each runs every task once by both; medians
are printed, and the ratio is the median of the ratios of each round. CPU time is that of the process, system calls
included; waiting for the disk is not in it.

To compare two versions of this project, run it in both: the floor tells whether the machine was the same.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from index.collection import Collection
from index.library import Library
from index.records import CollectionConfig, LedgerEntry
from index.writer import Writer
from rag.types import Chunk, ChunkingSettings, Document, Embeddings, Page, chunk_id, content_address

BATCH = 100  # vectors a request
N_BATCHES = 20
N_LOOKED_UP = 400  # vectors that one search in a large collection rescores
N_DOCUMENTS = 25
N_CHUNKS = 24  # a document of ten pages
CHUNK_CHARS = 1000

Task = Callable[[], int]
"""Does its work and returns how many items it did."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--folder", type=Path, help="where to write (a temporary folder)")
    args = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {}
    for turn in range(args.rounds + 1):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for name, ours, floor in tasks(Path(folder), args.dimensions, turn):
                pair = (cpu_us(ours), cpu_us(floor))
                if turn:  # the first round warms up
                    taken.setdefault(name, []).append(pair)
    width = max(map(len, taken))
    for name, pairs in taken.items():
        own, bare = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        sys.stdout.write(f"{name:<{width}}  {own:8.2f} us  SQLite {bare:8.2f} us  ratio {ratio:.2f}\n")
    return 0


def cpu_us(task: Task) -> float:
    started = time.process_time()
    n = task()
    return (time.process_time() - started) / n * 1e6


def tasks(folder: Path, dimensions: int, seed: int) -> Iterator[tuple[str, Task, Task]]:
    """Yield what is timed: its name, ours, the floor. Each works on what the ones before have left."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((BATCH * N_BATCHES, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    addresses = [hashlib.sha256(row.tobytes()).digest() for row in vectors]
    wanted = [addresses[place] for place in rng.permutation(len(addresses))[:N_LOOKED_UP]]
    documents = [document_of(f"{seed}-{n}") for n in range(N_DOCUMENTS)]
    config = CollectionConfig("bench", dimensions, "words", ChunkingSettings(512, 64))
    with Library.open(folder / "library", create=True) as library, bare(folder / "bare.db") as floor:
        collection = library.create("main", config)
        yield (
            "a vector stored",
            lambda: put(library, collection, addresses, vectors),
            lambda: bare_put(floor, addresses, vectors),
        )
        yield (
            "a vector looked up",
            lambda: len(library.vectors.get(collection.space, wanted)),
            lambda: bare_get(floor, wanted),
        )
        marked = [content_address(chunk.text) for _, chunks in documents for chunk in chunks]
        put(library, collection, marked, vectors[: len(marked)])
        with collection.writer("benchmark") as writer:  # its end brings the derived indexes up to date: not timed
            yield (
                "a chunk stored",
                lambda: replace(writer, documents),
                lambda: bare_replace(floor, documents),
            )
        yield (
            "a chunk read as a hit",
            lambda: len(collection.chunks(collection.rows())),
            lambda: bare_chunks(floor),
        )
        yield (
            "a chunk's share of reading its document",
            lambda: sum(bool(collection.document(document.id).text) * N_CHUNKS for document, _ in documents),
            lambda: bare_documents(floor),
        )


def document_of(name: str) -> tuple[Document, list[Chunk]]:
    words = " ".join(
        hashlib.sha256(f"{name} {n}".encode()).hexdigest() for n in range(N_CHUNKS * CHUNK_CHARS // 65 + 1)
    )
    text = words[: N_CHUNKS * CHUNK_CHARS]
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    edges = range(0, len(text) + 1, len(text) // 10)
    pages = tuple(Page(n + 1, start, start + len(text) // 10) for n, start in enumerate(edges[:10]))
    document = Document(name, name, text, sha256, "text/plain", "text 1", pages)
    pieces = ((at, text[at : at + CHUNK_CHARS]) for at in range(0, len(text), CHUNK_CHARS))
    chunks = [
        Chunk(chunk_id(name, at, piece), name, at, at + len(piece), piece, 300, document.page_at(at), ("Part", "Piece"))
        for at, piece in pieces
    ]
    return document, chunks


def put(library: Library, collection: Collection, addresses: list[bytes], vectors: np.ndarray) -> int:  # type: ignore[type-arg]
    for at in range(0, len(addresses), BATCH):
        rows = vectors[at : at + BATCH]
        embeddings = Embeddings(rows, np.ones(len(rows), np.bool_), len(rows))
        library.vectors.put(collection.space, addresses[at : at + BATCH], embeddings)
    return len(addresses)


def replace(writer: Writer, documents: list[tuple[Document, list[Chunk]]]) -> int:
    for document, chunks in documents:
        entry = LedgerEntry(document.id, "docs", "indexed", document.sha256, n_chunks=len(chunks), reader="text 1")
        writer.replace(document, chunks, entry=entry)
    return len(documents) * N_CHUNKS


@contextmanager
def bare(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE vectors (address BLOB PRIMARY KEY, embedding BLOB)")
    connection.execute("CREATE TABLE documents (id TEXT PRIMARY KEY, text TEXT)")
    connection.execute('CREATE TABLE chunks (document TEXT, id TEXT, start INTEGER, "end" INTEGER)')
    yield connection
    connection.close()


def bare_put(connection: sqlite3.Connection, addresses: list[bytes], vectors: np.ndarray) -> int:  # type: ignore[type-arg]
    for at in range(0, len(addresses), BATCH):
        rows = [(addresses[n], vectors[n].tobytes()) for n in range(at, at + BATCH)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO vectors VALUES (?, ?)", rows)
        connection.execute("COMMIT")
    return len(addresses)


def bare_get(connection: sqlite3.Connection, addresses: list[bytes]) -> int:
    marks = ",".join("?" * len(addresses))
    found = connection.execute(f"SELECT address, embedding FROM vectors WHERE address IN ({marks})", addresses)
    return len({address: np.frombuffer(embedding, "<f4") for address, embedding in found})


def bare_replace(connection: sqlite3.Connection, documents: list[tuple[Document, list[Chunk]]]) -> int:
    for document, chunks in documents:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO documents VALUES (?, ?)", (document.id, document.text))
        rows = [(document.id, chunk.id, chunk.start, chunk.end) for chunk in chunks]
        connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    return len(documents) * N_CHUNKS


def bare_chunks(connection: sqlite3.Connection) -> int:
    query = (
        'SELECT c.id, substr(d.text, c.start + 1, c."end" - c.start)'
        " FROM chunks c JOIN documents d ON d.id = c.document"
    )
    return len(connection.execute(query).fetchall())


def bare_documents(connection: sqlite3.Connection) -> int:
    return len(connection.execute("SELECT id, text FROM documents").fetchall()) * N_CHUNKS


if __name__ == "__main__":
    raise SystemExit(main())
