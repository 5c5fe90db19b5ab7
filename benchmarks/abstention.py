"""How often the extractive generator answers what the sources do not say, and refuses what they do.

    python benchmarks/abstention.py [--data FOLDER] [--questions 200] [--fit]

Each question is asked twice: with its gold passage among the five best of a plain retrieval, and with the five best
that are left without it (and without any that contains the expected answer). A false answer is anything but an
abstention in the second case, a false refusal an abstention in the first. The passages left are the hardest there
are, usually of the same article. ``--fit`` fits the weights of ``rag/local/relevance.py`` on the tuning sets and prints
them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.answering.alignment import features
from rag.contracts import Embedder
from rag.local.candidates import candidates
from rag.local.embedder import LocalEmbedder
from rag.local.extractive import choose, cosines_with, rate
from rag.local.question_terms import read_question
from rag.local.relevance import MEASURES, N_LEXICAL, measure
from rag.types import Source

DATA = Path(__file__).parents[2] / "shared" / "data" / "beir"
TUNING = {"with cosine": "nq_oracle", "lexical": "cmrc2018_trial"}
HELD_OUT = ("xquad_en", "anthropic_docs", "xquad_zh")
N_SOURCES = 5
FALSE_ANSWERS = 0.15  # of the tuning set: where --fit puts the threshold
RIDGE = 1e-3  # smaller fits nq_oracle better and xquad_en worse


@dataclass(frozen=True, slots=True)
class Case:
    question: str
    answers: tuple[str, ...]
    gold: frozenset[str]
    sources: tuple[Source, ...]
    answerable: bool


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_cases(folder: Path, n_questions: int) -> list[Case]:
    """Return two cases a question, answerable first."""
    passages = {str(row["_id"]): row for row in read_jsonl(folder / "corpus.jsonl")}
    gold: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, passage_id = line.split("\t")[:2]
        gold[query_id].add(passage_id)
    queries = [query for query in read_jsonl(folder / "queries.jsonl") if query["_id"] in gold]
    random.Random(1).shuffle(queries)
    ranking = Ranking({key: f"{row['title']}\n{row['text']}" for key, row in passages.items()})
    cases = []
    for query in queries[:n_questions]:
        right = gold[str(query["_id"])]
        answers = tuple(query.get("metadata", {}).get("answers", ()))
        scores = ranking.scores(str(query["text"]))
        order = sorted(scores, key=lambda key: (-scores[key], key))
        wrong = [key for key in order if key not in right and not any(a in ranking.texts[key] for a in answers)]
        with_gold = [key for key in order if key in right][:2]
        with_gold += wrong[: N_SOURCES - len(with_gold)]
        for keys, answerable in ((with_gold, True), (wrong[:N_SOURCES], False)):
            ordered = sorted(keys, key=lambda key: (-scores[key], key))
            sources = tuple(as_source(number, passages[key], scores[key]) for number, key in enumerate(ordered, 1))
            cases.append(Case(str(query["text"]), answers, frozenset(right), sources, answerable))
    return cases


def as_source(marker: int, passage: dict[str, Any], score: float) -> Source:
    text, key = str(passage["text"]), str(passage["_id"])
    return Source(marker, key, str(passage["title"]), 0, len(text), text, None, (), score, (key,), (0,))


class Ranking:
    """Words only: the share of the question's words, by rarity, with long passages marked down."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts
        self._words = {key: features(text) for key, text in texts.items()}
        self._counts = Counter(word for words in self._words.values() for word in words)
        self._mean = sum(map(len, self._words.values())) / len(texts)

    def scores(self, question: str) -> dict[str, float]:
        n = len(self.texts)
        weights = {word: math.log(1 + (n + 0.5) / (self._counts[word] + 0.5)) for word in features(question)}
        total = sum(weights.values()) or 1.0
        return {
            key: sum(weights[word] for word in weights.keys() & words) / total / (0.6 + 0.4 * len(words) / self._mean)
            for key, words in self._words.items()
        }


@dataclass(frozen=True, slots=True)
class Rates:
    false_answers: float
    false_refusals: float
    quotes_answer: float
    n_quotes: float


async def rates(cases: Sequence[Case], embedder: Embedder | None) -> Rates:
    """Return the error rates, how often the quotes hold the expected answer (where known), and how many they are."""
    answered: dict[bool, list[bool]] = {True: [], False: []}
    holds: list[bool] = []
    counts: list[int] = []
    for case in cases:
        found, odds, least = await rate(case.question, case.sources, embedder=embedder)
        chosen = choose(found, odds, least=least)
        answered[case.answerable].append(bool(chosen))
        if chosen:
            counts.append(len(chosen))
            if case.answerable and case.answers:
                quoted = " ".join(candidate.text for candidate in chosen).casefold()
                holds.append(any(answer.casefold() in quoted for answer in case.answers))
    return Rates(mean(answered[False]), 1 - mean(answered[True]), mean(holds), mean(counts))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


async def fit(cases: Sequence[Case], embedder: Embedder | None) -> tuple[NDArray[np.float64], float]:
    """Return weights (bias last) and the threshold; a sentence of the gold passage with the answer in it is a yes."""
    rows, labels, unanswerable = [], [], []
    for case in cases:
        found = candidates(case.sources)
        cosines = await cosines_with(case.question, found, embedder) if embedder else None
        measured = measure(read_question(case.question), found, case.sources, cosines=cosines)
        rows.append(np.column_stack([measured, np.ones(len(found))]))
        golden = [case.answerable and case.sources[one.source].document_id in case.gold for one in found]
        right = [any(a.casefold() in one.text.casefold() for a in case.answers) for one in found]
        labels.append(np.array(golden) & np.array(right))
        if not case.answerable and found:
            unanswerable.append(rows[-1])
    weights = logistic_regression(np.concatenate(rows), np.concatenate(labels).astype(np.float64))
    return weights, float(np.quantile([(row @ weights).max() for row in unanswerable], 1 - FALSE_ANSWERS))


def logistic_regression(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit by Newton's method; the last column is the bias, which is not shrunk."""
    weights = np.zeros(x.shape[1])
    ridge = np.full(x.shape[1], RIDGE)
    ridge[-1] = 0
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (p - y) / len(y) + ridge * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(y) + np.diag(ridge) + 1e-9 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    return weights


async def print_fit(data: Path, n_questions: int) -> None:
    for name, folder in TUNING.items():
        embedder = LocalEmbedder() if name == "with cosine" else None
        weights, least = await fit(make_cases(data / folder, n_questions), embedder)
        columns = (*MEASURES[: None if embedder else N_LEXICAL], "bias")
        print(
            name, {key: round(float(w), 2) for key, w in zip(columns, weights, strict=True)}, f"threshold {least:.2f}"
        )


async def print_rates(data: Path, n_questions: int) -> None:
    embedder = LocalEmbedder()
    print("set               tuned on  false answers  false refusals  quotes hold the answer  quotes an answer")
    for folder in (*TUNING.values(), *HELD_OUT):
        measured = await rates(make_cases(data / folder, n_questions), embedder)
        tuned = "yes" if folder in TUNING.values() else "no"
        values = f"{measured.false_answers:13.3f}  {measured.false_refusals:14.3f}  {measured.quotes_answer:22.3f}"
        print(f"{folder:16}  {tuned:8}  {values}  {measured.n_quotes:16.1f}", flush=True)


def main(arguments: Iterable[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--questions", type=int, default=200, help="of each set")
    parser.add_argument("--fit", action="store_true", help="fit the weights instead, and print them")
    options = parser.parse_args(list(arguments))
    if not options.data.is_dir():
        print(f"{options.data} is not there; name the folder of the sets with --data", file=sys.stderr)
        return 2
    asyncio.run((print_fit if options.fit else print_rates)(options.data, options.questions))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
