"""Does one changed file cost what one file costs, however large the collection is? Seconds of a run over that file.

    python benchmarks/small_change.py [--documents 10000] [--few 100] [--rounds 10]

Two collections are made from folders of short texts, one of many files and one of few. Then, round by round, one file
of each is changed and a run looks at it alone, as `rag ingest --watch` does; beside it a run looks at the whole folder.
The embedder is a stub, and the lock, SQLite, FAISS and tantivy are real. Exits with 1 where a run over one file of the
many takes more than twice as long as over one of the few.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from index.collection import Collection, CollectionConfig
from index.library import Library
from ingest.run import Intake, ingest
from ingest.sources import WalkRules
from rag.tokens import tokenizer
from rag.types import ChunkingSettings, EmbedderProfile, Embeddings, TextKind

DIMENSIONS = 384


class Stub:
    """Vectors from the hash of a text, at once."""

    profile = EmbedderProfile(model="stub", dimensions=DIMENSIONS, tokenizer="cl100k_base")

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
        vectors = np.stack([np.random.default_rng(seed).standard_normal(DIMENSIONS, np.float32) for seed in seeds])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(vectors, np.ones(len(texts), np.bool_), n_tokens=len(texts))


def text(number: int, version: int) -> str:
    return "\n\n".join(
        f"Paragraph {i} of note {number}, version {version if i == 0 else 0}: the river passes town {number * 31 + i}."
        for i in range(30)
    )


def write(folder: Path, n: int) -> None:
    for number in range(n):
        path = folder / f"{number // 100:03}" / f"note{number:05}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(number, 0), encoding="utf-8")


async def run(folder: Path, library: Library, collection: Collection, parts: tuple[str, ...]) -> float:
    start = time.perf_counter()
    await ingest(
        Intake(folder, library.folder, WalkRules(), parts=parts),
        collection=collection,
        vectors=library.vectors,
        embedder=Stub(),
        tokenizer=tokenizer("cl100k_base"),
    )
    return time.perf_counter() - start


def change(folder: Path, n: int, turn: int) -> str:
    """Change one of ``n`` files, another at each turn, and return its path in the folder."""
    number = (7 * turn + 3) % n
    path = folder / f"{number // 100:03}" / f"note{number:05}.md"
    path.write_text(text(number, turn + 1), encoding="utf-8")
    return path.relative_to(folder).as_posix()


async def measure(sizes: Sequence[int], rounds: int, home: Path) -> None:
    """Fill ``PARTS`` and ``WHOLES``: seconds of runs over one changed file, and over the folder with one."""
    config = CollectionConfig("stub", DIMENSIONS, "cl100k_base", ChunkingSettings(tokens=128, overlap=0))
    with Library.open(home / "library", create=True) as library:
        collections = {n: library.create(f"of-{n}", config) for n in sizes}
        for n, collection in collections.items():
            write(home / str(n), n)
            seconds = await run(home / str(n), library, collection, ())
            print(f"{n:,} documents, {len(collection.rows()):,} chunks: first run {seconds:.1f} s", flush=True)
        for turn in range(rounds):
            for n, collection in collections.items():
                folder = home / str(n)
                PARTS[n].append(await run(folder, library, collection, (change(folder, n, 2 * turn),)))
                change(folder, n, 2 * turn + 1)
                WHOLES[n].append(await run(folder, library, collection, ()))


PARTS: defaultdict[int, list[float]] = defaultdict(list)
WHOLES: defaultdict[int, list[float]] = defaultdict(list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(measure((args.few, args.documents), args.rounds, Path(home)))
    for n in PARTS:
        print(f"one changed file of {n:,}: looked at alone {statistics.median(PARTS[n]):.3f} s, ", end="")
        print(f"looked for everywhere {statistics.median(WHOLES[n]):.3f} s")
    ratio = statistics.median(PARTS[args.documents]) / statistics.median(PARTS[args.few])
    print(f"alone, one of {args.documents:,} takes {ratio:.2f} times as long as one of {args.few:,}")
    return 0 if ratio <= 2 else 1


if __name__ == "__main__":
    raise SystemExit(main())
