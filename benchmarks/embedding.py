"""Texts a second through LocalEmbedder beside bare onnxruntime with ideal batches, and the time to load.

    python benchmarks/embedding.py [--texts 128] [--rounds 3]

Bare means: the same model file, token ids at hand, all texts of equal length (240 tokens), batches of 8 and of 1, all
processors on each batch. The two take turns; the best round of each counts. Exits with 1 below 0.9 of bare.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from rag.local.embedder import LocalEmbedder, available_cores
from rag.local.wordpiece import MINILM, WordPieceTokenizer

N_TOKENS = 240
WORDS = (
    "water bridge paper engine winter letter garden market river window mountain school station number doctor kitchen"
)


def make_texts(n: int) -> list[str]:
    """Return texts of 240 tokens; each of the words is one token."""
    rng = np.random.default_rng(7)
    return [" ".join(rng.choice(WORDS.split(), N_TOKENS)) for _ in range(n)]


def bare_runner(texts: list[str], batch: int) -> Callable[[], None]:
    """Return what embeds all texts with nothing but onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(MINILM / "model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = WordPieceTokenizer()
    first, last = tokenizer.special_ids
    ids = np.array([[first, *tokens.ids, last] for tokens in tokenizer.encode(texts)])
    mask = np.ones_like(ids)

    def run() -> None:
        for start in range(0, len(ids), batch):
            session.run(None, {"input_ids": ids[start : start + batch], "attention_mask": mask[start : start + batch]})

    return run


def best_time(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the seconds of the best round of each, run in turns so that a busy machine slows all alike."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    texts = make_texts(arguments.texts)
    embedder = LocalEmbedder()
    start = time.perf_counter()
    asyncio.run(embedder.embed(["first"], kind="query"))
    print(f"load, with the first text: {time.perf_counter() - start:.3f} s (onnxruntime itself was imported before)")

    async def embed(batch: list[str]) -> None:
        size = embedder.profile.limits.max_inputs
        starts = range(0, len(batch), size)
        await asyncio.gather(*(embedder.embed(batch[at : at + size], kind="document") for at in starts))

    runs: dict[str, Callable[[], object]] = {
        "bare, batches of 8": bare_runner(texts, 8),
        "bare, one by one": bare_runner(texts, 1),
        "LocalEmbedder": lambda: asyncio.run(embed(texts)),
    }
    seconds = best_time(runs, arguments.rounds)
    for name, best in seconds.items():
        print(f"{name:20} {len(texts) / best:6.1f} texts/s of {N_TOKENS} tokens")
    question = "How long does the battery last on a full charge?"
    query = best_time({"query": lambda: asyncio.run(embedder.embed([question], kind="query"))}, 20)["query"]
    ratio = min(best for name, best in seconds.items() if name.startswith("bare")) / seconds["LocalEmbedder"]
    print(
        f"one question {query * 1000:.1f} ms; processors {available_cores()}; ratio to the better bare run {ratio:.2f}"
    )
    return 0 if ratio >= 0.9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
