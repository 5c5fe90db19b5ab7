"""What the checksums of a document are of, and how documents that were stored without get theirs.

``documents.checksum`` is that of the document's row, its pages, headings and tables, and its segments' checksums and
lines; ``chunks_checksum`` that of the rows of its chunks. The writer computes both from what it is about to write,
whoever reads from what stands there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from index.checksums import bytes_checksum, rows_checksum
from index.texts import Segment, damaged, segments

__all__ = [
    "CHUNK_COLUMNS",
    "DOCUMENT_COLUMNS",
    "ROW_COLUMNS",
    "StoredDocument",
    "chunk_rows",
    "chunks_checksum",
    "content_checksum",
    "n_unsealed",
    "seal_some",
    "stored_document",
]

DOCUMENT_COLUMNS = (
    "id, title, sha256, media_type, reader, n_characters, n_pages, n_chunks, n_tokens, metadata, warnings, changed_at"
)
CHUNK_COLUMNS = 'id, start, "end", n_tokens, page, headings, context_start, context_end, readable, address'
"""``row`` is not among them: it is given out when they are written."""

ROW_COLUMNS = {
    "meta": "key, value",
    "changes": "kind, first_row, last_row, mark, changed_at",
    "ledger": "path, root, state, sha256, size, mtime_ns, ctime_ns, inode, reason, retriable, n_pages, n_chunks,"
    " n_tokens, warnings, reader, updated_at",
    "roots": "root, prefix",
    "runs": "finished_at, report",
    "attribute_sources": "id, source, content",
}
"""The tables whose every row has a checksum, and what it is of."""

_BATCH = 5000  # rows of such a table sealed at once

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's rows as they stand in the database, with the checksum they were written with (None: without)."""

    row: Row
    segments: Sequence[Segment]
    pages: Sequence[Row]
    headings: Sequence[Row]
    tables: Sequence[Row]
    checksum: int | None

    @property
    def is_whole(self) -> bool:
        """Whether all of it is as it was written; True where that cannot be told."""
        if not all(segment.is_whole for segment in self.segments):
            return False
        lines = [(segment.place, segment.line, segment.checksum) for segment in self.segments]
        return self.checksum in (None, content_checksum(self.row, lines, self.pages, self.headings, self.tables))


def content_checksum(
    row: Row, lines: Sequence[Row], pages: Sequence[Row], headings: Sequence[Row], tables: Sequence[Row]
) -> int:
    """Return the checksum of a document.

    ``row`` holds DOCUMENT_COLUMNS; ``lines`` (place, line, checksum) of each segment; ``pages`` (number, start, end,
    label); ``headings`` (level, title, start); ``tables`` (start, end, header start, header end).
    """
    return rows_checksum([row, lines, pages, headings, tables])


def chunks_checksum(rows: Sequence[Row]) -> int:
    """Return the checksum of a document's chunks, in the order of their rows; each holds CHUNK_COLUMNS."""
    return rows_checksum([row[:-1] for row in rows], (row[-1] for row in rows))


def stored_document(connection: sqlite3.Connection, number: int) -> StoredDocument:
    """Return what stands there of the document of a number. Raises DamagedDataError where there is nothing."""
    found = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS}, checksum FROM documents WHERE number = ?", (number,)
    ).fetchone()
    if found is None:  # an index of SQLite's names it, and the table lacks it
        raise damaged(connection, number, "the row")
    *row, checksum = found
    pages = connection.execute(
        'SELECT number, start, "end", label FROM pages WHERE document = ? ORDER BY place', (number,)
    ).fetchall()
    headings = connection.execute(
        "SELECT level, title, start FROM headings WHERE document = ? ORDER BY place", (number,)
    ).fetchall()
    tables = connection.execute(
        'SELECT start, "end", header_start, header_end FROM tables WHERE document = ? ORDER BY place', (number,)
    ).fetchall()
    return StoredDocument(row, segments(connection, number), pages, headings, tables, checksum)


def chunk_rows(connection: sqlite3.Connection, number: int) -> list[Row]:
    """Return CHUNK_COLUMNS of a document's chunks as they stand there, in the order of their rows."""
    return connection.execute(
        f'SELECT {CHUNK_COLUMNS} FROM chunks WHERE document = ? ORDER BY "row"', (number,)
    ).fetchall()


# --- what was stored before there were checksums


def n_unsealed(connection: sqlite3.Connection) -> int:
    """Return how many documents of before have no checksums yet, at most; 1 where only the other tables wait."""
    (n,) = connection.execute("SELECT coalesce(sum(max(last - first + 1, 1)), 0) FROM unsealed").fetchone()
    return int(n)


def seal_some(connection: sqlite3.Connection, n: int) -> bool:
    """Give the next ``n`` documents of before their checksums; return whether any are left.

    After the last one the other tables get theirs. The caller has begun a write transaction.
    """
    unsealed = connection.execute("SELECT first, last FROM unsealed").fetchone()
    if unsealed is None:
        return False
    numbers = [
        number
        for (number,) in connection.execute(
            "SELECT number FROM documents WHERE number BETWEEN ? AND ? ORDER BY number LIMIT ?", (*unsealed, n)
        )
    ]
    for number in numbers:
        _seal_document(connection, number)
    if len(numbers) == n:
        connection.execute("UPDATE unsealed SET first = ?", (numbers[-1] + 1,))
        return True
    for table, columns in ROW_COLUMNS.items():
        _seal_rows(connection, table, columns)
    connection.execute("DELETE FROM unsealed")
    return False


def _seal_document(connection: sqlite3.Connection, number: int) -> None:
    stored = stored_document(connection, number)
    checksums = [(bytes_checksum(segment.raw), number, segment.place) for segment in stored.segments]
    connection.executemany("UPDATE segment_lines SET checksum = ? WHERE document = ? AND place = ?", checksums)
    lines = [
        (segment.place, segment.line, checksum)
        for segment, (checksum, _, _) in zip(stored.segments, checksums, strict=True)
    ]
    connection.execute(
        "UPDATE documents SET checksum = ?, chunks_checksum = ? WHERE number = ?",
        (
            content_checksum(stored.row, lines, stored.pages, stored.headings, stored.tables),
            chunks_checksum(chunk_rows(connection, number)),
            number,
        ),
    )


def _seal_rows(connection: sqlite3.Connection, table: str, columns: str) -> None:
    key = "key" if table == "meta" else "rowid"
    query = f"SELECT {key}, {columns} FROM {table} WHERE checksum IS NULL LIMIT {_BATCH}"
    while found := connection.execute(query).fetchall():
        sealed = [(rows_checksum([row]), identity) for identity, *row in found]
        connection.executemany(f"UPDATE {table} SET checksum = ? WHERE {key} = ?", sealed)
