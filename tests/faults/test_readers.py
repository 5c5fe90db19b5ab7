"""The forked readers stand for started processes: what those bear, they bear."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import shim

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, pathlib, sys, threading, time
import ingest.child, tests.ingest.hostile_readers
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead
from rag.errors import RagError
from tests.faults.readers import forked

READER, path = "tests.ingest.hostile_readers:read", pathlib.Path(sys.argv[1])
waitpid = os.waitpid

def slowly(*args):
    time.sleep(0.05)
    return waitpid(*args)

def read():
    try:
        readers.read(ToRead(path, "order.txt", 1))
    except RagError as error:
        print(error)

with forked(READER):
    os.waitpid = slowly
    readers = IsolatedReaders(ReadingLimits(timeout_s=60), reader=READER)
    waiting = threading.Thread(target=read)
    waiting.start()
    while not (path.parent / "began").exists():
        time.sleep(0.01)
    readers.close()
    waiting.join()
"""


@pytest.mark.skipif(shim.why_not() != "", reason=shim.why_not())
def test_a_reader_that_is_ended_while_another_thread_waits_for_it_ends_without_an_error(tmp_path: Path) -> None:
    """Both ask how the process ended; to ask the system twice is an OSError, which came out of a run's clean-up."""
    order = tmp_path / "order.txt"
    order.write_text(f"hold 60 {tmp_path / 'began'}", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(order)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr) == ("cannot read 'order.txt': the run was stopped; run it again\n", "")
