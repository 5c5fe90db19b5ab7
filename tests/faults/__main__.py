"""``python -m tests.faults [--full] [--seed N] [--scenes ...]``: try faults, and with --full write docs/crash.md."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import damage, plans, report, shim
from tests.faults.campaign import Outcome, Stage, Worker
from tests.faults.scenes import SCENES, Scene
from tests.upstream import Upstream

PAGE = Path(__file__).parents[2] / "docs" / "crash.md"
SAMPLED = 6  # points of each mode and scene where not all are tried
LEAST_DAMAGES = 200  # of each kind, whatever the step: they cost little
DAMAGES = {"derived": (damage.DERIVED, 600), "truth": (damage.TRUTH, 600)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="try every point, and write the table of docs/crash.md")
    parser.add_argument("--step", type=int, default=1, help="with --full: try every N-th point only")
    parser.add_argument("--seed", type=int, default=1, help="which points are drawn where not all are tried")
    args = parser.parse_args()
    if reason := shim.why_not():
        sys.stderr.write(f"{reason}\n")
        return 2
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="footnote-faults-"))
    try:
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(scene_outcomes, scene, folder / scene.name, args) for scene in SCENES]
            injuries = pool.submit(damage_outcomes, folder / "damage", args)
            outcomes = [outcome for job in jobs for outcome in job.result()]
        counted = injuries.result()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bad = [outcome for outcome in outcomes if outcome.problems]
    for outcome in bad:
        sys.stderr.write(f"{outcome}\n")
    if args.full:
        report.write(PAGE, outcomes, counted, seconds=time.monotonic() - started, step=args.step)
    n_wrong = sum(n for of in counted.values() for what, n in of.items() if what in report.WRONG)
    sys.stdout.write(f"{len(outcomes)} points, {len(bad)} bad; {sum(map(Counter.total, counted.values()))} damages,")
    sys.stdout.write(f" {n_wrong} bad; {time.monotonic() - started:.0f} s\n")
    return 1 if bad or n_wrong else 0


def scene_outcomes(scene: Scene, folder: Path, args: argparse.Namespace) -> list[Outcome]:
    folder.mkdir()
    with Upstream() as upstream, Worker(folder) as worker:
        stage = Stage(scene, folder / "stage", worker, upstream)
        return [stage.run(point) for mode in plans.COUNTED for point in points_of(stage, mode, args)]


def points_of(stage: Stage, mode: str, args: argparse.Namespace) -> Iterator[plans.Point]:
    if args.full:
        yield from plans.every(stage, mode, step=args.step)
    else:
        yield from plans.sample(stage, mode, SAMPLED, seed=args.seed)


def damage_outcomes(folder: Path, args: argparse.Namespace) -> dict[str, Counter[str]]:
    folder.mkdir()
    counted: dict[str, Counter[str]] = {}
    with Upstream() as upstream, Worker(folder) as worker:
        stage = Stage(SCENES[1], folder / "stage", worker, upstream)
        for name, (kinds, n) in DAMAGES.items():
            share = max(n // args.step, LEAST_DAMAGES) if args.full else SAMPLED
            outcomes = stage.injure(kinds, share, seed=args.seed)
            for injury, verdict, words in outcomes:
                if verdict in report.WRONG:
                    sys.stderr.write(f"{injury}: {verdict}: {words}\n")
            counted[name] = Counter(verdict for _, verdict, _ in outcomes)
    return counted


if __name__ == "__main__":
    raise SystemExit(main())
