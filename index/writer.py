"""Writing to a collection: one writer, one transaction a document."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import PurePath
from types import TracebackType
from typing import Any

from index.database import Database, sql_text
from index.locks import WriterLock
from index.migrations import SEGMENT
from index.records import LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError, DocumentNotFoundError
from rag.types import Chunk, Document, content_address

__all__ = ["Writer", "free_prefix"]


class Writer:
    """The one who may change a collection; got from ``Collection.writer``, used as a context manager.

    Each method is one transaction: readers see all of it or nothing. Its methods may be called from several threads,
    one after the other. A clean exit brings the derived indexes up to date; after an exception the next search does.
    """

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        *,
        space: VectorSpace,
        lock: WriterLock,
        holder: str,
        finish: Callable[[], None],
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._space = space
        self._lock = lock
        self._holder = holder
        self._finish = finish
        self._open = False

    def __enter__(self) -> Writer:
        self._lock.acquire(self._holder)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if kind is None:
                self._finish()
        finally:
            self._lock.release()

    def replace(
        self, document: Document, chunks: Sequence[Chunk], *, entry: LedgerEntry, replaces: str | None = None
    ) -> None:
        """Store a document with its chunks and ledger entry, in the place of what had its id.

        ``replaces`` is the id of another document that goes in the same transaction, with its ledger entry: a rename.
        The vectors must be in the store already. Raises ValueError when chunks or entry are not of this document, and
        CollectionError when a vector is missing; then nothing has changed.
        """
        self._check_open()
        _check(document, chunks, entry)
        addresses = [content_address(chunk.embedded_text) for chunk in chunks]
        readable = self._vectors.readable(self._space, addresses)
        if missing := set(addresses) - readable.keys():
            raise CollectionError(
                f"{len(missing)} of {len(chunks)} chunks of {document.id!r} have no vector of {self._space.model!r} in"
                " the library; embed them first (`rag ingest` does)"
            )
        with self._database.writing() as connection:
            for gone in dict.fromkeys([document.id, replaces or document.id]):
                _delete_document(connection, gone)
            if replaces is not None and replaces != document.id:
                _delete_entry(connection, replaces)
            number = _insert_document(connection, document, chunks)
            _insert_chunks(connection, number, chunks, [(address, readable[address]) for address in addresses])
            _put_entry(connection, entry)

    def remove(self, document_id: str) -> None:
        """Delete a document and its ledger entry. Raises DocumentNotFoundError."""
        self._check_open()
        with self._database.writing() as connection:
            if not _delete_document(connection, document_id):
                raise DocumentNotFoundError(f"no document {document_id!r} in this collection; nothing was removed")
            _delete_entry(connection, document_id)

    def record(self, entry: LedgerEntry, *, drop_document: bool) -> None:
        """Write what became of a path; ``drop_document`` also deletes the document of that id, if there is one.

        A file that failed keeps its last good version (False); one that is now empty, unsupported or skipped does not.
        """
        self._check_open()
        with self._database.writing() as connection:
            if drop_document:
                _delete_document(connection, entry.path)
            _put_entry(connection, entry)

    def forget(self, path: str) -> None:
        """Delete the ledger entry of a path that has gone, and its document if there is one."""
        self._check_open()
        with self._database.writing() as connection:
            _delete_document(connection, path)
            _delete_entry(connection, path)

    def prefix_for(self, root: str) -> str:
        """Return what the document ids of an ingested folder begin with, without a slash; the same for ever after.

        The first folder of a collection has "", a later one its own name, with a number where that is taken.
        """
        self._check_open()
        with self._database.writing() as connection:
            known = connection.execute(
                "SELECT prefix FROM roots WHERE root = CAST(? AS TEXT)", (sql_text(root),)
            ).fetchone()
            if known is not None:
                return str(known[0])
            taken = {prefix for (prefix,) in connection.execute("SELECT prefix FROM roots")}
            paths = connection.execute("SELECT path FROM ledger UNION SELECT id FROM documents")
            prefix = free_prefix(taken, (path for (path,) in paths), root)
            connection.execute(
                "INSERT INTO roots (root, prefix) VALUES (CAST(? AS TEXT), CAST(? AS TEXT))",
                (sql_text(root), sql_text(prefix)),
            )
            return prefix

    def record_run(self, run: Mapping[str, Any]) -> None:
        """Add a run's report (anything JSON can hold) to the history."""
        self._check_open()
        report = json.dumps(run)
        with self._database.writing() as connection:
            connection.execute("INSERT INTO runs (finished_at, report) VALUES (?, ?)", (time.time(), report))

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("a Writer works inside its `with` block only")


def _check(document: Document, chunks: Sequence[Chunk], entry: LedgerEntry) -> None:
    if entry.path != document.id or entry.state != "indexed":
        raise ValueError(f"the ledger entry of {document.id!r} is {entry.state!r} of {entry.path!r}")
    for chunk in chunks:
        if chunk.document_id != document.id:
            raise ValueError(f"chunk {chunk.id} is of {chunk.document_id!r}, not of {document.id!r}")
        if not 0 <= chunk.start < chunk.end <= len(document.text):
            raise ValueError(f"chunk {chunk.id} of {document.id!r} has the span [{chunk.start}, {chunk.end})")
        if not document.text.startswith(chunk.text, chunk.start) or len(chunk.text) != chunk.end - chunk.start:
            raise ValueError(f"chunk {chunk.id} of {document.id!r} is not the text at [{chunk.start}, {chunk.end})")
        if chunk.context_start < 0 or not document.text.startswith(chunk.context, chunk.context_start):
            raise ValueError(f"the context of chunk {chunk.id} is not the text of {document.id!r} at its place")


def _insert_document(connection: sqlite3.Connection, document: Document, chunks: Sequence[Chunk]) -> int:
    number = connection.execute(
        "INSERT INTO documents (id, title, sha256, media_type, reader, n_characters, n_pages, n_chunks, n_tokens,"
        " metadata, warnings, changed_at)"
        " VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sql_text(document.id),
            sql_text(document.title),
            document.sha256,
            document.media_type,
            document.reader,
            len(document.text),
            len(document.pages),
            len(chunks),
            sum(chunk.n_tokens for chunk in chunks),
            json.dumps(dict(document.metadata)),
            json.dumps(document.warnings),
            time.time(),
        ),
    ).lastrowid
    assert number is not None
    text = document.text
    connection.executemany(
        "INSERT INTO segments (document, place, text) VALUES (?, ?, CAST(? AS TEXT))",
        ((number, at // SEGMENT, sql_text(text[at : at + SEGMENT])) for at in range(0, len(text), SEGMENT)),
    )
    connection.executemany(
        "INSERT INTO segment_lines (document, place, line) VALUES (?, ?, ?)",
        ((number, place, line) for place, line in enumerate(_segment_lines(text))),
    )
    connection.executemany(
        'INSERT INTO pages (document, place, number, start, "end", label) VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT))',
        ((number, place, p.number, p.start, p.end, sql_text(p.label)) for place, p in enumerate(document.pages)),
    )
    connection.executemany(
        "INSERT INTO headings (document, place, level, title, start) VALUES (?, ?, ?, CAST(? AS TEXT), ?)",
        ((number, place, h.level, sql_text(h.title), h.start) for place, h in enumerate(document.headings)),
    )
    connection.executemany(
        'INSERT INTO tables (document, place, start, "end", header_start, header_end) VALUES (?, ?, ?, ?, ?, ?)',
        ((number, place, t.start, t.end, t.header_start, t.header_end) for place, t in enumerate(document.tables)),
    )
    return number


def _segment_lines(text: str) -> Iterator[int]:
    """Yield the line, from 1, that each segment begins in."""
    line = 1
    for at in range(0, len(text), SEGMENT):
        yield line
        line += text.count("\n", at, at + SEGMENT)


def _insert_chunks(
    connection: sqlite3.Connection, number: int, chunks: Sequence[Chunk], vectors: Sequence[tuple[bytes, bool]]
) -> None:
    connection.executemany(
        'INSERT INTO chunks (document, id, start, "end", n_tokens, page, headings, context_start, context_end, address,'
        " readable) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(number, c.id, c.start, c.end, c.n_tokens, c.page, json.dumps(c.headings)),
                *(c.context_start, c.context_start + len(c.context), address, readable),
            )
            for c, (address, readable) in zip(chunks, vectors, strict=True)
        ),
    )
    _log(connection, "add", number)


def _delete_document(connection: sqlite3.Connection, document_id: str) -> bool:
    row = connection.execute(
        "SELECT number FROM documents WHERE id = CAST(? AS TEXT)", (sql_text(document_id),)
    ).fetchone()
    if row is None:
        return False
    _log(connection, "remove", row[0])
    connection.execute("DELETE FROM documents WHERE number = ?", row)  # the rest goes by ON DELETE CASCADE
    return True


def _log(connection: sqlite3.Connection, kind: str, number: int) -> None:
    """Add to the history that a document's rows came or go: one range, as they were inserted in one transaction."""
    first, last = connection.execute(
        'SELECT min("row"), max("row") FROM chunks WHERE document = ?', (number,)
    ).fetchone()
    # A document without chunks changes nothing for the derived indexes, but is a change all the same.
    first, last = (0, -1) if first is None else (first, last)
    connection.execute(
        "INSERT INTO changes (kind, first_row, last_row, mark, changed_at) VALUES (?, ?, ?, ?, ?)",
        (kind, first, last, secrets.token_hex(8), time.time()),
    )


def _put_entry(connection: sqlite3.Connection, entry: LedgerEntry) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO ledger (path, root, state, sha256, size, mtime_ns, ctime_ns, inode, reason, retriable,"
        " n_pages, n_chunks, n_tokens, warnings, reader, updated_at) VALUES (CAST(? AS TEXT), CAST(? AS TEXT),"
        " ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?)",
        (
            sql_text(entry.path),
            sql_text(entry.root),
            entry.state,
            entry.sha256,
            entry.size,
            entry.mtime_ns,
            entry.ctime_ns,
            str(entry.inode),  # some file systems use all 64 bits, SQLite has 63
            sql_text(entry.reason),
            entry.retriable,
            entry.n_pages,
            entry.n_chunks,
            entry.n_tokens,
            json.dumps(entry.warnings),
            entry.reader,
            entry.updated_at,
        ),
    )


def _delete_entry(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("DELETE FROM ledger WHERE path = CAST(? AS TEXT)", (sql_text(path),))


def free_prefix(prefixes: Set[str], paths: Iterable[str], root: str) -> str:
    """Return what the ids of a new folder begin with, given the prefixes and the paths that are there."""
    if not prefixes:
        return ""
    taken = prefixes | {path.split("/", 1)[0] for path in paths}  # a folder of the first root may have the name too
    name = PurePath(root).name or "root"
    candidates = [name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)
