"""How much of what answers a question the retrieved chunks hold, and how much else, for several chunk sizes.

    python benchmarks/chunk_quality.py [--budget 2000] [--tokenizer cl100k_base]

Questions with the spans that answer them, from ../shared/data/spans. Chunks are ranked by plain BM25 over words and
Chinese character pairs, without any model, and taken until the budget of tokens is full (the last one that fits).
Recall: share of the answering characters that lie in a chunk taken. Precision: share of the characters taken that
answer. IoU: answering characters taken, over those taken or answering. All are means over questions, and characters
taken twice (overlap) count twice in what was taken, once in what answers.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.chunking import chunk
from rag.tokens import TOKENIZERS, tokenizer
from rag.types import Chunk, ChunkingSettings, Document

DATA = Path(__file__).parents[2] / "shared" / "data" / "spans"
SETTINGS = [(128, 0), (128, 16), (240, 0), (240, 30), (384, 48), (512, 0), (512, 64), (512, 128), (800, 400)]
K1, B = 1.2, 0.75  # the usual values of BM25


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    spans: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Score:
    recall: float
    precision: float
    iou: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=2000, help="tokens to retrieve")
    parser.add_argument("--tokenizer", choices=TOKENIZERS, default="cl100k_base")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: the questions are not there ({DATA})")
        return 0
    for folder in sorted(DATA.iterdir()):
        documents = [
            Document(line["_id"], line["title"], line["text"], "", "text/plain", "benchmark")
            for line in read_lines(folder / "corpus.jsonl")
        ]
        questions = [
            Question(line["text"], tuple((span["doc_id"], span["start"], span["end"]) for span in line["spans"]))
            for line in read_lines(folder / "queries.jsonl")
        ]
        print(f"{folder.name}: {len(questions)} questions, {options.budget} tokens retrieved")
        print(f"  {'tokens':>7}{'overlap':>8}{'chunks':>8}{'mean':>6}{'recall':>8}{'precision':>11}{'IoU':>8}")
        for tokens, overlap in SETTINGS:
            report(documents, questions, ChunkingSettings(tokens, min(overlap, tokens // 2 - 1)), options)
    return 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def report(
    documents: Sequence[Document],
    questions: Sequence[Question],
    settings: ChunkingSettings,
    options: argparse.Namespace,
) -> None:
    chunks = [made for source in documents for made in chunk(source, tokenizer(options.tokenizer), settings)]
    rank = Bm25([made.text for made in chunks])
    scores = []
    for question in questions:
        taken, left = [], options.budget
        for place in rank(question.text):
            if chunks[place].n_tokens > left:
                break
            taken.append(chunks[place])
            left -= chunks[place].n_tokens
        scores.append(score(question, taken))
    means = [statistics.mean(getattr(each, name) for each in scores) for name in ("recall", "precision", "iou")]
    length = statistics.mean(made.n_tokens for made in chunks)
    print(
        f"  {settings.tokens:7}{settings.overlap:8}{len(chunks):8}{length:6.0f}"
        f"{means[0]:8.3f}{means[1]:11.4f}{means[2]:8.4f}"
    )


def score(question: Question, taken: Sequence[Chunk]) -> Score:
    wanted = {(document, at) for document, start, end in question.spans for at in range(start, end)}
    found = {(made.document_id, at) for made in taken for at in range(made.start, made.end)} & wanted
    n_taken = sum(made.end - made.start for made in taken)
    return Score(
        recall=len(found) / len(wanted),
        precision=len(found) / max(n_taken, 1),
        iou=len(found) / (n_taken + len(wanted) - len(found)),
    )


class Bm25:
    """Ranks texts by Okapi BM25."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths = []
        for place, text in enumerate(texts):
            terms = Counter(terms_of(text))
            self._lengths.append(terms.total())
            for term, count in terms.items():
                self._counts[term].append((place, count))
        self._mean = statistics.mean(self._lengths)

    def __call__(self, query: str) -> list[int]:
        """Return the places of the texts that share a term with the query, best first."""
        scores: Counter[int] = Counter()
        for term in set(terms_of(query)):
            found = self._counts.get(term, [])
            weight = math.log(1 + (len(self._lengths) - len(found) + 0.5) / (len(found) + 0.5))
            for place, count in found:
                norm = K1 * (1 - B + B * self._lengths[place] / self._mean)
                scores[place] += weight * count * (K1 + 1) / (count + norm)  # type: ignore[assignment]
        return sorted(scores, key=lambda place: (-scores[place], place))


def terms_of(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    chinese = [run[i : i + 2] for run in re.findall(r"[\u3400-\u9fff]+", text) for i in range(max(len(run) - 1, 1))]
    return words + chinese


if __name__ == "__main__":
    sys.exit(main())
