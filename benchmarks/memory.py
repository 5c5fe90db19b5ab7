"""How much memory an ingest takes, whatever the folder's size: up to 1 GB of text in under 1 GB of memory.

    python benchmarks/memory.py [--megabytes 100 300 1000] [--dimensions 1536]

Files of 200 KB and, for a tenth of the text, of 20 MB, no two paragraphs alike; chunks of 512 tokens; an endpoint that
answers at once, in a process of its own. Each size is ingested into a new library. `RSS` is the most that `rag ingest`
held at any time, `of all` the most that it and its reading processes held together. A size takes about nine times its
own on disk. Exits with 1 where they held more than 1,000 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path

from beside.corpus import write_corpus
from beside.measuring import run
from beside.stubbed import ROOT, endpoint, environ_of, ingest_command

SMALL, LARGE = 200_000, 20_000_000


def paragraphs() -> list[str]:
    """Return the paragraphs of 20 MB of mixed text."""
    with tempfile.TemporaryDirectory() as place:
        write_corpus(Path(place), 20_000_000)
        texts = [path.read_text(encoding="utf-8") for path in sorted(Path(place).rglob("*")) if path.is_file()]
    return [part for text in texts for part in text.split("\n\n") if len(part) > 200]


def write_texts(folder: Path, n_bytes: int, parts: list[str]) -> int:
    """Write files of ``n_bytes`` in all, and return how many."""
    rng = random.Random(n_bytes)
    n_files = n_paragraphs = written = 0
    while written < n_bytes:
        wanted = LARGE if n_bytes >= 10 * LARGE and written % (10 * LARGE) < SMALL else SMALL
        path = folder / f"{n_files // 100:03}" / f"{n_files:06}.{('txt', 'md')[n_files % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with path.open("wb") as file:
            while size < wanted:
                n_paragraphs += 1
                size += file.write(f"{n_paragraphs}. {rng.choice(parts)}\n\n".encode())
        written += size
        n_files += 1
    return n_files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--dimensions", type=int, default=1536)
    arguments = parser.parse_args()
    parts = paragraphs()
    most = 0.0
    print(
        f"{'MB':>6} {'files':>6} {'chunks':>8} {'RSS MB':>7} {'of all':>7} {'CPU s':>7} {'wall s':>7}  index",
        flush=True,
    )
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory() as place, endpoint(arguments.dimensions) as base_url:
            folder, library = Path(place) / "texts", Path(place) / "library"
            n_files = write_texts(folder, megabytes * 1_000_000, parts)
            environ = environ_of(base_url, library, dimensions=arguments.dimensions)
            taken = run(ingest_command(folder, "--json"), environ=environ, cwd=ROOT)
            told = json.loads(taken.output)
            assert told["counts"]["indexed"] == n_files, told["counts"]
            status = run([*ingest_command(folder)[:3], "status", "--json"], environ=environ, cwd=ROOT)
            kind = json.loads(status.output.splitlines()[0])["vectors"]["kind"]
        n_chunks = sum(file["n_chunks"] for file in told["files"])
        most = max(most, taken.tree_mb)
        print(
            f"{megabytes:6} {n_files:6,} {n_chunks:8,} {taken.rss_mb:7.0f} {taken.tree_mb:7.0f} {taken.cpu_s:7.0f}"
            f" {taken.wall_s:7.0f}  {kind}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    return 0 if most <= 1000 else 1


if __name__ == "__main__":
    raise SystemExit(main())
