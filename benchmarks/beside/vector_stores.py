"""Chroma and LanceDB over vectors that are given: run by `million.py` with a Python that has them; prints JSON.

    python benchmarks/beside/vector_stores.py chroma|lancedb build|measure INPUTS.npz FOLDER

Each is used as its documentation has it, with cosines. LanceDB has an IVF index with RaBitQ codes where the version has
one, else product codes, and rescores 20 times as many as are asked for.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    name, step, inputs, folder = sys.argv[1:]
    with np.load(inputs) as given:
        vectors, questions = given["vectors"], given["questions"]
    if step == "build":
        started = time.process_time()
        {"chroma": Chroma, "lancedb": Lance}[name](folder).build(vectors)
        figures = {"chunks_a_cpu_s": len(vectors) / (time.process_time() - started)}
    else:
        n, fresh, exact = len(vectors), vectors[:1000][:, ::-1].copy(), neighbours(vectors, questions)
        del vectors
        figures = measure(name, folder, questions, exact, fresh, n)
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(name, folder, questions, exact, fresh, n):
    before = rss_mb()
    started = time.perf_counter()
    store = {"chroma": Chroma, "lancedb": Lance}[name](folder)
    figures = {}
    store.search(questions[0])
    figures["open_s"] = time.perf_counter() - started
    taken, shares = [], []
    for question, wanted in zip(questions, exact, strict=True):
        start = time.process_time()
        found = store.search(question)
        taken.append((time.process_time() - start) * 1000)
        shares.append(len(set(found) & set(wanted)) / 10)
    taken.sort()
    figures["vectors_p50_ms"], figures["vectors_p99_ms"] = statistics.median(taken), taken[int(len(taken) * 0.99)]
    figures["recall"] = statistics.mean(shares)
    started = time.perf_counter()
    store.add(fresh, n)
    store.search(fresh[0])
    figures["add_1000_s"] = time.perf_counter() - started
    started = time.perf_counter()
    store.remove(n, len(fresh))
    store.search(fresh[0])
    figures["delete_1000_s"] = time.perf_counter() - started
    figures["vectors_rss_mb"] = rss_mb() - before
    figures["disk_mb"] = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6
    return figures


def rss_mb():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def neighbours(vectors, questions):
    best = []
    for question in questions:
        cosines = vectors @ question
        best.append(np.argpartition(-cosines, 10)[:10].tolist())
    return best


class Chroma:
    def __init__(self, folder):
        import chromadb

        client = chromadb.PersistentClient(folder)
        self._collection = client.get_or_create_collection(
            "main", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )

    def build(self, vectors):
        self.add(vectors, 0)

    def add(self, vectors, first):
        for at in range(0, len(vectors), 5000):
            some = vectors[at : at + 5000]
            self._collection.add(ids=[str(first + at + place) for place in range(len(some))], embeddings=some)

    def search(self, question):
        return [int(each) for each in self._collection.query(query_embeddings=[question], n_results=10)["ids"][0]]

    def remove(self, first, n):
        self._collection.delete(ids=[str(each) for each in range(first, first + n)])


class Lance:
    def __init__(self, folder):
        import lancedb
        import pyarrow

        self._arrow = pyarrow
        self._database = lancedb.connect(folder)
        names = self._database.table_names()
        self._table = self._database.open_table("main") if "main" in names else None

    def build(self, vectors):
        for at in range(0, len(vectors), 50_000):
            self.add(vectors[at : at + 50_000], at)
        try:
            self._table.create_index(metric="cosine", index_type="IVF_RQ")
        except Exception:
            self._table.create_index(metric="cosine", index_type="IVF_PQ", num_sub_vectors=96)

    def add(self, vectors, first):
        arrow = self._arrow
        values = arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.ravel()), vectors.shape[1])
        rows = arrow.table({"id": arrow.array(range(first, first + len(vectors))), "vector": values})
        if self._table is None:
            self._table = self._database.create_table("main", rows)
        else:
            self._table.add(rows)

    def search(self, question):
        found = self._table.search(question).distance_type("cosine").nprobes(64).refine_factor(20).limit(10)
        return found.to_arrow()["id"].to_pylist()

    def remove(self, first, n):
        self._table.delete(f"id >= {first} AND id < {first + n}")


if __name__ == "__main__":
    main()
