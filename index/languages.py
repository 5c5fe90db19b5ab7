"""In which language most of a collection is written, told from a sample of its chunks."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import Counter

import numpy as np

from index import store
from index.database import Database
from index.records import Position
from rag.answering.question import reads_chinese

__all__ = ["MainLanguage"]

_SAMPLE = 64  # chunks: some 10 ms, once a change
_LATIN = re.compile(r"[A-Za-z]{2,}")


class MainLanguage:
    """Remembers the language for the position in history that it was told at. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._known: tuple[Position, str] | None = None

    def get(self) -> str:
        """Return "zh", "en" (for all that is written in Latin letters), or "" where more than half is neither."""
        with self._database.reading() as connection:
            position = store.last_position(connection)
            with self._guard:
                if self._known is not None and self._known[0] == position:
                    return self._known[1]
            found = _of_sample(connection)
        with self._guard:
            self._known = position, found
        return found


def _of_sample(connection: sqlite3.Connection) -> str:
    first, last = connection.execute('SELECT min("row"), max("row") FROM chunks').fetchone()
    if first is None:
        return ""
    query = 'SELECT "row" FROM chunks WHERE "row" >= ? ORDER BY "row" LIMIT 1'
    places = np.unique(np.linspace(first, last, _SAMPLE).astype(np.int64))
    rows = {int(connection.execute(query, (int(place),)).fetchone()[0]) for place in places}
    votes = Counter(_language_of(chunk.text) for chunk in store.chunks(connection, sorted(rows)).values())
    language, n = votes.most_common(1)[0]
    return language if n * 2 > votes.total() else ""


def _language_of(text: str) -> str:
    if reads_chinese(text):
        return "zh"
    return "en" if len(_LATIN.findall(text)) >= 3 else ""
