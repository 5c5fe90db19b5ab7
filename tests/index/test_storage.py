"""What goes in comes out, a change is whole or not at all, and what is deleted is gone from everywhere."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index import store
from index.collection import Collection
from index.database import Database
from index.library import Library
from index.migrations import COLLECTION_STEPS, SEGMENT, migrate
from index.records import CollectionConfig, LedgerEntry
from index.writer import Replacement, Writer
from rag.errors import CollectionError, DocumentNotFoundError, IndexMismatchError
from rag.types import ChunkingSettings, Document, Embeddings, Heading, Page, Table, content_address
from tests.index.shelving import CONFIG, embed, make_chunks, make_document, make_entry, open_or_create, shelve

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=200)  # lone surrogates and NUL included

DOCUMENTS = st.builds(
    Document,
    id=st.text(st.characters(categories=None), min_size=1, max_size=20),
    title=ANY_TEXT,
    text=ANY_TEXT.filter(bool),
    sha256=st.just("ab" * 32),
    media_type=st.just("text/plain"),
    reader=st.just("text 1"),
    pages=st.lists(st.builds(Page, st.integers(1, 9), st.integers(0, 9), st.integers(0, 99)), max_size=4).map(tuple),
    headings=st.lists(st.builds(Heading, st.integers(1, 6), ANY_TEXT, st.integers(0, 99)), max_size=4).map(tuple),
    metadata=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    warnings=st.lists(ANY_TEXT, max_size=3).map(tuple),
    tables=st.lists(st.builds(Table, *[st.integers(0, 99)] * 4), max_size=3).map(tuple),
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Library, Collection, Writer]]:
    library, collection = open_or_create(tmp_path_factory.mktemp("storage"))
    with collection.writer("test") as writer:
        yield library, collection, writer


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=DOCUMENTS, size=st.integers(1, 50), context=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_saving_then_opening_is_identity(
    shared: tuple[Library, Collection, Writer], document: Document, size: int, context: tuple[int, int]
) -> None:
    library, collection, writer = shared
    start, end = min(context[0], len(document.text)), context[1]
    read_with = {"context": document.text[start:end], "context_start": start}
    chunks = [dataclasses.replace(chunk, **read_with) for chunk in make_chunks(document, size=size)]
    embed(library, collection, chunks)
    entry = dataclasses.replace(make_entry(document, chunks), root=document.title, reason=document.text)
    writer.replace(document, chunks, entry=entry)
    assert collection.document(document.id) == document
    assert collection.document_chunks(document.id) == chunks
    assert list(collection.chunks(collection.rows()).values()) == chunks
    assert collection.ledger()[document.id] == entry
    assert collection.ledger(root=document.title)[document.id] == entry
    writer.remove(document.id)


@given(start=st.integers(0, 3 * SEGMENT), length=st.integers(0, 2 * SEGMENT))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_slice_is_the_slice_of_the_whole(long_document: tuple[Collection, Document], start: int, length: int) -> None:
    collection, document = long_document
    assert collection.text("long", start, start + length) == document.text[start : start + length]


@pytest.fixture(scope="module")
def long_document(tmp_path_factory: pytest.TempPathFactory) -> tuple[Collection, Document]:
    library, collection = open_or_create(tmp_path_factory.mktemp("long"))
    text = "".join(f"line {n} 第{n}行 " for n in range(4000))
    with collection.writer("test") as writer:
        document = shelve(library, collection, writer, "long", text, size=20_000, n_pages=7)
    return collection, document


def test_chunks_that_cross_segments_are_whole(long_document: tuple[Collection, Document]) -> None:
    collection, document = long_document
    chunks = list(collection.chunks(collection.rows()).values())
    assert chunks == make_chunks(document, size=20_000)
    assert [chunk.text for _, chunk, _ in collection.iter_chunks()] == [chunk.text for chunk in chunks]


def store_alone(library: Library, collection: Collection, document: Document) -> None:
    chunks = make_chunks(document)
    embed(library, collection, chunks)
    with collection.writer("test") as writer:
        writer.replace(document, chunks, entry=make_entry(document, chunks))


def test_pages_are_found_without_reading_the_document(long_document: tuple[Collection, Document]) -> None:
    collection, document = long_document
    for offset in range(0, len(document.text), 997):
        assert collection.page_at("long", offset) == document.page_at(offset)
        assert collection.place_at("long", offset) == f"page {document.page_at(offset)}"


def test_lines_are_found_as_in_memory_without_reading_the_document(library: Library, collection: Collection) -> None:
    text = "".join(f"{n}\n" if n % 7 else "a long line " for n in range(9000))
    headings = tuple(Heading(1, f"Part {n}", n * 5000) for n in range(1, 5))
    document = dataclasses.replace(make_document("long", text), pages=(), headings=headings)
    store_alone(library, collection, document)
    for offset in [*range(0, len(text), 997), SEGMENT - 1, SEGMENT, SEGMENT + 1, len(text)]:
        assert collection.place_at("long", offset) == document.place_at(offset)
    assert collection.place_at("long", 0) == "line 1"
    assert collection.place_at("long", 20_000).startswith("§ Part 4, line ")


def test_labels_of_pages_are_kept(library: Library, collection: Collection) -> None:
    pages = (Page(1, 0, 3, "slide 1"), Page(2, 3, 9, "slide 2 \udc80"), Page(3, 9, 9))
    document = dataclasses.replace(make_document("a", "012345678"), pages=pages)
    store_alone(library, collection, document)
    assert collection.document("a") == document
    assert [collection.place_at("a", n) for n in (0, 3, 9)] == ["slide 1", "slide 2 \udc80", "page 3"]


def test_a_collection_of_the_first_format_learns_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "collection.db"
    old = sqlite3.connect(path)
    migrate(old, COLLECTION_STEPS[:1], path="old")
    old.execute(
        "INSERT INTO documents (number, id, title, sha256, media_type, reader, n_characters, n_pages, n_chunks,"
        " n_tokens, metadata, warnings, changed_at) VALUES (1, 'a', '', '', '', '', 0, 0, 0, 0, '{}', '[]', 0)"
    )
    text = "".join(f"第{n}行\0\n" for n in range(9000))
    old.executemany(
        "INSERT INTO segments VALUES (1, ?, ?)",
        [(at // SEGMENT, text[at : at + SEGMENT]) for at in range(0, len(text), SEGMENT)],
    )
    old.commit()
    old.close()
    database = Database(path, COLLECTION_STEPS)
    with database.reading() as connection:
        for offset in (0, 5, SEGMENT, SEGMENT + 9, 2 * SEGMENT, len(text) - 1):
            assert store.place_at(connection, "a", offset) == f"line {text.count(chr(10), 0, offset) + 1}"
    database.close()


def test_a_collection_of_the_second_format_opens_and_searches_as_it_is(tmp_path: Path) -> None:
    text = "| name | age |\n|---|---|\n" + "".join(f"| person {n} | {n} |\n" for n in range(30))
    library, collection = open_or_create(tmp_path)
    with library, collection, collection.writer("test") as writer:
        shelve(library, collection, writer, "staff.md", text)
    path = tmp_path / "collections" / "main" / "collection.db"
    as_of_step(2, path)
    with Library.open(tmp_path) as again, again.open_collection("main") as old:
        assert old.search_keywords("person 17", k=1)
        assert old.check() == []
        assert not any(chunk.context for chunk in old.document_chunks("staff.md"))
        assert old.document("staff.md").tables == ()
        with old.writer("test") as writer:
            shelve(again, old, writer, "more.md", "Words that came later.")
        assert old.search_keywords("later", k=1)
        assert old.check() == []


def as_of_step(step: int, path: Path) -> None:
    """Write a collection's file anew as it was after some step, with what it holds and that step knew of."""
    fresh = path.with_name("fresh.db")
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as old:
        migrate(old, COLLECTION_STEPS[:step], path="old")
        old.execute("ATTACH ? AS now", (str(path),))
        for (table,) in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            names = ", ".join(f'"{column[1]}"' for column in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"DELETE FROM main.{table}")
            old.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM now.{table}")
    for leftover in path.parent.glob("collection.db*"):
        leftover.unlink()
    fresh.rename(path)


def test_the_context_of_a_chunk_must_be_words_of_its_document(library: Library, collection: Collection) -> None:
    document = make_document("a", "some words")
    chunks = [dataclasses.replace(chunk, context="others") for chunk in make_chunks(document)]
    embed(library, collection, chunks)
    with collection.writer("test") as writer, pytest.raises(ValueError, match="context of chunk"):
        writer.replace(document, chunks, entry=make_entry(document, chunks))


def test_words_are_searched_in_the_context_too_and_each_is_read_but_once(
    library: Library, collection: Collection
) -> None:
    document = make_document("a", "Header here. " + "row " * SEGMENT)
    read_with = {"context": "Header here.", "context_start": 0}
    chunks = [dataclasses.replace(chunk, **read_with) for chunk in make_chunks(document, size=9000)[1:]]
    embed(library, collection, chunks)
    with collection.writer("test") as writer:
        writer.replace(document, chunks, entry=make_entry(document, chunks))
    assert len(collection.search_keywords("header", k=99)) == len(chunks)
    assert collection.check() == []


def test_pages_that_start_late_or_are_empty_are_found_as_in_memory(library: Library, collection: Collection) -> None:
    pages = (Page(1, 3, 3), Page(2, 3, 3), Page(3, 3, 9))
    document = dataclasses.replace(make_document("a", "012345678"), pages=pages)
    store_alone(library, collection, document)
    assert [collection.page_at("a", n) for n in range(9)] == [document.page_at(n) for n in range(9)]


def test_a_document_without_pages_has_no_page(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "some words")
    assert collection.page_at("a", 3) is None
    assert collection.title("a") == "A"


@pytest.mark.parametrize("read", ["document", "document_chunks", "title"])
def test_unknown_documents_are_named(collection: Collection, read: str) -> None:
    with pytest.raises(DocumentNotFoundError, match="no document 'nowhere'"):
        getattr(collection, read)("nowhere")


def seen(collection: Collection) -> object:
    infos = [dataclasses.replace(info, changed_at=0) for info in collection.documents()]
    return infos, [collection.document_chunks(info.id) for info in infos], collection.ledger()


def test_ingesting_twice_changes_nothing_to_be_seen(library: Library, collection: Collection) -> None:
    views = []
    for _ in range(2):
        with collection.writer("test") as writer:
            shelve(library, collection, writer, "a", "dogs and cats " * 20)
            shelve(library, collection, writer, "b", "鱼和猫")
        views.append(seen(collection))
    assert views[0] == views[1]
    assert collection.check() == []
    assert len(collection.search_keywords("鱼和猫", k=10)) == 1


def test_replacing_deletes_the_old_words_and_vectors(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra " * 50)
        shelve(library, collection, writer, "b", "other things")
    assert collection.search_keywords("zebra", k=50)
    old = set(collection.rows())
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "quagga")
    assert collection.search_keywords("zebra", k=50) == []
    hits = collection.search_vectors(np.eye(8, dtype=np.float32)[4], k=50)
    assert len(hits) == 2
    assert not {row for row, _ in hits} & (old - set(collection.rows()))
    assert max(collection.rows()) > max(old)
    assert collection.check() == []


def test_a_rename_is_one_change_that_costs_no_vector(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "old.txt", "the same words")
        before = library.vectors.stats()
        shelve(library, collection, writer, "new.txt", "the same words", replaces="old.txt")
    assert [info.id for info in collection.documents()] == ["new.txt"]
    assert list(collection.ledger()) == ["new.txt"]
    assert library.vectors.stats().spaces == before.spaces


def test_removing_deletes_document_ledger_and_hits(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
        writer.remove("a")
        with pytest.raises(DocumentNotFoundError):
            writer.remove("a")
        writer.forget("a")
    assert collection.documents() == []
    assert collection.ledger() == {}
    assert collection.search_keywords("zebra", k=5) == []
    assert collection.search_vectors(np.eye(8, dtype=np.float32)[4], k=5) == []
    assert collection.check() == []


def test_a_failed_file_keeps_its_document_and_an_empty_one_does_not(library: Library, collection: Collection) -> None:
    failed = LedgerEntry("a", "/docs", "failed", reason="broken", retriable=True)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "zebra")
        writer.record(failed, drop_document=False)
    assert collection.ledger()["a"] == failed
    assert len(collection.search_keywords("zebra", k=5)) == 1
    with collection.writer("test") as writer:
        writer.record(LedgerEntry("a", "/docs", "empty"), drop_document=True)
    assert collection.search_keywords("zebra", k=5) == []


def test_chunks_that_are_not_of_the_text_are_refused(library: Library, collection: Collection) -> None:
    document = make_document("a", "some words")
    [chunk] = make_chunks(document)
    embed(library, collection, [chunk])
    wrong = [
        dataclasses.replace(chunk, text="same words"),
        dataclasses.replace(chunk, end=99),
        dataclasses.replace(chunk, document_id="b"),
        dataclasses.replace(chunk, start=3, end=3, text=""),
    ]
    with collection.writer("test") as writer:
        for bad in wrong:
            with pytest.raises(ValueError, match="chunk"):
                writer.replace(document, [bad], entry=make_entry(document, [bad]))
        entry = make_entry(document, [chunk])
        for other in ({"path": "b"}, {"sha256": "00" * 32}, {"n_chunks": 2}, {"state": "empty"}):
            with pytest.raises(ValueError, match="ledger entry"):
                writer.replace(document, [chunk], entry=dataclasses.replace(entry, **other))  # type: ignore[arg-type]
    assert collection.documents() == []


def test_a_chunk_without_a_vector_is_refused_and_the_old_version_stays(
    library: Library, collection: Collection
) -> None:
    with collection.writer("test") as writer:
        old = shelve(library, collection, writer, "a", "old words")
        document = make_document("a", "never embedded")
        chunks = make_chunks(document)
        with pytest.raises(CollectionError, match="1 of 1 chunks of 'a' have no vector"):
            writer.replace(document, chunks, entry=make_entry(document, chunks))
    assert collection.document("a") == old


def replacement(document: Document, **options: str) -> Replacement:
    chunks = make_chunks(document)
    return Replacement(document, chunks, make_entry(document, chunks), **options)


def test_documents_stored_together_are_each_whole_and_in_their_order(library: Library, collection: Collection) -> None:
    documents = [make_document(name, f"words of {name}") for name in "cab"]
    embed(library, collection, [chunk for document in documents for chunk in make_chunks(document)])
    with collection.writer("test") as writer:
        assert writer.replace_all([replacement(document) for document in documents]) == [None] * 3
    assert [collection.document(document.id) for document in documents] == documents
    assert [chunk.document_id for chunk in collection.chunks(collection.rows()).values()] == ["c", "a", "b"]
    assert [hit for hit, _ in collection.search_keywords("words", k=5)] == collection.rows()
    assert collection.check() == []


def test_a_document_that_cannot_be_stored_takes_no_other_with_it(library: Library, collection: Collection) -> None:
    good, bad, last = (make_document(name, f"words of {name}") for name in "abc")
    embed(library, collection, [*make_chunks(good), *make_chunks(last)])
    misnamed = dataclasses.replace(replacement(good).entry, path="z")
    wrong = dataclasses.replace(replacement(good), entry=misnamed)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "b", "the old words")
        errors = writer.replace_all([replacement(good), replacement(bad), wrong, replacement(last)])
    assert [type(error) for error in errors] == [type(None), CollectionError, ValueError, type(None)]
    assert [info.id for info in collection.documents()] == ["a", "b", "c"]
    assert collection.document("b").text == "the old words"
    assert collection.check() == []


def test_a_reader_sees_documents_stored_together_or_none(library: Library, collection: Collection) -> None:
    documents = [make_document(str(number), f"words {number}") for number in range(5)]
    embed(library, collection, [chunk for document in documents for chunk in make_chunks(document)])
    with collection.writer("test") as writer, sqlite3.connect(collection._database.path) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM documents").fetchone() == (0,)
        writer.replace_all([replacement(document) for document in documents])
        assert reader.execute("SELECT count(*) FROM documents").fetchone() == (0,), "its transaction began before"
        reader.execute("ROLLBACK")
        assert reader.execute("SELECT count(*) FROM documents").fetchone() == (5,)
    reader.close()


def test_renames_can_be_among_documents_stored_together(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        for name in "ab":
            shelve(library, collection, writer, name, f"words of {name}")
        moved = [make_document(new, f"words of {old}") for old, new in (("a", "x"), ("b", "y"))]
        writer.replace_all([replacement(moved[0], replaces="a"), replacement(moved[1], replaces="b")])
    assert [info.id for info in collection.documents()] == sorted(collection.ledger()) == ["x", "y"]
    assert collection.check() == []


def test_a_chunk_the_model_cannot_read_is_found_by_words_alone(library: Library, collection: Collection) -> None:
    document = make_document("a", "读不懂的文字")
    chunks = make_chunks(document)
    vectors = np.zeros((1, 8), np.float32)
    address = content_address(document.text)
    library.vectors.put(collection.space, [address], Embeddings(vectors, np.array([False]), 1))
    with collection.writer("test") as writer:
        writer.replace(document, chunks, entry=make_entry(document, chunks))
        shelve(library, collection, writer, "b", "words")
    assert library.vectors.missing(collection.space, [address]) == []
    assert len(collection.search_vectors(np.eye(8, dtype=np.float32)[0], k=5)) == 1
    assert len(collection.search_keywords("文字", k=5)) == 1
    status = collection.status()
    assert (status.n_chunks, status.n_unreadable, status.vectors.n_chunks, status.agrees) == (2, 1, 1, True)
    assert collection.vectors_of(collection.rows())[0].tolist() == [0.0] * 8
    assert collection.check() == []


def test_a_document_without_chunks_is_stored(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        document = make_document("a", "")
        writer.replace(document, [], entry=make_entry(document, []))
    assert collection.document("a").text == ""
    assert collection.check() == []


def test_a_writer_works_inside_its_block_only(collection: Collection) -> None:
    writer = collection.writer("test")
    with pytest.raises(ValueError, match="with"):
        writer.forget("a")


def test_the_first_root_has_no_prefix_and_later_ones_their_name(library: Library, collection: Collection) -> None:
    with collection.writer("test") as writer:
        assert writer.prefix_for("/home/ada/docs") == ""
        shelve(library, collection, writer, "notes/a.txt", "words")
        assert writer.prefix_for("/home/bob/docs") == "docs"
        assert writer.prefix_for("/srv/docs") == "docs-2"
        assert writer.prefix_for("/srv/notes") == "notes-2"
        assert writer.prefix_for("/home/bob/docs") == "docs"
        assert writer.prefix_for("/home/ada/docs") == ""


def test_runs_are_remembered_in_order(collection: Collection) -> None:
    with collection.writer("test") as writer:
        writer.record_run({"n_files": 1})
        writer.record_run({"n_files": 2})
    assert collection.runs() == [{"n_files": 1}, {"n_files": 2}]


def test_another_configuration_is_refused_in_words(collection: Collection) -> None:
    collection.require(CONFIG)
    other = CollectionConfig("letters", 9, "words", ChunkingSettings(32, 0))
    with pytest.raises(IndexMismatchError) as caught:
        collection.require(other)
    message = str(caught.value)
    assert "model 'lengths' instead of 'letters'" in message
    assert "dimensions 8 instead of 9" in message
    assert "64 tokens overlapping by 8 instead of 32 tokens overlapping by 0" in message
    assert "rag ingest --rebuild" in message
    assert "tokenizer" not in message


def test_status_counts(library: Library, collection: Collection) -> None:
    empty = collection.status()
    assert (empty.n_documents, empty.changed_at, empty.vectors.state, empty.agrees) == (0, None, "missing", True)
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "a", "one two three", size=5)
        writer.record(LedgerEntry("b", "/docs", "failed"), drop_document=False)
        assert (collection.status().writer or "").startswith("'test' (process ")
    status = collection.status()
    assert (status.n_documents, status.n_chunks, status.ledger) == (1, 3, {"failed": 1, "indexed": 1})
    assert status.vectors.state == status.keywords.state == "current"
    assert status.agrees
    assert all(size > 0 for size in status.size_bytes.values())
    assert status.writer is None


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    library, collection = open_or_create(tmp_path)
    library.close()
    connection = sqlite3.connect(tmp_path / "collections" / "main" / "collection.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with Library.open(tmp_path) as again, pytest.raises(IndexMismatchError, match="format 99"):
        again.open_collection(collection.name)


def test_a_part_of_the_ledger_is_what_lies_in_its_paths(library: Library, collection: Collection) -> None:
    paths = ["a", "a-b", "a.md", "a/", "a/b.md", "a/é\udcff.md", "a0", "b/c/d.md", "b/c.md", "文/书.md"]
    with collection.writer("test") as writer:
        for path in paths:
            writer.record(LedgerEntry(path, "/docs", "failed"), drop_document=False)
        shelve(library, collection, writer, "b/c/e.md", "some words")
    assert set(collection.ledger(within=["a"])) == {"a", "a/", "a/b.md", "a/é\udcff.md"}
    assert set(collection.ledger(within=["b/c", "文"])) == {"b/c/d.md", "b/c/e.md", "文/书.md"}
    assert collection.ledger(within=["nowhere"]) == {}
    assert collection.document_ids() == collection.document_ids(within=["b"]) == {"b/c/e.md"}
    assert collection.roots() == {"/docs"}
