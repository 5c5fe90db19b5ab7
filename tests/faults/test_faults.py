"""A sample of the faults, other ones every day; ``python -m tests.faults --full`` tries them all.

``FAULTS_SEED=N pytest tests/faults`` tries those of a day again: N is in the message of what fails.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import damage, plans, shim
from tests.faults.campaign import Stage, Worker
from tests.faults.scenes import SCENES, Scene
from tests.upstream import Upstream

pytestmark = pytest.mark.skipif(shim.why_not() != "", reason=shim.why_not())

SAMPLE = {"kill": 2, "torn": 1, "full": 1, "full-short": 1, "eio-once": 1, "eio-always": 1}
SEED = int(os.environ.get("FAULTS_SEED", datetime.date.today().toordinal()))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(tmp_path_factory.mktemp("worker")) as running:
        yield running


@pytest.fixture
def stage(scene: Scene, tmp_path: Path, worker: Worker, upstream: Upstream) -> Stage:
    return Stage(scene, tmp_path / "stage", worker, upstream)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_run_that_meets_a_fault_loses_nothing_and_is_finished_by_the_next(stage: Stage) -> None:
    points = [point for mode, n in SAMPLE.items() for point in plans.sample(stage, mode, n, seed=SEED)]
    outcomes = [stage.run(point) for point in points]
    assert [outcome for outcome in outcomes if outcome.problems] == [], f"FAULTS_SEED={SEED}"
    assert sum(outcome.where != "" for outcome in outcomes) >= len(outcomes) - 1, "the faults hardly ever struck"


@pytest.mark.parametrize("scene", [SCENES[1]], ids=lambda scene: scene.name)
def test_damaged_derived_files_never_answer_wrongly(stage: Stage) -> None:
    verdicts = stage.injure(damage.DERIVED, 12, seed=SEED)
    assert [found for found in verdicts if found[1] != "right"] == [], f"FAULTS_SEED={SEED}"


@pytest.mark.parametrize("scene", [SCENES[1]], ids=lambda scene: scene.name)
def test_damage_to_the_truth_is_never_read_in_silence(stage: Stage) -> None:
    verdicts = stage.injure(damage.TRUTH, 12, seed=SEED)
    assert [found for found in verdicts if found[1] not in ("right", "reported")] == [], f"FAULTS_SEED={SEED}"
