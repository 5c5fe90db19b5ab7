"""What a run costs in which nothing has changed: 10,000 small files, beside a bare walk and stat of the same tree.

    python benchmarks/unchanged.py [--files 10000] [--rounds 3]

The files are ingested once (the endpoint answers at once, in a process of its own); then `rag ingest` runs again, in a
process of its own. It must read no file, send no text, and write nothing but that it ran. Exits with 1 where it takes
more than 3 s of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from beside.measuring import Taken, run
from beside.stubbed import ROOT, endpoint, environ_of, ingest_command

WALK = """
import os, sys
stack, n = [sys.argv[1]], 0
while stack:
    with os.scandir(stack.pop()) as scan:
        for entry in sorted(scan, key=lambda entry: entry.name):
            n += 1
            status = os.lstat(entry.path)
            if entry.is_dir():
                stack.append(entry.path)
print(n)
"""
WORDS = ["water", "bridge", "paper", "engine", "winter", "letter", "garden", "market", "river", "window", "mountain"]


def write_files(folder: Path, n: int) -> None:
    for number in range(n):
        path = folder / f"{number % 100:02}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = " ".join(WORDS[(number * 7 + place * place) % len(WORDS)] for place in range(60))
        path.write_text(f"Note {number}. {words.capitalize()}.\n", encoding="utf-8")


def counts(library: Path) -> tuple[int, ...]:
    """Return how many rows of each kind there are, and the sum of the times at which ledger entries were written."""
    with closing(sqlite3.connect(library / "collections" / "default" / "collection.db")) as connection:
        queries = ("count(*) FROM documents", "count(*) FROM changes", "sum(updated_at * 1000) FROM ledger")
        return tuple(int(connection.execute(f"SELECT {query}").fetchone()[0]) for query in queries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, endpoint(dimensions=256) as base_url:
        folder, library = Path(place) / "notes", Path(place) / "library"
        write_files(folder, arguments.files)
        time.sleep(3)  # a file that has just changed is looked into again, once
        environ = environ_of(base_url, library, dimensions=256)
        command = ingest_command(folder, "--json")
        first = run(command, environ=environ, cwd=ROOT)
        print(f"first run    {first.cpu_s:6.2f} s CPU {first.wall_s:6.2f} s; load {os.getloadavg()[0]:.1f}", flush=True)
        before = counts(library)
        again: list[Taken] = []
        bare: list[Taken] = []
        for _ in range(arguments.rounds):
            again.append(run(command, environ=environ, cwd=ROOT))
            bare.append(run([sys.executable, "-c", WALK, str(folder)], environ=environ, cwd=ROOT))
            told = json.loads(again[-1].output)
            assert told["counts"]["unchanged"] == arguments.files, told["counts"]
            assert told["n_texts_embedded"] == 0
        assert counts(library) == before, "something was written"
    for name, takens in (("again", again), ("walk + stat", bare)):
        cpu_s, wall_s = (statistics.median(getattr(t, of) for t in takens) for of in ("cpu_s", "wall_s"))
        print(f"{name:12} {cpu_s:6.2f} s CPU {wall_s:6.2f} s, {max(t.rss_mb for t in takens):.0f} MB")
    ours, floor = (statistics.median(taken.cpu_s for taken in takens) for takens in (again, bare))
    print(f"{arguments.files:,} unchanged files: {ours:.2f} s, {ours / floor:.1f} times the bare walk")
    return 0 if ours <= 3 else 1


if __name__ == "__main__":
    raise SystemExit(main())
