"""The SQL that changes a collection: each function is a part of a write transaction, and writes checksums too."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence

from index.checksums import bytes_checksum, rows_checksum
from index.database import sql_text
from index.migrations import SEGMENT
from index.records import LedgerEntry
from index.seals import CHUNK_COLUMNS, DOCUMENT_COLUMNS, ROW_COLUMNS, chunks_checksum, content_checksum
from rag.types import Chunk, Document

__all__ = [
    "delete_document",
    "delete_entry",
    "delete_numbered",
    "insert_chunks",
    "insert_document",
    "insert_row",
    "log_change",
    "log_rows",
    "put_entry",
    "seal_chunks",
]


def insert_document(connection: sqlite3.Connection, document: Document, chunks: Sequence[Chunk]) -> int:
    row = (
        document.id,
        document.title,
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
    )
    segments = list(_segments(document.text))
    lines = [(place, line, bytes_checksum(raw)) for place, (line, raw) in enumerate(segments)]
    pages = [(page.number, page.start, page.end, page.label) for page in document.pages]
    headings = [(heading.level, heading.title, heading.start) for heading in document.headings]
    tables = [(table.start, table.end, table.header_start, table.header_end) for table in document.tables]
    checksum = content_checksum(row, lines, pages, headings, tables)
    number = connection.execute(
        f"INSERT INTO documents ({DOCUMENT_COLUMNS}, checksum)"
        " VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (sql_text(document.id), sql_text(document.title), *row[2:], checksum),
    ).lastrowid
    assert number is not None
    connection.executemany(
        "INSERT INTO segments (document, place, text) VALUES (?, ?, CAST(? AS TEXT))",
        ((number, place, raw) for place, (_, raw) in enumerate(segments)),
    )
    connection.executemany(
        "INSERT INTO segment_lines (document, place, line, checksum) VALUES (?, ?, ?, ?)",
        ((number, *line) for line in lines),
    )
    connection.executemany(
        'INSERT INTO pages (document, place, number, start, "end", label) VALUES (?, ?, ?, ?, ?, CAST(? AS TEXT))',
        ((number, place, *page[:3], sql_text(page[3])) for place, page in enumerate(pages)),
    )
    connection.executemany(
        "INSERT INTO headings (document, place, level, title, start) VALUES (?, ?, ?, CAST(? AS TEXT), ?)",
        ((number, place, level, sql_text(title), start) for place, (level, title, start) in enumerate(headings)),
    )
    connection.executemany(
        'INSERT INTO tables (document, place, start, "end", header_start, header_end) VALUES (?, ?, ?, ?, ?, ?)',
        ((number, place, *table) for place, table in enumerate(tables)),
    )
    return number


def _segments(text: str) -> Iterator[tuple[int, bytes]]:
    """Yield the segments of a text as they are stored, each with the line, from 1, that it begins in."""
    line = 1
    for at in range(0, len(text), SEGMENT):
        piece = text[at : at + SEGMENT]
        yield line, sql_text(piece)
        line += piece.count("\n")


def insert_chunks(
    connection: sqlite3.Connection, number: int, chunks: Sequence[Chunk], vectors: Sequence[tuple[bytes, bool]]
) -> None:
    rows = [
        (
            *(c.id, c.start, c.end, c.n_tokens, c.page, json.dumps(c.headings)),
            *(c.context_start, c.context_start + len(c.context), int(readable), address),
        )
        for c, (address, readable) in zip(chunks, vectors, strict=True)
    ]
    connection.executemany(
        f"INSERT INTO chunks (document, {CHUNK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((number, *row) for row in rows),
    )
    seal_chunks(connection, number, rows)
    log_change(connection, "add", number)


def delete_document(connection: sqlite3.Connection, document_id: str) -> bool:
    row = connection.execute(
        "SELECT number FROM documents WHERE id = CAST(? AS TEXT)", (sql_text(document_id),)
    ).fetchone()
    if row is None:
        return False
    delete_numbered(connection, row[0])
    return True


def delete_numbered(connection: sqlite3.Connection, number: int) -> None:
    log_change(connection, "remove", number)
    connection.execute("DELETE FROM documents WHERE number = ?", (number,))  # the rest goes by ON DELETE CASCADE


def log_change(connection: sqlite3.Connection, kind: str, number: int) -> None:
    """Add to the history that a document's rows came or go: one range, as they were inserted in one transaction."""
    first, last = connection.execute(
        'SELECT min("row"), max("row") FROM chunks WHERE document = ?', (number,)
    ).fetchone()
    # A document without chunks changes nothing for the derived indexes, but is a change all the same.
    log_rows(connection, kind, *((0, -1) if first is None else (first, last)))


def log_rows(connection: sqlite3.Connection, kind: str, first: int, last: int) -> None:
    """Add to the history that the rows [first, last] came or go; none where ``last`` is less."""
    insert_row(connection, "changes", (kind, first, last, secrets.token_hex(8), time.time()))


def seal_chunks(connection: sqlite3.Connection, number: int, rows: Sequence[Sequence[object]]) -> None:
    """Write the checksum of a document's chunks."""
    connection.execute("UPDATE documents SET chunks_checksum = ? WHERE number = ?", (chunks_checksum(rows), number))


def put_entry(connection: sqlite3.Connection, entry: LedgerEntry) -> None:
    row = (
        entry.path,
        entry.root,
        entry.state,
        entry.sha256,
        entry.size,
        entry.mtime_ns,
        entry.ctime_ns,
        str(entry.inode),  # some file systems use all 64 bits, SQLite has 63
        entry.reason,
        int(entry.retriable),
        entry.n_pages,
        entry.n_chunks,
        entry.n_tokens,
        json.dumps(entry.warnings),
        entry.reader,
        entry.updated_at,
    )
    insert_row(connection, "ledger", row)


def insert_row(connection: sqlite3.Connection, table: str, row: Sequence[object]) -> None:
    """Write a row of a table of ROW_COLUMNS, in the place of one with its key, with its checksum."""
    values = [sql_text(value) if isinstance(value, str) else value for value in row]
    marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in row)
    connection.execute(
        f"INSERT OR REPLACE INTO {table} ({ROW_COLUMNS[table]}, checksum) VALUES ({marks}, ?)",
        (*values, rows_checksum([row])),
    )


def delete_entry(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("DELETE FROM ledger WHERE path = CAST(? AS TEXT)", (sql_text(path),))
