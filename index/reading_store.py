"""What was read of media, addressed by content: (reader's identity, SHA-256 of the medium's bytes).

All collections of a library share one store. Each reading is committed as soon as it is there, before any document uses
it. The store also remembers which reading is at which place of which file, so that a file that was seen before, under
whatever name, need not be taken apart again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from index.database import Database, sql_text
from index.migrations import READINGS_STEPS
from rag.types import MediaKind, MediaText, MediaUsage, PlacedText, TimedText

__all__ = ["ReaderStats", "ReadingStore", "ReadingStoreStats"]

_PARAMETERS = 900  # below the 999 that SQLite before 3.32 allows in a statement
_COLUMNS = "text, segments, title, refusal, note, input_tokens, output_tokens, seconds, estimated, language"


@dataclass(frozen=True, slots=True)
class ReaderStats:
    """What one reader has read of one kind: readings with what they took, and refusals."""

    title: str
    identity: str
    kind: MediaKind
    n_readings: int
    n_refused: int
    usage: MediaUsage


@dataclass(frozen=True, slots=True)
class ReadingStoreStats:
    """What the store holds, and its size on disk in bytes."""

    readers: tuple[ReaderStats, ...] = ()
    size_bytes: int = 0


class ReadingStore:
    """``readings.db`` of a library. Every method may be called from any thread, in several processes at once."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._database = Database(path, READINGS_STEPS, create=create)

    @property
    def path(self) -> Path:
        return self._database.path

    def get(self, identity: str, addresses: Sequence[bytes]) -> dict[bytes, MediaText]:
        """Return what a reader has made of these media; addresses that it has not read are left out."""
        found: dict[bytes, MediaText] = {}
        with self._database.reading() as connection:
            for first in range(0, len(addresses), _PARAMETERS):
                some = addresses[first : first + _PARAMETERS]
                rows = connection.execute(
                    f"SELECT address, {_COLUMNS} FROM readings JOIN readers ON readings.reader = readers.number"
                    f" WHERE identity = ? AND address IN ({','.join('?' * len(some))})",
                    (identity, *some),
                )
                found.update((address, _text(row)) for address, *row in rows)
        return found

    def put(self, identity: str, kind: MediaKind, address: bytes, text: MediaText) -> bool:
        """Store one reading, on disk when this returns; False where one is there already, which stays as it is."""
        segments = json.dumps([astuple(part) for part in text.segments], ensure_ascii=True)
        usage = text.usage
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO readers (identity, title) VALUES (?, ?) ON CONFLICT DO NOTHING", (identity, text.reader)
            )
            added = connection.execute(
                "INSERT INTO readings (reader, address, kind, text, segments, refusal, note,"
                " input_tokens, output_tokens, seconds, estimated, language)"
                " SELECT number, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ? FROM readers"
                " WHERE identity = ? ON CONFLICT DO NOTHING",
                (
                    *(address, kind, sql_text(text.text), segments, text.refusal, text.note),
                    *(usage.input_tokens, usage.output_tokens, usage.seconds, usage.estimated, text.language, identity),
                ),
            ).rowcount
        return bool(added)

    def used(self, file: str, identities: Iterable[str]) -> list[PlacedText]:
        """Return the texts that readers of these identities have given to a file, by its SHA-256 in hex."""
        wanted = list(identities)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT kind, place, numbered_by, {_COLUMNS} FROM uses JOIN readings ON uses.reading = readings.number"
                " JOIN readers ON readings.reader = readers.number"
                f" WHERE file = ? AND identity IN ({','.join('?' * len(wanted))}) ORDER BY place, kind",
                (file, *wanted),
            ).fetchall()
        return [PlacedText(kind, place, numbered_by, _text(row)) for kind, place, numbered_by, *row in rows]

    def has_uses(self) -> bool:
        """Return whether any file's media were ever read: where not, nobody need ask for each file."""
        with self._database.reading() as connection:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM uses)").fetchone()[0])

    def use(self, file: str, numbered_by: str, readings: Mapping[tuple[str, int], bytes]) -> None:
        """Remember which readings are at the places of a file: the address by (identity, place)."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT INTO uses (file, place, reading, numbered_by) SELECT ?, ?, readings.number, ? FROM readings"
                " JOIN readers ON readings.reader = readers.number WHERE identity = ? AND address = ?"
                " ON CONFLICT DO UPDATE SET numbered_by = excluded.numbered_by",
                [(file, place, numbered_by, identity, address) for (identity, place), address in readings.items()],
            )

    def stats(self) -> ReadingStoreStats:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT title, identity, kind, sum(refusal = ''), sum(refusal != ''), sum(input_tokens),"
                " sum(output_tokens), sum(seconds), max(estimated)"
                " FROM readings JOIN readers ON readings.reader = readers.number GROUP BY readers.number, kind"
                " ORDER BY title, kind"
            ).fetchall()
        stats = tuple(
            ReaderStats(title, identity, kind, n, n_refused, MediaUsage(n_in, n_out, seconds, bool(estimated)))
            for title, identity, kind, n, n_refused, n_in, n_out, seconds, estimated in rows
        )
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return ReadingStoreStats(stats, sum(file.stat().st_size for file in files if file.exists()))

    def n_orphans(self, files: Iterable[str]) -> int:
        """Return how many readings are of none of these files."""
        with self._database.reading() as connection:
            _keep(connection, files)
            (n,) = connection.execute(f"SELECT count(*) FROM readings WHERE {_ORPHANS}").fetchone()
        return int(n)

    def prune(self, files: Iterable[str]) -> int:
        """Delete the readings of media that are in none of these files (SHA-256, in hex); return how many they were.

        The caller sees to it that nobody is writing documents meanwhile: see ``Library.prune``.
        """
        with self._database.writing() as connection:
            _keep(connection, files)
            gone = connection.execute(f"DELETE FROM readings WHERE {_ORPHANS}").rowcount
            connection.execute("DELETE FROM uses WHERE file NOT IN (SELECT file FROM temp.kept)")
            connection.execute("DROP TABLE temp.kept")
        return int(gone)

    def copy_into(self, path: Path, *, format: int) -> int:
        """Write all readings, of one moment, into another SQLite file; return how many they are.

        ``format`` is what an import will find in the table ``readings_format``.
        """
        with self._database.outside_transactions() as connection:
            connection.execute("ATTACH ? AS copy", (str(path),))
            try:
                connection.execute("BEGIN")
                for table in ("readers", "readings", "uses"):
                    connection.execute(f"CREATE TABLE copy.{table} AS SELECT * FROM main.{table}")
                connection.execute("CREATE TABLE copy.readings_format (version INTEGER)")
                connection.execute("INSERT INTO copy.readings_format VALUES (?)", (format,))
                (n,) = connection.execute("SELECT count(*) FROM copy.readings").fetchone()
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.execute("DETACH copy")
        return int(n)

    def compact(self) -> None:
        """Give the space of deleted readings back to the disk; takes as much again while it works."""
        with self._database.outside_transactions() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def problems(self) -> list[str]:
        """Return what SQLite finds wrong with the file, in words; nothing when it is whole."""
        with self._database.reading() as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        return [f"readings.db: {problem}" for problem in found if problem != "ok"]

    def close(self) -> None:
        self._database.close()


_ORPHANS = "number NOT IN (SELECT reading FROM uses WHERE file IN (SELECT file FROM temp.kept))"


def _keep(connection: sqlite3.Connection, files: Iterable[str]) -> None:
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (file TEXT PRIMARY KEY) WITHOUT ROWID")
    connection.execute("DELETE FROM temp.kept")
    connection.executemany("INSERT INTO temp.kept VALUES (?) ON CONFLICT DO NOTHING", ((file,) for file in files))


def _text(row: Sequence[Any]) -> MediaText:
    text, segments, title, refusal, note, input_tokens, output_tokens, seconds, estimated, language = row
    return MediaText(
        text,
        tuple(TimedText(*part) for part in json.loads(segments)),
        reader=title,
        refusal=refusal,
        note=note,
        usage=MediaUsage(input_tokens, output_tokens, seconds, bool(estimated)),
        language=language,
    )
