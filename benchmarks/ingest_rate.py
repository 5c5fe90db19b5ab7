"""Does ingest keep the embedded model busy? Chunks a second of a whole ingest beside bare onnxruntime on the same.

    python benchmarks/ingest_rate.py [--documents 24] [--rounds 2]

The ingest walks a folder, hashes, reads, cuts, embeds, and writes SQLite, FAISS and tantivy; the bare runs have the
token ids at hand and only call the model: sorted by length in batches of 8 on all processors, and one by one. They
take turns; the best round of each counts. Exits with 1 below 0.9 of the better bare run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from api.footnote import Footnote
from rag.local.embedder import available_cores
from rag.local.wordpiece import MINILM, WordPieceTokenizer

SUBJECTS = ("water", "bridge", "paper", "engine", "winter", "letter", "garden", "market", "river", "window", "mountain")
VERBS = ("holds", "meets", "follows", "changes", "covers", "reaches", "leaves", "carries", "answers", "divides")


def write_documents(folder: Path, n: int) -> None:
    """Write ``n`` texts of 400 sentences, no two sentences alike."""
    rng = np.random.default_rng(11)
    for i in range(n):
        words = zip(rng.choice(SUBJECTS, 400), rng.choice(VERBS, 400), rng.choice(SUBJECTS, 400), strict=True)
        sentences = [
            f"The {who} number {i * 400 + j} {does} the {whom} in year {j}."
            for j, (who, does, whom) in enumerate(words)
        ]
        paragraphs = [" ".join(sentences[k : k + 8]) for k in range(0, 400, 8)]
        (folder / f"text{i:03}.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")


async def ingest(folder: Path) -> tuple[float, list[str]]:
    """Ingest into a new library; return the seconds it took and the texts of the chunks."""
    with tempfile.TemporaryDirectory() as library:
        async with Footnote.open(library, environ={}) as footnote:
            await footnote.wiring.local_embedder().embed(["loaded before the clock starts"], kind="query")
            start = time.perf_counter()
            await footnote.ingest(folder)
            seconds = time.perf_counter() - start
            collection = footnote.collection()
            texts = [
                chunk.embedded_text for info in collection.documents() for chunk in collection.document_chunks(info.id)
            ]
    return seconds, texts


def bare(texts: Sequence[str], batch: int) -> Callable[[], None]:
    """Return what runs the model over the texts, sorted by length, and nothing else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(MINILM / "model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = WordPieceTokenizer()
    first, last = tokenizer.special_ids
    rows = sorted(([first, *tokens.ids, last] for tokens in tokenizer.encode(texts)), key=len)
    batches = []
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        width = max(map(len, part))
        ids = np.array([[*row, *[0] * (width - len(row))] for row in part], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in part], dtype=np.int64)
        batches.append({"input_ids": ids, "attention_mask": mask})

    def run() -> None:
        for feed in batches:
            session.run(None, feed)

    return run


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_documents(Path(folder), arguments.documents)
        seconds, texts = asyncio.run(ingest(Path(folder)))
        runs = {"bare, batches of 8": bare(texts, 8), "bare, one by one": bare(texts, 1)}
        best = {"ingest": seconds, **dict.fromkeys(runs, float("inf"))}
        for round_ in range(arguments.rounds):
            if round_:
                best["ingest"] = min(best["ingest"], asyncio.run(ingest(Path(folder)))[0])
            for name, run in runs.items():
                best[name] = min(best[name], timed(run))
    for name, taken in best.items():
        print(f"{name:20} {len(texts) / taken:6.1f} chunks/s")
    ratio = min(best[name] for name in runs) / best["ingest"]
    print(f"{len(texts)} chunks, {available_cores()} processors; ingest reaches {ratio:.2f} of the better bare run")
    return 0 if ratio >= 0.9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
