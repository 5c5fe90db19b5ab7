"""The events of a stream as they are sent, one model for each type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from api.schemas.answers import Answer, Citation, Source, Statement, Step, Usage, Verdict
from api.schemas.base import ErrorDetail, Reply

__all__ = [
    "AnswerEvent",
    "Cancelled",
    "CitationEvent",
    "DeltaEvent",
    "DoneEvent",
    "ErrorEvent",
    "ModeratedEvent",
    "RetrievedEvent",
    "StartedEvent",
    "StatementEvent",
    "StepEvent",
    "StreamEvent",
    "UsageEvent",
]


class _Event(Reply):
    sequence_number: Annotated[int, Field(ge=0, description="counts the events of the answer from 0")]


class StartedEvent(_Event):
    """The first event: which answer this is."""

    type: Literal["started"]
    id: Annotated[str, Field(description="the answer's id, for following it again and for stopping it")]
    created: Annotated[int, Field(description="when, in Unix seconds")]
    resume_s: Annotated[
        float, Field(description="how long it goes on without a reader, and is kept after its end; 0: not at all")
    ]


class StepEvent(_Event):
    """An agent has called a tool."""

    type: Literal["step"]
    step: Step


class RetrievedEvent(_Event):
    """The numbered passages the answer is written from; not sent when the question is blocked."""

    type: Literal["retrieved"]
    sources: list[Source]


class ModeratedEvent(_Event):
    """Something was flagged; ``blocked`` says whether that stopped the answer."""

    type: Literal["moderated"]
    target: Literal["question", "answer"]
    blocked: bool
    verdict: Verdict


class DeltaEvent(_Event):
    """The next piece of the answer's text."""

    type: Literal["delta"]
    text: str


class CitationEvent(_Event):
    """The words that support a statement, after the text of that statement."""

    type: Literal["citation"]
    citation: Citation


class StatementEvent(_Event):
    """What was found of a statement, after its citations; it stands at its place in the deltas so far."""

    type: Literal["statement"]
    statement: Statement


class UsageEvent(_Event):
    """What the answer took, once it is written."""

    type: Literal["usage"]
    usage: Usage


class AnswerEvent(_Event):
    """The whole answer; its text is that of all deltas together. Not sent when it was cancelled."""

    type: Literal["answer"]
    answer: Answer


class DoneEvent(_Event):
    """The last event, unless something failed."""

    type: Literal["done"]
    outcome: Literal["answered", "refused", "cancelled"]
    refusal: Literal["not_in_documents", "moderation"] | None
    finish_reason: Annotated[str | None, Field(description="as the model gave it")]
    timings_ms: dict[str, float]


class ErrorEvent(_Event):
    """The last event, when something failed after the stream had begun."""

    type: Literal["error"]
    error: ErrorDetail


class StreamEvent(
    RootModel[
        Annotated[
            StartedEvent
            | StepEvent
            | RetrievedEvent
            | ModeratedEvent
            | DeltaEvent
            | CitationEvent
            | StatementEvent
            | UsageEvent
            | AnswerEvent
            | DoneEvent
            | ErrorEvent,
            Field(discriminator="type"),
        ]
    ]
):
    """The data of one server-sent event, by its ``type``."""


class Cancelled(Reply):
    """``cancelled`` is false where the answer had ended already."""

    id: str
    cancelled: bool
