"""Names, and the life and death of collections."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.collection import Collection
from index.library import Library
from rag.errors import CollectionError, CollectionExistsError, CollectionLockedError, CollectionNotFoundError
from tests.index.shelving import CONFIG, shelve


@pytest.mark.parametrize("name", ["main", "文档", "a-b_c.d", "2024", "é"])
def test_good_names_are_taken(library: Library, name: str) -> None:
    assert library.create(name, CONFIG).name == name
    assert library.collections() == [name]
    assert library.open_collection(name).config == CONFIG


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "../up", "a/b", "a\\b", "a b", "a\0", "a\n", "-x", "x.", "e\u0301", "长" * 50, "C:"],
)
def test_bad_names_are_refused(library: Library, name: str) -> None:
    with pytest.raises(CollectionError, match="cannot be the name"):
        library.create(name, CONFIG)
    with pytest.raises(CollectionError, match="cannot be the name"):
        library.delete(name)
    assert library.collections() == []


def test_a_name_is_taken_once(library: Library, collection: Collection) -> None:
    with pytest.raises(CollectionExistsError, match="'main' is already there"):
        library.create("main", CONFIG)
    assert library.collections() == ["main"]


def test_an_unknown_collection_is_named_beside_what_there_is(library: Library, collection: Collection) -> None:
    for do in (library.open_collection, library.delete):
        with pytest.raises(CollectionNotFoundError, match=r"no collection 'mian' in .*there are: 'main'"):
            do("mian")


def test_a_folder_without_a_library_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFoundError, match="rag ingest FOLDER"):
        Library.open(tmp_path)


def test_a_deleted_collection_is_gone_and_open_handles_say_so(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
    library.delete("main")
    assert library.collections() == []
    assert list((library.folder / "collections").iterdir()) == []
    with pytest.raises(CollectionNotFoundError, match="deleted or replaced"):
        collection.search_keywords("zebra", k=1)
    library.create("main", CONFIG)
    with pytest.raises(CollectionNotFoundError, match="open it again"):
        collection.documents()
    assert library.open_collection("main").documents() == []


def test_a_collection_being_written_is_not_deleted(library: Library, collection: Collection) -> None:
    with collection.writer("ingest of docs"), pytest.raises(CollectionLockedError, match="'ingest of docs'"):
        library.delete("main")
    assert library.collections() == ["main"]


def test_a_second_copy_or_collection_costs_no_vector(library: Library, collection: Collection) -> None:
    other = library.create("other", CONFIG)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "the same words")
    before = library.vectors.stats().spaces
    with other.writer("test") as writer:
        shelve(library, other, writer, "copy", "the same words")
    assert library.vectors.stats().spaces == before


def test_pruning_keeps_what_any_collection_uses(library: Library, collection: Collection) -> None:
    other = library.create("other", CONFIG)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
        shelve(library, collection, writer, "b", "quagga")
        writer.remove("b")
    with other.writer("test") as writer:
        shelve(library, other, writer, "c", "giraffe")
        with pytest.raises(CollectionLockedError):
            library.prune()
    assert library.prune() == 1
    assert library.prune() == 0
    assert collection.check() == other.check() == []
