"""What a run decides, from two maps worked out by hand."""

from pathlib import Path

import pytest

from index.records import LedgerEntry
from ingest.plan import Known, plan_changes, triage
from ingest.sources import Found

OLD = 1_000_000_000_000_000_000
SEEN = OLD / 1e9 + 3600


def file(path: str, *, size: int = 3, mtime_ns: int = OLD, inode: int = 1) -> Found:
    return Found(Path(path), path, size, mtime_ns, mtime_ns, inode, path)


def entry(
    path: str, sha256: str = "aa", *, state: str = "indexed", updated_at: float = SEEN, reader: str = "text/1"
) -> LedgerEntry:
    return LedgerEntry(
        path,
        "/root",
        state,
        sha256,
        3,
        OLD,
        OLD,
        1,
        reader=reader,
        updated_at=updated_at,  # type: ignore[arg-type]
    )


READERS = {"a.txt": "text/1", "b.txt": "text/1"}


def test_a_file_with_the_same_size_times_and_inode_is_known_without_hashing() -> None:
    known, unsure = triage([file("a.txt")], {"a.txt": entry("a.txt")}, READERS)
    assert ([item.found.id for item in known], unsure) == (["a.txt"], [])


@pytest.mark.parametrize(
    ("found", "before"),
    [
        pytest.param(file("a.txt", size=4), entry("a.txt"), id="another size"),
        pytest.param(file("a.txt", mtime_ns=OLD + 1), entry("a.txt"), id="another time"),
        pytest.param(file("a.txt", inode=2), entry("a.txt"), id="another inode"),
        pytest.param(file("a.txt"), entry("a.txt", state="failed"), id="failed before"),
        pytest.param(file("a.txt"), entry("a.txt", state="skipped"), id="skipped before"),
        pytest.param(file("a.txt"), entry("a.txt", reader="text/0"), id="read by an older reader"),
        pytest.param(
            file("a.txt"), entry("a.txt", updated_at=OLD / 1e9 + 1), id="looked at in the second it was written"
        ),
    ],
)
def test_any_doubt_means_hashing(found: Found, before: LedgerEntry) -> None:
    known, unsure = triage([found], {"a.txt": before}, READERS)
    assert (known, [item.id for item in unsure]) == ([], ["a.txt"])


def test_touched_but_equal_bytes_stay_known_and_are_marked_as_hashed() -> None:
    plan = plan_changes([], [(file("a.txt", mtime_ns=OLD + 5), "aa")], {"a.txt": entry("a.txt")}, READERS)
    assert [(item.found.id, item.hashed) for item in plan.known] == [("a.txt", True)]
    assert plan.work == ()


def test_new_changed_and_gone_files_are_told_apart() -> None:
    ledger = {"a.txt": entry("a.txt", "aa"), "gone.txt": entry("gone.txt", "cc")}
    plan = plan_changes([], [(file("a.txt"), "a2"), (file("b.txt"), "bb")], ledger, READERS)
    assert [(work.found.id, work.before is not None, work.renamed_from) for work in plan.work] == [
        ("a.txt", True, None),
        ("b.txt", False, None),
    ]
    assert plan.remove == ("gone.txt",)


def test_the_bytes_of_a_gone_file_under_a_new_name_are_a_rename() -> None:
    plan = plan_changes([], [(file("b.txt"), "aa")], {"a.txt": entry("a.txt", "aa")}, READERS)
    assert [work.renamed_from for work in plan.work] == ["a.txt"]
    assert plan.remove == ()


def test_a_copy_of_a_file_that_is_still_there_is_no_rename() -> None:
    known = [Known(file("a.txt"), entry("a.txt", "aa"))]
    plan = plan_changes(known, [(file("b.txt"), "aa")], {"a.txt": entry("a.txt", "aa")}, READERS)
    assert [work.renamed_from for work in plan.work] == [None]


def test_two_new_files_with_the_bytes_of_one_gone_file_rename_it_once() -> None:
    ledger = {"gone.txt": entry("gone.txt", "aa")}
    plan = plan_changes([], [(file("a.txt"), "aa"), (file("b.txt"), "aa")], ledger, READERS)
    assert [work.renamed_from for work in plan.work] == ["gone.txt", None]


def test_what_could_not_be_looked_at_is_not_gone() -> None:
    plan = plan_changes([], [], {"locked/a.txt": entry("locked/a.txt")}, READERS, keep=["locked/a.txt"])
    assert plan.remove == ()
