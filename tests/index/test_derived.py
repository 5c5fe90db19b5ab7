"""Derived files may be lost, torn, altered or of another history: they are rebuilt, never trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import index.terms
from index import vector_leg
from index.collection import Collection
from index.library import Library
from index.snapshot import DamagedIndexError, opened_snapshot, write_snapshot
from rag.errors import CollectionError
from tests.index.shelving import open_or_create, shelve

ANY = np.eye(8, dtype=np.float32)[4]


@given(content=st.binary(max_size=300), place=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.integers(1, 400))
def test_no_altered_or_torn_snapshot_is_believed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, place: int, bit: int, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "snapshot"
    write_snapshot(path, lambda stream: stream.write(content), {"seq": 7})
    with opened_snapshot(path) as (stream, said):
        assert stream.read(len(content)) == content
        assert said["seq"] == 7
    whole = path.read_bytes()
    place %= len(whole)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    with pytest.raises(DamagedIndexError), opened_snapshot(path):
        pass
    path.write_bytes(whole[:-cut])
    with pytest.raises(DamagedIndexError), opened_snapshot(path):
        pass


def delete_vectors(folder: Path) -> None:
    (folder / "vectors.faiss").unlink()


def delete_keywords(folder: Path) -> None:
    shutil.rmtree(folder / "keywords")


def flip(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :])


def flip_vectors(folder: Path) -> None:
    flip(folder / "vectors.faiss")


def tear_vectors(folder: Path) -> None:
    path = folder / "vectors.faiss"
    path.write_bytes(path.read_bytes()[:200])


def flip_keywords(folder: Path) -> None:
    flip(next((folder / "keywords").glob("*.idx")))


def tear_keywords(folder: Path) -> None:
    next((folder / "keywords").glob("*.store")).write_bytes(b"")


def lose_a_segment(folder: Path) -> None:
    next((folder / "keywords").glob("*.term")).unlink()


def spoil_meta(folder: Path) -> None:
    (folder / "keywords" / "meta.json").write_text("{")


def lose_meta(folder: Path) -> None:
    (folder / "keywords" / "meta.json").unlink()


def leave_rubbish(folder: Path) -> None:
    for name in ("keywords.new", "keywords.old"):
        (folder / name).mkdir()
        (folder / name / "rubbish").write_text("x")
    (folder / "vectors.faiss.123.tmp").write_text("x")
    delete_keywords(folder)


DAMAGES = [
    delete_vectors,
    delete_keywords,
    flip_vectors,
    tear_vectors,
    flip_keywords,
    tear_keywords,
    lose_a_segment,
    spoil_meta,
    lose_meta,
    leave_rubbish,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_to_derived_files_is_repaired_by_the_next_search(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    library, collection = open_or_create(tmp_path)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra number one " * 9)
        shelve(library, collection, writer, "b", "quagga")
    before = collection.search_keywords("zebra", k=50), collection.search_vectors(ANY, k=50)
    library.close()
    damage(tmp_path / "collections" / "main")
    library, collection = open_or_create(tmp_path)
    states = {collection.status().vectors.state, collection.status().keywords.state}
    assert states != {"current"}
    assert (collection.search_keywords("zebra", k=50), collection.search_vectors(ANY, k=50)) == before
    assert collection.check() == []
    with collection.writer("test") as writer:
        writer.remove("b")
    status = collection.status()
    assert (status.vectors.state, status.keywords.state, status.agrees) == ("current", "current", True)
    library.close()


def test_derived_files_of_another_history_are_not_believed(tmp_path: Path) -> None:
    for name, word in (("one", "zebra"), ("two", "quagga")):
        library, collection = open_or_create(tmp_path, name)
        with collection.writer("test") as writer:
            shelve(library, collection, writer, "a", f"{word} " * 30)
        library.close()
    ours, theirs = tmp_path / "collections" / "one", tmp_path / "collections" / "two"
    shutil.copy(theirs / "vectors.faiss", ours)
    shutil.rmtree(ours / "keywords")
    shutil.copytree(theirs / "keywords", ours / "keywords")
    library, collection = open_or_create(tmp_path, "one")
    status = collection.status()
    assert (status.vectors.state, status.keywords.state, status.agrees) == ("damaged", "damaged", False)
    assert collection.search_keywords("quagga", k=5) == []
    assert len(collection.search_keywords("zebra", k=50)) == 5
    assert collection.check() == []
    library.close()


def test_keywords_of_an_older_format_are_built_anew_by_the_next_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, collection = open_or_create(tmp_path)
    with monkeypatch.context() as older:
        older.setattr("index.keywords._FORMAT", 1)
        terms_alone = index.terms._terms
        older.setattr("index.terms._terms", lambda text, with_characters=False: terms_alone(text))
        older.setattr("index.terms._characters", lambda text: [])
        with collection.writer("test") as writer:
            shelve(library, collection, writer, "a", "价格表")
        assert collection.search_keywords("格", k=5) == []
    library.close()
    library, collection = open_or_create(tmp_path)
    assert len(collection.search_keywords("格", k=5)) == 1
    assert collection.status().keywords.state == "current"
    assert collection.check() == []
    library.close()


def test_an_index_left_behind_catches_up_by_what_changed(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    folder = tmp_path / "collections" / "main"
    with collection.writer("test") as writer:
        for number in range(4):
            shelve(library, collection, writer, f"{number}", f"zebra {number} " * 20)
    shutil.copytree(folder / "keywords", tmp_path / "keywords")
    shutil.copy(folder / "vectors.faiss", tmp_path)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "1", "quagga")
        writer.remove("2")
        shelve(library, collection, writer, "new", "okapi")
    library.close()
    shutil.rmtree(folder / "keywords")
    shutil.copytree(tmp_path / "keywords", folder / "keywords")
    shutil.copy(tmp_path / "vectors.faiss", folder)
    library, collection = open_or_create(tmp_path)
    status = collection.status()
    assert (status.vectors.state, status.keywords.state, status.agrees) == ("behind", "behind", True)
    assert len(collection.search_keywords("okapi quagga", k=50)) == 2
    assert collection.check() == []
    library.close()


def test_a_snapshot_is_a_plain_faiss_file(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    path = library.folder / "collections" / "main" / "vectors.faiss"
    assert faiss.read_index(str(path)).ntotal == 1


def test_large_collections_are_searched_through_codes_with_the_same_result(tmp_path: Path) -> None:
    with Library.open(tmp_path, create=True) as library:
        collection = open_or_create(tmp_path)[1]
        with collection.writer("test") as writer:
            for number in range(6):
                shelve(library, collection, writer, f"{number}", f"{'zebra ' * number} and {'x' * (number + 3)} " * 9)
        exact = collection.search_vectors(ANY, k=20)
    for path in (tmp_path / "collections" / "main").glob("vectors.faiss"):
        path.unlink()
    with Library.open(tmp_path, exact_limit=10) as library:
        coded = library.open_collection("main")
        found = coded.search_vectors(ANY, k=20)
        assert [row for row, _ in found] == [row for row, _ in exact]
        with coded.writer("test") as writer:
            writer.remove("5")
            shelve(library, coded, writer, "0", "okapi")
        assert coded.status().vectors.kind == "rabitq"
        assert coded.check() == []
    with Library.open(tmp_path, exact_limit=10) as library:
        assert library.open_collection("main").check() == []


def test_lost_vectors_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    library.close()
    (tmp_path / "vectors.db").unlink()
    (tmp_path / "collections" / "main" / "vectors.faiss").unlink()
    library, collection = open_or_create(tmp_path)
    with pytest.raises(CollectionError, match="rag status --repair"):
        collection.search_vectors(ANY, k=1)
    assert len(collection.search_keywords("zebra", k=1)) == 1
    library.close()


def test_a_large_snapshot_is_written_anew_only_after_many_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_leg, "_SAVED_ANYWAY_BYTES", 0)
    monkeypatch.setattr(vector_leg, "_SAVED_WHEN_BEHIND", 3)
    library, collection = open_or_create(tmp_path)
    with library, collection:
        for n, state in enumerate(("current", "behind", "current")):
            with collection.writer("test") as writer:
                shelve(library, collection, writer, f"{n}.txt", f"the text number {n} has so many words", size=20)
            assert collection.status().vectors.state == state
            assert len(collection.search_vectors(collection.vectors_of(collection.rows()[:1])[0], k=50)) == 2 * (n + 1)
