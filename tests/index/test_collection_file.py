"""A collection in one file: the way there and back, and what is refused on the way."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import points
from index.collection import Collection
from index.collection_file import export_collection, import_collection
from index.library import Library
from rag.errors import CollectionError, CollectionExistsError, CollectionNotFoundError, IndexMismatchError
from tests.index.shelving import CONFIG, shelve

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=90), max_size=4)
QUERY = np.array([0.6, 0.8, 0, 0, 0, 0, 0, 0], np.float32)


def everything(collection: Collection) -> object:
    """Return all that a reader or a search gets of a collection."""
    ids = collection.chunk_ids(collection.rows())
    return (
        [collection.document(info.id) for info in collection.documents()],
        [(ids[row], cosine) for row, cosine in collection.search_vectors(QUERY, k=100)],
        [(ids[row], score) for row, score in collection.search_keywords("a zebra of b", k=100)],
        [chunk for _, chunk, _ in collection.iter_chunks()],
        collection.background(QUERY),
        collection.ledger(),
        collection.config,
    )


@settings(max_examples=4, deadline=None)
@given(TEXTS)
def test_what_is_imported_elsewhere_is_what_was_exported(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with Library.open(folder / "here", create=True) as library:
            collection = library.create("main", CONFIG)
            with collection.writer("test") as writer:
                for number, text in enumerate(texts):
                    shelve(library, collection, writer, f"{number}.txt", f"a zebra {text}")
            exported = export_collection(library, "main", folder / "main.zip")
            before = everything(collection)
        with Library.open(folder / "there", create=True) as other:
            imported = import_collection(other, folder / "main.zip")
            assert imported == exported
            assert everything(other.open_collection("main")) == before
            assert other.open_collection("main").check() == []


@pytest.fixture
def exported(library: Library, collection: Collection, tmp_path: Path) -> Path:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "the zebra in the zoo")
    export_collection(library, "main", tmp_path / "main.zip")
    return tmp_path / "main.zip"


def test_an_import_overwrites_nothing_unless_told(library: Library, collection: Collection, exported: Path) -> None:
    points.take_snapshot(library, "main", "early")
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "b", "a quagga")
    with pytest.raises(CollectionExistsError, match="another name, or replace"):
        import_collection(library, exported)
    assert [info.id for info in collection.documents()] == ["a", "b"]
    import_collection(library, exported, "second")
    import_collection(library, exported, replace=True)
    assert [info.id for info in library.open_collection("main").documents()] == ["a"]
    assert [kept.label for kept in points.snapshots(library, "main")] == ["early"]
    assert points.snapshots(library, "second") == []


def test_an_export_overwrites_nothing_and_names_what_is_missing(library: Library, exported: Path) -> None:
    with pytest.raises(CollectionError, match="is there already"):
        export_collection(library, "main", exported)
    with pytest.raises(CollectionNotFoundError, match="no collection 'mian'"):
        export_collection(library, "mian", exported.with_name("new.zip"))
    with pytest.raises(CollectionError, match="cannot export"):
        export_collection(library, "main", exported.parent / "no" / "such.zip")
    assert not list(exported.parent.glob(".*"))


Members = dict[str, bytes]


def repacked(path: Path, change: Callable[[Members], None], *, seal: bool = True) -> Path:
    """Write an archive anew with other members; ``seal`` makes the manifest agree with them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if seal and "manifest.json" in members:
        manifest = json.loads(members["manifest.json"])
        for name in ("collection.db", "vectors.db"):
            if (data := members.get(name)) is not None:
                manifest["members"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        members["manifest.json"] = json.dumps(manifest).encode()
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return changed


def statement(member: str, sql: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.db"
            path.write_bytes(members[member])
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute(sql)
                connection.commit()
            members[member] = path.read_bytes()

    return change


def manifest(**values: object) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **values}).encode()

    return change


def flipped(members: Members) -> None:
    data = bytearray(members["collection.db"])
    data[5000] ^= 1
    members["collection.db"] = bytes(data)


BAD: dict[str, tuple[Callable[[Members], None], bool, str]] = {
    "a path out of the folder": (lambda m: m.update({"../evil.db": b"x"}), True, "it holds"),
    "a missing member": (lambda m: m.pop("vectors.db") and None, False, "it holds"),
    "no manifest": (lambda m: m.pop("manifest.json") and None, False, "no manifest.json"),
    "a manifest that is none": (lambda m: m.update({"manifest.json": b"[1"}), False, "manifest.json is none"),
    "another kind": (manifest(kind="backup"), True, "calls itself 'backup'"),
    "a newer file": (manifest(version=2), True, "upgrade Footnote"),
    "a byte that differs": (flipped, False, "checksum differs"),
    "a bomb": (lambda m: m.update({"vectors.db": b"\0" * 90_000_000}), True, "would unpack to"),
    "a newer collection": (statement("collection.db", "PRAGMA user_version = 99"), True, "format 99.*upgrade"),
    "a trigger": (
        statement("collection.db", "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM documents; END"),
        True,
        "its tables are not those",
    ),
    "no database": (lambda m: m.update({"collection.db": b"x" * 5000}), True, "SQLite says"),
    "a vector that is none": (statement("vectors.db", "UPDATE vectors SET embedding = x'00'"), True, "its vectors"),
    "a vector that is missing": (statement("vectors.db", "DELETE FROM vectors"), True, "lacks 1 of the vectors"),
    "a configuration that is none": (
        statement("collection.db", "UPDATE meta SET value = '{}', checksum = NULL WHERE key = 'config'"),
        True,
        "nothing was kept",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_was_not_exported_is_refused_and_nothing_is_kept(exported: Path, name: str) -> None:
    change, seal, words = BAD[name]
    path = repacked(exported, change, seal=seal)
    expected = IndexMismatchError if "upgrade" in words else CollectionError
    with Library.open(exported.parent / "other", create=True) as other:
        with pytest.raises(expected, match=words):
            import_collection(other, path, "new")
        assert list((other.folder / "collections").iterdir()) == []
    assert not (exported.parent / "evil.db").exists()


def test_a_file_that_is_no_archive_or_not_there_is_named(library: Library, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(CollectionError, match=r"text\.zip is damaged, or was not exported"):
        import_collection(library, tmp_path / "text.zip")
    with pytest.raises(CollectionError, match="is not there"):
        import_collection(library, tmp_path / "none.zip")
    with pytest.raises(CollectionError, match="cannot be read"):
        import_collection(library, tmp_path)
