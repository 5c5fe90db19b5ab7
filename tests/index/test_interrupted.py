"""What a process that was killed at a bad moment, or met a full disk, leaves in a library: it is put right, or said."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from index.collection import Collection
from index.library import Library
from rag.errors import CollectionError, DamagedDataError
from tests.index.shelving import CONFIG, open_or_create, shelve


def test_a_collection_put_aside_by_a_killed_rebuild_comes_back(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    folder = library.folder / "collections"
    (folder / "main").rename(folder / ".superseded-main")
    assert library.collections() == ["main"]
    again = library.open_collection("main")
    assert [info.id for info in again.documents()] == ["a"]
    assert again.check() == []


def test_what_killed_makers_and_deleters_left_is_swept_and_nothing_else(
    library: Library, collection: Collection
) -> None:
    folder = library.folder / "collections"
    for name in (".new-0123", ".deleted-4567", ".superseded-main"):
        shutil.copytree(folder / "main", folder / name)
    library.create("other", CONFIG)
    assert sorted(path.name for path in folder.iterdir()) == ["main", "other"]
    assert collection.is_in_place


def test_the_next_writer_deletes_what_killed_ones_left(library: Library, collection: Collection) -> None:
    folder = library.folder / "collections" / "main"
    for name in ("vectors.faiss.99.tmp", ".vectors.faiss.0123abcd.tmp", ".writer.json.0123abcd.tmp"):
        (folder / name).write_text("half of it")
    (folder / "keywords.old").mkdir()
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    (folder / "keywords" / ".tmpRhgpp1").write_text("half of meta.json")
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "b", "quagga")
    assert not [path for path in folder.rglob("*") if re.search(r"\.(tmp|old|new)", path.name)]


def test_a_snapshot_that_cannot_be_written_is_said_and_the_documents_stay(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    (tmp_path / "collections" / "main" / "vectors.faiss").mkdir()  # in the way of the rename
    with pytest.raises(CollectionError, match=r"documents are stored"), collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    assert [info.id for info in collection.documents()] == ["a"]
    library.close()


def test_a_lock_that_cannot_be_signed_is_released(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    in_the_way = tmp_path / "collections" / "main" / "writer.json"
    in_the_way.mkdir()
    with pytest.raises(CollectionError, match="cannot write"), collection.writer("test"):
        pass
    in_the_way.rmdir()
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    library.close()


def test_what_went_wrong_first_is_told_also_where_the_lock_cannot_be_given_back_in_order(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    in_the_way = tmp_path / "collections" / "main" / "writer.json"

    def fail() -> None:
        in_the_way.unlink()
        in_the_way.mkdir()  # cannot be deleted as a file: an OSError
        raise CollectionError("the first")

    with pytest.raises(CollectionError, match=r"^the first$"), collection.writer("test"):
        fail()
    in_the_way.rmdir()
    with collection.writer("test"):
        pass
    library.close()


def test_leftovers_that_cannot_be_deleted_are_an_error_of_ours(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    (tmp_path / "collections" / "main" / ".vectors.faiss.0.tmp").mkdir()
    with pytest.raises(CollectionError, match=r"documents are stored"), collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    library.close()


def test_stored_text_that_is_no_text_is_an_error_of_ours(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra " * 9)
    library.close()
    path = tmp_path / "collections" / "main" / "collection.db"
    path.write_bytes(path.read_bytes().replace(b"zebra zebra", b"zebra\xffzebra"))
    library, collection = open_or_create(tmp_path)
    with pytest.raises(DamagedDataError, match="rag status --repair"):
        collection.document("a")
    library.close()


def test_a_copy_without_its_write_ahead_log_is_an_older_whole_state(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path / "ours")
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    library.close()
    library, collection = open_or_create(tmp_path / "ours")
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "b", "quagga")
    shutil.copytree(tmp_path / "ours", tmp_path / "copy", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    library.close()
    library, collection = open_or_create(tmp_path / "copy")
    assert [info.id for info in collection.documents()] == ["a"]
    assert collection.search_keywords("quagga", k=5) == []
    assert collection.check() == []
    library.close()


def test_a_stale_shared_index_of_the_log_is_not_believed(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path / "ours")
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    shutil.copytree(tmp_path / "ours", tmp_path / "copy")
    library.close()
    for shm in (tmp_path / "copy").rglob("*-shm"):
        shm.write_bytes(os.urandom(shm.stat().st_size))
    started = time.monotonic()
    library, collection = open_or_create(tmp_path / "copy")
    assert [info.id for info in collection.documents()] == ["a"]
    assert collection.check() == []
    assert time.monotonic() - started < 10
    library.close()
