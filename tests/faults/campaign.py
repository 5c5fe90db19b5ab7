"""Runs a command with one fault, looks at what it left, lets it finish, and looks again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.faults import shim
from tests.faults.damage import Damage, ail, damages, inflict
from tests.faults.scenes import CONCURRENCY, MAX_INPUTS, Scene, environ_of, write_documents
from tests.upstream import Upstream

__all__ = ["Outcome", "Point", "Stage", "Worker"]

ROOT = Path(__file__).parents[2]
_AT_STAKE = (2 * CONCURRENCY + 1) * MAX_INPUTS
"""Texts that a run has paid for and not yet stored, at most: requests under way, and as many replies being stored."""


@dataclass(frozen=True)
class Point:
    """One fault: in this scene, of this mode, at the n-th call that the mode counts."""

    scene: str
    mode: str
    at: int


@dataclass(frozen=True)
class Outcome:
    """What came of a point. ``where`` is the call struck ("" where the run ended before), without random parts.

    ``derived`` is the state of the vector and keyword indexes on disk before anything searched; ``paid_twice`` counts
    the texts that were sent again. ``problems`` is empty when everything is as it must be.
    """

    point: Point
    where: str
    derived: str = ""
    said: str = ""
    paid_twice: int = 0
    problems: tuple[str, ...] = field(default=())


class Worker:
    """A process that forks for each order; see ``tests.faults.worker``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        environ = {"LD_PRELOAD": str(shim.built()), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._errors = (folder / "worker.err").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker"],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._errors.close()

    def do(self, action: str, **order: Any) -> dict[str, Any]:
        """Return what came of an order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"do": action, "result": str(self._folder / "result.json"), **order}, default=str)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker has died: {(self._folder / 'worker.err').read_text()[-2000:]}")
        return dict(json.loads(answer))


class Stage:
    """A scene made ready: the folder of documents, the library before the command, and how both must look after."""

    def __init__(self, scene: Scene, folder: Path, worker: Worker, upstream: Upstream) -> None:
        folder.mkdir()
        self.scene = scene
        self.docs = folder / "docs"
        self.library = folder / "library"
        self._folder = folder
        self._template = folder / "template"
        self._reference = folder / "reference.json"
        self._worker = worker
        self._upstream = upstream
        self.seen = self._rehearse()

    def _rehearse(self) -> dict[str, int]:
        """Learn from undisturbed runs what there is before and after, and how many calls the command makes."""
        write_documents(self.docs, changed=False)
        before = None
        if self.scene.has_library:
            self._ingest(tokens=96)
            before = self._portrait()
            if self.scene.repair:
                ail(self.library)
            shutil.copytree(self.library, self._template)
        if self.scene.changes:
            write_documents(self.docs, changed=True)
        if self.scene.repair:
            run = self._command(mode="count")
            self._command(ingest=True)
        else:
            run = self._ingest(tokens=self.scene.tokens, rebuild=self.scene.rebuild)
        after = self._portrait()
        self._reference.write_text(json.dumps({"before": before, "after": after}), encoding="utf-8")
        return dict(run["seen"])

    def _portrait(self) -> dict[str, Any]:
        portrait = self._worker.do("portrait", library=self.library, environ={})
        if portrait.get("problems") != []:
            raise RuntimeError(f"the undisturbed run of {self.scene.name} is not whole: {portrait}")
        return {name: portrait[name] for name in ("documents", "ledger", "chunking")}

    def _ingest(self, *, tokens: int, rebuild: bool = False, mode: str = "count", at: int = 0) -> dict[str, Any]:
        return self._worker.do(
            "ingest",
            environ=environ_of(self._upstream, self.library, tokens=tokens),
            library=self.library,
            docs=self.docs,
            rebuild=rebuild,
            mode=mode,
            at=at,
            done=self._folder / "done",
            struck=self._folder / "struck",
        )

    def _command(self, *, mode: str = "off", at: int = 0, ingest: bool = False) -> dict[str, Any]:
        arguments = ["ingest", str(self.docs), "--quiet", *(["--rebuild"] if self.scene.rebuild else [])]
        if self.scene.repair and not ingest:
            arguments = ["status", "--repair"]
        return self._worker.do(
            "command",
            environ=environ_of(self._upstream, self.library, tokens=self.scene.tokens),
            library=self.library,
            arguments=arguments,
            mode=mode,
            at=at,
            struck=self._folder / "struck",
        )

    def _check(self, *, done: list[str], finished: bool) -> dict[str, Any]:
        return self._worker.do(
            "check",
            environ={},
            library=self.library,
            reference=self._reference,
            done=done,
            finished=finished,
        )

    def run(self, point: Point) -> Outcome:
        """Try one point: the fault, a look, the same command again undisturbed, and a second look."""
        shutil.rmtree(self.library, ignore_errors=True)
        if self._template.exists():
            shutil.copytree(self._template, self.library)
        for name in ("done", "struck"):
            (self._folder / name).unlink(missing_ok=True)
        self._upstream.embedded.clear()
        self._upstream.seen.clear()
        problems: list[str] = []
        if point.mode in ("kill", "torn"):
            if self.scene.repair:
                run = self._command(mode=point.mode, at=point.at)
            else:
                run = self._ingest(tokens=self.scene.tokens, rebuild=self.scene.rebuild, mode=point.mode, at=point.at)
            struck = self._lines("struck")
            if struck and run.get("signal") != 9:
                problems.append(f"the run should have been killed: {run}")
        else:
            run = self._command(mode=point.mode, at=point.at)
            struck = self._lines("struck")
            problems += _complaints(run, struck=bool(struck))
        if "crash" in run:
            problems.append(run["crash"])
        self._upstream.wait_until(lambda: self._upstream.in_flight == 0)
        done = self._lines("done")
        first: dict[str, Any] = {}
        if not self.scene.repair:  # what was damaged is still there, and may be reported
            first = self._check(done=done if not self.scene.rebuild else [], finished=False)
            problems += [f"after the fault: {problem}" for problem in _found(first)]
        for again in self._finished():
            if again.get("exit_code") not in (0, 1) or again["output"].count("Traceback"):
                problems.append(f"running again: {again}")
        second = self._check(done=[], finished=True)
        problems += [f"after running again: {problem}" for problem in _found(second)]
        texts = {text: n for text, n in self._upstream.embedded.items() if "your vectors" not in text}
        paid_twice = sum(n if self.scene.repair else n - 1 for n in texts.values())  # damaged: all had been paid for
        if paid_twice > _AT_STAKE:
            problems.append(f"{paid_twice} texts were paid for twice")
        if max(self._upstream.seen.values(), default=0) > 2:
            problems.append("a page was paid for a third time: once, and once more where it was under way, is allowed")
        return Outcome(
            point,
            where=_anonymous(struck[0]) if struck else "",
            derived=str(first.get("derived", "")),
            said=_anonymous(run.get("output", "").strip()),
            paid_twice=paid_twice,
            problems=tuple(problems),
        )

    def _finished(self) -> Iterator[dict[str, Any]]:
        """Run the command again, undisturbed; what a repair leaves to do is done by an ingest."""
        yield self._command()
        if self.scene.repair:
            yield self._command(ingest=True)

    def injure(self, kinds: tuple[str, ...], n: int, *, seed: int) -> list[tuple[Damage, str, str]]:
        """Damage files of the finished library ``n`` times; return each damage, the verdict on it, and the details."""
        whole = self._folder / "whole"
        shutil.copytree(self.library, whole)
        expected = self._worker.do("particulars", library=whole, environ={})["particulars"]
        verdicts = []
        for damage in damages(whole, kinds, n, seed=seed):
            shutil.rmtree(self.library)
            shutil.copytree(whole, self.library)
            inflict(self.library, damage)
            found = self._worker.do("damaged", library=self.library, expected=expected, environ={})
            verdicts.append((damage, _verdict(found), str(found)[-1500:]))
        shutil.rmtree(self.library)
        whole.rename(self.library)
        return verdicts

    def _lines(self, name: str) -> list[str]:
        path = self._folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _verdict(found: dict[str, Any]) -> str:
    if "said" not in found:
        return "crash"
    if found["said"]:
        return "reported"
    return "wrong" if found["wrong"] else "altered" if found["altered"] else "right"


def _found(look: dict[str, Any]) -> list[str]:
    return [*look.get("problems", []), *([look["crash"]] if "crash" in look else [])] or (
        [] if "problems" in look else [f"the look itself failed: {look}"]
    )


def _complaints(run: dict[str, Any], *, struck: bool) -> list[str]:
    """Return what is wrong with how a command ended that met a full or broken disk."""
    if not struck or "crash" in run:
        return []
    lines = [line for line in run.get("output", "").splitlines() if line.startswith("rag ")]
    if "Traceback" in run.get("output", ""):
        return [f"a traceback: {run['output'][-1500:]}"]
    if run.get("signal"):
        return [f"ended by a signal: {run}"]
    return [f"said no line or several: {run}"] if run.get("exit_code") == 1 and len(lines) > 1 else []


def _anonymous(text: str) -> str:
    """Take out of paths what differs from run to run."""
    text = re.sub(r"[0-9a-f]{32}", "SEGMENT", text)
    text = re.sub(r"\.(new|deleted)-[0-9a-f]{16}", r".\1-ID", text)
    text = re.sub(r"\.tmp[\w.-]{6,}", ".tmpID", text)
    text = re.sub(r"\.[0-9a-f]{8}\.tmp", ".ID.tmp", text)
    return re.sub(r"\.\d+\.(tmp|del)", r".N.\1", text)
