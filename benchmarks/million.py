"""A million chunks on a laptop: how fast, how exact, how small; beside Chroma and LanceDB with the same vectors.

    python benchmarks/million.py [--chunks 1000000] [--folder FOLDER] [--data FOLDER] [--rivals PYTHON] [--json FILE]

The collection is `beside/synthetic.py`: words of real texts, vectors of 384 dimensions that overlap as real ones do,
and real questions. It is made through the writer that ingests use; a `--folder` that has one is used again.
What is measured runs in a new process bound to one core: CPU milliseconds of a whole hybrid search for ten hits, of its
two halves, recall@10 against exact search on the real questions, a filter of 1 %, opening, memory (the growth of the
resident set by the vector search, mapped pages included), 1,000 chunks added and deleted until a search sees it.

PYTHON is one that has chromadb and lancedb; they search vectors only, and hold no documents. Exits with 1 where a
bound is missed, which are those of a million chunks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from beside.synthetic import CONFIG, DIMENSIONS, Material, add, material

from index.calibration import exact_neighbours
from index.collection import Collection
from index.filtering import AllowedRows
from index.library import Library
from index.retriever import HybridRetriever
from rag.types import EmbedderProfile, EmbeddingLimits, Embeddings, TextKind

BOUNDS = {
    "hybrid_p50_ms": 15,
    "hybrid_p99_ms": 50,
    "vectors_rss_mb": 150,
    "open_s": 2,
    "add_1000_s": 1,
    "delete_1000_s": 1,
}
RECALL, FILTERED_RECALL = 0.98, 1.0
N_CHANGED = 1000
PART = 8192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the collection is, or is made (a temporary folder)")
    parser.add_argument("--data", type=Path, default=Path("shared/data/beir"), help="folder of the real texts")
    parser.add_argument("--rivals", help="a Python with chromadb and lancedb")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(args.measure, args.data)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        figures = figures_of(folder, args.chunks, args.data)
        show("Footnote", figures)
        if args.rivals:
            for name in ("chroma", "lancedb"):
                figures[name] = rival(args.rivals, name, folder, Path(temporary))
                show(name, figures[name])
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    missed = [name for name, bound in BOUNDS.items() if figures[name] >= bound]
    missed += ["recall"] * (figures["recall"] < RECALL) + ["filtered_recall"] * (figures["filtered_recall"] < 1)
    print("missed: " + ", ".join(missed) if missed else "every bound is kept")
    return bool(missed)


def figures_of(folder: Path, n_chunks: int, data: Path) -> dict[str, Any]:
    """Make the collection where it is not there, and return what was measured of it, in a process of its own."""
    made = folder / "made.json"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made.write_text(json.dumps(make(folder, n_chunks, data)), encoding="utf-8")
    command = [sys.executable, __file__, "--measure", str(folder), "--data", str(data)]
    one_core = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as libraries find it where there is one core
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | one_core)
    return {**json.loads(made.read_text(encoding="utf-8")), **json.loads(done.stdout)}


def make(folder: Path, n_chunks: int, data: Path) -> dict[str, Any]:
    stuff = material(data, folder / "real.npy")
    with Library.open(folder, create=True) as library:
        collection = library.create("main", CONFIG)
        stored = cpu_of(lambda: add(library, collection, stuff, n_chunks, name="doc", seed=1, indexed=False))
        indexed = cpu_of(collection.refresh)
    return {"n_chunks": n_chunks, "chunks_a_cpu_s": n_chunks / (stored + indexed), "index_cpu_s": indexed}


def measured(folder: Path, data: Path) -> dict[str, Any]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    stuff = material(data, folder / "real.npy")
    questions = [place for place, vector in enumerate(stuff.question_vectors) if np.linalg.norm(vector) > 0.5]
    started = time.perf_counter()
    library = Library.open(folder)
    collection = library.open_collection("main")
    retriever = HybridRetriever(collection, Prepared(stuff))
    asyncio.run(retriever.retrieve(stuff.questions[questions[0]], k=10))
    figures: dict[str, Any] = {"open_s": time.perf_counter() - started}
    collection_of_vectors = Library.open(folder).open_collection("main")
    before = rss_mb()
    for place in questions:
        collection_of_vectors.search_vectors(stuff.question_vectors[place], k=10)
    figures["vectors_rss_mb"] = rss_mb() - before

    loop = asyncio.new_event_loop()

    def hybrid(place: int) -> object:
        return loop.run_until_complete(retriever.retrieve(stuff.questions[place], k=10))

    for name, search in (
        ("hybrid", hybrid),
        ("vectors", lambda place: collection.search_vectors(stuff.question_vectors[place], k=10)),
        ("keywords", lambda place: collection.search_keywords(stuff.questions[place], k=10)),
    ):
        taken = sorted(cpu_of(partial(search, place)) * 1000 for _ in range(2) for place in questions)
        figures |= {f"{name}_p50_ms": statistics.median(taken), f"{name}_p99_ms": taken[int(len(taken) * 0.99)]}
    figures["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures |= recalls(collection, stuff, questions)
    status = collection.status()
    figures |= {"kind": status.vectors.kind, "disk_mb": library.vectors.stats().size_bytes / 1e6}
    figures["disk_mb"] += sum(status.size_bytes.values()) / 1e6
    if status.vectors.recall is not None:
        figures |= {"status_recall": status.vectors.recall.recall, "status_at_least": status.vectors.recall.at_least}
    figures |= changes(library, collection, stuff)
    library.close()
    return figures


def recalls(collection: Collection, stuff: Material, questions: Sequence[int]) -> dict[str, float]:
    """Return recall@10 on real questions, of all chunks and of 1 % of them, and what the latter takes."""
    rows = np.array(collection.rows(), np.int64)
    allowed = np.sort(np.random.default_rng(5).choice(rows, len(rows) // 100, replace=False))
    chosen = AllowedRows(allowed, 1, 1)  # what a filter comes to
    asked = stuff.question_vectors[questions]
    figures: dict[str, float] = {}
    taken: list[float] = []
    for name, among in (("recall", rows), ("filtered_recall", allowed)):
        parts = (among[at : at + PART] for at in range(0, len(among), PART))
        exact = exact_neighbours(asked, ((part, collection.vectors_of(part.tolist())) for part in parts))
        shares = []
        for vector, wanted in zip(asked, exact, strict=True):
            start = time.process_time()
            hits = collection._vector_leg.search(vector, k=10, allowed=None if among is rows else chosen)
            taken.append((time.process_time() - start) * 1000)
            least = float((collection.vectors_of(wanted.tolist()) @ vector).min()) - 1e-5  # texts may be alike: so hits
            shares.append(sum(cosine >= least for _, cosine in hits) / len(wanted))
        figures[name] = statistics.mean(shares)
    return {**figures, "filtered_p50_ms": statistics.median(taken[len(questions) :])}


def changes(library: Library, collection: Collection, stuff: Material) -> dict[str, float]:
    """Add and delete 1,000 chunks, each until a search sees it; the collection is as before afterwards."""
    figures: dict[str, float] = {}
    name = f"new{time.time_ns()}"
    rows = set(collection.rows())
    start = time.perf_counter()
    add(library, collection, stuff, N_CHANGED, name=name, seed=time.time_ns() % 2**32, indexed=True)
    figures["add_1000_s"] = time.perf_counter() - start
    fresh = sorted(set(collection.rows()) - rows)
    probe = collection.vectors_of(fresh[:1])[0]
    start = time.perf_counter()
    if collection.search_vectors(probe, k=1)[0][0] != fresh[0]:
        raise SystemExit("a chunk that was added is not found")
    figures["add_1000_s"] += time.perf_counter() - start
    documents = [info.id for info in collection.documents() if info.id.startswith(name)]
    start = time.perf_counter()
    with collection.writer("benchmark") as writer:
        for document in documents:
            writer.remove(document)
    found = collection.search_vectors(probe, k=10)
    figures["delete_1000_s"] = time.perf_counter() - start
    if {row for row, _ in found} & set(fresh):
        raise SystemExit("a chunk that was deleted is found")
    return figures


class Prepared:
    """An embedder that knows the questions: what the model takes is no matter of the index."""

    def __init__(self, stuff: Material) -> None:
        self._vectors = dict(zip(stuff.questions, stuff.question_vectors, strict=True))
        limits = EmbeddingLimits(max_inputs=1, max_input_tokens=10**6, max_request_tokens=10**6, concurrency=1)
        self.profile = EmbedderProfile(CONFIG.model, DIMENSIONS, "words", limits)

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        vectors = np.stack([self._vectors[text] for text in texts])
        return Embeddings(vectors, np.ones(len(vectors), np.bool_), 0)


def rival(python: str, name: str, folder: Path, temporary: Path) -> dict[str, Any]:
    """Return the figures of another vector store with the same vectors and questions."""
    inputs = temporary / "rivals.npz"
    if not inputs.exists():
        stuff = np.load(folder / "real.npy")
        with Library.open(folder) as library:
            collection = library.open_collection("main")
            rows = collection.rows()
            parts = [collection.vectors_of(rows[at : at + PART]) for at in range(0, len(rows), PART)]
        questions = stuff[-300:]
        np.savez(inputs, vectors=np.concatenate(parts), questions=questions[np.linalg.norm(questions, axis=1) > 0.5])
    place = temporary / name
    shutil.rmtree(place, ignore_errors=True)
    script = str(Path(__file__).with_name("beside") / "vector_stores.py")
    figures: dict[str, Any] = {}
    for step in ("build", "measure"):  # what only searches is a process of its own
        command = [python, script, name, step, str(inputs), str(place)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures |= json.loads(done.stdout.splitlines()[-1])
    return figures


def show(name: str, figures: dict[str, Any]) -> None:
    print(name)
    for key, value in figures.items():
        if not isinstance(value, dict):
            print(f"  {key:<18} {value if isinstance(value, str) else f'{value:,.3f}'}", flush=True)


def cpu_of(task: Callable[[], object]) -> float:
    started = time.process_time()
    task()
    return time.process_time() - started


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
