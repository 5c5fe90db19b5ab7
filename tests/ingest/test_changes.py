"""What a watcher makes of changes: when it looks, where, and what it leaves alone. By a clock that is set by hand."""

from __future__ import annotations

import pytest

from ingest.changes import Changes, Due, Look, parts_to_look_at


@pytest.fixture
def files() -> dict[str, Look]:
    """Size and time of change of the files that there are."""
    return {}


@pytest.fixture
def changes(files: dict[str, Look]) -> Changes:
    return Changes(files.get, quiet_s=1.0, longest_s=10.0, growing_s=100.0)


def test_a_burst_is_looked_at_once_when_it_is_over(changes: Changes) -> None:
    changes.note(["a", "b"], 0.0)
    changes.note(["b", "c"], 0.8)
    assert changes.due(1.5) is None
    assert changes.due(1.8) == Due(("a", "b", "c"))
    assert (changes.due(9.0), len(changes)) == (None, 0)


def test_constant_change_elsewhere_delays_a_file_only_so_long(changes: Changes, files: dict[str, Look]) -> None:
    changes.note(["a.md"], 0.0)
    for tenths in range(0, 100, 5):
        files["log.txt"] = (tenths, tenths)
        changes.note(["log.txt"], tenths / 10)
        assert changes.due(tenths / 10) is None
    assert changes.due(10.0) == Due(("a.md",), growing=("log.txt",))


def test_a_file_that_grows_without_events_is_not_looked_at(changes: Changes, files: dict[str, Look]) -> None:
    files["big.pdf"] = (100, 1)
    changes.note(["big.pdf"], 0.0)
    files["big.pdf"] = (200, 2)
    assert changes.due(1.0) is None, "it has grown since the event"
    assert changes.due(1.9) is None
    assert changes.due(2.0) == Due(("big.pdf",))


def test_a_file_that_never_stands_still_is_read_in_the_end(changes: Changes, files: dict[str, Look]) -> None:
    for second in range(100):
        files["log.txt"] = (second, second)
        changes.note(["log.txt"], float(second))
        assert changes.due(float(second)) is None
    files["log.txt"] = (100, 100)
    assert changes.due(100.0) == Due(("log.txt",))


def test_a_deleted_file_is_not_said_to_be_growing(changes: Changes, files: dict[str, Look]) -> None:
    changes.note(["a.md"], 0.0)
    changes.note(["gone.md"], 9.9)
    assert changes.due(10.0) == Due(("a.md",))
    assert changes.due(11.0) == Due(("gone.md",))


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        (["a.md"], ("a.md",)),
        (["a/x.md", "b/x.md"], ("a/x.md", "b/x.md")),
        (["a", "a/x.md", "a/b/y.md", "ab"], ("a", "ab")),
        (["a/.ragignore"], ("a",)),
        ([".ragignore", "a.md"], None),
        ([f"f{n}.md" for n in range(1001)], None),
    ],
    ids=["a file", "both ends of a move", "inside another", "ignore file", "ignore file of the root", "too many"],
)
def test_a_run_looks_at_the_least_that_holds_the_changes(paths: list[str], parts: tuple[str, ...] | None) -> None:
    assert parts_to_look_at(paths, ignore_file=".ragignore") == parts
