"""What was observed of answers, and what people said of them: ``answers.db`` of a library."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from index.database import Database, sql_text
from index.migrations import ANSWERS_STEPS
from rag.errors import AnswerNotFoundError, CollectionError, FeedbackError

__all__ = ["AnswerRecord", "AnswerRecords", "Feedback", "Outcome", "Rating"]

Outcome = Literal["answered", "not_in_documents", "moderation", "cancelled", "error"]
Rating = Literal["up", "down"]

_REMEDY = "restore it from a backup, or move it away: the documents are not in it"
_MOST_TEXT = 200_000
_DAY_S = 86_400
_COLUMNS = "a.record, f.rating, f.correction, f.comment, f.at"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer. ``correction`` is what it should have been; "" for none. ``at`` is Unix time."""

    rating: Rating
    correction: str = ""
    comment: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One answer, as it was observed. ``at`` is Unix time, when it began.

    ``question_hash`` is the SHA-256 of the question, so that the same one can be told without its words. ``hits`` are
    the sources with their scores and ``cited`` the citations with their verdicts, both as places in documents;
    ``verdicts`` counts the statements of each. ``cost`` is by the price table, None where that has no price.
    ``error`` is the class of what failed. ``question``, ``text``, ``correction`` of feedback aside, and the quotes in
    ``cited`` are kept only where texts may be (``observe.text``), and are None otherwise.
    """

    id: str
    at: float
    outcome: Outcome
    question_hash: str
    collections: tuple[str, ...]
    model: str = ""
    finish_reason: str | None = None
    error: str = ""
    hits: tuple[Mapping[str, Any], ...] = ()
    cited: tuple[Mapping[str, Any], ...] = ()
    verdicts: Mapping[str, int] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)
    cost: float | None = None
    currency: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    question: str | None = None
    text: str | None = None
    feedback: Feedback | None = None


class AnswerRecords:
    """Every method may be called from any thread, in several processes at once. Records older than ``keep_days`` go."""

    def __init__(self, folder: Path, *, keep_days: float, clock: Callable[[], float] = time.time) -> None:
        """Open the records in a library's folder, and make both where they are not there."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectionError(f"cannot make {folder}: {error}; choose another library") from error
        self._database = Database(folder / "answers.db", ANSWERS_STEPS, create=True, remedy=_REMEDY)
        self._keep_s = keep_days * _DAY_S
        self._clock = clock
        self._pruned_at = 0.0

    def close(self) -> None:
        self._database.close()

    def add(self, record: AnswerRecord) -> None:
        """Store a record, in place of one of the same id. Once an hour those that are too old go."""
        values = dataclasses.asdict(dataclasses.replace(record, feedback=None))
        del values["feedback"]
        content = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        with self._database.writing() as connection:
            connection.execute(
                "INSERT INTO answers (id, at, outcome, record) VALUES (?, ?, ?, CAST(? AS TEXT)) ON CONFLICT (id)"
                " DO UPDATE SET at = excluded.at, outcome = excluded.outcome, record = excluded.record",
                (record.id, record.at, record.outcome, sql_text(content)),
            )
        if self._clock() - self._pruned_at > 3600:
            self.prune()

    def prune(self) -> int:
        """Delete records, and the feedback to them, that are older than is to be kept; return how many."""
        self._pruned_at = self._clock()
        with self._database.writing() as connection:
            return connection.execute("DELETE FROM answers WHERE at < ?", (self._pruned_at - self._keep_s,)).rowcount

    def get(self, answer_id: str) -> AnswerRecord:
        """Return a record. Raises AnswerNotFoundError."""
        with self._database.reading() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} {_FROM} WHERE a.id = ?", (answer_id,)).fetchone()
        if row is None:
            raise AnswerNotFoundError(
                f"no answer {answer_id!r} is recorded; answers are while observe.records is on, and for"
                f" {self._keep_s / _DAY_S:g} days (observe.keep_days)"
            )
        return _record(row)

    def page(self, *, limit: int, before: str = "", rating: Rating | None = None) -> list[AnswerRecord]:
        """Return records, newest first; ``before``: those recorded before this one; ``rating``: only those rated so."""
        bounds: list[Any] = []
        where = "1"
        if before:
            self.get(before)
            where += " AND a.number < (SELECT number FROM answers WHERE id = ?)"
            bounds.append(before)
        if rating is not None:
            where += " AND f.rating = ?"
            bounds.append(rating)
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} {_FROM} WHERE {where} ORDER BY a.number DESC LIMIT ?", (*bounds, limit)
            ).fetchall()
        return [_record(row) for row in rows]

    def rate(self, answer_id: str, feedback: Feedback) -> Feedback:
        """Store what somebody said of an answer, in place of what was said before; return it with its time."""
        if feedback.rating not in get_args(Rating):
            raise FeedbackError(f"a rating is 'up' or 'down', got {feedback.rating!r}")
        for name in ("correction", "comment"):
            if len(getattr(feedback, name)) > _MOST_TEXT:
                raise FeedbackError(f"the {name} is longer than {_MOST_TEXT:,} characters; shorten it")
        self.get(answer_id)
        stored = dataclasses.replace(feedback, at=self._clock())
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO feedback (answer, at, rating, correction, comment)"
                " VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT))",
                (answer_id, stored.at, stored.rating, sql_text(stored.correction), sql_text(stored.comment)),
            )
        return stored


_FROM = "FROM answers a LEFT JOIN feedback f ON f.answer = a.id"


def _record(row: Sequence[Any]) -> AnswerRecord:
    content, rating, correction, comment, at = row
    values = json.loads(content)
    for name in ("collections", "hits", "cited"):
        values[name] = tuple(values[name])
    feedback = None if rating is None else Feedback(rating, correction, comment, at)
    return AnswerRecord(**values, feedback=feedback)
