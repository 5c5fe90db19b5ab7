"""What an ingest shows of itself while it waits."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from api.cli.progress import figures, ingest_progress, waits
from ingest.tally import IngestProgress, Waiting

NOW = IngestProgress(
    n_files=40,
    n_done=12,
    n_chunks=1234,
    n_texts_embedded=900,
    n_tokens_embedded=81_000,
    path="a.txt",
    cost=0.0162,
    currency="USD",
    seconds=30.0,
    tokens_per_s=2700.0,
    left_s=200.0,
)


def test_the_figures_are_files_chunks_tokens_rate_and_cost() -> None:
    said = figures(NOW)
    assert said.startswith("12 of 40 files, 1,234 chunks, 900 embedded (81,000 tokens), 2,700 tokens/s, ")
    assert said.endswith("0.016 USD")


def test_a_long_look_is_told_as_such() -> None:
    assert figures(replace(NOW, phase="looking", n_seen=12_345)) == "looking: 12,345 files so far"
    comparing = replace(NOW, phase="comparing", n_compared=5, n_to_compare=7)
    assert figures(comparing) == "comparing with the last run: 5 of 7 files"


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (Waiting("parser", 1, "big.pdf", 73.0), "waiting for the parser: big.pdf, for 73 s"),
        (Waiting("parser", 2, "big.pdf", 73.0), "waiting for the parser: big.pdf and 1 more, for 73 s"),
        (Waiting("parser", 1, "small.md", 0.1), ""),
        (Waiting("disk", 1, "a.md", 3.0), "waiting for the disk: a.md, for 3 s"),
        (Waiting("vision model", 3, "scan.pdf", 9.0), "waiting for the vision model: scan.pdf and 2 more, for 9 s"),
        (Waiting("endpoint", 4, "900 texts"), "waiting for the endpoint: 4 requests under way, 900 texts behind"),
        (
            Waiting("endpoint", 0, "900 texts", why="rate limited", paused_s=11.2),
            "waiting for the endpoint: rate limited for 12 s, 900 texts behind it",
        ),
    ],
    ids=["parser", "parsers", "soon over", "disk", "another engine", "endpoint", "pause"],
)
def test_who_is_waited_for_is_named(waiting: Waiting, said: str) -> None:
    assert waits(replace(NOW, waiting=(waiting,))) == said


def test_plain_lines_come_now_and_then_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with ingest_progress("docs") as show:
        for tenth in range(130):
            show(replace(NOW, seconds=tenth / 10, left_s=None if tenth < 100 else 200.0))
        show(replace(NOW, seconds=13.0, n_done=40, phase="finishing"))
        show(replace(NOW, seconds=13.1, n_done=40, phase="finishing"))
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith("docs: 12 of 40 files")
    assert second.endswith("about 3 min left")
    assert last.startswith("docs: 40 of 40 files")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_there_is_a_bar_and_the_report_is_not_in_it(tmp_path: Path) -> None:
    import pty

    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("A word.", encoding="utf-8")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "api.cli.main", "ingest", "docs"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(ours)
    assert (process.returncode, "1 files: 1 indexed" in out) == (0, True)
    assert "1 of 1 files" in shown.decode()
    assert shown.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?25h" in shown, "the cursor is back"
