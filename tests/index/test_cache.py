"""What was paid for: shown with its users, copied whole to another library, and pruned of nothing that is used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.cache import export_cache, import_cache, prune_cache, survey
from index.collection import Collection
from index.library import Library
from index.reading_store import ReadingStore
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError, CollectionLockedError
from rag.types import Embeddings, MediaText, MediaUsage, TimedText, content_address
from tests.index.shelving import CONFIG, shelve

Content = Mapping[VectorSpace, Mapping[bytes, bytes | None]]

SPACES = [VectorSpace("words", 3), VectorSpace("words", 5), VectorSpace("字", 3)]


def fill(store: VectorStore, space: VectorSpace, texts: Mapping[str, bool], *, seed: int = 0) -> None:
    """Put a random unit vector for each text that is readable."""
    vectors = np.random.default_rng(seed).standard_normal((len(texts), space.dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    readable = np.array(list(texts.values()), np.bool_)
    vectors[~readable] = 0
    addresses = [content_address(text) for text in texts]
    store.put(space, addresses, Embeddings(vectors.astype(np.float32), readable, 0))


def content(store: VectorStore, addresses: list[bytes]) -> Content:
    return {
        space: {
            address: None if vector is None else vector.tobytes()
            for address, vector in store.get(space, addresses).items()
        }
        for space in store.spaces()
        if store.get(space, addresses)
    }


# --- copies


@settings(max_examples=25, deadline=None)
@given(
    there=st.lists(st.dictionaries(st.text(max_size=3), st.booleans(), min_size=1, max_size=8), max_size=3),
    here=st.lists(st.dictionaries(st.text(max_size=3), st.booleans(), min_size=1, max_size=8), max_size=3),
)
def test_what_was_exported_is_there_after_an_import_and_nothing_else_has_changed(
    there: list[dict[str, bool]], here: list[dict[str, bool]]
) -> None:
    addresses = [content_address(text) for texts in (*there, *here) for text in texts]
    with TemporaryDirectory() as folder:
        source = VectorStore(Path(folder) / "source.db", create=True)
        target = VectorStore(Path(folder) / "target.db", create=True)
        for space, texts in zip(SPACES, there, strict=False):
            fill(source, space, texts, seed=1)
        for space, texts in zip(SPACES, here, strict=False):
            fill(target, space, texts, seed=2)
        exported, before = content(source, addresses), content(target, addresses)
        n_entries = export_cache(source, Path(folder) / "copy.sqlite")
        first = import_cache(target, Path(folder) / "copy.sqlite")
        after = content(target, addresses)
        second = import_cache(target, Path(folder) / "copy.sqlite")
        again = content(target, addresses)
        source.close()
        target.close()
    assert n_entries == sum(map(len, exported.values())) == first.n_new + first.n_known
    assert after == {space: {**exported.get(space, {}), **before.get(space, {})} for space in {**exported, **before}}, (
        "what was there stays, what was not is as it was exported"
    )
    assert (second.n_new, second.n_known, again) == (0, n_entries, after)


def test_an_export_is_one_file_and_does_not_overwrite(library: Library, tmp_path: Path) -> None:
    fill(library.vectors, SPACES[0], {"a": True})
    folder = tmp_path / "out"
    folder.mkdir()
    export_cache(library.vectors, folder / "copy.sqlite")
    assert [path.name for path in folder.iterdir()] == ["copy.sqlite"]
    with pytest.raises(CollectionError, match="there already"):
        export_cache(library.vectors, folder / "copy.sqlite")
    with pytest.raises(CollectionError, match="make it first"):
        export_cache(library.vectors, tmp_path / "nowhere" / "copy.sqlite")


def statement(sql: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(sql)
            connection.commit()

    return run


def overwrite(start: int, data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:start] + data + path.read_bytes()[start + len(data) :])


NAN = "x'0000c07f0000000000000000'"
DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "not an SQLite database": overwrite(0, b"PK\x03\x04"),
    "damaged": overwrite(16_384, bytes(range(256)) * 40),
    "format 99": statement("PRAGMA user_version = 99"),
    "not 32 bytes": statement("UPDATE vectors SET address = x'00' WHERE number = 2"),
    "not 3 numbers": statement("UPDATE vectors SET embedding = x'0000803f' WHERE number = 2"),
    "not of length 1": statement("UPDATE vectors SET embedding = zeroblob(12) WHERE number = 2"),
    "a vector that is not of length 1": statement(f"UPDATE vectors SET embedding = {NAN} WHERE number = 2"),
    "vectors of no model": statement("DELETE FROM spaces"),
    "names a model": statement("UPDATE spaces SET dimensions = 'many'"),
    "reads 1 to": statement("DROP TABLE spaces"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_of_a_damaged_file_nothing_is_imported(said: str, library: Library, tmp_path: Path) -> None:
    with Library.open(tmp_path / "other", create=True) as other:
        fill(other.vectors, SPACES[0], {"a": True, "b": True, "c": False})
        export_cache(other.vectors, tmp_path / "copy.sqlite")
    DAMAGES[said](tmp_path / "copy.sqlite")
    with pytest.raises(CollectionError, match=said):
        import_cache(library.vectors, tmp_path / "copy.sqlite")
    assert library.vectors.stats().spaces == ()


def test_a_file_that_is_not_there_is_named(library: Library, tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match=r"missing\.sqlite cannot be read"):
        import_cache(library.vectors, tmp_path / "missing.sqlite")


# --- who uses what


def add(library: Library, collection: Collection, document_id: str, text: str) -> None:
    with collection.writer("a test") as writer:
        shelve(library, collection, writer, document_id, text)


def test_the_survey_counts_shared_texts_for_each_collection_and_orphans_for_none(
    library: Library, collection: Collection
) -> None:
    second = library.create("second", CONFIG)
    add(library, collection, "one", "shared words here")
    add(library, second, "two", "shared words here")
    add(library, second, "three", "and some of its own")
    fill(library.vectors, collection.space, {"nobody's": True, "unread": False})
    (space,) = survey(library).spaces
    assert (space.used_by, space.n_vectors, space.n_unreadable) == ({"main": 1, "second": 2}, 3, 1)
    assert space.n_orphans == 2


def test_pruning_keeps_what_is_used_and_gives_the_disk_back(library: Library, collection: Collection) -> None:
    add(library, collection, "one", "shared words here")
    fill(library.vectors, VectorSpace("large", 1000), {f"text {n}": True for n in range(500)})
    before = survey(library)
    assert prune_cache(library) == before.n_orphans == 500
    after = survey(library)
    assert after.size_bytes < before.size_bytes / 4
    assert (after.n_orphans, collection.check()) == (0, [])
    assert prune_cache(library) == 0


def test_nothing_is_pruned_beside_a_writer(library: Library, collection: Collection) -> None:
    fill(library.vectors, SPACES[0], {"in flight": True})
    with collection.writer("an ingest"), pytest.raises(CollectionLockedError, match="an ingest"):
        prune_cache(library)
    assert survey(library).n_orphans == 1


# --- what was read of media

READ = MediaText(
    "元朝 \ud800 text", (TimedText(0.5, 1.5, "said"),), reader="eye", note="n", usage=MediaUsage(7, 8, 9.5)
)
REFUSED = MediaText("", reader="eye", refusal="no")


def readings_of(library: Library) -> ReadingStore:
    readings = library.readings(create=True)
    assert readings is not None
    return readings


def test_readings_are_carried_to_another_library_as_they_are(library: Library, tmp_path: Path) -> None:
    a, b = content_address("a"), content_address("b")
    readings_of(library).put("eye 1", "page", a, READ)
    readings_of(library).put("eye 1", "picture", b, REFUSED)
    assert export_cache(library.vectors, tmp_path / "copy.sqlite", readings=library.readings()) == 2
    with Library.open(tmp_path / "other", create=True) as other:
        for n_new in (2, 0):
            done = import_cache(other.vectors, tmp_path / "copy.sqlite", readings=lambda: other.readings(create=True))
            assert (done.n_new, done.n_known) == (n_new, 2 - n_new)
        assert readings_of(other).get("eye 1", [a, b]) == {a: READ, b: REFUSED}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE readings SET address = 'short'",
        "UPDATE readings SET kind = 'smell'",
        "UPDATE readings SET segments = '[[1]]'",
        "UPDATE readings SET seconds = 'long'",
        "UPDATE readers SET identity = NULL",
        "UPDATE readings_format SET version = 9",
    ],
)
def test_a_reading_that_is_none_is_not_imported(library: Library, tmp_path: Path, damage: str) -> None:
    readings_of(library).put("eye 1", "page", content_address("a"), READ)
    copy = tmp_path / "copy.sqlite"
    export_cache(library.vectors, copy, readings=library.readings())
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(damage)
    with Library.open(tmp_path / "other", create=True) as other:
        with pytest.raises(CollectionError, match="export it again"):
            import_cache(other.vectors, copy, readings=lambda: other.readings(create=True))
        assert other.readings() is None


def test_readings_of_files_that_no_collection_knows_are_orphans(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        document = shelve(library, collection, writer, "a.txt", "words of a file")
    readings = readings_of(library)
    for name, file in (("kept", document.sha256), ("gone", "0" * 64)):
        readings.put("eye 1", "page", content_address(name), READ)
        readings.use(file, "pdf/2", {("eye 1", 0): content_address(name)})
    found = survey(library).readings
    assert (found.n_orphans, [(reader.kind, reader.n_readings) for reader in found.readers]) == (1, [("page", 2)])
    assert prune_cache(library) == 1
    assert [used.text for used in readings.used(document.sha256, ["eye 1"])] == [READ]
    assert readings.get("eye 1", [content_address("gone")]) == {}
