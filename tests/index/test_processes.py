"""Several processes at once, and processes that are killed: real ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from index.collection import Collection
from index.library import Library
from rag.errors import CollectionLockedError
from tests.index.shelving import open_or_create, shelve

ROOT = Path(__file__).parents[2]
ANY = np.eye(8, dtype=np.float32)[4]


@contextmanager
def child(action: str, folder: Path, argument: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.index.child", action, str(folder), argument]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def names(collection: Collection, query: str) -> set[str]:
    rows = [row for row, _ in collection.search_keywords(query, k=1000)]
    return {chunk.document_id for chunk in collection.chunks(rows).values()}


def test_a_reader_sees_each_document_of_a_running_writer(library: Library, collection: Collection) -> None:
    assert names(collection, "zebra") == set()
    with child("write", library.folder, "8") as process:
        for number in range(8):
            assert line(process) == str(number)
            wanted = {f"child-{n}.txt" for n in range(number + 1)}
            assert names(collection, "zebra") >= wanted
            rows = [row for row, _ in collection.search_vectors(ANY, k=1000)]
            assert {chunk.document_id for chunk in collection.chunks(rows).values()} >= wanted
        assert process.wait(30) == 0
    assert collection.check() == []


def test_another_process_finds_what_this_one_wrote_and_not_what_it_removed(
    library: Library, collection: Collection
) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
        shelve(library, collection, writer, "b", "zebra too")
        writer.remove("a")
        with child("read", library.folder, "zebra") as process:
            assert json.loads(line(process)) == {"documents": ["b"], "n_vectors": 1}
        assert names(collection, "zebra") == {"b"}


def test_the_second_writer_is_told_who_holds_the_lock(library: Library, collection: Collection) -> None:
    with child("hold", library.folder) as process:
        assert line(process) == "held"
        with pytest.raises(CollectionLockedError) as caught, collection.writer("test"):
            pass
        assert f"'ingest of the child' (process {process.pid} on " in str(caught.value)
        assert str(process.pid) in (collection.status().writer or "")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    assert collection.status().writer is None


def test_a_second_writer_in_the_same_process_is_refused_too(collection: Collection) -> None:
    with collection.writer("first"), pytest.raises(CollectionLockedError, match="'first'"), collection.writer("second"):
        pass
    with collection.writer("third"):
        pass


@pytest.mark.parametrize(
    "place",
    [
        *(f"execute:{n}" for n in (9, 22, 27, 60)),
        *(f"executemany:{n}" for n in (1, 4)),
        *("add_document:3", "commit:1", "wait_merging_threads:1", "fsync:1", "replace:1"),
    ],
)
def test_a_killed_writer_leaves_a_whole_collection(tmp_path: Path, place: str) -> None:
    library, collection = open_or_create(tmp_path)
    with collection.writer("test") as writer:
        for number in range(3):
            shelve(library, collection, writer, f"{number}.txt", f"zebra number {number} " * 5, size=30)
    library.close()
    with child("killed_in", tmp_path, place) as process:
        assert process.wait(30) == -signal.SIGKILL
    check_whole(tmp_path)


@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_writer_killed_between_documents_leaves_a_whole_collection(tmp_path: Path, after: int) -> None:
    library, _ = open_or_create(tmp_path)
    library.close()
    with child("write", tmp_path, "1000") as process:
        while line(process) != str(after):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    library, collection = open_or_create(tmp_path)
    assert {f"child-{n}.txt" for n in range(after + 1)} <= names(collection, "zebra")
    library.close()
    check_whole(tmp_path)


def check_whole(folder: Path) -> None:
    library, collection = open_or_create(folder)
    for info in collection.documents():
        chunks = collection.document_chunks(info.id)
        assert "".join(chunk.text for chunk in chunks) == collection.document(info.id).text
        word = collection.document(info.id).text.split()[0]
        assert info.id in names(collection, word)
    assert collection.ledger().keys() == {info.id for info in collection.documents()}
    assert collection.check() == []
    with collection.writer("after the crash") as writer:
        shelve(library, collection, writer, "new.txt", "okapi")
    assert names(collection, "okapi") == {"new.txt"}
    assert collection.status().agrees
    assert collection.check() == []
    library.close()


def test_threads_may_search_while_another_writes(library: Library, collection: Collection) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                for name in names(collection, "zebra"):
                    assert name.startswith("doc")
                collection.search_vectors(ANY, k=20)
                collection.background(ANY)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    with collection.writer("test") as writer:
        for number in range(15):
            shelve(library, collection, writer, f"doc{number % 5}", f"zebra {number} " * 9, size=30)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert collection.check() == []


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_a_folder_that_cannot_be_written_is_searched_all_the_same() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        library, collection = open_or_create(folder / "library")
        with collection.writer("test") as writer:
            shelve(library, collection, writer, "a", "zebra")
        library.close()
        shutil.rmtree(folder / "library" / "collections" / "main" / "keywords")
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        found = subprocess.run(
            [sys.executable, "-m", "tests.index.child", "read_only", str(folder / "library"), "zebra"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert found.stderr == ""
        assert json.loads(found.stdout) == {"documents": ["a"], "n_vectors": 1}
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(folder)
