"""What it costs in quality that a large collection's commonest words have no say in a keyword search: nDCG@10 of BM25.

    python benchmarks/common_words.py [SET ...] [--data FOLDER]

A column is a share of the chunks: terms in more of them than that are left out where two others remain, as
`index.keywords.telling` does from 100,000 chunks on; the first column leaves out none. Whole passages are indexed. The
last line is the mean of the sets. What it saves is measured by `benchmarks/million.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from retrieval import DATA, QuestionSet, load, ndcg_at_10

from index import keywords
from index.keywords import KeywordIndex
from index.records import Position

SHARES = (1.0, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
N_QUESTIONS = 1000  # of a set, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="folders of the data (all)")
    parser.add_argument("--data", type=Path, default=DATA, help="where the sets are, as BEIR folders")
    args = parser.parse_args()
    names = args.sets or sorted(path.name for path in args.data.iterdir() if (path / "qrels.tsv").exists())
    if not names:
        sys.exit(f"no question sets in {args.data}; give their folder with --data")
    keywords._TELLING_FROM = 0
    print(f"{'':<16}" + "".join(f"{share:>8.0%}" for share in SHARES))
    table = []
    for name in names:
        table.append(measured(load(args.data / name)))
        show(name, table[-1])
    show("mean", np.mean(table, axis=0).tolist())


def measured(questions: QuestionSet) -> list[float]:
    index = KeywordIndex.create(None)
    passages = list(questions.passages)
    index.update(remove=[], add=enumerate(questions.passages.values()), position=Position(1, "one"))
    answered = [(name, text) for name, text in questions.questions.items() if name in questions.answers][:N_QUESTIONS]
    means = []
    for share in SHARES:
        keywords._COMMON = share
        scores = []
        for question, text in answered:
            ranked = [passages[row] for row, _ in index.search(text, k=10)]
            scores.append(ndcg_at_10(ranked, questions.answers[question]))
        means.append(float(np.mean(scores)))
    return means


def show(name: str, means: list[float]) -> None:
    print(f"{name:<16}" + "".join(f"{mean:>8.4f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
