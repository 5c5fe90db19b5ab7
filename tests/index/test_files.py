"""What stands under a name is one whole version, whatever goes wrong while the next is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from index.files import put_in_place, sweep_temporary, temporary_beside, write_whole, writing_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"one two")
    write_whole(path, b"three", durable=False)
    assert path.read_bytes() == b"three"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_put_in_place_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="irectory"):
        write_whole(path, b"new")
    assert os.listdir(tmp_path) == ["a"]


def test_a_stream_that_ends_in_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    with pytest.raises(TypeError), writing_whole(path) as file:
        file.writelines([b"half of the new", None])  # type: ignore[list-item]
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a.txt"])


def test_a_finished_file_gets_its_name_and_leftovers_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    finished, killed = temporary_beside(path), temporary_beside(path)
    finished.write_bytes(b"whole")
    killed.write_bytes(b"half")
    assert finished.name.startswith(".")  # hidden from whoever walks the folder
    put_in_place(finished, path)
    sweep_temporary(path)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"whole", ["a.txt"])
