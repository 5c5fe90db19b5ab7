"""Which chunks a filter allows: one SQL statement over the indexed attributes, remembered for as long as it holds.

A comparison with an attribute that a document does not have holds for no sign at all, ``ne`` and ``nin`` included; only
``exists`` asks for it. A list fits when one of its items does, for ``ne`` and ``nin`` when none does. docs/filters.md
has the rules.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from index import store
from index.database import sql_text
from index.exact import RowArray
from index.globs import glob_matches, glob_prefix
from index.records import Position
from rag.attributes import BUILT_IN, Scalar, date_span
from rag.filters import Comparison, Filter, filter_to_json, leaves

__all__ = ["AllowedRows", "FilterCache", "allowed_ids", "allowed_rows", "extension_of", "folder_of", "narrowed"]

_REMEMBERED = 64  # filters of a collection whose rows are kept
_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_USER = "attributes."
_Condition = tuple[str, list[object]]


@dataclass(frozen=True)
class AllowedRows:
    """The rows of the chunks that a filter allows, ascending, of ``n_documents`` among ``n_all_documents``."""

    rows: RowArray
    n_documents: int
    n_all_documents: int

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def bitmap(self) -> NDArray[np.uint8]:
        """One bit for each row number up to the last allowed one, the lowest first."""
        bits = np.zeros(int(self.rows[-1]) + 1 if len(self.rows) else 0, np.bool_)
        bits[self.rows] = True
        return np.packbits(bits, bitorder="little")

    def holds(self, rows: RowArray) -> NDArray[np.bool_]:
        """Return for each row whether it is allowed."""
        if not len(self.rows):
            return np.zeros(len(rows), np.bool_)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.asarray(self.rows[places] == rows)


def narrowed(allowed: AllowedRows | None, among: Sequence[int] | None) -> AllowedRows | None:
    """Return what is both allowed and ``among`` some rows; None is everything."""
    if among is None:
        return allowed
    rows = np.unique(np.array(among, np.int64))
    if allowed is None:
        return AllowedRows(rows, 0, 0)
    return AllowedRows(rows[allowed.holds(rows)], allowed.n_documents, allowed.n_all_documents)


class FilterCache:
    """Remembers what the last filters allowed, for the position in history that it was found at. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._position: Position | None = None
        self._found: OrderedDict[str, AllowedRows] = OrderedDict()

    def allowed(self, connection: sqlite3.Connection, filter_: Filter) -> AllowedRows:
        """Return what ``allowed_rows`` does; ``connection`` is inside a read transaction."""
        # subtle: times of files change without a change in history, and are not remembered
        if any(leaf.key == "modified" for leaf in leaves(filter_)):
            return allowed_rows(connection, filter_)
        # subtle: as JSON, since 1 and true are equal to Python and mean different documents
        key = json.dumps(filter_to_json(filter_))
        position = store.last_position(connection)
        with self._guard:
            if position == self._position and key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = allowed_rows(connection, filter_)
        with self._guard:
            if position != self._position:
                self._position, self._found = position, OrderedDict()
            self._found[key] = found
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return found


def allowed_rows(connection: sqlite3.Connection, filter_: Filter) -> AllowedRows:
    """Return the rows that a filter allows."""
    _add_functions(connection)
    allowed, values = condition_of(filter_)
    rows = connection.execute(
        'SELECT c."row" FROM chunks c WHERE c.document IN'
        f' (SELECT d.number FROM documents d WHERE {allowed}) ORDER BY c."row"',
        values,
    )
    n_all = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
    n = connection.execute(f"SELECT count(*) FROM documents d WHERE {allowed}", values).fetchone()[0]
    return AllowedRows(np.fromiter((row for (row,) in rows), np.int64), int(n), int(n_all))


def allowed_ids(connection: sqlite3.Connection, filter_: Filter, document_id: str | None = None) -> set[str]:
    """Return the ids of the documents that a filter allows: of all, or of one."""
    _add_functions(connection)
    allowed, values = condition_of(filter_)
    if document_id is not None:
        allowed, values = f"({allowed}) AND d.id = CAST(? AS TEXT)", [*values, sql_text(document_id)]
    return {str(name) for (name,) in connection.execute(f"SELECT d.id FROM documents d WHERE {allowed}", values)}


def _add_functions(connection: sqlite3.Connection) -> None:
    for name, function, n in (
        ("folder_of", folder_of, 1),
        ("extension_of", extension_of, 1),
        ("created_at", created_at, 1),
        ("glob_matches", glob_matches, 2),
    ):
        connection.create_function(name, n, function, deterministic=True)


def folder_of(document_id: str) -> str:
    """Return the folder of a document, "" at the top.

    >>> folder_of("a/b/c.md"), folder_of("c.md")
    ('a/b', '')
    """
    return document_id.rpartition("/")[0]


def extension_of(document_id: str) -> str:
    """Return what the name of a document ends in, in small letters without the dot; "" where it has none.

    >>> extension_of("a.b/C.MD"), extension_of("a.b/c")
    ('md', '')
    """
    stem, dot, extension = document_id.rpartition("/")[2].rpartition(".")
    return extension.lower() if stem and dot else ""


def created_at(metadata: str) -> float | None:
    """Return when a document says that it was made, in epoch seconds, from its metadata as JSON."""
    try:
        written = json.loads(metadata).get("created", "")
    except (ValueError, AttributeError):
        return None
    span = date_span(written) if isinstance(written, str) else None
    return None if span is None else span[0]


def condition_of(filter_: Filter) -> _Condition:
    """Return the condition on ``d``, a row of ``documents``, with its values."""
    if isinstance(filter_, Comparison):
        return _comparison(filter_)
    parts = [condition_of(part) for part in filter_.filters]
    if not parts:
        return ("1" if filter_.type == "and" else "0"), []
    words = f" {filter_.type.upper()} ".join(f"({sql})" for sql, _ in parts)
    return words, list(chain.from_iterable(values for _, values in parts))


def _comparison(leaf: Comparison) -> _Condition:
    if leaf.type == "exists":
        sql, values = _documents(leaf.key, ("kind IS NOT NULL", []))
        return (sql if leaf.value else f"NOT ({sql})"), values
    if leaf.type in ("ne", "nin"):
        there, there_values = _documents(leaf.key, ("kind IS NOT NULL", []))
        equal, values = _comparison(Comparison("in", leaf.key, leaf.values))
        return f"({there}) AND NOT ({equal})", [*there_values, *values]
    operator = "eq" if leaf.type == "in" else leaf.type
    conditions = [_condition(operator, value) for value in leaf.values]
    joined = " OR ".join(f"({sql})" for sql, _ in conditions)
    return _documents(leaf.key, (joined, list(chain.from_iterable(values for _, values in conditions))))


_TEXT = "SELECT number AS document, 'text' AS kind, {} AS text, NULL AS number FROM documents"
_DATE = (
    "SELECT f.number AS document, CASE WHEN {0} IS NOT NULL THEN 'date' END AS kind, NULL AS text, {0} AS number"
    " FROM documents f"
)
_BUILT_IN_ROWS = {
    "path": _TEXT.format("id"),
    "folder": _TEXT.format("folder_of(id)"),
    "extension": _TEXT.format("extension_of(id)"),
    "format": _TEXT.format("media_type"),
    "title": _TEXT.format("title"),
    "modified": _DATE.format("nullif(l.mtime_ns, 0) / 1e9") + " JOIN ledger l ON l.path = f.id",
    "created": _DATE.format("created_at(f.metadata)"),
}


def _documents(key: str, condition: _Condition) -> _Condition:
    """Return the condition that some value of a document's attribute fulfils one on kind, text and number."""
    sql, values = condition
    if key in BUILT_IN:
        return f"d.number IN (SELECT document FROM ({_BUILT_IN_ROWS[key]}) WHERE {sql})", values
    name = key.removeprefix(_USER)
    return f"d.number IN (SELECT document FROM attributes WHERE key = ? AND ({sql}))", [name, *values]


def _condition(operator: str, value: Scalar) -> _Condition:
    """Return the condition on (kind, text, number) of one item that it compares so with a value."""
    if operator == "like":
        prefix = glob_prefix(str(value))
        return (
            "kind IN ('text', 'date') AND text >= ? AND text < ? AND glob_matches(text, ?)",
            [prefix, prefix + "\U0010ffff", value],
        )
    sign = _SIGNS.get(operator, "=")
    if isinstance(value, bool):
        return "kind = 'bool' AND number = ?", [int(value)]
    if not isinstance(value, str):
        return f"kind IN ('number', 'date') AND number {sign} ?", [value]
    span = date_span(value)
    if span is None:
        return f"kind IN ('text', 'date') AND text {sign} ?", [value]
    dated, bounds = _dated(operator, *span)
    kinds = "kind IN ('date', 'number')" if date_span(value, whole=True) else "kind = 'date'"
    return f"({kinds} AND {dated}) OR (kind = 'text' AND text {sign} ?)", [*bounds, value]


def _dated(operator: str, first: float, last: float) -> _Condition:
    """Return the condition that a moment compares so with the span [first, last), a point where both are the same."""
    if operator == "eq":
        return ("number = ?", [first]) if first == last else ("number >= ? AND number < ?", [first, last])
    if operator in ("lt", "gte"):
        return f"number {_SIGNS[operator]} ?", [first]
    if first == last:
        return f"number {_SIGNS[operator]} ?", [first]
    return ("number >= ?" if operator == "gt" else "number < ?"), [last]
