"""The conversations of a library: ``threads.db``, and ``answering/`` beside it, where the names of processes lie.

A question and its answer are one row, committed when the answer is whole; until then the row says who is writing it. So
whatever kills a process, a turn is there with all that belongs to it, or is a question that says what became of it. One
turn of a thread is answered at a time, over all processes.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from index.database import Database, sql_text
from index.migrations import THREADS_STEPS
from index.presence import Presence
from index.thread_records import (
    Begun,
    EarlierTurn,
    Finished,
    OpenTurn,
    StoredTurn,
    Thread,
    ThreadPage,
    TurnState,
    WholeThread,
)
from rag.answering.numbering import Passage, Version
from rag.errors import CollectionError, ThreadBusyError, ThreadError, ThreadNotFoundError

__all__ = ["ThreadStore"]

_REMEDY = "restore it from a backup, or move it away: the documents are not in it"
_TURN = (
    "turn, question, asked_at, state, reason, answer_id, answer, refusal, unknown_markers, record, answered_at, owner"
)


class ThreadStore:
    """Every method may be called from any thread, in several processes at once."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open the store in a library's folder, and make both where they are not there."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectionError(f"cannot make {folder}: {error}; choose another library") from error
        self._database = Database(folder / "threads.db", THREADS_STEPS, create=True, remedy=_REMEDY)
        self._presence = Presence(folder / "answering")
        self._clock = clock

    @property
    def is_in_place(self) -> bool:
        """Whether the file that was opened is still the one of its path."""
        return self._database.is_in_place

    def close(self) -> None:
        self._presence.close()
        self._database.close()

    # --- threads

    def create(self, *, title: str, collections: Sequence[str], metadata: dict[str, Any]) -> Thread:
        now = self._clock()
        thread = Thread(f"thread-{uuid.uuid4().hex}", title, tuple(collections), metadata, now, now)
        with self._database.writing() as connection:
            _insert_thread(connection, thread)
        return thread

    def get(self, thread_id: str) -> Thread:
        """Raises ThreadNotFoundError."""
        with self._database.reading() as connection:
            return _thread(connection, thread_id)[1]

    def page(self, *, limit: int, after: str = "") -> ThreadPage:
        """Return ``limit`` threads, the one changed last first; ``after`` is the ``next_after`` of the page before.

        A thread that changes meanwhile goes to the front: it is not met again further on. Raises ThreadError for an
        ``after`` that no page had.
        """
        where, bounds = "", tuple[float | int, ...]()
        if after:
            where, bounds = "WHERE (t.updated_at, t.number) < (?, ?)", _cursor(after)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT t.number, {_THREAD} FROM threads t {where} ORDER BY t.updated_at DESC, t.number DESC LIMIT ?",
                (*bounds, limit + 1),
            ).fetchall()
        threads = [_thread_of(row[1:]) for row in rows[:limit]]
        last = f"{threads[-1].updated_at!r}-{rows[limit - 1][0]}" if len(rows) > limit else None
        return ThreadPage(tuple(threads), last)

    def ids(self, beginning: str) -> list[str]:
        """Return up to two ids that begin like this, the one changed last first."""
        query = "SELECT id FROM threads WHERE substr(id, 1, ?) = ? ORDER BY updated_at DESC, number DESC LIMIT 2"
        with self._database.reading() as connection:
            return [str(row[0]) for row in connection.execute(query, (len(beginning), beginning))]

    def change(
        self,
        thread_id: str,
        *,
        title: str | None = None,
        collections: Sequence[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Thread:
        """Set what is not None. Raises ThreadNotFoundError."""
        with self._database.writing() as connection:
            number, thread = _thread(connection, thread_id)
            thread = replace(
                thread,
                title=thread.title if title is None else title,
                collections=thread.collections if collections is None else tuple(collections),
                metadata=thread.metadata if metadata is None else metadata,
                updated_at=self._clock(),
            )
            connection.execute(
                "UPDATE threads SET title = CAST(? AS TEXT), collections = ?, metadata = ?, updated_at = ?"
                " WHERE number = ?",
                (sql_text(thread.title), *_columns(thread), thread.updated_at, number),
            )
        return thread

    def delete(self, thread_id: str) -> None:
        """Raises ThreadNotFoundError, and ThreadBusyError while an answer is being written."""
        with self._database.writing() as connection:
            number, thread = _thread(connection, thread_id)
            self._settle(connection, number, thread)
            connection.execute("DELETE FROM threads WHERE number = ?", (number,))

    # --- turns

    def begin(self, thread_id: str, question: str, *, title: str = "") -> Begun:
        """Store a question that is to be answered now; ``title`` is given to a thread that has none.

        A turn that its process has left open by dying is noted as interrupted. Raises ThreadNotFoundError, and
        ThreadBusyError while another question of the thread is being answered.
        """
        owner, now = self._presence.name, self._clock()
        with self._database.writing() as connection:
            number, thread = _thread(connection, thread_id)
            self._settle(connection, number, thread)
            (turn,) = connection.execute(
                "SELECT coalesce(max(turn), 0) + 1 FROM turns WHERE thread = ?", (number,)
            ).fetchone()
            connection.execute(
                "INSERT INTO turns (thread, turn, question, asked_at, state, reason, owner)"
                " VALUES (?, ?, CAST(? AS TEXT), ?, 'open', '', ?)",
                (number, turn, sql_text(question), now, owner),
            )
            connection.execute(
                "UPDATE threads SET updated_at = ?, title = CASE title WHEN '' THEN CAST(? AS TEXT) ELSE title END"
                " WHERE number = ?",
                (now, sql_text(title), number),
            )
            earlier = _earlier(connection, number)
            passages, taken = _numbers(connection, number)
        return Begun(OpenTurn(thread_id, turn), thread, tuple(earlier), tuple(passages), taken)

    def finish(self, turn: OpenTurn, finished: Finished) -> None:
        """Store the answer of an open turn, and what its numbers name: all of it, or nothing.

        Raises ThreadError where the turn is not open any more: its thread was deleted, say.
        """
        with self._database.writing() as connection:
            number = self._open(connection, turn)
            now = self._clock()
            connection.execute(
                "UPDATE turns SET state = 'answered', owner = '', answer_id = ?, answer = CAST(? AS TEXT), refusal = ?,"
                " unknown_markers = ?, record = ?, answered_at = ? WHERE thread = ? AND turn = ?",
                (
                    *(finished.answer_id, sql_text(finished.answer), finished.refusal),
                    *(json.dumps(finished.unknown_markers), json.dumps(finished.record), now, number, turn.turn),
                ),
            )
            _put_numbers(connection, number, finished.passages, finished.unknown_markers)
            connection.execute("UPDATE threads SET updated_at = ? WHERE number = ?", (now, number))

    def fail(self, turn: OpenTurn, state: TurnState, reason: str = "") -> None:
        """Note that the question of an open turn gets no answer; nothing where its thread is gone."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE turns SET state = ?, reason = CAST(? AS TEXT), owner = '' WHERE state = 'open' AND turn = ?"
                " AND owner = ? AND thread = (SELECT number FROM threads WHERE id = ?)",
                (state, sql_text(reason), turn.turn, self._presence.name, turn.thread_id),
            )

    def turns(self, thread_id: str, *, limit: int, after: int = 0) -> list[StoredTurn]:
        """Return ``limit`` turns after number ``after``, in order. Raises ThreadNotFoundError.

        One whose process has died is shown as interrupted.
        """
        with self._database.reading() as connection:
            number, _ = _thread(connection, thread_id)
            return _turns(connection, number, "turn > ?", after, limit=limit, is_alive=self._presence.is_alive)

    # --- whole threads

    def whole(self, thread_id: str) -> WholeThread:
        """Return a thread with everything that belongs to it, as of one moment. Raises ThreadNotFoundError."""
        with self._database.reading() as connection:
            number, thread = _thread(connection, thread_id)
            turns = _turns(connection, number, "true", is_alive=self._presence.is_alive)
            passages, taken = _numbers(connection, number)
        return WholeThread(thread, tuple(turns), tuple(passages), taken)

    def put(self, threads: Iterable[WholeThread]) -> list[Thread]:
        """Store whole threads, all or none; one whose id is taken gets another. Returns them as they are now.

        A turn that was open where it comes from is interrupted.
        """
        stored: list[Thread] = []
        with self._database.writing() as connection:
            for whole in threads:
                thread = whole.thread
                if connection.execute("SELECT 1 FROM threads WHERE id = ?", (thread.id,)).fetchone():
                    thread = replace(thread, id=f"thread-{uuid.uuid4().hex}")
                number = _insert_thread(connection, thread)
                for turn in whole.turns:
                    _insert_turn(connection, number, turn)
                _put_numbers(connection, number, whole.passages, whole.taken)
                stored.append(replace(thread, n_turns=len(whole.turns)))
        return stored

    # --- how

    def _settle(self, connection: sqlite3.Connection, number: int, thread: Thread) -> None:
        """See to it that no turn of a thread is open. Raises ThreadBusyError where somebody is writing an answer."""
        row = connection.execute(
            "SELECT turn, owner FROM turns WHERE thread = ? AND state = 'open'", (number,)
        ).fetchone()
        if row is None:
            return
        if self._presence.is_alive(row[1]):
            raise ThreadBusyError(
                f"question {row[0]} of conversation {thread.id!r} is being answered; wait for its answer, or stop it"
            )
        connection.execute(
            "UPDATE turns SET state = 'interrupted', owner = '' WHERE thread = ? AND turn = ?", (number, row[0])
        )

    def _open(self, connection: sqlite3.Connection, turn: OpenTurn) -> int:
        row = connection.execute(
            "SELECT t.number FROM threads t JOIN turns ON turns.thread = t.number"
            " WHERE t.id = ? AND turn = ? AND state = 'open' AND owner = ?",
            (turn.thread_id, turn.turn, self._presence.name),
        ).fetchone()
        if row is None:
            raise ThreadError(
                f"the answer to question {turn.turn} of conversation {turn.thread_id!r} has no place to be stored in: "
                "it was deleted or ended meanwhile; ask again"
            )
        return int(row[0])


_THREAD = (
    "t.id, t.title, t.collections, t.metadata, t.created_at, t.updated_at,"
    " (SELECT count(*) FROM turns WHERE turns.thread = t.number)"
)


def _thread(connection: sqlite3.Connection, thread_id: str) -> tuple[int, Thread]:
    row = connection.execute(
        f"SELECT t.number, {_THREAD} FROM threads t WHERE t.id = CAST(? AS TEXT)", (sql_text(thread_id),)
    ).fetchone()
    if row is None:
        raise ThreadNotFoundError(f"no conversation {thread_id!r} in this library; `rag threads` lists what there is")
    return int(row[0]), _thread_of(row[1:])


def _thread_of(row: Sequence[Any]) -> Thread:
    identity, title, collections, metadata, created_at, updated_at, n_turns = row
    return Thread(
        identity, title, tuple(json.loads(collections)), json.loads(metadata), created_at, updated_at, n_turns
    )


def _columns(thread: Thread) -> tuple[str, str]:
    return json.dumps(thread.collections), json.dumps(dict(thread.metadata))


def _insert_thread(connection: sqlite3.Connection, thread: Thread) -> int:
    cursor = connection.execute(
        "INSERT INTO threads (id, title, collections, metadata, created_at, updated_at)"
        " VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?)",
        (thread.id, sql_text(thread.title), *_columns(thread), thread.created_at, thread.updated_at),
    )
    return int(cursor.lastrowid or 0)


def _insert_turn(connection: sqlite3.Connection, number: int, turn: StoredTurn) -> None:
    answer = None if turn.answer is None else sql_text(turn.answer)
    unknown, record = (None, None) if turn.record is None else (turn.unknown_markers, turn.record)
    connection.execute(
        "INSERT INTO turns (thread, turn, question, asked_at, state, reason, owner, answer_id, answer, refusal,"
        " unknown_markers, record, answered_at)"
        " VALUES (?, ?, CAST(? AS TEXT), ?, ?, CAST(? AS TEXT), '', ?, CAST(? AS TEXT), ?, ?, ?, ?)",
        (
            *(number, turn.turn, sql_text(turn.question), turn.asked_at),
            *("interrupted" if turn.state == "open" else turn.state, sql_text(turn.reason), turn.answer_id, answer),
            *(turn.refusal, None if unknown is None else json.dumps(unknown)),
            *(None if record is None else json.dumps(dict(record)), turn.answered_at),
        ),
    )


def _earlier(connection: sqlite3.Connection, number: int) -> list[EarlierTurn]:
    rows = connection.execute(
        "SELECT question, answer, refusal, unknown_markers FROM turns WHERE thread = ? AND state = 'answered'"
        " ORDER BY turn",
        (number,),
    )
    return [
        # a long thread has many of these, nearly all without such markers
        EarlierTurn(question, answer, refusal, () if unknown == "[]" else tuple(json.loads(unknown)))
        for question, answer, refusal, unknown in rows
    ]


def _turns(
    connection: sqlite3.Connection,
    number: int,
    where: str,
    *bound: int,
    limit: int = -1,
    is_alive: Callable[[str], bool] | None = None,
) -> list[StoredTurn]:
    rows = connection.execute(
        f"SELECT {_TURN} FROM turns WHERE thread = ? AND {where} ORDER BY turn LIMIT ?", (number, *bound, limit)
    )
    return [_turn_of(row, is_alive) for row in rows]


def _turn_of(row: Sequence[Any], is_alive: Callable[[str], bool] | None) -> StoredTurn:
    *values, owner = row
    if values[3] == "open" and is_alive is not None and not is_alive(owner):
        values[3] = "interrupted"
    values[8] = tuple(json.loads(values[8] or "[]"))
    values[9] = None if values[9] is None else json.loads(values[9])
    return StoredTurn(*values)


def _numbers(connection: sqlite3.Connection, number: int) -> tuple[list[Passage], frozenset[int]]:
    """Return what the numbers of a thread name, and those that name nothing."""
    passages, taken = [], set()
    rows = connection.execute(
        'SELECT marker, collection, document, sha256, start, "end", cited FROM numbers WHERE thread = ?'
        " ORDER BY marker",
        (number,),
    )
    for marker, collection, document, sha256, start, end, cited in rows:
        if document is None:
            taken.add(marker)
        else:
            spans = tuple((first, last) for first, last in json.loads(cited))
            passages.append(Passage(marker, Version(collection, document, sha256), start, end, spans))
    return passages, frozenset(taken)


def _put_numbers(
    connection: sqlite3.Connection, number: int, passages: Iterable[Passage], unknown: Iterable[int]
) -> None:
    connection.executemany(
        'INSERT INTO numbers (thread, marker, collection, document, sha256, start, "end", cited)'
        " VALUES (?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET cited = excluded.cited",
        [
            (
                *(number, passage.marker, passage.version.collection, sql_text(passage.version.document)),
                *(passage.version.sha256, passage.start, passage.end, json.dumps(passage.cited)),
            )
            for passage in passages
        ],
    )
    # One that names an earlier source, which this answer was not given, is no made-up number.
    connection.executemany(
        "INSERT INTO numbers (thread, marker, cited) VALUES (?, ?, '[]') ON CONFLICT DO NOTHING",
        [(number, marker) for marker in unknown],
    )


def _cursor(after: str) -> tuple[float, int]:
    updated_at, _, number = after.rpartition("-")
    try:
        return float(updated_at), int(number)
    except ValueError as error:
        raise ThreadError(f"no page of conversations ends with {after!r}; begin without `after`") from error
