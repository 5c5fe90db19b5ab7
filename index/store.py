"""Reading a collection's SQLite file: plain functions over a connection inside a read transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from index.database import sql_text
from index.migrations import SEGMENT
from index.records import CollectionConfig, DocumentInfo, LedgerEntry, Position
from rag.errors import DocumentNotFoundError
from rag.types import Chunk, ChunkingSettings, Document, Heading, Page, line_place

__all__ = [
    "Change",
    "Counts",
    "addresses_of",
    "all_addresses",
    "changes_since",
    "chunk_ids",
    "chunk_rows",
    "chunk_texts",
    "chunks",
    "config",
    "counts",
    "document",
    "document_chunks",
    "document_ids",
    "documents",
    "history_holds",
    "last_position",
    "ledger",
    "n_with_warnings",
    "page_at",
    "place_at",
    "prefixes",
    "readable_rows",
    "roots",
    "runs",
    "sample_addresses",
    "text",
    "title",
]

_PARAMETERS = 900  # below the 999 that SQLite before 3.32 allows in a statement
_CHUNK = 'c."row", d.id, c.id, c.start, c."end", c.n_tokens, c.page, c.headings, c.document'

Change = tuple[int, str, int, int, str]
"""seq, "add" or "remove", first row, last row, mark."""
Counts = tuple[int, int, int, int, float | None]
"""documents, chunks, tokens, unreadable chunks, time of the last change."""
_Row = tuple[int, str, str, int, int, int, int | None, str, int]


def config(connection: sqlite3.Connection) -> CollectionConfig:
    """Return what the collection was made with."""
    value = json.loads(_meta(connection, "config"))
    value.pop("metric")
    return CollectionConfig(**{**value, "chunking": ChunkingSettings(**value["chunking"])})


def last_position(connection: sqlite3.Connection) -> Position:
    """Return the last change; number 0, with the collection's own mark, before the first."""
    row = connection.execute("SELECT seq, mark FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
    return Position(0, _meta(connection, "mark")) if row is None else Position(*row)


def history_holds(connection: sqlite3.Connection, position: Position) -> bool:
    """Return whether a position lies in this collection's past (or is its present)."""
    if position.seq == 0:
        return position.mark == _meta(connection, "mark")
    row = connection.execute("SELECT mark FROM changes WHERE seq = ?", (position.seq,)).fetchone()
    return row is not None and row[0] == position.mark


def changes_since(connection: sqlite3.Connection, seq: int) -> list[Change]:
    """Return the changes after number ``seq``, in order."""
    query = "SELECT seq, kind, first_row, last_row, mark FROM changes WHERE seq > ? ORDER BY seq"
    return connection.execute(query, (seq,)).fetchall()


def readable_rows(
    connection: sqlite3.Connection, *, first: int = 0, last: int = 2**63 - 1
) -> Iterator[tuple[int, bytes]]:
    """Yield (row, content address) of the chunks in [first, last] that have a vector, ascending."""
    query = 'SELECT "row", address FROM chunks WHERE "row" BETWEEN ? AND ? AND readable ORDER BY "row"'
    yield from connection.execute(query, (first, last))


def chunk_rows(connection: sqlite3.Connection) -> list[int]:
    """Return every row, ascending."""
    return [row for (row,) in connection.execute('SELECT "row" FROM chunks ORDER BY "row"')]


def all_addresses(connection: sqlite3.Connection) -> set[bytes]:
    """Return every content address in use, those of unreadable texts included."""
    return {address for (address,) in connection.execute("SELECT address FROM chunks")}


def sample_addresses(connection: sqlite3.Connection, n: int) -> list[bytes]:
    """Return the content addresses of about ``n`` chunks that have a vector, evenly spread; always the same ones."""
    first, last = connection.execute('SELECT min("row"), max("row") FROM chunks').fetchone()
    if first is None:
        return []
    query = 'SELECT "row", address FROM chunks WHERE "row" >= ? AND readable ORDER BY "row" LIMIT 1'
    step = max(1, (last - first + 1) // n)
    found = (connection.execute(query, (row,)).fetchone() for row in range(first, last + 1, step))
    return list(dict(record for record in found if record is not None).values())


def addresses_of(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, bytes]:
    """Return the content addresses of those rows that exist and have a vector."""
    return dict(_among(connection, 'SELECT "row", address FROM chunks WHERE readable AND "row" IN ({})', rows))


def chunk_ids(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, str]:
    """Return the ids of those rows that exist: the cheap way to confirm a hit."""
    return dict(_among(connection, 'SELECT "row", id FROM chunks WHERE "row" IN ({})', rows))


def chunks(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, Chunk]:
    """Return the chunks of those rows that exist."""
    query = f'SELECT {_CHUNK} FROM chunks c JOIN documents d ON d.number = c.document WHERE c."row" IN ({{}})'
    found: list[_Row] = list(_among(connection, query, rows))
    return {record[0]: _chunk(record, _slice(connection, record[8], record[3], record[4])) for record in found}


def document_chunks(connection: sqlite3.Connection, document_id: str) -> list[tuple[int, Chunk]]:
    """Return (row, chunk) of a document, in the order of its text."""
    number, whole = _number(connection, document_id), document(connection, document_id).text
    query = f"SELECT {_CHUNK} FROM chunks c JOIN documents d ON d.number = c.document WHERE c.document = ?"
    found: list[_Row] = connection.execute(f'{query} ORDER BY c."row"', (number,)).fetchall()
    return [(record[0], _chunk(record, whole[record[3] : record[4]])) for record in found]


def chunk_texts(connection: sqlite3.Connection, *, first: int = 0, last: int = 2**63 - 1) -> Iterator[tuple[int, str]]:
    """Yield (row, text) of the chunks in [first, last], ascending; each document is read once, not once a chunk."""
    query = 'SELECT "row", document, start, "end" FROM chunks WHERE "row" BETWEEN ? AND ? ORDER BY "row"'
    window: dict[int, str] = {}
    current = None
    for row, number, start, end in connection.execute(query, (first, last)):
        if number != current:
            current, window = number, {}
        places = range(start // SEGMENT, max(end - 1, start) // SEGMENT + 1)
        for place in set(window) - set(places):
            del window[place]
        for place in places:
            if place not in window:
                window[place] = _segment(connection, number, place)
        joined = "".join(window[place] for place in places)
        yield row, joined[start - places[0] * SEGMENT : end - places[0] * SEGMENT]


def documents(connection: sqlite3.Connection) -> list[DocumentInfo]:
    """Return all documents without their texts, by id."""
    names = [field.name for field in fields(DocumentInfo)]
    found = []
    for row in connection.execute(f"SELECT {', '.join(names)} FROM documents ORDER BY id"):
        values = dict(zip(names, row, strict=True))
        values["metadata"] = json.loads(values["metadata"])
        values["warnings"] = tuple(json.loads(values["warnings"]))
        found.append(DocumentInfo(**values))
    return found


def document(connection: sqlite3.Connection, document_id: str) -> Document:
    """Return a document as it was read."""
    number = _number(connection, document_id)
    query = "SELECT id, title, sha256, media_type, reader, metadata, warnings FROM documents WHERE number = ?"
    row = connection.execute(query, (number,)).fetchone()
    pieces = connection.execute("SELECT text FROM segments WHERE document = ? ORDER BY place", (number,))
    pages = connection.execute(
        'SELECT number, start, "end", label FROM pages WHERE document = ? ORDER BY place', (number,)
    )
    headings = connection.execute(
        "SELECT level, title, start FROM headings WHERE document = ? ORDER BY place", (number,)
    )
    return Document(
        id=row[0],
        title=row[1],
        text="".join(piece for (piece,) in pieces),
        sha256=row[2],
        media_type=row[3],
        reader=row[4],
        pages=tuple(Page(*page) for page in pages),
        headings=tuple(Heading(*heading) for heading in headings),
        metadata=json.loads(row[5]),
        warnings=tuple(json.loads(row[6])),
    )


def text(connection: sqlite3.Connection, document_id: str, start: int, end: int) -> str:
    """Return the characters [start, end) of a document, reading only the segments they lie in."""
    return _slice(connection, _number(connection, document_id), start, end)


def title(connection: sqlite3.Connection, document_id: str) -> str:
    number = _number(connection, document_id)
    return str(connection.execute("SELECT title FROM documents WHERE number = ?", (number,)).fetchone()[0])


def page_at(connection: sqlite3.Connection, document_id: str, offset: int) -> int | None:
    """Return the page that holds a character, as ``Document.page_at`` does, without reading the document."""
    page = _page(connection, _number(connection, document_id), offset)
    return None if page is None else page.number


def place_at(connection: sqlite3.Connection, document_id: str, offset: int) -> str:
    """Return what a person calls the place of a character, as ``Document.place_at`` does; reads one segment at most."""
    number = _number(connection, document_id)
    page = _page(connection, number, offset)
    if page is not None:
        return page.place
    heading = connection.execute(
        "SELECT title FROM headings WHERE document = ? AND start <= ? ORDER BY place DESC LIMIT 1", (number, offset)
    ).fetchone()
    first = connection.execute(
        "SELECT place, line FROM segment_lines WHERE document = ? AND place <= ? ORDER BY place DESC LIMIT 1",
        (number, offset // SEGMENT),
    ).fetchone()
    segment, line = first or (0, 1)
    line += _slice(connection, number, segment * SEGMENT, offset).count("\n")
    return line_place(line, heading="" if heading is None else str(heading[0]))


def _page(connection: sqlite3.Connection, number: int, offset: int) -> Page | None:
    row = connection.execute(
        'SELECT number, start, "end", label FROM pages WHERE document = ? AND (start <= ? OR place = 0)'
        " ORDER BY place DESC LIMIT 1",
        (number, offset),
    ).fetchone()
    return None if row is None else Page(*row)


def ledger(
    connection: sqlite3.Connection, root: str | None, within: Sequence[str] | None = None
) -> dict[str, LedgerEntry]:
    """Return the ledger by path, of one root or of all; only these paths and what lies in them, where some are given.

    Reading a part costs what the part does, however many entries there are.
    """
    query = (
        "SELECT path, root, state, sha256, size, mtime_ns, ctime_ns, inode, reason, retriable, n_pages, n_chunks,"
        " n_tokens, warnings, reader, updated_at FROM ledger"
    )
    found: Iterable[tuple[Any, ...]]
    if root is not None:
        found = connection.execute(f"{query} WHERE root = CAST(? AS TEXT) ORDER BY path", (sql_text(root),))
    elif within is None:
        found = connection.execute(f"{query} ORDER BY path")
    else:
        found = _inside(connection, query, "path", within)
    return {row[0]: _entry(row) for row in found}


def document_ids(connection: sqlite3.Connection, within: Sequence[str] | None = None) -> set[str]:
    """Return the ids of all documents; only these paths and what lies in them, where some are given."""
    query = "SELECT id FROM documents"
    found: Iterable[tuple[str]] = (
        connection.execute(query) if within is None else _inside(connection, query, "id", within)
    )
    return {document_id for (document_id,) in found}


def roots(connection: sqlite3.Connection) -> set[str]:
    """Return the ingested folders that the ledger knows files of."""
    return {root for (root,) in connection.execute("SELECT DISTINCT root FROM ledger")}


def prefixes(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what the document ids of each ingested folder begin with, by folder."""
    return dict(connection.execute("SELECT root, prefix FROM roots"))


def runs(connection: sqlite3.Connection) -> list[dict[str, object]]:
    """Return the reports of the recorded runs, oldest first."""
    return [json.loads(report) for (report,) in connection.execute("SELECT report FROM runs ORDER BY number")]


def counts(connection: sqlite3.Connection) -> Counts:
    n_documents, n_chunks, n_tokens = connection.execute(
        "SELECT count(*), coalesce(sum(n_chunks), 0), coalesce(sum(n_tokens), 0) FROM documents"
    ).fetchone()
    unreadable = connection.execute("SELECT count(*) FROM chunks WHERE NOT readable").fetchone()[0]
    changed_at = connection.execute("SELECT changed_at FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
    return n_documents, n_chunks, n_tokens, unreadable, None if changed_at is None else float(changed_at[0])


def n_with_warnings(connection: sqlite3.Connection) -> int:
    """Return how many documents their reader had something to say of."""
    query = "SELECT count(*) FROM documents WHERE warnings <> '[]'"
    return int(connection.execute(query).fetchone()[0])


def _meta(connection: sqlite3.Connection, key: str) -> str:
    return str(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


def _number(connection: sqlite3.Connection, document_id: str) -> int:
    row = connection.execute(
        "SELECT number FROM documents WHERE id = CAST(? AS TEXT)", (sql_text(document_id),)
    ).fetchone()
    if row is None:
        raise DocumentNotFoundError(f"no document {document_id!r} in this collection; `rag status` lists what there is")
    return int(row[0])


def _among(connection: sqlite3.Connection, query: str, rows: Iterable[int]) -> Iterator[tuple]:  # type: ignore[type-arg]
    wanted = [int(row) for row in rows]
    for first in range(0, len(wanted), _PARAMETERS):
        some = wanted[first : first + _PARAMETERS]
        yield from connection.execute(query.format(",".join("?" * len(some))), some)


def _inside(connection: sqlite3.Connection, query: str, column: str, within: Sequence[str]) -> Iterator[Any]:
    """Yield the rows whose path is one of ``within`` or lies in it, by two searches of the column's index for each."""
    for path in within:
        whole = path.rstrip("/")
        yield from connection.execute(f"{query} WHERE {column} = CAST(? AS TEXT)", (sql_text(whole),))
        bounds = (sql_text(f"{whole}/"), sql_text(f"{whole}0"))  # "0" is the character after "/"
        yield from connection.execute(
            f"{query} WHERE {column} >= CAST(? AS TEXT) AND {column} < CAST(? AS TEXT)", bounds
        )


def _segment(connection: sqlite3.Connection, number: int, place: int) -> str:
    row = connection.execute("SELECT text FROM segments WHERE document = ? AND place = ?", (number, place)).fetchone()
    return "" if row is None else str(row[0])


def _slice(connection: sqlite3.Connection, number: int, start: int, end: int) -> str:
    if start < 0:
        raise ValueError(f"a span starts at 0 or later, got {start}")
    if end <= start:
        return ""
    first, last = start // SEGMENT, (end - 1) // SEGMENT
    pieces = connection.execute(
        "SELECT text FROM segments WHERE document = ? AND place BETWEEN ? AND ? ORDER BY place", (number, first, last)
    )
    return "".join(piece for (piece,) in pieces)[start - first * SEGMENT : end - first * SEGMENT]


def _chunk(record: _Row, words: str) -> Chunk:
    _, document_id, identity, start, end, n_tokens, page, headings, _ = record
    return Chunk(identity, document_id, start, end, words, n_tokens, page, tuple(json.loads(headings)))


def _entry(row: tuple) -> LedgerEntry:  # type: ignore[type-arg]
    values = list(row)
    values[7], values[9], values[13] = int(row[7]), bool(row[9]), tuple(json.loads(row[13]))
    return LedgerEntry(*values)
