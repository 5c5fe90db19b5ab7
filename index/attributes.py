"""The attributes of documents in ``collection.db``: what each source gave, and what comes of it, ready to be searched.

``attribute_sources`` is what was given, by document id, and outlives a version of a document; ``attributes`` is what
holds for the documents that are there, and is written in the same transaction as they are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

from index.database import sql_text
from index.statements import insert_row, log_rows
from rag.attributes import SOURCES, Attribute, Attributes, Scalar, date_span, merged_attributes
from rag.errors import DamagedDataError

__all__ = [
    "attributes_of",
    "copy_given",
    "forget_attributes",
    "given_over_api",
    "gives_other",
    "put_attributes",
    "set_source",
    "sources_of",
]

_Row = tuple[str, str | None, int | float | None]


def sources_of(connection: sqlite3.Connection, document_id: str) -> dict[str, dict[str, Attribute]]:
    """Return what each source gave for a document id, whether or not there is such a document."""
    found = connection.execute(
        "SELECT source, content FROM attribute_sources WHERE id = CAST(? AS TEXT)", (sql_text(document_id),)
    )
    return {source: _attributes(content) for source, content in found}


def attributes_of(connection: sqlite3.Connection, document_ids: Iterable[str] | None = None) -> dict[str, Attributes]:
    """Return the attributes of documents by id, of all that have any or of some; the strongest source of each wins."""
    query = "SELECT id, source, content FROM attribute_sources"
    if document_ids is None:
        rows = connection.execute(query).fetchall()
    else:
        rows = [
            row
            for document_id in document_ids
            for row in connection.execute(f"{query} WHERE id = CAST(? AS TEXT)", (sql_text(document_id),))
        ]
    by_id: dict[str, dict[str, Attributes]] = {}
    for document_id, source, content in rows:
        by_id.setdefault(document_id, {})[source] = _attributes(content)
    return {document_id: merged_attributes(sources) for document_id, sources in by_id.items()}


def set_source(connection: sqlite3.Connection, document_id: str, source: str, given: Attributes) -> bool:
    """Write what a source gives for a document id; return whether that is another than before."""
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, got {source!r}")
    if not gives_other(connection, document_id, source, given):
        return False
    connection.execute(
        "DELETE FROM attribute_sources WHERE id = CAST(? AS TEXT) AND source = ?", (sql_text(document_id), source)
    )
    if given:
        insert_row(connection, "attribute_sources", (document_id, source, _content(given)))
    return True


def gives_other(connection: sqlite3.Connection, document_id: str, source: str, given: Attributes) -> bool:
    """Return whether a source gives now what it did not give before."""
    found = connection.execute(
        "SELECT content FROM attribute_sources WHERE id = CAST(? AS TEXT) AND source = ?",
        (sql_text(document_id), source),
    ).fetchone()
    # subtle: not compared as values, for 1 and true are equal to Python
    return ("{}" if found is None else str(found[0])) != _content(given)


def put_attributes(connection: sqlite3.Connection, document_id: str, *, log: bool) -> None:
    """Make the searchable attributes of a document what its sources say; ``log`` adds that to the history.

    A change of attributes alone moves the position of the collection, so that whoever remembers what a filter allowed
    asks again; no row comes or goes. Nothing happens where there is no such document.
    """
    found = connection.execute(
        "SELECT number FROM documents WHERE id = CAST(? AS TEXT)", (sql_text(document_id),)
    ).fetchone()
    if found is None:
        return
    connection.execute("DELETE FROM attributes WHERE document = ?", found)
    merged = merged_attributes(sources_of(connection, document_id))
    connection.executemany(
        "INSERT INTO attributes (document, key, place, kind, text, number) VALUES (?, ?, ?, ?, ?, ?)",
        [(found[0], key, place, *row) for key, value in merged.items() for place, row in enumerate(_rows(value))],
    )
    if log:
        log_rows(connection, "add", 0, -1)


def forget_attributes(connection: sqlite3.Connection, document_id: str) -> None:
    """Delete what every source gave for a document id that has gone for good."""
    connection.execute("DELETE FROM attribute_sources WHERE id = CAST(? AS TEXT)", (sql_text(document_id),))


def copy_given(connection: sqlite3.Connection, former_id: str, document_id: str) -> None:
    """Give a renamed document what was given to it over the API under its former name, unless it has some already."""
    known, former = sources_of(connection, document_id), sources_of(connection, former_id)
    if "api" in former and "api" not in known:
        set_source(connection, document_id, "api", former["api"])


def given_over_api(connection: sqlite3.Connection) -> Mapping[str, Attributes]:
    """Return what was given over the API, by document id: what a rebuild must not lose."""
    found = connection.execute("SELECT id, content FROM attribute_sources WHERE source = 'api'")
    return {document_id: _attributes(content) for document_id, content in found}


def _content(given: Attributes) -> str:
    return json.dumps(dict(given), ensure_ascii=False, sort_keys=True)


def _attributes(content: str) -> dict[str, Attribute]:
    try:
        found = json.loads(content)
        return {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise DamagedDataError(
            f"the attributes of a document are not as they were written ({error}); run `rag status --repair`"
        ) from error


def _rows(value: Attribute) -> list[_Row]:
    """Return (kind, text, number) for each item: text, date, number or bool; an empty list is there, and is nothing."""
    if isinstance(value, tuple):
        return [_row(item) for item in value] or [("empty", None, None)]
    return [_row(value)]


def _row(item: Scalar) -> _Row:
    if isinstance(item, bool):
        return "bool", None, int(item)
    if isinstance(item, str):
        span = date_span(item, whole=True)
        return ("text", item, None) if span is None else ("date", item, span[0])
    return "number", None, item
