"""How often the verdict on a statement is right: precision and recall over true and corrupted statements, by kind.

    python benchmarks/verdicts.py [--data FOLDER] [--passages 120] [--half test] [--show KIND]

``benchmarks/verdict_cases.py`` makes the statements from question-answering sets and says how. The rules were chosen
on one half of the passages of xquad_en and xquad_zh; figures are of the other half, and of sets nothing was chosen on.
A statement is flagged when its verdict is not ``supported``. Precision: flagged ones that are corrupt. Recall: corrupt
ones that are flagged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from verdict_cases import Case, cases_of

from rag.answering.citations import cite
from rag.types import Statement

DATA = Path(__file__).parents[2] / "shared" / "data" / "beir"
TUNED_ON = ("xquad_en", "xquad_zh")
NOT_TUNED_ON = ("nq_oracle", "cmrc2018_trial")


class NoPlaces:
    """A document store of texts without pages."""

    def text(self, document_id: str, start: int, end: int) -> str:
        raise AssertionError("citations read the sources they are given")

    def title(self, document_id: str) -> str:
        return document_id

    def page_at(self, document_id: str, offset: int) -> int | None:
        return None

    def place_at(self, document_id: str, offset: int) -> str:
        return ""


def judged(cases: Iterable[Case]) -> list[tuple[Case, Statement]]:
    """Return each case with what is found of its statement (of several sentences: the worst)."""
    rank = ("supported", "uncited", "partly", "unknown marker", "unsupported")
    found = []
    for case in cases:
        statements = cite(case.text, case.sources, documents=NoPlaces()).statements
        if statements:
            found.append((case, max(statements, key=lambda one: rank.index(one.verdict))))
    return found


def line(name: str, rows: Sequence[tuple[Case, Statement]]) -> str:
    """Return a line of a table."""
    flagged = [case for case, statement in rows if statement.verdict != "supported"]
    firm = [case for case, statement in rows if statement.verdict == "unsupported"]
    n_wrong = sum(not case.is_true for case, _ in rows)
    caught = sum(not case.is_true for case in flagged)
    n_true = len(rows) - n_wrong
    precision = f"{caught / len(flagged):.3f}" if flagged else "-"
    recall = f"{caught / n_wrong:.3f}" if n_wrong else "-"
    alarms = f"{(len(flagged) - caught) / n_true:.3f}" if n_true else "-"
    return f"| {name} | {n_true} | {n_wrong} | {precision} | {recall} | {alarms} | {len(firm) / len(rows):.3f} |"


def main(arguments: Iterable[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--passages", type=int, default=120, help="of each set")
    parser.add_argument("--half", choices=("test", "tuning"), default="test", help="of the sets tuned on")
    parser.add_argument("--show", default="", help="a kind of which the wrongly judged cases are printed")
    options = parser.parse_args(list(arguments))
    if not options.data.is_dir():
        print(f"{options.data} is not there; name the folder of the sets with --data", file=sys.stderr)
        return 2
    kinds: dict[tuple[bool, str], list[tuple[Case, Statement]]] = defaultdict(list)
    print(
        "| | True | Corrupted | Precision | Recall | True ones flagged | Unsupported |\n|---|---|---|---|---|---|---|"
    )
    started, n_cases = time.process_time(), 0
    for name in TUNED_ON if options.half == "tuning" else (*TUNED_ON, *NOT_TUNED_ON):
        cases = cases_of(options.data / name, n_passages=options.passages)
        wanted = options.half == "tuning"
        rows = judged(case for case in cases if name in NOT_TUNED_ON or case.is_tuning == wanted)
        n_cases += len(rows)
        print(line(name, rows), flush=True)
        for row in rows:
            kinds[(not row[0].is_true, row[0].kind)].append(row)
    took = (time.process_time() - started) / max(n_cases, 1)
    for (_, kind), rows in sorted(kinds.items()):
        print(line(kind, rows))
    print(line("all", [row for rows in kinds.values() for row in rows]))
    print(f"\n{1000 * took:.1f} ms of CPU a statement, making it and reading its two sources included")
    for case, statement in (row for rows in kinds.values() for row in rows):
        if case.kind == options.show and (statement.verdict == "supported") != case.is_true:
            print(f"\n{case.text}\n  {statement.verdict}: {statement.reason}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
