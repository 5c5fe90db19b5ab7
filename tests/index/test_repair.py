"""Damage to the bytes of the two databases: it is noticed, said, and mended; what is whole goes on answering."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from index.collection import Collection
from index.library import Library
from index.records import RepairReport
from rag.errors import CollectionError, CollectionLockedError, DamagedDataError
from tests.index.shelving import CONFIG, open_or_create, shelve

TEXTS = {"zebra.txt": "zebra crossing " * 9, "quagga.txt": "quagga extinct " * 9, "okapi.txt": "okapi forest " * 9}
ANYTHING = np.eye(8, dtype=np.float32)[5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of three documents, closed."""
    library, collection = open_or_create(tmp_path)
    with collection.writer("test") as writer:
        writer.prefix_for("/docs")
        for name, text in TEXTS.items():
            shelve(library, collection, writer, name, text, n_pages=2)
        writer.record_run({"root": "/docs"})
    library.close()
    return tmp_path


def truth(folder: Path) -> Path:
    return folder / "collections" / "main" / "collection.db"


def alter(path: Path, before: bytes, after: bytes, *, n: int = 1) -> None:
    """Change bytes of a file, as a disk does: behind SQLite's back."""
    data = path.read_bytes()
    assert data.count(before) >= 1
    assert len(before) == len(after)
    path.write_bytes(data.replace(before, after, n))


def alter_vector_of(folder: Path, collection: str, word: str) -> None:
    """Flip the lowest bit of a vector of a document."""
    with closing(sqlite3.connect(folder / "collections" / collection / "collection.db")) as connection:
        query = "SELECT address FROM chunks JOIN documents ON number = document WHERE documents.id = ? LIMIT 1"
        (address,) = connection.execute(query, (word,)).fetchone()
    with closing(sqlite3.connect(folder / "vectors.db")) as connection:
        query = "SELECT embedding FROM vectors WHERE address = ?"
        (embedding,) = connection.execute(query, (address,)).fetchone()
    alter(folder / "vectors.db", address + embedding, address + bytes([embedding[0] ^ 1]) + embedding[1:])


def execute(path: Path, statement: str) -> None:
    """Lose or change rows, as a page that went back to an older state does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def lost_document(folder: Path) -> None:
    with closing(sqlite3.connect(truth(folder))) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM documents WHERE id = 'zebra.txt'")
        connection.commit()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a word": (lambda f: alter(truth(f), b"zebra crossing", b"zebra crosting"), "zebra.txt: its text is not as it"),
    "no UTF-8": (lambda f: alter(truth(f), b"zebra crossing", b"zebra\xffcrossing"[:14]), "zebra.txt: its text"),
    "a title": (lambda f: alter(truth(f), b"ZEBRA.TXT", b"ZEBRA.TXX"), "zebra.txt: its title, pages, headings"),
    "an unreadable title": (lambda f: alter(truth(f), b"ZEBRA.TXT", b"ZEBRA\xffTXT"), "zebra.txt: it cannot be read"),
    "metadata": (lambda f: alter(truth(f), b'{"author": "Ada"}', b'{"author": "Adb"}'), "or other fields"),
    "no metadata": (lambda f: alter(truth(f), b'{"author": "Ada"}', b'{"author": "Ada"!'), "or other fields"),
    "a page": (
        lambda f: execute(truth(f), "UPDATE pages SET number = 7 WHERE document = 1"),
        "zebra.txt: its title, pag",
    ),
    "a lost page": (
        lambda f: execute(truth(f), "DELETE FROM pages WHERE document = 1 AND place = 1"),
        "zebra.txt: its t",
    ),
    "a line": (
        lambda f: execute(truth(f), "UPDATE segment_lines SET line = 2 WHERE document = 1"),
        "zebra.txt: its titl",
    ),
    "a chunk": (lambda f: execute(truth(f), "UPDATE chunks SET page = 9 WHERE document = 1"), "zebra.txt: its chunks"),
    "a span": (
        lambda f: execute(truth(f), "UPDATE chunks SET start = start + 1 WHERE document = 1"),
        "zebra.txt: its ch",
    ),
    "a lost chunk": (
        lambda f: execute(truth(f), 'DELETE FROM chunks WHERE "row" = 2'),
        "zebra.txt: 3 chunks instead of",
    ),
    "a lost document": (lost_document, "zebra.txt: indexed in the ledger, and there is no such document"),
    "rows of nothing": (
        lambda f: execute(truth(f), "DELETE FROM documents WHERE number = 1"),
        "rows of chunks belong to",
    ),
    "a lost entry": (lambda f: execute(truth(f), "DELETE FROM ledger WHERE path = 'zebra.txt'"), "without an entry"),
    "an entry": (lambda f: execute(truth(f), "UPDATE ledger SET size = 8 WHERE path = 'zebra.txt'"), "ledger: entry"),
    "another version": (
        lambda f: execute(truth(f), "UPDATE ledger SET sha256 = 'ab', checksum = NULL WHERE path = 'zebra.txt'"),
        "zebra.txt: the ledger is of another version",
    ),
    "a run": (lambda f: alter(truth(f), b'{"root": "/docs"}', b'{"root": "/dogs"}'), "runs: entry 1 is not as it"),
    "the history": (lambda f: execute(truth(f), "UPDATE changes SET last_row = 99 WHERE seq = 1"), "changes: entry 1"),
    "a vector": (lambda f: alter_vector_of(f, "main", "zebra.txt"), "vectors.db: 1 vectors are not as they were"),
    "lost vectors": (lambda f: execute(f / "vectors.db", "DELETE FROM vectors"), "chunks have no vector in vectors.db"),
}
KINDS = pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES.keys())


@KINDS
def test_damage_is_said(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder)
    with Library.open(folder) as library:
        assert words in "\n".join(library.open_collection("main").check())


@KINDS
def test_what_is_whole_answers_after_a_repair_and_reading_again_makes_all_whole(
    folder: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(folder)
    with Library.open(folder) as library:
        report = library.repair("main")
        assert report.done
        collection = library.open_collection("main")
        whole = set(TEXTS) - set(waiting(report))
        assert len(whole) >= 2 or words.startswith("chunks have no vector")
        found = found_by_words(collection)
        assert whole <= found
        for name in whole:
            assert collection.document(name).text == TEXTS[name]
        assert collection.search_vectors(ANYTHING, k=99) is not None
        assert library.repair("main").done == ()  # there is nothing left that it could do
        read_again(library, collection)
        assert (collection.check(), library.repair("main").problems) == ([], ())
        assert found_by_words(collection) == set(TEXTS)
        assert {name: collection.document(name).text for name in TEXTS} == TEXTS


def waiting(report: RepairReport) -> list[str]:
    return [path for paths in report.waiting.values() for path in paths]


def found_by_words(collection: Collection) -> set[str]:
    hits = [row for name in TEXTS for row, _ in collection.search_keywords(name.removesuffix(".txt"), k=99)]
    return {chunk.document_id for chunk in collection.chunks(hits).values()}


def read_again(library: Library, collection: Collection) -> None:
    """What the next ingest does with what is marked, or has no entry."""
    with collection.writer("test") as writer:
        ledger = collection.ledger()
        for name, text in TEXTS.items():
            if name not in ledger or ledger[name].retriable:
                shelve(library, collection, writer, name, text, n_pages=2)


def test_damaged_text_and_vectors_are_never_answered_with(folder: Path) -> None:
    alter(truth(folder), b"zebra crossing zebra", b"zebra crosting zebra")
    alter_vector_of(folder, "main", "quagga.txt")
    with Library.open(folder, exact_limit=0) as library:
        collection = library.open_collection("main")
        rows = [row for row, _ in collection.search_keywords("zebra", k=1)]
        for read in (
            lambda: collection.chunks(rows),
            lambda: collection.document("zebra.txt"),
            lambda: collection.document_chunks("zebra.txt"),
            lambda: collection.text("zebra.txt", 0, 5),
            lambda: collection.vectors_of(collection.rows()),
        ):
            with pytest.raises(DamagedDataError, match="rag status --repair"):
                read()
        assert collection.document("okapi.txt").text == TEXTS["okapi.txt"]


def test_a_repair_takes_the_lock_and_changes_nothing_that_is_whole(folder: Path) -> None:
    with Library.open(folder) as library:
        collection = library.open_collection("main")
        before = (collection.ledger(), collection.documents(), collection.status().seq)
        with collection.writer("ingest of somebody"), pytest.raises(CollectionLockedError, match="somebody"):
            library.repair("main")
        assert library.repair("main") == RepairReport((), {}, ())
        assert (collection.ledger(), collection.documents(), collection.status().seq) == before


def test_a_vector_that_two_collections_share_is_mended_in_both(folder: Path) -> None:
    with Library.open(folder) as library, library.create("other", CONFIG) as other, other.writer("test") as writer:
        shelve(library, other, writer, "copy.txt", TEXTS["zebra.txt"])
    alter_vector_of(folder, "main", "zebra.txt")
    with Library.open(folder) as library:
        report = library.repair("main")
        assert [line.split(":")[0] for line in report.done] == ["vectors.db", "zebra.txt", "collection 'other'"]
        other = library.open_collection("other")
        assert other.ledger()["copy.txt"].retriable
        assert other.check(deep=False) == [
            "copy.txt: waits to be read again: vectors of it were lost; the next `rag ingest` reads it again"
        ]
        assert other.search_vectors(ANYTHING, k=9) is not None


def test_cheap_comparisons_find_ledger_and_vectors_that_are_of_another_library(folder: Path) -> None:
    with Library.open(folder) as library:
        assert library.open_collection("main").check(deep=False) == []
    execute(folder / "vectors.db", "DELETE FROM vectors")
    execute(truth(folder), "DELETE FROM ledger WHERE path = 'okapi.txt'")
    with Library.open(folder) as library:
        found = library.open_collection("main").check(deep=False)
    assert found[0] == "okapi.txt: a document without an entry in the ledger"
    assert found[1].startswith("vectors.db: ")


def test_derived_indexes_are_built_anew_where_they_disagree_or_are_damaged(folder: Path) -> None:
    snapshot = folder / "collections" / "main" / "vectors.faiss"
    snapshot.write_bytes(snapshot.read_bytes()[:-9])
    for segment in (folder / "collections" / "main" / "keywords").glob("*.term"):
        segment.write_bytes(b"no index")
    with Library.open(folder) as library:
        report = library.repair("main")
        assert [line.split(":")[0] for line in report.done] == ["vectors.faiss", "keywords"]
        assert (report.problems, library.open_collection("main").status().agrees) == ((), True)


def test_a_configuration_that_was_altered_is_refused(folder: Path) -> None:
    alter(truth(folder), b'"dimensions": 8', b'"dimensions": 9')
    with Library.open(folder) as library, pytest.raises(CollectionError, match=r"backup.*--rebuild"):
        library.open_collection("main")


# --- libraries of before there were checksums


def as_before(folder: Path) -> None:
    """Make a library what version 0.1 wrote: formats 2 and 1, without checksums and tables."""
    columns = ("documents", "segment_lines", "meta", "changes", "ledger", "roots", "runs")
    with closing(sqlite3.connect(truth(folder))) as connection:
        for table in columns:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        for table, column in (("documents", "chunks_checksum"), ("chunks", "context_start"), ("chunks", "context_end")):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("tables", "attributes", "attribute_sources"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP TABLE unsealed")
        connection.execute("PRAGMA user_version = 2")
    with closing(sqlite3.connect(folder / "vectors.db")) as connection:
        connection.execute("ALTER TABLE vectors DROP COLUMN checksum")
        connection.execute("DROP TABLE unsealed")
        connection.execute("PRAGMA user_version = 1")


def test_an_older_library_opens_whole_and_its_next_writer_adds_the_checksums(folder: Path) -> None:
    as_before(folder)
    with Library.open(folder) as library:
        collection = library.open_collection("main")
        assert collection.check() == []
        assert collection.status().n_unsealed > len(TEXTS)
        assert {name: collection.document(name).text for name in TEXTS} == TEXTS
        with collection.writer("test"):
            pass
        assert collection.status().n_unsealed == 0
        assert collection.check() == []
    alter(truth(folder), b"ZEBRA.TXT", b"ZEBRA.TXX")
    alter_vector_of(folder, "main", "okapi.txt")
    with Library.open(folder) as library:
        assert len(library.open_collection("main").check()) == 2


def test_an_older_library_that_is_damaged_says_what_can_be_told(folder: Path) -> None:
    as_before(folder)
    alter(truth(folder), b"zebra crossing zebra", b"zebra crosting zebra")
    with Library.open(folder) as library:
        [problem] = library.open_collection("main").check()
    assert problem.startswith("zebra.txt: chunk ")
