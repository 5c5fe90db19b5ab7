"""Mends the truth: what is damaged is taken out of the search and marked to be read again, what is whole stays.

Each step is one transaction, and finds by itself what is left to do: a repair that was killed is run again. Nothing is
given a new checksum in the place of one that does not agree.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from dataclasses import dataclass, field

from index import store
from index.check import (
    Finding,
    document_findings,
    ledger_findings,
    row_findings,
    structure_findings,
    vector_findings,
)
from index.database import Database, sql_text
from index.records import LedgerEntry
from index.seals import chunk_rows
from index.statements import delete_numbered, log_change, log_rows, put_entry, seal_chunks
from index.vector_store import VectorSpace, VectorStore
from rag.errors import DamagedDataError

__all__ = ["Mended", "mend_chunks_without_vectors", "mend_collection", "mend_vectors"]

_PARTS = ("chunks", "segments", "segment_lines", "pages", "headings", "tables")


@dataclass(slots=True)
class Mended:
    """What was done, in words, and the paths that the next ingest reads again because of it."""

    done: list[str] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)


def mend_vectors(vectors: VectorStore, mended: Mended) -> None:
    """Delete the vectors that are not as they were written.

    The caller holds the writer locks of all collections, and sees to their chunks that have no vector then.
    """
    if problems := vectors.problems():
        vectors.reindex()
        left = set(vectors.problems())
        mended.done += [f"{problem}: mended" for problem in problems if problem not in left]
    if damaged := vectors.damaged():
        vectors.drop(damaged)
        mended.done.append(f"vectors.db: {len(damaged)} vectors were not as they were written: deleted")


def mend_collection(database: Database, mended: Mended) -> None:
    """Mend documents and ledger as far as can be. The caller holds the writer lock."""
    _mend_structure(database, mended)
    with database.reading() as connection:
        altered = row_findings(connection)
    for finding in altered:
        with database.writing() as connection:
            _forget_row(connection, finding, mended)
    with database.reading() as connection:
        damaged = list(document_findings(connection))
    for finding in damaged:
        with database.writing() as connection:
            _withdraw(connection, finding, mended)
    with database.reading() as connection:
        disagreeing = ledger_findings(connection)
    for finding in disagreeing:
        with database.writing() as connection:
            _settle(connection, finding, mended)


def mend_chunks_without_vectors(database: Database, vectors: VectorStore, space: VectorSpace, mended: Mended) -> None:
    """Leave the chunks whose vectors are gone to the keywords, until their files have been read again."""
    with database.reading() as connection:
        lacking = list(vector_findings(connection, vectors, space))
    for finding in lacking:
        number = int(finding.key)
        with database.writing() as connection:
            rows = ((row,) for row in finding.rows)
            connection.executemany('UPDATE chunks SET readable = 0 WHERE "row" = ?', rows)
            seal_chunks(connection, number, chunk_rows(connection, number))
            log_change(connection, "remove", number)
            log_change(connection, "add", number)
            _mark(connection, _legible_id(connection, number), "vectors of it were lost", mended)
        mended.done.append(f"{finding.words}: left to the keywords, marked to be read again")


# --- one finding at a time


def _mend_structure(database: Database, mended: Mended) -> None:
    with database.reading() as connection:
        findings = structure_findings(connection)
    if not findings:
        return
    with database.outside_transactions() as connection:
        connection.execute("REINDEX")
    with database.writing() as connection:
        orphans = "document NOT IN (SELECT number FROM documents)"
        lost = f'SELECT min("row"), max("row") FROM chunks WHERE {orphans} GROUP BY document'
        for first, last in connection.execute(lost).fetchall():
            log_rows(connection, "remove", first, last)
        for table in _PARTS:
            connection.execute(f"DELETE FROM {table} WHERE {orphans}")
    with database.reading() as connection:
        left = {finding.words for finding in structure_findings(connection)}
    mended.done += [f"{finding.words}: mended" for finding in findings if finding.words not in left]


def _forget_row(connection: sqlite3.Connection, finding: Finding, mended: Mended) -> None:
    """Delete an altered entry of ledger, runs or history, which do without; those of the configuration stay."""
    if finding.table in ("ledger", "runs"):
        connection.execute(f"DELETE FROM {finding.table} WHERE rowid = ?", (finding.key,))
        mended.done.append(f"{finding.words}: forgotten")
    elif finding.table == "changes":
        connection.execute("DELETE FROM changes WHERE seq <= ?", (finding.key,))
        log_rows(connection, "add", 0, -1)
        mended.done.append(f"{finding.words}: the history begins after it")


def _withdraw(connection: sqlite3.Connection, finding: Finding, mended: Mended) -> None:
    """Take a damaged document out of the search; what is left of it stays until its file has been read again."""
    number = int(finding.key)
    path = _legible_id(connection, number)
    said = f"{finding.words}: taken out of the search"
    if not _is_legible(connection, number):
        delete_numbered(connection, number)
    elif connection.execute("SELECT 1 FROM chunks WHERE document = ?", (number,)).fetchone():
        log_change(connection, "remove", number)
        connection.execute("DELETE FROM chunks WHERE document = ?", (number,))
        log_rows(connection, "add", 0, -1)
    elif path is None or _is_marked(connection, path):  # an earlier repair did it
        return
    _mark(connection, path, "what was stored of it was damaged", mended)
    mended.done.append(said if path is None else f"{said}, marked to be read again")


def _settle(connection: sqlite3.Connection, finding: Finding, mended: Mended) -> None:
    """Bring ledger and documents together where they disagree."""
    if finding.kind == "unlisted":
        path = _legible_id(connection, int(finding.key))
        if path is not None and _restore_entry(connection, path):
            mended.done.append(f"{finding.words}: its entry is restored")
    elif finding.kind in ("lost", "disagrees"):
        (path,) = connection.execute("SELECT path FROM ledger WHERE rowid = ?", (finding.key,)).fetchone()
        if not _is_marked(connection, path):
            _mark(connection, path, "ledger and documents did not agree", mended)
            mended.done.append(f"{finding.words}: marked to be read again")


def _mark(connection: sqlite3.Connection, path: str | None, reason: str, mended: Mended) -> None:
    """Have the next ingest read a path again; one that has no entry gets one, if its folder is known."""
    if path is None:
        return
    entry = store.entry(connection, path)
    if entry is None and _restore_entry(connection, path):
        entry = store.entry(connection, path)
    if entry is None:  # a path without an entry is new to the next ingest, which reads it anyway
        return
    there = connection.execute("SELECT 1 FROM documents WHERE id = CAST(? AS TEXT)", (sql_text(path),)).fetchone()
    state = "failed" if entry.state == "indexed" and there is None else entry.state
    reason = f"{reason}; the next `rag ingest` reads it again"
    put_entry(connection, dataclasses.replace(entry, state=state, reason=reason, retriable=True))
    mended.marked.add(path)


def _is_marked(connection: sqlite3.Connection, path: str) -> bool:
    entry = store.entry(connection, path)
    return entry is not None and entry.retriable


def _restore_entry(connection: sqlite3.Connection, path: str) -> bool:
    """Make a document's entry from the document; False where no ingested folder can have it.

    Its size and times are left open, so that the next ingest looks at the file's hash.
    """
    prefixes = store.prefixes(connection)
    roots = [root for root, prefix in prefixes.items() if not prefix or path.startswith(f"{prefix}/")]
    row = connection.execute(
        "SELECT sha256, n_pages, n_chunks, n_tokens, warnings, reader FROM documents WHERE id = CAST(? AS TEXT)",
        (sql_text(path),),
    ).fetchone()
    if not roots or row is None:
        return False
    sha256, n_pages, n_chunks, n_tokens, warnings, reader = row
    entry = LedgerEntry(
        path=path,
        root=max(roots, key=lambda root: len(prefixes[root])),
        state="indexed",
        sha256=sha256,
        n_pages=n_pages,
        n_chunks=n_chunks,
        n_tokens=n_tokens,
        warnings=tuple(json.loads(warnings)),
        reader=reader,
        updated_at=time.time(),
    )
    put_entry(connection, entry)
    return True


def _legible_id(connection: sqlite3.Connection, number: int) -> str | None:
    (raw,) = connection.execute("SELECT CAST(id AS BLOB) FROM documents WHERE number = ?", (number,)).fetchone()
    try:
        return bytes(raw).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _is_legible(connection: sqlite3.Connection, number: int) -> bool:
    """Tell whether listing the documents can go past this one: whether its row can be read at all."""
    try:
        store.document_info(connection, number)
    except (ValueError, DamagedDataError):
        return False
    return True
