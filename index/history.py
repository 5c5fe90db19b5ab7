"""What a derived index must do to follow its collection: the changes since its position, reduced to rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from index import store
from index.records import Position

__all__ = ["Pending", "pending_changes"]


@dataclass(frozen=True, slots=True)
class Pending:
    """The way from an index's position to ``target``.

    ``removed`` are rows that went; ``added`` ranges [first, last] that came, some of whose rows may have gone again
    (SQLite no longer has them). ``rebuild`` says that the position is not in the collection's past, so that the index
    must start from nothing; then ``added`` is everything.
    """

    target: Position
    rebuild: bool
    removed: Sequence[int]
    added: Sequence[tuple[int, int]]


def pending_changes(connection: sqlite3.Connection, position: Position | None) -> Pending | None:
    """Return what an index at ``position`` (None: empty) has to do, or None when it is up to date."""
    target = store.last_position(connection)
    if position == target:
        return None
    if position is None or not store.history_holds(connection, position):
        return Pending(target, True, (), ((0, 2**63 - 1),))
    changes = store.changes_since(connection, position.seq)
    removed = [row for _, kind, first, last, _ in changes if kind == "remove" for row in range(first, last + 1)]
    added = [(first, last) for _, kind, first, last, _ in changes if kind == "add" and first <= last]
    return Pending(target, False, removed, added)
