"""Copies, names, snapshots: what a collection was and is, whole at every moment."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from index import points
from index.collection import Collection
from index.library import Library
from rag.errors import CollectionError, CollectionExistsError, CollectionLockedError, CollectionNotFoundError
from tests.index.shelving import CONFIG, shelve
from tests.index.test_processes import ROOT, child, line, names


def fill(library: Library, collection: Collection, *documents: str) -> None:
    with collection.writer("test") as writer:
        for document_id in documents:
            shelve(library, collection, writer, document_id, f"zebra of {document_id}")


def found(library: Library, name: str) -> set[str]:
    with Library.open(library.folder) as opened:
        return names(opened.open_collection(name), "zebra")


def test_a_copy_has_what_its_first_had_and_shares_its_vectors(library: Library, collection: Collection) -> None:
    fill(library, collection, "a", "b")
    before = library.vectors.stats().spaces
    points.copy(library, "main", "second")
    fill(library, collection, "c")
    assert found(library, "second") == {"a", "b"}
    with library.open_collection("second") as second:
        assert second.check() == []
        assert second.config == CONFIG
        with second.writer("test") as writer:
            writer.remove("a")
    assert found(library, "main") == {"a", "b", "c"}
    assert before[0].n_vectors == 2


def test_a_copy_beside_a_running_writer_is_of_one_moment(library: Library, collection: Collection) -> None:
    with child("write", library.folder, "8") as process:
        for _ in range(3):
            line(process)
        points.copy(library, "main", "second")
        assert process.wait(30) == 0
    held = found(library, "second")
    assert {f"child-{n}.txt" for n in range(3)} <= held <= {f"child-{n}.txt" for n in range(8)}
    assert library.open_collection("second").check() == []


@pytest.mark.parametrize("do", [points.copy, Library.rename], ids=["copy", "rename"])
def test_a_taken_or_bad_name_and_an_absent_collection_are_refused(library: Library, do: object) -> None:
    assert callable(do)
    library.create("main", CONFIG)
    library.create("other", CONFIG)
    with pytest.raises(CollectionExistsError, match="'other' is already there"):
        do(library, "main", "other")
    with pytest.raises(CollectionError, match="cannot be the name"):
        do(library, "main", "../x")
    with pytest.raises(CollectionNotFoundError, match="no collection 'mian'"):
        do(library, "mian", "third")
    assert library.collections() == ["main", "other"]


def test_a_renamed_collection_keeps_its_documents_snapshots_and_uploads(
    library: Library, collection: Collection
) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "early")
    library.uploads("main").mkdir(parents=True)
    library.rename("main", "handbooks")
    assert library.collections() == ["handbooks"]
    assert found(library, "handbooks") == {"a"}
    assert [kept.label for kept in points.snapshots(library, "handbooks")] == ["early"]
    assert library.uploads("handbooks") == library.folder / "uploads" / "main"
    library.create("main", CONFIG)
    assert library.uploads("main") != library.uploads("handbooks")
    assert points.snapshots(library, "main") == []


def test_a_reader_under_the_old_name_is_told_and_the_new_name_answers(library: Library, collection: Collection) -> None:
    fill(library, collection, "a")
    assert names(collection, "zebra") == {"a"}
    library.rename("main", "handbooks")
    with pytest.raises(CollectionNotFoundError, match="open it again"):
        collection.search_keywords("zebra", k=1)
    with pytest.raises(CollectionNotFoundError, match="'handbooks'"):
        library.open_collection("main")


def test_a_collection_that_is_written_to_keeps_its_name_and_content(library: Library, collection: Collection) -> None:
    points.take_snapshot(library, "main", "early")
    with child("hold", library.folder) as process:
        assert line(process) == "held"
        with pytest.raises(CollectionLockedError, match="ingest of the child"):
            library.rename("main", "handbooks")
        with pytest.raises(CollectionLockedError, match="ingest of the child"):
            points.restore(library, "main", "early", keep=False)
        points.take_snapshot(library, "main", "beside")
    assert library.collections() == ["main"]
    assert [kept.label for kept in points.snapshots(library, "main")] == ["early", "beside"]


def test_a_restored_collection_is_what_it_was_and_what_it_replaced_is_kept(
    library: Library, collection: Collection
) -> None:
    fill(library, collection, "a", "b")
    points.take_snapshot(library, "main", "two")
    with collection.writer("test") as writer:
        writer.remove("a")
        shelve(library, collection, writer, "c", "zebra of c")
    replaced = points.restore(library, "main", "two")
    assert replaced is not None
    assert (replaced.why, replaced.n_documents) == ("replaced by two", 2)
    assert found(library, "main") == {"a", "b"}
    assert library.open_collection("main").check() == []
    points.restore(library, "main", replaced.label, keep=False)
    assert found(library, "main") == {"b", "c"}
    assert {kept.label for kept in points.snapshots(library, "main")} == {"two", replaced.label}


def test_pruning_the_library_keeps_the_vectors_of_snapshots(library: Library, collection: Collection) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "one")
    with collection.writer("test") as writer:
        writer.remove("a")
    assert library.prune() == 0
    points.restore(library, "main", "one", keep=False)
    assert library.open_collection("main").check() == []
    points.delete_snapshot(library, "main", "one")
    library.delete("main")
    assert library.prune() == 1


def test_a_damaged_collection_is_restored_from_its_snapshot(library: Library, collection: Collection) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "whole")
    library.close()
    (library.folder / "collections" / "main" / "collection.db").write_bytes(b"no database" * 1000)
    with Library.open(library.folder) as again:
        with pytest.raises(CollectionError):
            again.open_collection("main")
        with pytest.raises(CollectionError):
            points.restore(again, "main", "whole")
        points.restore(again, "main", "whole", keep=False)
        assert names(again.open_collection("main"), "zebra") == {"a"}


def test_labels_are_taken_once_dated_by_themselves_and_pruned_oldest_first(
    library: Library, collection: Collection
) -> None:
    kept = [points.take_snapshot(library, "main", label) for label in ("one", "", "")]
    assert len({snapshot.label for snapshot in kept}) == 3
    with pytest.raises(CollectionExistsError, match="'one' already"):
        points.take_snapshot(library, "main", "one")
    with pytest.raises(CollectionError, match="cannot be the name"):
        points.take_snapshot(library, "main", "../one")
    with pytest.raises(CollectionNotFoundError, match="there are: "):
        points.restore(library, "main", "two")
    assert points.prune_snapshots(library, "main", keep=1) == [snapshot.label for snapshot in kept[:2]]
    assert points.snapshots(library, "main") == kept[2:]


def test_deleting_a_collection_deletes_its_snapshots_and_no_others(library: Library, collection: Collection) -> None:
    library.create("other", CONFIG)
    for name in ("main", "other"):
        points.take_snapshot(library, name, "one")
    library.delete("main")
    library.create("main", CONFIG)
    assert points.snapshots(library, "main") == []
    assert [kept.label for kept in points.snapshots(library, "other")] == ["one"]


def killed(library: Library, action: str, place: str) -> int:
    """Run an action in a process that is killed before the n-th call of a C function; return its status."""
    command = [sys.executable, "-m", "tests.index.child_shelf", action, str(library.folder), place]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("place", ["execute:6", "rename:1", "fsync:1"])
def test_a_rename_that_is_killed_leaves_the_old_name_or_the_new(
    library: Library, collection: Collection, place: str
) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "early")
    assert killed(library, "rename", place) == -9
    (name,) = library.collections()
    assert name in ("main", "new")
    assert found(library, name) == {"a"}
    assert [kept.label for kept in points.snapshots(library, name)] == ["early"]
    points.take_snapshot(library, name, "after")  # no lock is left behind


@pytest.mark.parametrize("place", ["backup:2", "rename:2", "rename:3"])
def test_a_restore_that_is_killed_leaves_what_was_or_what_was_wanted(
    library: Library, collection: Collection, place: str
) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "early")
    fill(library, collection, "b")
    status = killed(library, "restore", place)
    assert status in (-9, 0)
    assert library.collections() == ["main"]
    assert found(library, "main") in ({"a", "b"}, {"a"})
    assert library.open_collection("main").check() == []
    assert "early" in [kept.label for kept in points.snapshots(library, "main")]
    points.restore(library, "main", "early", keep=False)
    assert found(library, "main") == {"a"}
    library.prune()
    assert [path.name for path in (library.folder / "collections").iterdir()] == ["main"]


def test_a_reading_process_finds_the_old_or_the_new_at_every_moment(library: Library, collection: Collection) -> None:
    fill(library, collection, "a")
    points.take_snapshot(library, "main", "early")
    fill(library, collection, "b")
    points.take_snapshot(library, "main", "late")
    command = [sys.executable, "-m", "tests.index.child_shelf", "watch", str(library.folder), "main"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert line(process) == "reading"
        for label in ("early", "late", "early"):
            points.restore(library, "main", label, keep=False)
        said, _ = process.communicate("stop\n", timeout=60)
    seen = [frozenset(state) for state in json.loads(said)]
    assert set(seen) <= {frozenset("ab"), frozenset("a")}
    assert seen[-1] == {"a"}
