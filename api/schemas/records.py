"""Recorded answers, and what is said of them, as they are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Reply, Request

__all__ = ["Feedback", "NewFeedback", "RecordedAnswer", "RecordedAnswerList"]

_Long = Annotated[str, Field(max_length=200_000)]


class NewFeedback(Request):
    """What somebody says of an answer; it takes the place of what was said before."""

    rating: Literal["up", "down"]
    correction: Annotated[_Long, Field(description="what the answer should have been")] = ""
    comment: _Long = ""


class Feedback(Reply):
    rating: Literal["up", "down"]
    correction: str
    comment: str
    at: Annotated[float, Field(description="when, in Unix seconds")]


class RecordedAnswer(Reply):
    """What was observed of an answer. Words are there only where `observe.text` is on."""

    id: str
    at: Annotated[float, Field(description="when it was asked for, in Unix seconds")]
    outcome: Literal["answered", "not_in_documents", "moderation", "cancelled", "error"]
    question_hash: Annotated[str, Field(description="SHA-256 of the question")]
    collections: list[str]
    model: str
    finish_reason: str | None
    error: Annotated[str, Field(description="the class of what failed; empty where nothing did")]
    hits: Annotated[list[dict[str, Any]], Field(description="the sources: place, score, chunks")]
    cited: Annotated[list[dict[str, Any]], Field(description="the citations: place and verdict")]
    verdicts: Annotated[dict[str, int], Field(description="how many statements have each verdict")]
    usage: dict[str, Any]
    cost: Annotated[float | None, Field(description="by the price table; null where it has no price")]
    currency: str
    timings_ms: dict[str, float]
    question: str | None
    text: str | None
    feedback: Feedback | None


class RecordedAnswerList(Reply):
    answers: Annotated[list[RecordedAnswer], Field(description="newest first")]
    next_before: Annotated[str | None, Field(description="`before` of the next page; null on the last")]
