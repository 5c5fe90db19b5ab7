"""What is paid for again: texts sent to be embedded after a change or a mishap, beside those that are new.

    python -m benchmarks.paid_again [--files 60] [--write]

A folder of generated files is ingested by ``rag ingest``, then something happens, then the same command runs again. The
endpoint is a stub on this machine that counts the texts it is sent. The bound is the number of texts that nobody has
paid for yet; what goes beyond it is paid for twice. ``--write`` puts the table in docs/cost.md.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.upstream import Fault, Upstream

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cost.md"
WORDS = ("water", "bridge", "paper", "engine", "winter", "letter", "garden", "market", "river", "window", "mountain")
PARAGRAPHS = 12
_PART = re.compile(r"(<!-- measured: paid-again -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass
class Bench:
    """A folder, a library and an endpoint that counts."""

    home: Path
    upstream: Upstream

    @property
    def folder(self) -> Path:
        return self.home / "docs"

    def command(self, *more: str, folder: Path | None = None) -> list[str]:
        options = ("--library", str(self.home / "library"), "--set", f"embeddings.base_url={self.upstream.base_url}")
        model = ("--set", "embeddings.model=stub-embedding", "--set", "embeddings.max_inputs=8")
        return [
            sys.executable,
            "-m",
            "api.cli.main",
            "ingest",
            str(folder or self.folder),
            *options,
            *model,
            "-q",
            *more,
        ]

    def ingest(self, *more: str, folder: Path | None = None) -> None:
        done = subprocess.run(self.command(*more, folder=folder), cwd=ROOT, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"the ingest failed: {done.stderr}")

    def killed_midway(self) -> None:
        """Kill an ingest once half of its texts have been sent."""
        self.upstream.always("embeddings", Fault(delay_s=0.05))
        running = subprocess.Popen(self.command(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        half = self.n_expected // 2
        while self.upstream.embedded.total() < half and running.poll() is None:
            time.sleep(0.005)
        running.kill()
        running.wait()
        self.upstream.always("embeddings", Fault())

    def fails_midway(self) -> None:
        """Let the endpoint refuse the key once half of the texts have been sent, so that the ingest stops."""
        half = self.n_expected // 2
        self.upstream.refuse = lambda request: Fault(status=401) if self.upstream.embedded.total() > half else None
        self.ingest()
        self.upstream.refuse = lambda request: None

    @property
    def n_expected(self) -> int:
        return len(list(self.folder.rglob("*.md"))) * PARAGRAPHS // 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="put the table in docs/cost.md")
    options = parser.parse_args()
    rows = [("What happened, then the same command again", "Texts that are new", "Texts sent", "Paid for twice")]
    with Upstream() as upstream:
        for words, happen in SCENES.items():
            rows.append((words, *map(str, measure(upstream, happen, n_files=options.files))))
            print(" | ".join(rows[-1]), flush=True)
    if options.write:
        write(rows, f"python -m benchmarks.paid_again --files {options.files}")
    return 0


def measure(upstream: Upstream, happen: Callable[[Bench], None], *, n_files: int) -> tuple[int, int, int]:
    """Return the distinct new texts, all texts sent, and how many of these had been sent before."""
    upstream.reset()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), upstream)
        write_files(bench.folder, n_files)
        if happen not in MISHAPS:
            bench.ingest()
        before, n_before = set(upstream.embedded), upstream.embedded.total()
        happen(bench)
        if happen not in SELF_MADE:
            bench.ingest()
        n_sent = upstream.embedded.total() - n_before
        n_new = len(set(upstream.embedded) - before)
    return n_new, n_sent, n_sent - n_new


def write_files(folder: Path, n: int) -> None:
    chance = random.Random(7)
    for place in range(n):
        path = folder / f"part{place % 5}" / f"file{place}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        paragraphs = (" ".join(chance.choices(WORDS, k=150)) + f" {chance.random()}." for _ in range(PARAGRAPHS))
        path.write_text(f"# File {place}\n\n" + "\n\n".join(paragraphs) + "\n", encoding="utf-8")


def nothing(bench: Bench) -> None:
    """The folder stays as it is."""


def touched(bench: Bench) -> None:
    for path in bench.folder.rglob("*.md"):
        path.touch()


def renamed(bench: Bench) -> None:
    (bench.folder / "part0").rename(bench.folder / "elsewhere")


def copied(bench: Bench) -> None:
    shutil.copytree(bench.folder / "part0", bench.folder / "copy")


def removed_and_back(bench: Bench) -> None:
    aside = bench.home / "aside"
    (bench.folder / "part0").rename(aside)
    bench.ingest()
    aside.rename(bench.folder / "part0")


def changed(bench: Bench) -> None:
    path = bench.folder / "part0" / "file0.md"
    path.write_text(path.read_text(encoding="utf-8") + "\nOne more paragraph, at the end.\n", encoding="utf-8")


def second_collection(bench: Bench) -> None:
    bench.ingest("--collection", "second")


def rebuilt(bench: Bench) -> None:
    bench.ingest("--rebuild")


def dry_run(bench: Bench) -> None:
    changed(bench)
    bench.ingest("--dry-run")


SCENES: dict[str, Callable[[Bench], None]] = {
    "nothing": nothing,
    "every file touched, none changed": touched,
    "a folder renamed": renamed,
    "a folder copied": copied,
    "a folder removed, ingested, and put back": removed_and_back,
    "a paragraph added to one file": changed,
    "into a second collection": second_collection,
    "`--rebuild`": rebuilt,
    "a paragraph added, and `--dry-run`": dry_run,
    "`kill -9` halfway through the first run": Bench.killed_midway,
    "the key refused halfway through the first run": Bench.fails_midway,
}
MISHAPS = (Bench.killed_midway, Bench.fails_midway)
"""What happens to the first run."""
SELF_MADE = (second_collection, rebuilt, dry_run)
"""What happens there is the second run itself."""


def write(rows: list[tuple[str, ...]], command: str) -> None:
    lines = [rows[0], ("---", "--:", "--:", "--:"), *rows[1:]]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    said = f"`{command}`:\n\n{table}\n"
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_PART.sub(lambda match: f"{match[1]}\n{said}{match[2]}", before), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
