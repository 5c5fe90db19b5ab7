"""The records of a library's answers as a Footnote offers them: looked at, rated, exported."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from index.answer_records import AnswerRecord, AnswerRecords, Feedback, Rating
from rag.errors import FeedbackError
from rag.settings import Settings

__all__ = ["Recorded", "evaluation_questions"]

_PAGE = 500


class Recorded:
    """Opens ``answers.db`` when it is first needed. With ``observe.records`` off nothing is written but feedback."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records: AnswerRecords | None = None
        self._opening = threading.Lock()

    @property
    def store(self) -> AnswerRecords:
        with self._opening:
            if self._records is None:
                days = self._settings.observe.keep_days
                self._records = AnswerRecords(self._settings.library, keep_days=days)
            return self._records

    def get(self, answer_id: str) -> AnswerRecord:
        """Return a recorded answer. Raises AnswerNotFoundError."""
        return self.store.get(answer_id)

    def page(self, *, limit: int = 20, before: str = "", rating: Rating | None = None) -> list[AnswerRecord]:
        """Return recorded answers, newest first."""
        return self.store.page(limit=limit, before=before, rating=rating)

    def rate(self, answer_id: str, rating: Rating, *, correction: str = "", comment: str = "") -> Feedback:
        """Store what somebody says of an answer, in place of what was said before. Raises AnswerNotFoundError."""
        return self.store.rate(answer_id, Feedback(rating, correction, comment))

    def rated(self) -> Iterator[AnswerRecord]:
        """Yield all answers that were rated, newest first."""
        before = ""
        while page := self.page(limit=_PAGE, before=before):
            yield from (record for record in page if record.feedback is not None)
            before = page[-1].id

    def close(self) -> None:
        with self._opening:
            if self._records is not None:
                self._records.close()
                self._records = None


def evaluation_questions(records: Iterator[AnswerRecord]) -> Iterator[dict[str, Any]]:
    """Yield what ``rag eval`` reads, for each rated answer that says what the right answer or its source is.

    Rated up: the question with the words that were cited. Rated down, with a correction: the question, the correction,
    and of the citations those whose words were found to bear the statement out. What says neither is left out. Raises
    FeedbackError where the words of the question were not kept.
    """
    for record in records:
        feedback = record.feedback
        if feedback is None or (feedback.rating == "down" and not feedback.correction):
            continue
        if record.question is None:
            raise FeedbackError(
                f"answer {record.id!r} was recorded without the words of its question, so no question set can be made "
                "of it; set observe.text to on before people ask"
            )
        trusted = feedback.rating == "up"
        relevant = [
            {"document": cited["document"], "quote": cited["quote"]}
            for cited in record.cited
            if "quote" in cited and (trusted or cited["verdict"] == "supported")
        ]
        answer = feedback.correction or record.text
        if relevant:
            yield {"id": record.id, "question": record.question, "relevant": relevant, "answer": answer}
        elif trusted and record.outcome == "not_in_documents":
            yield {"id": record.id, "question": record.question, "answerable": False}
