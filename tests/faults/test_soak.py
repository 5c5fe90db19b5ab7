"""A reader that searches without pause while one writer after the other is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rag.errors import CollectionLockedError
from tests.faults import soak
from tests.index.shelving import open_or_create, shelve

ROOT = Path(__file__).parents[2]


def start(action: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.soak", action, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_reader_never_sees_an_error_or_half_a_document_while_writers_are_killed(tmp_path: Path) -> None:
    soak.settle(tmp_path)
    library, collection = open_or_create(tmp_path)
    reader = start("read", tmp_path)
    try:
        assert line(reader) == "reading"
        for turn in range(4):
            writing = start("write", tmp_path)
            try:
                assert line(writing) == "held"  # at once, although the one before was killed
                with pytest.raises(CollectionLockedError, match=f"process {writing.pid} "), collection.writer("second"):
                    pass
                time.sleep(0.3 + 0.15 * turn)
                writing.send_signal(signal.SIGKILL)
            finally:
                end(writing)
        output, errors = reader.communicate("", timeout=60)
    finally:
        end(reader)
    assert (reader.returncode, errors) == (0, "")
    assert int(output) > 1
    assert collection.check() == []
    with collection.writer("the next") as writer:
        shelve(library, collection, writer, "new.txt", "okapi")
    assert collection.check() == []
    library.close()
