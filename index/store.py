"""Reading a collection's SQLite file: plain functions over a connection inside a read transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from index.checksums import rows_checksum
from index.database import REPLACE, sql_text
from index.migrations import SEGMENT
from index.records import CollectionConfig, DocumentInfo, LedgerEntry, Position
from index.seals import DOCUMENT_COLUMNS, ROW_COLUMNS, stored_document
from index.texts import damaged, text_slice
from rag.errors import CollectionError, DamagedDataError, DocumentNotFoundError
from rag.types import Chunk, ChunkingSettings, Document, Heading, Page, Table, content_address, in_context, line_place

__all__ = [
    "Change",
    "Counts",
    "addresses_of",
    "all_addresses",
    "changes_since",
    "chunk_ids",
    "chunk_rows",
    "chunks",
    "collection_mark",
    "config",
    "counts",
    "document",
    "document_chunks",
    "document_ids",
    "document_info",
    "documents",
    "entry",
    "history_holds",
    "last_position",
    "ledger",
    "n_readable",
    "n_with_warnings",
    "page_at",
    "place_at",
    "prefixes",
    "readable_rows",
    "roots",
    "runs",
    "sample_addresses",
    "sha256",
    "text",
    "title",
]

_PARAMETERS = 900  # below the 999 that SQLite before 3.32 allows in a statement
_CHUNK = (
    'c."row", d.id, c.id, c.start, c."end", c.n_tokens, c.page, c.headings, c.document, c.context_start, c.context_end,'
    " c.address"
)

Change = tuple[int, str, int, int, str]
"""seq, "add" or "remove", first row, last row, mark."""
Counts = tuple[int, int, int, int, float | None]
"""documents, chunks, tokens, unreadable chunks, time of the last change."""
_Row = tuple[int, str, str, int, int, int, int | None, str, int, int, int, bytes]


def config(connection: sqlite3.Connection) -> CollectionConfig:
    """Return what the collection was made with. Raises CollectionError where that is not as it was written."""
    row = connection.execute(
        "SELECT key, CAST(value AS BLOB), checksum FROM meta WHERE key = 'config'",
    ).fetchone()
    text = "" if row is None else bytes(row[1]).decode("utf-8", "replace")
    if row is None or row[2] not in (None, rows_checksum([(row[0], text)])):
        raise CollectionError(f"collection.db holds a configuration that was never written to it; {REPLACE}")
    value = json.loads(text)
    value.pop("metric")
    return CollectionConfig(**{**value, "chunking": ChunkingSettings(**value["chunking"])})


def last_position(connection: sqlite3.Connection) -> Position:
    """Return the last change; number 0, with the collection's own mark, before the first."""
    row = connection.execute("SELECT seq, mark FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
    return Position(0, _meta(connection, "mark")) if row is None else Position(*row)


def collection_mark(connection: sqlite3.Connection) -> str:
    """Return the random mark of a collection, which a copy of it has too."""
    return _meta(connection, "mark")


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


def n_readable(connection: sqlite3.Connection, *, first: int, last: int) -> int:
    """Return how many chunks in [first, last] have a vector."""
    query = 'SELECT count(*) FROM chunks WHERE "row" BETWEEN ? AND ? AND readable'
    return int(connection.execute(query, (first, last)).fetchone()[0])


def chunk_rows(connection: sqlite3.Connection) -> list[int]:
    """Return every row, ascending."""
    return [row for (row,) in connection.execute('SELECT "row" FROM chunks ORDER BY "row"')]


def all_addresses(connection: sqlite3.Connection) -> set[bytes]:
    """Return every content address in use, those of unreadable texts included."""
    return {address for (address,) in connection.execute("SELECT address FROM chunks")}


def sample_addresses(connection: sqlite3.Connection, n: int) -> list[bytes]:
    """Return the content addresses of about ``n`` chunks that have a vector, evenly spread; always the same ones."""
    (first,) = connection.execute('SELECT min("row") FROM chunks').fetchone()
    (last,) = connection.execute('SELECT max("row") FROM chunks').fetchone()  # both at once would read the table
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
    """Return the chunks of those rows that exist. Raises DamagedDataError where one is not the text it was made of."""
    query = f'SELECT {_CHUNK} FROM chunks c JOIN documents d ON d.number = c.document WHERE c."row" IN ({{}})'
    found: list[_Row] = list(_among(connection, query, rows))
    return {record[0]: _chunk(connection, record) for record in found}


def document_chunks(connection: sqlite3.Connection, document_id: str) -> list[tuple[int, Chunk]]:
    """Return (row, chunk) of a document, in the order of its text. Raises DamagedDataError."""
    number, whole = _number(connection, document_id), document(connection, document_id).text
    query = f"SELECT {_CHUNK} FROM chunks c JOIN documents d ON d.number = c.document WHERE c.document = ?"
    found: list[_Row] = connection.execute(f'{query} ORDER BY c."row"', (number,)).fetchall()
    return [(record[0], _chunk(connection, record, whole)) for record in found]


def documents(connection: sqlite3.Connection) -> list[DocumentInfo]:
    """Return all documents without their texts, by id."""
    return [_info(row) for row in connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM documents ORDER BY id")]


def document_info(connection: sqlite3.Connection, number: int) -> DocumentInfo:
    """Return the document of a number without its text."""
    query = f"SELECT {DOCUMENT_COLUMNS} FROM documents WHERE number = ?"
    return _info(connection.execute(query, (number,)).fetchone())


def _info(row: tuple) -> DocumentInfo:  # type: ignore[type-arg]
    values = dict(zip(DOCUMENT_COLUMNS.split(", "), row, strict=True))
    try:
        values["metadata"] = json.loads(values["metadata"])
        values["warnings"] = tuple(json.loads(values["warnings"]))
    except (TypeError, ValueError) as error:
        raise DamagedDataError(
            f"a document holds what was never written to it ({error}); run `rag status --repair`"
        ) from error
    return DocumentInfo(**values)


def document(connection: sqlite3.Connection, document_id: str) -> Document:
    """Return a document as it was read. Raises DamagedDataError where it is not as it was written."""
    number = _number(connection, document_id)
    stored = stored_document(connection, number)
    if not stored.is_whole:
        raise damaged(connection, number, "what is stored")
    row = dict(zip(DOCUMENT_COLUMNS.split(", "), stored.row, strict=True))
    return Document(
        id=row["id"],
        title=row["title"],
        text="".join(segment.text for segment in stored.segments),
        sha256=row["sha256"],
        media_type=row["media_type"],
        reader=row["reader"],
        pages=tuple(Page(*page) for page in stored.pages),
        headings=tuple(Heading(*heading) for heading in stored.headings),
        metadata=json.loads(row["metadata"]),
        warnings=tuple(json.loads(row["warnings"])),
        tables=tuple(Table(*table) for table in stored.tables),
    )


def text(connection: sqlite3.Connection, document_id: str, start: int, end: int) -> str:
    """Return the characters [start, end) of a document, reading only the segments they lie in."""
    return text_slice(connection, _number(connection, document_id), start, end)


def title(connection: sqlite3.Connection, document_id: str) -> str:
    number = _number(connection, document_id)
    return str(connection.execute("SELECT title FROM documents WHERE number = ?", (number,)).fetchone()[0])


def sha256(connection: sqlite3.Connection, document_id: str) -> str:
    """Return the SHA-256 of a document's file, in hex."""
    number = _number(connection, document_id)
    return str(connection.execute("SELECT sha256 FROM documents WHERE number = ?", (number,)).fetchone()[0])


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
    line += text_slice(connection, number, segment * SEGMENT, offset).count("\n")
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
    query = f"SELECT {ROW_COLUMNS['ledger']} FROM ledger"
    found: Iterable[tuple[Any, ...]]
    if root is not None:
        found = connection.execute(f"{query} WHERE root = CAST(? AS TEXT) ORDER BY path", (sql_text(root),))
    elif within is None:
        found = connection.execute(f"{query} ORDER BY path")
    else:
        found = _inside(connection, query, "path", within)
    return {row[0]: _entry(row) for row in found}


def entry(connection: sqlite3.Connection, path: str) -> LedgerEntry | None:
    """Return the ledger's entry of a path, None where there is none."""
    query = f"SELECT {ROW_COLUMNS['ledger']} FROM ledger WHERE path = CAST(? AS TEXT)"
    row = connection.execute(query, (sql_text(path),)).fetchone()
    return None if row is None else _entry(row)


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


def _chunk(connection: sqlite3.Connection, record: _Row, whole: str | None = None) -> Chunk:
    """Return the chunk of a record, cut from its document's text: from ``whole``, or from its segments."""
    _, document_id, identity, start, end, n_tokens, page, headings, number, context_start, context_end, address = record
    try:
        if whole is None:
            words = text_slice(connection, number, start, end)
            context = text_slice(connection, number, context_start, context_end)
        else:
            words, context = whole[start:end], whole[context_start:context_end]
        titles = tuple(json.loads(headings))
    except (TypeError, ValueError) as error:  # of another type or form than any that is stored
        raise damaged(connection, number, "a chunk") from error
    if content_address(in_context(words, context)) != address:
        raise damaged(connection, number, "a chunk")
    return Chunk(identity, document_id, start, end, words, n_tokens, page, titles, context, context_start)


def _entry(row: tuple) -> LedgerEntry:  # type: ignore[type-arg]
    values = list(row)
    try:
        values[7], values[9], values[13] = int(row[7]), bool(row[9]), tuple(json.loads(row[13]))
    except (TypeError, ValueError) as error:
        raise DamagedDataError(
            f"the ledger holds what was never written to it ({error}); run `rag status --repair`"
        ) from error
    return LedgerEntry(*values)
