"""What can be wrong with a collection: ledger, truth, vectors and derived indexes compared with each other, in words.

``ledger_findings`` and ``sample_findings`` are cheap and part of every ``rag status``; the others read everything.
What is found tells ``index.repair`` what to do about it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from index import store
from index.checksums import rows_checksum
from index.database import integrity_problems
from index.exact import RowArray
from index.seals import ROW_COLUMNS, chunk_rows, chunks_checksum, stored_document
from index.vector_store import VectorSpace, VectorStore
from rag.errors import DamagedDataError
from rag.types import content_address, in_context

__all__ = [
    "Finding",
    "compare_rows",
    "document_findings",
    "ledger_findings",
    "row_findings",
    "sample_findings",
    "structure_findings",
    "vector_findings",
]

_SAMPLE = 256  # vectors looked for where not all are
_BATCH = 4096

Kind = Literal["structure", "waiting", "lost", "disagrees", "unlisted", "altered row", "damaged", "no vector"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be. ``key`` is the number of the document, or the key of the row of ``table``.

    ``rows`` are the chunks concerned, where it is not all of a document.
    """

    kind: Kind
    words: str
    key: int | str = 0
    table: str = ""
    rows: tuple[int, ...] = ()


# --- ledger and truth

_LEDGER = """
    SELECT l.rowid, CAST(l.path AS BLOB), l.state, l.retriable, CAST(l.reason AS BLOB), d.number,
        l.sha256 IS d.sha256 AND l.n_chunks = d.n_chunks
    FROM ledger l LEFT JOIN documents d ON d.id = l.path
    WHERE l.state = 'indexed' AND (l.retriable OR d.number IS NULL OR l.sha256 IS NOT d.sha256
        OR l.n_chunks <> d.n_chunks)
        OR l.state NOT IN ('indexed', 'failed') AND d.number IS NOT NULL
    ORDER BY l.path
"""
_UNLISTED = """
    SELECT number, CAST(id AS BLOB) FROM documents WHERE id NOT IN (SELECT path FROM ledger) ORDER BY id
"""


def ledger_findings(connection: sqlite3.Connection) -> list[Finding]:
    """Return where ledger and documents disagree: every entry ``indexed`` has its document, every document an entry.

    A failed file may have a document: its last good version.
    """
    findings = []
    for key, raw, state, retriable, reason, number, same in connection.execute(_LEDGER):
        path = _shown(raw)
        if state == "indexed" and number is None:
            findings.append(Finding("lost", f"{path}: indexed in the ledger, and there is no such document", key))
        elif state == "indexed" and retriable and same:
            findings.append(Finding("waiting", f"{path}: waits to be read again: {_shown(reason)}", key))
        elif state == "indexed":
            findings.append(Finding("disagrees", f"{path}: the ledger is of another version than the document", key))
        else:
            findings.append(Finding("disagrees", f"{path}: {state!r} in the ledger, and there is a document", key))
    for number, raw in connection.execute(_UNLISTED):
        findings.append(Finding("unlisted", f"{_shown(raw)}: a document without an entry in the ledger", number))
    return findings


# --- truth by itself


def structure_findings(connection: sqlite3.Connection) -> list[Finding]:
    """Return what SQLite finds wrong with the file."""
    return [Finding("structure", f"collection.db: {problem}") for problem in integrity_problems(connection)]


def row_findings(connection: sqlite3.Connection) -> list[Finding]:
    """Return the rows of ledger, history, runs and configuration that are not as they were written."""
    sealed = connection.execute("SELECT 1 FROM unsealed").fetchone() is None
    findings = []
    for table, columns in ROW_COLUMNS.items():
        key = "key" if table == "meta" else "rowid"
        for (identity,) in connection.execute(f"SELECT {key} FROM {table}").fetchall():
            if not _row_is_whole(connection, table, columns, key, identity, sealed=sealed):
                words = f"{table}: entry {identity!r} is not as it was written"
                findings.append(Finding("altered row", words, identity, table))
    return findings


def _row_is_whole(
    connection: sqlite3.Connection, table: str, columns: str, key: str, identity: int | str, *, sealed: bool
) -> bool:
    query = f"SELECT {columns}, checksum FROM {table} WHERE {key} = ?"
    try:
        *row, checksum = connection.execute(query, (identity,)).fetchone()
        return not sealed if checksum is None else rows_checksum([row]) == checksum
    except (ValueError, TypeError):  # no UTF-8, or nothing that is ever stored
        return False


def document_findings(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Yield a finding for each document that is not as it was written: its text, its chunks or anything else of it."""
    unsealed = connection.execute("SELECT first, last FROM unsealed").fetchone() or (1, 0)
    names = connection.execute("SELECT number, CAST(id AS BLOB) FROM documents ORDER BY number").fetchall()
    for number, raw in names:
        sealed = not unsealed[0] <= number <= unsealed[1]
        try:
            problem = _document_problem(connection, number, sealed=sealed)
        except (ValueError, TypeError, DamagedDataError):  # no UTF-8, or nothing that is ever stored
            problem = "it cannot be read"
        if problem:
            yield Finding("damaged", f"{_shown(raw)}: {problem}", number)


def _document_problem(connection: sqlite3.Connection, number: int, *, sealed: bool) -> str:
    stored = stored_document(connection, number)
    if not all(segment.is_whole for segment in stored.segments):
        return "its text is not as it was written"
    if not stored.is_whole or (sealed and stored.checksum is None):
        return "its title, pages, headings or other fields are not as they were written"
    text = "".join(segment.text for segment in stored.segments)
    if len(text) != stored.row[5]:
        return f"the text has {len(text)} characters instead of {stored.row[5]}"
    chunks = chunk_rows(connection, number)
    (checksum,) = connection.execute("SELECT chunks_checksum FROM documents WHERE number = ?", (number,)).fetchone()
    if len(chunks) != stored.row[7]:
        return f"{len(chunks)} chunks instead of {stored.row[7]}"
    if checksum != chunks_checksum(chunks) if checksum is not None else sealed:
        return "its chunks are not as they were written"
    for identity, start, end, _, _, _, context_start, context_end, _, address in chunks:
        if content_address(in_context(text[start:end], text[context_start:context_end])) != address:
            return f"chunk {identity} has the vector of another text"
    return ""


# --- truth and vectors


def vector_findings(connection: sqlite3.Connection, vectors: VectorStore, space: VectorSpace) -> Iterator[Finding]:
    """Yield the documents with chunks whose vectors are not there."""
    query = "SELECT d.number, CAST(d.id AS BLOB) FROM documents d ORDER BY d.number"
    for number, raw in connection.execute(query).fetchall():
        chunks = connection.execute('SELECT "row", address FROM chunks WHERE document = ? AND readable', (number,))
        addresses = dict(chunks.fetchall())
        there = vectors.readable(space, list(addresses.values()))
        rows = tuple(row for row, address in addresses.items() if not there.get(address))
        if rows:
            words = f"{_shown(raw)}: {len(rows)} of its chunks have no vector in vectors.db"
            yield Finding("no vector", words, number, rows=rows)


def sample_findings(connection: sqlite3.Connection, vectors: VectorStore, space: VectorSpace) -> list[Finding]:
    """Look for the vectors of a few hundred chunks: enough to see that ``vectors.db`` is that of another library."""
    addresses = store.sample_addresses(connection, _SAMPLE)
    there = vectors.readable(space, addresses)
    n_missing = sum(not there.get(address) for address in addresses)
    if not n_missing:
        return []
    words = f"vectors.db: {n_missing} of {len(addresses)} vectors that were looked for are not there"
    return [Finding("no vector", words)]


# --- truth and derived indexes


def compare_rows(name: str, held: RowArray, expected: Sequence[int]) -> list[str]:
    """Return how the rows of a derived index differ from those of SQLite, in words."""
    wanted = np.array(expected, np.int64)
    problems = []
    if n_missing := len(np.setdiff1d(wanted, held)):
        problems.append(f"{name}: {n_missing} chunks are missing")
    if n_extra := len(np.setdiff1d(held, wanted)):
        problems.append(f"{name}: {n_extra} deleted chunks are still there")
    if n_twice := len(held) - len(np.unique(held)):
        problems.append(f"{name}: {n_twice} chunks are there twice")
    return problems


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
