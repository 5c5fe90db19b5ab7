"""Walking a folder: every path comes out once, with a reason where it is left out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ingest.roots import is_under
from ingest.sources import Found, NameRules, Skipped, Unreadable, WalkRules, walk
from rag.errors import ConfigError, DocumentReadError


def _make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def _found(root: Path, rules: WalkRules | None = None) -> list[str]:
    return [item.id for item in walk(root, rules=rules) if isinstance(item, Found)]


def _reasons(root: Path, rules: WalkRules | None = None) -> dict[str, str]:
    return {item.id: item.reason for item in walk(root, rules=rules) if not isinstance(item, Found)}


def test_files_come_in_the_order_of_their_parts(tmp_path: Path) -> None:
    _make(tmp_path, "b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "B.txt", "文.txt", "é x.txt")
    assert _found(tmp_path) == ["B.txt", "a/b/c.txt", "a/z.txt", "a.txt", "b.txt", "é x.txt", "文.txt"]


def test_a_found_file_carries_its_status(tmp_path: Path) -> None:
    _make(tmp_path, "a/b.txt")
    status = (tmp_path / "a/b.txt").stat()
    assert list(walk(tmp_path)) == [
        Found(
            tmp_path / "a/b.txt",
            "a/b.txt",
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
            "b.txt",
        )
    ]


def test_names_stay_exactly_as_the_disk_spells_them(tmp_path: Path) -> None:
    names = ["-rf.txt", "new\nline.txt", "nfd_e\u0301.txt", "nfd_\u00e9.txt", "quote'\"<b>.md", "空格 文件.txt"]
    _make(tmp_path, *names)
    assert _found(tmp_path) == sorted(names)


def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/bad\xff.txt"
    try:
        with open(name, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (item,) = walk(tmp_path)
    assert isinstance(item, Unreadable)
    assert item.id == "bad\\xff.txt"
    assert "rename it" in item.reason


def test_hidden_files_and_folders_are_skipped_unless_asked_for(tmp_path: Path) -> None:
    _make(tmp_path, ".hidden.txt", ".folder/a.txt", ".git/config", "a.txt")
    assert _found(tmp_path) == ["a.txt"]
    assert set(_reasons(tmp_path)) == {".hidden.txt", ".folder/", ".git/"}
    assert _found(tmp_path, WalkRules(hidden=True)) == [".folder/a.txt", ".hidden.txt", "a.txt"]


def test_built_in_rules_leave_out_what_nobody_asks_about(tmp_path: Path) -> None:
    _make(tmp_path, "node_modules/x/readme.md", "__pycache__/a.pyc", "uv.lock", "~$letter.docx", "a.txt")
    assert _found(tmp_path) == ["a.txt"]
    assert _reasons(tmp_path)["node_modules/"] == "ignored by 'node_modules/' in built-in rules"


def test_an_ignore_file_has_the_syntax_of_gitignore(tmp_path: Path) -> None:
    _make(
        tmp_path, "a.log", "keep.log", "sub/a.log", "sub/deep/x.txt", "top.txt", "sub/top.txt", "build/a.txt", "a.txt"
    )
    (tmp_path / ".ragignore").write_text("# logs\n*.log\n!keep.log\n/top.txt\nbuild/\nsub/**/x.txt\n", encoding="utf-8")
    assert _found(tmp_path) == ["a.txt", "keep.log", "sub/top.txt"]
    assert _reasons(tmp_path)["sub/a.log"] == "ignored by '*.log' in .ragignore"


def test_a_deeper_ignore_file_speaks_last(tmp_path: Path) -> None:
    _make(tmp_path, "a.log", "sub/a.log", "sub/b.txt")
    (tmp_path / ".ragignore").write_text("*.log\n", encoding="utf-8")
    (tmp_path / "sub/.ragignore").write_text("!a.log\nb.txt\n", encoding="utf-8")
    assert _found(tmp_path) == ["sub/a.log"]
    assert _reasons(tmp_path)["sub/b.txt"] == "ignored by 'b.txt' in sub/.ragignore"


def test_an_ignore_file_can_take_back_a_built_in_rule(tmp_path: Path) -> None:
    _make(tmp_path, "node_modules/readme.md")
    (tmp_path / ".ragignore").write_text("!node_modules/\n", encoding="utf-8")
    assert _found(tmp_path) == ["node_modules/readme.md"]


@pytest.mark.parametrize("content", [b"!\n", b"\xff\xfe\x00"], ids=["no pattern", "not UTF-8"])
def test_an_ignore_file_that_cannot_be_understood_stops_the_walk(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".ragignore").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.ragignore"):
        list(walk(tmp_path))


def test_include_and_exclude_choose_files(tmp_path: Path) -> None:
    _make(tmp_path, "a.md", "a.txt", "sub/b.md", "old/c.md")
    rules = WalkRules(include=("*.md",), exclude=("old/",))
    assert _found(tmp_path, rules) == ["a.md", "sub/b.md"]
    assert _reasons(tmp_path, rules) == {"a.txt": "not among the files to include", "old/": "excluded by 'old/'"}


def test_a_bad_pattern_names_the_option() -> None:
    with pytest.raises(ConfigError, match="exclude"):
        list(walk(Path(__file__).parent, rules=WalkRules(exclude=("!",))))


def test_a_file_over_the_limit_is_skipped_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_bytes(b"x" * 1001)
    (tmp_path / "fits.txt").write_bytes(b"x" * 1000)
    rules = WalkRules(max_bytes=1000)
    assert _found(tmp_path, rules) == ["fits.txt"]
    assert _reasons(tmp_path, rules) == {"big.txt": "1,001 bytes, more than the limit of 1,000 (max_bytes)"}


def test_a_limit_below_one_byte_is_wrong_use() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        WalkRules(max_bytes=0)


def test_links_are_followed_inside_and_not_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _make(root, "a.txt", "sub/b.txt")
    _make(outside, "secret.txt")
    (root / "link.txt").symlink_to("a.txt")
    (root / "out.txt").symlink_to(outside / "secret.txt")
    (root / "out").symlink_to(outside)
    (root / "again").symlink_to("sub")
    assert _found(root) == ["a.txt", "link.txt", "sub/b.txt"]
    assert set(_reasons(root)) == {"out.txt", "out/", "again/"}
    allowed = _found(root, WalkRules(follow_outside=True))
    assert allowed == ["a.txt", "link.txt", "out/secret.txt", "out.txt", "sub/b.txt"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _make(root, "a/b/c.txt")
    _make(outside, "d.txt")
    (root / "a/b/up").symlink_to("../..")
    (root / "self").symlink_to("self")
    (root / "out").symlink_to(outside)
    (outside / "back").symlink_to(outside)
    (outside / "home").symlink_to(root)
    rules = WalkRules(follow_outside=True)
    assert _found(root, rules) == ["a/b/c.txt", "out/d.txt"]
    assert _reasons(root, rules)["self"] == "symbolic link that leads back to itself"


def test_a_broken_link_is_reported(tmp_path: Path) -> None:
    (tmp_path / "dangling.txt").symlink_to("nowhere")
    assert _reasons(tmp_path) == {"dangling.txt": "symbolic link to 'nowhere', which does not exist"}


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert _reasons(tmp_path) == {"pipe.txt": "not a file but a named pipe", "s": "not a file but a socket"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    _make(tmp_path, "locked/a.txt", "z.txt")
    (tmp_path / "locked").chmod(0)
    try:
        items = list(walk(tmp_path))
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert [type(item) for item in items] == [Unreadable, Found]
    assert items[0].id == "locked"


def test_folders_nest_deeper_than_recursion_allows(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(300):
            os.mkdir("d")
            os.chdir("d")
        Path("x.txt").touch()
    finally:
        os.chdir(here)
    assert _found(tmp_path) == ["d/" * 300 + "x.txt"]


def test_a_file_as_root_is_taken_whatever_its_name(tmp_path: Path) -> None:
    _make(tmp_path, ".hidden.txt")
    (item,) = walk(tmp_path / ".hidden.txt")
    assert isinstance(item, Found)
    assert item.id == ".hidden.txt"


def test_a_missing_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="check the path"):
        walk(tmp_path / "nowhere")


def test_every_path_comes_out_exactly_once(tmp_path: Path) -> None:
    _make(tmp_path, "a.txt", ".h", "node_modules/x", "sub/b.log", "sub/c.txt")
    (tmp_path / "sub/.ragignore").write_text("*.log\n", encoding="utf-8")
    items = [item.id for item in walk(tmp_path)]
    assert items == [".h", "a.txt", "node_modules/", "sub/.ragignore", "sub/b.log", "sub/c.txt"]
    assert sum(isinstance(item, Skipped) for item in walk(tmp_path)) == 4


TREE = (
    "a.md",
    "a/x.md",
    "a/deep/y.md",
    "a-b/z.md",
    "drafts/d.md",
    "drafts/keep.md",
    "notes.tmp",
    ".git/i.md",
    "文/书.md",
)


@pytest.mark.parametrize(
    "parts",
    [("a",), ("a.md",), ("a/deep/y.md", "文"), ("drafts/keep.md", "drafts/d.md"), ("a", "a/x.md"), ("nothing", "a/no")],
    ids=str,
)
def test_a_walk_through_parts_finds_what_the_whole_walk_finds_there(tmp_path: Path, parts: tuple[str, ...]) -> None:
    _make(tmp_path, *TREE)
    (tmp_path / "drafts" / ".ragignore").write_text("*\n!keep.md\n", encoding="utf-8")
    inside = [item for item in walk(tmp_path) if any(is_under(item.id, part) for part in parts)]
    assert list(walk(tmp_path, parts=parts)) == inside


def test_a_part_of_a_folder_that_is_left_out_is_left_out(tmp_path: Path) -> None:
    _make(tmp_path, *TREE)
    assert [type(item) for item in walk(tmp_path, parts=[".git/i.md"])] == [Skipped]


def test_names_are_left_out_as_a_walk_leaves_them_out(tmp_path: Path) -> None:
    _make(tmp_path, *TREE)
    (tmp_path / ".ragignore").write_text("drafts/*\n!drafts/keep.md\na/deep/\n", encoding="utf-8")
    rules = WalkRules(exclude=("文/",))
    names = NameRules(tmp_path, rules)
    assert [path for path in TREE if not names.leaves_out(path)] == sorted(_found(tmp_path, rules), key=TREE.index)
    assert names.leaves_out("a/deep", is_folder=True)
