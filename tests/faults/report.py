"""Writes the tables of docs/crash.md from what a full run has found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.campaign import Outcome
from tests.faults.scenes import SCENES

__all__ = ["VERDICTS", "WRONG", "write"]

MODES = {
    "kill": "`kill -9` before a call",
    "torn": "`kill -9` in the middle of a write",
    "full": "disk full from a call on",
    "full-short": "disk full after a short write",
    "eio-once": "one sync fails (EIO)",
    "eio-always": "all syncs fail from one on (EIO)",
}
VERDICTS = {
    "right": "nothing lost: read or rebuilt, every search right",
    "reported": "refused, or reported by `rag status --check`",
    "altered": "reads otherwise than it was written, unreported",
    "wrong": "a search is wrong, unreported",
    "crash": "an error that is not one of ours",
}
WRONG = ("altered", "wrong", "crash")
_TABLES = re.compile(r"(<!-- measured: faults -->\n).*?(<!-- end -->)", re.DOTALL)


def write(
    page: Path, outcomes: Sequence[Outcome], damages: Mapping[str, Counter[str]], *, seconds: float, step: int
) -> None:
    """Put the tables in their place on the page."""
    tables = "\n".join([_points(outcomes), _places(outcomes), _damages(damages)])
    n = len(outcomes) + sum(map(Counter.total, damages.values()))
    command = "python -m tests.faults --full" + (f" --step {step}" if step > 1 else "")
    told = f"`{command}` tried {n:,} faults in {seconds / 60:.0f} minutes:\n\n"
    before = page.read_text(encoding="utf-8")
    page.write_text(_TABLES.sub(lambda match: f"{match[1]}\n{told}{tables}\n{match[2]}", before), encoding="utf-8")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _points(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for mode, words in MODES.items():
        for scene in SCENES:
            of = [outcome for outcome in outcomes if (outcome.point.mode, outcome.point.scene) == (mode, scene.name)]
            struck = [outcome for outcome in of if outcome.where]
            whole = sum(not outcome.problems for outcome in struck)
            worst = max((outcome.paid_twice for outcome in struck), default=0)
            rows.append((words, scene.words, len(struck), whole, len(struck) - whole, worst))
    head = ("Fault", "During", "Points", "Whole, and finished by the next run", "Not", "Texts paid twice, at most")
    return _table(head, rows)


def _places(outcomes: Sequence[Outcome]) -> str:
    """Say which calls on which files were struck."""
    calls: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        if outcome.where:
            kind, _, path = outcome.where.partition(" ")
            calls.setdefault(_family(path), Counter())[kind] += 1
    rows = [
        (name, ", ".join(f"{kind} {n}" for kind, n in sorted(of.items())), of.total())
        for name, of in sorted(calls.items(), key=lambda item: -item[1].total())
    ]
    return _table(("File struck", "Calls", "Points"), rows)


def _family(path: str) -> str:
    for name in ("vectors.db", "collection.db"):
        for ending, words in (
            ("-wal", "write-ahead log"),
            ("-shm", "shared index of the log"),
            ("-journal", "journal"),
        ):
            if path.endswith(name + ending):
                return f"`{name}{ending}` ({words})"
        if path.endswith(name):
            return f"`{name}`"
    if "vectors.faiss" in path:
        return "`vectors.faiss` (written beside, renamed)"
    if "keywords" in path:
        return "`keywords/` and its rebuild beside it"
    return "`writer.json`, locks" if "writer" in path or path.endswith(".lock") else "folders"


def _damages(damages: Mapping[str, Counter[str]]) -> str:
    names = {"derived": "`vectors.faiss`, `keywords/`", "truth": "`collection.db`, `vectors.db`"}
    rows = [(names[name], of.total(), *(of[verdict] for verdict in VERDICTS)) for name, of in damages.items()]
    return _table(("Files with a flipped bit or a torn tail", "Damages", *VERDICTS.values()), rows)
