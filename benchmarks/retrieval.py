"""nDCG@10 of keywords alone, vectors alone, reciprocal rank fusion and ours, on question sets with known answers.

    python benchmarks/retrieval.py [SET ...] [--library DIR] [--queries N]

Each passage is stored as a document through the library proper, cut into pieces the embedded model reads whole; a
passage ranks where its best piece does. "Whole" is BM25 over passages that are not cut. The gain over the better leg
has a 95 % confidence interval, from resampling the questions. Last, each set that the model reads is asked with the
weight that is best for the mean of the others: what a weight would give that was not chosen on the set itself.
``--library`` keeps the vectors between runs. The sets are BEIR folders in ``../shared/data/beir``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.collection import Collection
from index.fusion import fuse
from index.keywords import KeywordIndex
from index.library import Library
from index.records import CollectionConfig, LedgerEntry, Position
from index.retriever import CANDIDATES, VECTOR_WEIGHT
from rag.contracts import Embedder, Tokenizer
from rag.errors import CollectionNotFoundError
from rag.local.embedder import LocalEmbedder
from rag.local.wordpiece import WordPieceTokenizer
from rag.types import Chunk, ChunkingSettings, Document, FloatArray, chunk_id, content_address

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "beir"
PIECE_TOKENS = 240
RRF_K = 60  # Cormack, Clarke and Büttcher, SIGIR 2009

WEIGHTS = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)

Scores = dict[int, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Passages, questions, and which passages answer which question."""

    name: str
    passages: Mapping[str, str]
    questions: Mapping[str, str]
    answers: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Legs:
    """What the two legs found for one question; None where a leg has no vote."""

    vectors: Scores | None
    keywords: Scores | None
    cosine_floor: float


@dataclass(frozen=True, slots=True)
class Measured:
    """nDCG@10 of every question by way, and by the weight of the vectors; ``reads``: the model reads the set."""

    name: str
    ways: Mapping[str, Floats]
    weights: Mapping[float, Floats]
    reads: bool
    elapsed_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--library", type=Path)
    parser.add_argument("--queries", type=int, default=10**9, help="at most so many questions a set")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no question sets in {DATA}; put BEIR folders there")
    names = options.sets or sorted(path.name for path in DATA.iterdir())
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.library or Path(temporary)
        print(
            f"{'nDCG@10':16} {'queries':>7} {'whole':>6} {'BM25':>6} {'vectors':>7} {'RRF':>6} {'ours':>6}"
            f"  {'over the better leg (95 %)':>28}"
        )
        with Library.open(folder, create=True) as library:
            for name in names:
                one = asyncio.run(measure(library, load(DATA / name), n_queries=options.queries))
                measured.append(one)
                print_line(one)
    readable = [one for one in measured if one.reads]
    if readable:
        gains = [float(over_better_leg(one).mean()) for one in readable]
        print(f"mean gain over the better leg of the {len(gains)} sets that the model reads: {np.mean(gains):+.3f}")
    if len(readable) > 1:
        print_left_out(readable)


def print_line(one: Measured) -> None:
    means = {way: float(values.mean()) for way, values in one.ways.items()}
    gain = over_better_leg(one)
    low, high = interval(gain)
    print(
        f"{one.name:16} {len(gain):7} {means['whole']:6.3f} {means['bm25']:6.3f} {means['vectors']:7.3f}"
        f" {means['rrf']:6.3f} {means['ours']:6.3f}  {gain.mean():+12.3f} ({low:+.3f} to {high:+.3f})"
        f"   ({one.elapsed_ms:.1f} ms a query)",
        flush=True,
    )


def print_left_out(readable: Sequence[Measured]) -> None:
    print(f"\n{'set left out':16} {'weight of the others':>20} {'gain with it':>12} {f'with {VECTOR_WEIGHT}':>9}")
    for one in readable:
        others = [other for other in readable if other is not one]
        best = max(WEIGHTS, key=lambda weight: np.mean([other.weights[weight].mean() for other in others]))
        better = max(one.ways["bm25"].mean(), one.ways["vectors"].mean())
        print(
            f"{one.name:16} {best:20.2f} {one.weights[best].mean() - better:+12.3f} {over_better_leg(one).mean():+9.3f}"
        )


def over_better_leg(one: Measured) -> Floats:
    """Return by how much each question is better answered than by the leg that is better on the whole set."""
    legs = (one.ways["bm25"], one.ways["vectors"])
    return one.ways["ours"] - max(legs, key=lambda values: float(values.mean()))


def interval(values: Floats, *, n_samples: int = 2000) -> tuple[float, float]:
    """Return where the mean lies with 95 % confidence: percentile bootstrap over the questions."""
    drawn = np.random.default_rng(1).integers(0, len(values), (n_samples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


async def measure(library: Library, questions: QuestionSet, *, n_queries: int) -> Measured:
    embedder, tokenizer = LocalEmbedder(), WordPieceTokenizer()
    collection = await stored(library, questions, embedder, tokenizer)
    wanted = [(q, text) for q in questions.answers if (text := questions.questions[q]).strip()][:n_queries]
    started = time.perf_counter()
    found = await search(collection, embedder, [text for _, text in wanted])
    elapsed_ms = (time.perf_counter() - started) * 1000 / len(wanted)
    passages = {row: chunk.document_id for row, chunk in collection.chunks(collection.rows()).items()}

    def ndcg(rankings: Iterable[Scores], names: Mapping[int, str] = passages) -> Floats:
        return np.array([
            ndcg_at_10(best_passages(scores, names), questions.answers[q])
            for scores, (q, _) in zip(rankings, wanted, strict=True)
        ])  # fmt: skip

    numbered = dict(enumerate(questions.passages))
    reads = any(legs.vectors for legs in found)
    return Measured(
        questions.name,
        {
            "whole": ndcg(whole_passages(questions, [text for _, text in wanted]), numbered),
            "bm25": ndcg(legs.keywords or {} for legs in found),
            "vectors": ndcg(legs.vectors or {} for legs in found),
            "rrf": ndcg(reciprocal_ranks([leg for leg in (legs.vectors, legs.keywords) if leg]) for legs in found),
            "ours": ndcg(ours(legs) for legs in found),
        },
        {weight: ndcg(ours(legs, weight) for legs in found) for weight in (WEIGHTS if reads else ())},
        reads,
        elapsed_ms,
    )


def whole_passages(questions: QuestionSet, asked: Sequence[str]) -> Iterable[Scores]:
    """Yield what BM25 finds for each question among passages that are not cut, by their number."""
    index = KeywordIndex.create(None)
    index.update(remove=(), add=enumerate(questions.passages.values()), position=Position(1, "benchmark"))
    for question in asked:
        yield dict(index.search(question, k=CANDIDATES))


async def stored(library: Library, questions: QuestionSet, embedder: Embedder, tokenizer: Tokenizer) -> Collection:
    """Return the collection of a set, made now unless an earlier run left it."""
    try:
        return library.open_collection(questions.name)
    except CollectionNotFoundError:
        pass
    profile = embedder.profile
    config = CollectionConfig(profile.model, profile.dimensions or 0, tokenizer.name, ChunkingSettings(PIECE_TOKENS, 0))
    collection = library.create(questions.name, config)
    documents = {name: (text, list(pieces(name, text, tokenizer))) for name, text in questions.passages.items()}
    await embed(library, collection, embedder, [chunk for _, chunks in documents.values() for chunk in chunks])
    with collection.writer("benchmark") as writer:
        for name, (text, chunks) in documents.items():
            document = Document(name, name, text, hashlib.sha256(text.encode()).hexdigest(), "text/plain", "beir")
            entry = LedgerEntry(name, "beir", "indexed", sha256=document.sha256, n_chunks=len(chunks))
            writer.replace(document, chunks, entry=entry)
    return collection


async def embed(library: Library, collection: Collection, embedder: Embedder, chunks: Sequence[Chunk]) -> None:
    texts = {content_address(chunk.embedded_text): chunk.embedded_text for chunk in chunks}
    missing = library.vectors.missing(collection.space, list(texts))
    size = embedder.profile.limits.max_inputs
    for first in range(0, len(missing), size):
        addresses = missing[first : first + size]
        embeddings = await embedder.embed([texts[address] for address in addresses], kind="document")
        library.vectors.put(collection.space, addresses, embeddings)


async def search(collection: Collection, embedder: Embedder, questions: Sequence[str]) -> list[Legs]:
    found = []
    for question in questions:
        embeddings = await embedder.embed([question], kind="query")
        vector: FloatArray = embeddings.vectors[0]
        readable = bool(embeddings.readable[0])
        vectors = dict(collection.search_vectors(vector, k=CANDIDATES)) if readable else {}
        keywords = dict(collection.search_keywords(question, k=CANDIDATES))
        found.append(Legs(vectors or None, keywords or None, collection.background(vector).floor))
    return found


def pieces(name: str, text: str, tokenizer: Tokenizer) -> Iterable[Chunk]:
    """Yield the passage in pieces of equal token counts, as few as fit."""
    starts = tokenizer.starts(text)
    n_tokens = len(starts) - 1
    n_pieces = max(1, math.ceil(n_tokens / PIECE_TOKENS))
    cuts = [0, *(int(starts[n_tokens * n // n_pieces]) for n in range(1, n_pieces)), len(text)]
    for start, end in itertools.pairwise(cuts):
        if start < end:
            piece = text[start:end]
            yield Chunk(chunk_id(name, start, piece), name, start, end, piece, tokenizer.count(piece))


def ours(legs: Legs, weight: float = VECTOR_WEIGHT) -> Scores:
    return fuse(legs.vectors, legs.keywords, vector_weight=weight, cosine_floor=legs.cosine_floor)


def reciprocal_ranks(legs: Sequence[Scores]) -> Scores:
    """Fuse by ranks alone: the form that most systems use."""
    fused: Scores = {}
    for leg in legs:
        for rank, row in enumerate(sorted(leg, key=lambda row: (-leg[row], row)), start=1):
            fused[row] = fused.get(row, 0.0) + 1 / (RRF_K + rank)
    return fused


def best_passages(scores: Scores, passages: Mapping[int, str]) -> list[str]:
    """Return the passages by their best piece, best first."""
    ranked = sorted(scores, key=lambda row: (-scores[row], passages[row]))
    return list(dict.fromkeys(passages[row] for row in ranked))


def ndcg_at_10(ranked: Sequence[str], answers: Mapping[str, int]) -> float:
    gains = [answers.get(passage, 0) for passage in ranked[:10]]
    ideal = sorted(answers.values(), reverse=True)[:10]
    discounts = 1 / np.log2(np.arange(2, 12))
    best = float(np.dot(ideal, discounts[: len(ideal)]))
    return float(np.dot(gains, discounts[: len(gains)])) / best


def load(folder: Path) -> QuestionSet:
    def lines(name: str) -> Iterable[dict[str, str]]:
        return (json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines())

    passages = {}
    for line in lines("corpus.jsonl"):
        title, text = line.get("title", ""), line["text"]
        passages[line["_id"]] = text if text.startswith(title) else f"{title}\n\n{text}"
    answers: dict[str, dict[str, int]] = {}
    for row in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, passage, score = row.split("\t")
        if int(score) > 0:
            answers.setdefault(question, {})[passage] = int(score)
    return QuestionSet(folder.name, passages, {line["_id"]: line["text"] for line in lines("queries.jsonl")}, answers)


if __name__ == "__main__":
    main()
