"""How well the relevance of a hit tells what bears on a question from what does not, beside the scores it is made of.

    python benchmarks/relevance.py [--library DIR] [--questions 300] [--fit]

Every set is asked its own questions and some of another set's, to which it has no answer; the best eight hits of each
are judged. The relevance of a set is told by weights that were fitted on the other sets. AUC: how often a right hit is
above a wrong one, of any two questions. ECE: how far, on average, a relevance is from the share of right hits among
those with about the same. Then whole questions: one is answered when a hit reaches the floor. False refusals are
questions whose right passage was found and none was let through; false answers are questions of another set that let
something through ("far"), and own ones without their right passages ("near": what is left is of the same article).
``--fit`` fits the weights of ``index/relevance.py`` on all sets, and prints them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from retrieval import DATA, QuestionSet, load, stored

from index.fusion import fuse
from index.library import Library
from index.relevance import Measures, relevance
from index.retriever import VECTOR_WEIGHT, HybridRetriever
from rag.local.embedder import LocalEmbedder
from rag.local.wordpiece import WordPieceTokenizer

READABLE = ("anthropic_docs", "mtragun_en", "nq_oracle", "scifact_train", "xquad_en")
"""Sets whose language the embedded model reads."""
UNREADABLE = ("cmrc2018_trial", "xquad_zh")
FAR = {
    "anthropic_docs": "nq_oracle",
    "mtragun_en": "xquad_en",
    "nq_oracle": "scifact_train",
    "scifact_train": "mtragun_en",
    "xquad_en": "anthropic_docs",
    "cmrc2018_trial": "xquad_zh",
    "xquad_zh": "cmrc2018_trial",
}
"""Whose questions a set cannot answer."""
K = 8
RIDGE = 1e-3
FLOORS = (0.05, 0.1, 0.2, 0.3, 0.5)
REFUSED = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """A hit: what is known of it, its relative score, and whether it is right."""

    measures: Measures
    score: float
    cosine: float
    right: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its hits, best first; ``far`` is one of another set."""

    hits: tuple[Judged, ...]
    far: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, help="where the sets are kept, as by benchmarks/retrieval.py")
    parser.add_argument("--questions", type=int, default=300, help="own ones of each set, and half as many others")
    parser.add_argument("--fit", action="store_true", help="fit the weights instead, and print them")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no question sets in {DATA}; put BEIR folders there")
    with (
        tempfile.TemporaryDirectory() as temporary,
        Library.open(options.library or Path(temporary), create=True) as lib,
    ):
        asked = {name: asyncio.run(ask(lib, name, options.questions)) for name in (*READABLE, *UNREADABLE)}
    if options.fit:
        print_fit(asked)
    else:
        print_hits(asked)
        print_questions(asked)


async def ask(library: Library, name: str, n_questions: int) -> list[Asked]:
    """Return what a set finds for its own questions, and for half as many of another."""
    embedder, tokenizer = LocalEmbedder(), WordPieceTokenizer()
    own, far = load(DATA / name), load(DATA / FAR[name])
    retriever = HybridRetriever(await stored(library, own, embedder, tokenizer), embedder, tokenizer=tokenizer)
    asked = [await judged(retriever, own, question, far=False) for question in list(own.answers)[:n_questions]]
    asked += [await judged(retriever, far, question, far=True) for question in list(far.answers)[: n_questions // 2]]
    return [one for one in asked if one.hits]


async def judged(retriever: HybridRetriever, of: QuestionSet, question: str, *, far: bool) -> Asked:
    found = await retriever.candidates(of.questions[question], k=K)
    scores = fuse(found.vectors, found.keywords, vector_weight=VECTOR_WEIGHT, cosine_floor=found.background.floor)
    best = sorted(scores, key=lambda row: (-scores[row], row))[:K]
    hits = retriever.measured(found, best)
    answers = {} if far else of.answers[question]
    background = found.background.mean
    return Asked(
        tuple(
            Judged(
                measures,
                scores[row],
                0.0 if measures.closeness is None else measures.closeness * (1 - background) + background,
                chunk.document_id in answers,
            )
            for row, (chunk, measures) in ((row, hits[row]) for row in best)
        ),
        far,
    )


# --- weights


def print_fit(asked: dict[str, list[Asked]]) -> None:
    for name, sets, columns in (
        ("BY_BOTH", READABLE, both),
        ("BY_CLOSENESS", READABLE, closeness),
        ("BY_COVERAGE", (*READABLE, *UNREADABLE), coverage),
    ):
        weights = fitted([asked[one] for one in sets], columns)
        print(f"{name} = ({', '.join(f'{weight:.2f}' for weight in weights)})")


def both(hit: Judged) -> tuple[float, ...]:
    return (hit.measures.closeness or 0.0, hit.measures.coverage or 0.0, 1.0)


def closeness(hit: Judged) -> tuple[float, ...]:
    return (hit.measures.closeness or 0.0, 1.0)


def coverage(hit: Judged) -> tuple[float, ...]:
    return (hit.measures.coverage or 0.0, 1.0)


def fitted(sets: Sequence[list[Asked]], columns: Callable[[Judged], tuple[float, ...]]) -> Floats:
    """Return the weights of a logistic regression, bias last, in which every set counts the same. Newton's method."""
    hits = [[hit for one in each for hit in one.hits] for each in sets]
    x = np.array([columns(hit) for each in hits for hit in each])
    y = np.array([hit.right for each in hits for hit in each], np.float64)
    share = np.concatenate([np.full(len(each), 1 / len(each) / len(hits)) for each in hits])
    weights, ridge = np.zeros(x.shape[1]), np.full(x.shape[1], RIDGE)
    ridge[-1] = 0
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (share * (p - y)) + ridge * weights
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(ridge) + 1e-9 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    return weights


# --- reports


def print_hits(asked: dict[str, list[Asked]]) -> None:
    print(f"{'hits':16} {'':>7} {'':>6} {'AUC of':>9} {'':>8} {'':>7} {'':>9} {'ECE of':>10}")
    print(
        f"{'set':16} {'judged':>7} {'right':>6} {'relevance':>9} {'relative':>8} {'cosine':>7} {'coverage':>9}"
        f" {'relevance':>10} {'as shipped':>10}"
    )
    for name, questions in asked.items():
        hits = [hit for one in questions for hit in one.hits]
        right = np.array([hit.right for hit in hits])
        others = [each for each in kin(name) if each != name]
        columns = both if name in READABLE else coverage
        weights = fitted([asked[one] for one in others], columns)
        told = 1 / (1 + np.exp(-np.array([columns(hit) for hit in hits]) @ weights))
        shipped = np.array([relevance(hit.measures) or 0.0 for hit in hits])
        print(
            f"{name:16} {len(hits):7} {right.mean():6.3f} {auc(told, right):9.3f}"
            f" {auc(np.array([hit.score for hit in hits]), right):8.3f}"
            f" {auc(np.array([hit.cosine for hit in hits]), right):7.3f}"
            f" {auc(np.array([hit.measures.coverage or 0.0 for hit in hits]), right):9.3f}"
            f" {calibration_error(told, right):10.3f} {calibration_error(shipped, right):10.3f}",
            flush=True,
        )


def kin(name: str) -> Sequence[str]:
    """Return the sets whose hits are judged as a set's are: of words alone, all can tell."""
    return READABLE if name in READABLE else (*READABLE, *UNREADABLE)


def print_questions(asked: dict[str, list[Asked]]) -> None:
    print("\nwhole questions, one floor for all sets: refused / far answered / near answered")
    print(f"{'set':16} " + " ".join(f"{f'floor {floor:g}':>17}" for floor in FLOORS))
    for name, questions in asked.items():
        told = by_others(asked, name)
        cells = ("/".join(f"{share:.3f}" for share in shares(questions, told, floor)) for floor in FLOORS)
        print(f"{name:16} " + " ".join(f"{cell:>17}" for cell in cells), flush=True)
    print(f"\na floor for each set that refuses {REFUSED:.0%}: far / near answered by")
    print(f"{'set':16} {'relevance':>13} {'cosine':>13} {'relative score':>16}")
    for name, questions in asked.items():
        cells = []
        for told in (by_others(asked, name), lambda hit: hit.cosine, lambda hit: hit.score):
            best = [max(told(hit) for hit in one.hits) for one in questions if any(hit.right for hit in one.hits)]
            _, far, near = shares(questions, told, float(np.quantile(best, REFUSED)))
            cells.append(f"{far:.3f} / {near:.3f}")
        # The relative scores of a question without its right passages would be others: they are not known.
        print(f"{name:16} {cells[0]:>13} {cells[1]:>13} {cells[2].partition(' ')[0] + ' / -':>16}", flush=True)


def by_others(asked: dict[str, list[Asked]], name: str) -> Callable[[Judged], float]:
    """Return the relevance by weights fitted on the other sets."""
    columns = both if name in READABLE else coverage
    weights = fitted([asked[one] for one in kin(name) if one != name], columns)
    return lambda hit: float(1 / (1 + np.exp(-np.dot(columns(hit), weights))))


def shares(questions: Sequence[Asked], told: Callable[[Judged], float], floor: float) -> tuple[float, float, float]:
    """Return the share of found questions that a floor refuses, and those of far and near ones that it lets pass."""
    found = [one for one in questions if any(hit.right for hit in one.hits)]
    refused = [max(told(hit) for hit in one.hits) < floor for one in found]
    far = [max(told(hit) for hit in one.hits) >= floor for one in questions if one.far]
    near = [max((told(hit) for hit in one.hits if not hit.right), default=0.0) >= floor for one in found]
    return float(np.mean(refused)), float(np.mean(far)) if far else 0.0, float(np.mean(near))


def auc(scores: Floats, right: NDArray[np.bool_]) -> float:
    """Return how often a right one scores above a wrong one; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n = int(right.sum())
    return float((ranks[right].sum() - n * (n + 1) / 2) / (n * (len(right) - n)))


def calibration_error(told: Floats, right: NDArray[np.bool_], *, n_bins: int = 10) -> float:
    """Return the mean distance of what is told from what is so, over bins of equal width."""
    places = np.minimum((told * n_bins).astype(np.int64), n_bins - 1)
    return float(
        sum(
            inside.mean() * abs(told[inside].mean() - right[inside].mean())
            for inside in (places == place for place in range(n_bins))
            if inside.any()
        )
    )


if __name__ == "__main__":
    main()
