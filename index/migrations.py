"""The schemas, as numbered steps; ``PRAGMA user_version`` counts the steps a file has taken.

A step is never edited after release: a change is a new step. Text is stored as UTF-8, with lone surrogates let through
(see ``index.database``). Times are Unix seconds.

collection.db
  meta       the configuration and the collection's own id
  documents  one row a document; ``number`` is internal, ``id`` is what users see
  segments   the document's text in pieces of ``SEGMENT`` characters, so that slicing a huge document is cheap
  segment_lines  the line of the text, from 1, that each segment begins in: so that a line of it is cheap to name
  pages      ``place`` counts from 0 in reading order; spans are characters of the text; ``label`` is what a person
             calls the page, "" for "page N"
  headings   likewise
  tables     likewise; the header's span is empty where there is none
  chunks     ``row`` is the number FAISS and the keyword index know a chunk by: never reused. No text: it is cut from
             the segments, and so is its context, [context_start, context_end), empty for none. ``address`` is the
             content address of its vector, ``readable`` 0 where the model has none
  changes    the history that the derived indexes follow: rows [first_row, last_row] came or went
  ledger     what became of each input path
  roots      which folders were ingested, and what their document ids begin with
  runs       one JSON report a run
  attribute_sources  what each source (path, front matter, sidecar, API) gave for a document id, as JSON
  attributes what comes of it for the documents that are there, one row a value: made of the sources at any time.
             ``kind`` is text, date, number, bool or empty; ``number`` of a date is in epoch seconds
  unsealed   documents [first, last] were stored before there were checksums, and some have none yet

answers.db
  answers    what was observed of each answer, as JSON (``index.answer_records.AnswerRecord``)
  feedback   what people said of it: "up" or "down", a corrected answer, a comment; "" for none

A ``checksum`` (see ``index.checksums``) is that of its row; in ``segment_lines`` that of the segment's UTF-8, and in
``documents`` that of all that a reader gets of the document but its chunks, whose is ``chunks_checksum`` (see
``index.seals``). It is NULL in what was stored before there were any and has none yet.

vectors.db
  spaces     a (model, dimensions) pair
  vectors    ``embedding`` is float32 little-endian, of unit length: ``numpy.frombuffer(embedding, "<f4")``.
             NULL: the model cannot read the text, which is worth remembering. ``checksum`` is of address and
             embedding
  unsealed   vectors [first, last] are of that time

readings.db
  readers    who reads media (``MediaProfile``): ``identity`` is the key, ``title`` what a person calls it
  readings   what a reader made of a medium: ``address`` is the SHA-256 of its bytes, ``segments`` a JSON list of
             [start, end, text]. A refusal is remembered with its reason, and has no text; ``note`` goes into warnings
  uses       which reading is at a place of a file (SHA-256 of its bytes); ``numbered_by`` is the file's reader

threads.db
  threads    conversations; ``collections`` is a JSON list, empty for the default one, ``metadata`` a JSON object
  turns      a question and its answer in one row, so that no answer is there in part: ``state`` is open while it is
             being written by ``owner`` (see ``index.presence``), and only an answered turn has the rest. ``record`` is
             the answer as JSON; ``unknown_markers`` are its numbers that name no source
  numbers    what a number of a thread's citations names: ``[start, end)`` of one version of a document; ``cited`` are
             the spans cited under it, a JSON list of pairs. ``document`` is NULL where a model made the number up: it
             is never given out
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress

from rag.errors import IndexMismatchError

__all__ = [
    "ANSWERS_STEPS",
    "COLLECTION_STEPS",
    "READINGS_STEPS",
    "SEGMENT",
    "THREADS_STEPS",
    "VECTORS_STEPS",
    "migrate",
    "require_current",
]

SEGMENT = 16_384
"""Characters in a segment: a chunk of 1,000 characters costs one read of a few pages."""

Step = Sequence[str]

_COLLECTION_1: Step = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE documents (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        media_type TEXT NOT NULL,
        reader TEXT NOT NULL,
        n_characters INTEGER NOT NULL,
        n_pages INTEGER NOT NULL,
        n_chunks INTEGER NOT NULL,
        n_tokens INTEGER NOT NULL,
        metadata TEXT NOT NULL,
        warnings TEXT NOT NULL,
        changed_at REAL NOT NULL
    )""",
    """CREATE TABLE segments (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        place INTEGER NOT NULL,
        text TEXT NOT NULL,
        UNIQUE (document, place)
    )""",
    """CREATE TABLE pages (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        place INTEGER NOT NULL,
        number INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        PRIMARY KEY (document, place)
    ) WITHOUT ROWID""",
    """CREATE TABLE headings (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        place INTEGER NOT NULL,
        level INTEGER NOT NULL,
        title TEXT NOT NULL,
        start INTEGER NOT NULL,
        PRIMARY KEY (document, place)
    ) WITHOUT ROWID""",
    """CREATE TABLE chunks (
        "row" INTEGER PRIMARY KEY AUTOINCREMENT,
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        id TEXT NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        n_tokens INTEGER NOT NULL,
        page INTEGER,
        headings TEXT NOT NULL,
        address BLOB NOT NULL,
        readable INTEGER NOT NULL
    )""",
    "CREATE INDEX chunks_of_document ON chunks (document)",
    """CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL CHECK (kind IN ('add', 'remove')),
        first_row INTEGER NOT NULL,
        last_row INTEGER NOT NULL,
        mark TEXT NOT NULL,
        changed_at REAL NOT NULL
    )""",
    """CREATE TABLE ledger (
        path TEXT PRIMARY KEY,
        root TEXT NOT NULL,
        state TEXT NOT NULL,
        sha256 TEXT,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        inode TEXT NOT NULL,
        reason TEXT NOT NULL,
        retriable INTEGER NOT NULL,
        n_pages INTEGER NOT NULL,
        n_chunks INTEGER NOT NULL,
        n_tokens INTEGER NOT NULL,
        warnings TEXT NOT NULL,
        reader TEXT NOT NULL,
        updated_at REAL NOT NULL
    )""",
    "CREATE INDEX ledger_of_root ON ledger (root)",
    "CREATE TABLE roots (root TEXT PRIMARY KEY, prefix TEXT NOT NULL UNIQUE)",
    "CREATE TABLE runs (number INTEGER PRIMARY KEY AUTOINCREMENT, finished_at REAL NOT NULL, report TEXT NOT NULL)",
)

# Line feeds are counted in bytes: SQLite takes a text to end at a NUL. The window is linear in a document's length.
_COLLECTION_2: Step = (
    "ALTER TABLE pages ADD COLUMN label TEXT NOT NULL DEFAULT ''",
    """CREATE TABLE segment_lines (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        place INTEGER NOT NULL,
        line INTEGER NOT NULL,
        PRIMARY KEY (document, place)
    ) WITHOUT ROWID""",
    """INSERT INTO segment_lines (document, place, line)
        SELECT document, place, 1 + coalesce(sum(n) OVER (
            PARTITION BY document ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0)
        FROM (
            SELECT document, place,
                length(CAST(text AS BLOB)) - length(CAST(replace(text, char(10), '') AS BLOB)) AS n
            FROM segments
        )""",
)

_COLLECTION_3: Step = (
    """CREATE TABLE tables (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        place INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        header_start INTEGER NOT NULL,
        header_end INTEGER NOT NULL,
        PRIMARY KEY (document, place)
    ) WITHOUT ROWID""",
    "ALTER TABLE chunks ADD COLUMN context_start INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE chunks ADD COLUMN context_end INTEGER NOT NULL DEFAULT 0",
)

# Nothing is read here: a large library opens at once, and its next writers fill the checksums in.
_UNSEALED = "CREATE TABLE unsealed (first INTEGER NOT NULL, last INTEGER NOT NULL)"
_COLLECTION_4: Step = (
    "ALTER TABLE documents ADD COLUMN checksum INTEGER",
    "ALTER TABLE documents ADD COLUMN chunks_checksum INTEGER",
    *(
        f"ALTER TABLE {table} ADD COLUMN checksum INTEGER"
        for table in ("segment_lines", "meta", "changes", "ledger", "roots", "runs")
    ),
    _UNSEALED,
    "INSERT INTO unsealed SELECT 1, (SELECT coalesce(max(number), 0) FROM documents) WHERE EXISTS (SELECT 1 FROM meta)",
)

_COLLECTION_5: Step = (
    """CREATE TABLE attribute_sources (
        id TEXT NOT NULL,
        source TEXT NOT NULL,
        content TEXT NOT NULL,
        checksum INTEGER,
        PRIMARY KEY (id, source)
    )""",
    """CREATE TABLE attributes (
        document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        key TEXT NOT NULL,
        place INTEGER NOT NULL,
        kind TEXT NOT NULL,
        text TEXT,
        number,
        PRIMARY KEY (document, key, place)
    ) WITHOUT ROWID""",
    "CREATE INDEX attributes_by_number ON attributes (key, kind, number, document)",
    "CREATE INDEX attributes_by_text ON attributes (key, kind, text, document)",
)

_VECTORS_1: Step = (
    """CREATE TABLE spaces (
        number INTEGER PRIMARY KEY,
        model TEXT NOT NULL,
        dimensions INTEGER NOT NULL,
        UNIQUE (model, dimensions)
    )""",
    """CREATE TABLE vectors (
        number INTEGER PRIMARY KEY,
        space INTEGER NOT NULL REFERENCES spaces,
        address BLOB NOT NULL,
        embedding BLOB,
        UNIQUE (space, address)
    )""",
)

_VECTORS_2: Step = (
    "ALTER TABLE vectors ADD COLUMN checksum INTEGER",
    _UNSEALED,
    "INSERT INTO unsealed SELECT (SELECT min(number) FROM vectors), (SELECT max(number) FROM vectors)"  # no scan
    " WHERE EXISTS (SELECT 1 FROM vectors)",
)

_READINGS_1: Step = (
    """CREATE TABLE readers (
        number INTEGER PRIMARY KEY,
        identity TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL
    )""",
    """CREATE TABLE readings (
        number INTEGER PRIMARY KEY,
        reader INTEGER NOT NULL REFERENCES readers,
        address BLOB NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL,
        segments TEXT NOT NULL,
        refusal TEXT NOT NULL,
        note TEXT NOT NULL,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        seconds REAL NOT NULL,
        estimated INTEGER NOT NULL,
        language TEXT NOT NULL,
        UNIQUE (reader, address)
    )""",
    """CREATE TABLE uses (
        file TEXT NOT NULL,
        place INTEGER NOT NULL,
        reading INTEGER NOT NULL REFERENCES readings ON DELETE CASCADE,
        numbered_by TEXT NOT NULL,
        PRIMARY KEY (file, place, reading)
    ) WITHOUT ROWID""",
    "CREATE INDEX uses_of_reading ON uses (reading)",
)

_THREADS_1: Step = (
    """CREATE TABLE threads (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        collections TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL
    )""",
    "CREATE INDEX threads_by_update ON threads (updated_at, number)",
    """CREATE TABLE turns (
        thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE,
        turn INTEGER NOT NULL,
        question TEXT NOT NULL,
        asked_at REAL NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'answered', 'failed', 'cancelled', 'interrupted')),
        reason TEXT NOT NULL,
        owner TEXT NOT NULL,
        answer_id TEXT,
        answer TEXT,
        refusal TEXT,
        unknown_markers TEXT,
        record TEXT,
        answered_at REAL,
        PRIMARY KEY (thread, turn),
        CHECK ((state = 'answered') = (record IS NOT NULL)),
        CHECK ((state = 'answered') = (answer IS NOT NULL))
    )""",
    "CREATE UNIQUE INDEX one_open_turn ON turns (thread) WHERE state = 'open'",
    "CREATE INDEX turns_by_answer ON turns (answer_id) WHERE answer_id IS NOT NULL",
    """CREATE TABLE numbers (
        thread INTEGER NOT NULL REFERENCES threads ON DELETE CASCADE,
        marker INTEGER NOT NULL,
        collection TEXT,
        document TEXT,
        sha256 TEXT,
        start INTEGER,
        "end" INTEGER,
        cited TEXT NOT NULL,
        PRIMARY KEY (thread, marker)
    ) WITHOUT ROWID""",
)

_ANSWERS_1: Step = (
    """CREATE TABLE answers (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        at REAL NOT NULL,
        outcome TEXT NOT NULL,
        record TEXT NOT NULL
    )""",
    "CREATE INDEX answers_by_time ON answers (at)",
    """CREATE TABLE feedback (
        answer TEXT PRIMARY KEY REFERENCES answers (id) ON DELETE CASCADE,
        at REAL NOT NULL,
        rating TEXT NOT NULL,
        correction TEXT NOT NULL,
        comment TEXT NOT NULL
    ) WITHOUT ROWID""",
)

ANSWERS_STEPS: Sequence[Step] = (_ANSWERS_1,)
COLLECTION_STEPS: Sequence[Step] = (_COLLECTION_1, _COLLECTION_2, _COLLECTION_3, _COLLECTION_4, _COLLECTION_5)
VECTORS_STEPS: Sequence[Step] = (_VECTORS_1, _VECTORS_2)
READINGS_STEPS: Sequence[Step] = (_READINGS_1,)
THREADS_STEPS: Sequence[Step] = (_THREADS_1,)


def migrate(connection: sqlite3.Connection, steps: Sequence[Step], *, path: str) -> None:
    """Bring a file up to the last step, in one transaction. Raises IndexMismatchError for a newer file."""
    if _version(connection, steps, path=path) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # subtle: another process may have migrated while this one waited for the lock.
        for step in steps[_version(connection, steps, path=path) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has already rolled back by itself
            connection.execute("ROLLBACK")
        raise


def require_current(connection: sqlite3.Connection, steps: Sequence[Step], *, path: str) -> None:
    """Raise IndexMismatchError unless a file that cannot be written has taken every step."""
    version = _version(connection, steps, path=path)
    if version < len(steps):
        raise IndexMismatchError(
            f"{path} has format {version}, this version of Footnote needs {len(steps)} and may not write to it; make"
            " its folder writable for one `rag status`"
        )


def _version(connection: sqlite3.Connection, steps: Sequence[Step], *, path: str) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise IndexMismatchError(
            f"{path} has format {version}, this version of Footnote knows up to {len(steps)}; upgrade Footnote"
        )
    return version
