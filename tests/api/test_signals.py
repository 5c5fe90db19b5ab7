"""Ctrl-C and SIGTERM, as a shell and a container send them: words, exit status, and what stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.upstream import Fault, Upstream

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops by signal")
PATIENCE_S = 60
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream) -> Iterator[Start]:
    """Start `rag` in a folder with a few documents and a scripted endpoint."""
    (tmp_path / "docs").mkdir()
    for n in range(6):
        words = " ".join(f"Word {n} and {i}." for i in range(60))
        (tmp_path / "docs" / f"doc{n}.md").write_text(words, encoding="utf-8")
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_EMBEDDINGS_MAX_INPUTS": "4",
        "RAG_CHUNKING_TOKENS": "64",
        "RAG_INGEST_WATCH_QUIET_S": "0.2",
    }
    started: list[subprocess.Popen[str]] = []

    def run(*argv: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "api.cli.main", *argv]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environ, text=True, **streams))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str, int]:
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)
    return out, err, process.returncode


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_ingest_says_what_stands_and_how_to_go_on(
    start: Start, upstream: Upstream, number: signal.Signals, status: int
) -> None:
    upstream.script("embeddings", None, None, None, *[Fault(hang=True)] * 50)
    process = start("ingest", "docs", "--json", "--set", "embeddings.api_key=secret")
    assert upstream.wait_until(lambda: len(upstream.calls("embeddings")) > 4, timeout_s=PATIENCE_S)
    out, err, code = stop(process, number)
    report = json.loads(out)
    assert (code, report["stopped"], report["counts"]["indexed"] + report["counts"]["failed"]) == (
        status,
        "interrupted",
        6,
    )
    last = err.splitlines()[-1]
    assert (
        f"{report['counts']['indexed']} documents were stored and {report['counts']['failed']} files were not" in last
    )
    assert last.endswith("go on with: rag ingest docs --json --set embeddings.api_key=...")
    assert ("Traceback" in err, "secret" in err) == (False, False)


def test_a_second_signal_ends_at_once(start: Start, upstream: Upstream) -> None:
    upstream.script("embeddings", None, *[Fault(hang=True)] * 50)
    process = start("ingest", "docs", "--quiet")
    assert upstream.wait_until(lambda: len(upstream.calls("embeddings")) > 2, timeout_s=PATIENCE_S)
    os.kill(process.pid, signal.SIGSTOP)  # so that both signals are there before either is answered
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (130, 143)
    assert err == "rag: ended at once; what is stored is whole\n"


def test_a_dry_run_is_stopped_too(start: Start, tmp_path: Path) -> None:
    # The parser of HTML takes time with the square of the depth: a quarter of a minute for this.
    (tmp_path / "docs" / "slow.html").write_text("<div>" * 100_000 + "deep" + "</div>" * 100_000, encoding="utf-8")
    process = start("ingest", "docs", "--dry-run")
    assert process.stderr is not None
    while "slow.html" not in process.stderr.readline():
        assert process.poll() is None
    _, err, code = stop(process, signal.SIGTERM)
    assert (code, "stopped; nothing was embedded or written: rag ingest docs --dry-run" in err) == (143, True)


def test_a_watch_prints_each_run_and_ends_cleanly(start: Start, tmp_path: Path) -> None:
    process = start("ingest", "docs", "--watch", "--quiet", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["counts"]["indexed"] == 6
    (tmp_path / "docs" / "new.md").write_text("A new word.", encoding="utf-8")
    second = json.loads(process.stdout.readline())
    assert [(file["path"], file["change"]) for file in second["files"]] == [("new.md", "new")]
    _, err, code = stop(process, signal.SIGINT)
    assert code == 130
    assert err.splitlines()[-1].startswith("rag ingest: stopped watching; what is stored is kept; go on with: rag in")
    assert "Traceback" not in err
