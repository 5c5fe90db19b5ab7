"""Answers, what is found of each statement in them, and the events they come as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rag.answering.rendering import answer_fragment
from rag.types.agent import Step
from rag.types.generation import TextDelta
from rag.types.retrieval import Source, Usage

__all__ = [
    "Answer",
    "AnswerEvent",
    "Citation",
    "Contradiction",
    "Missing",
    "MissingKind",
    "MissingWhere",
    "Moderated",
    "ModerationVerdict",
    "Refusal",
    "Removed",
    "Retrieved",
    "Statement",
    "Verdict",
]

Refusal = Literal["not_in_documents", "moderation"]
Verdict = Literal["supported", "partly", "unsupported", "unknown marker", "uncited"]
"""What is found of a statement: ``uncited`` bears no marker, ``unknown marker`` only such as name no source."""
MissingKind = Literal["number", "date", "name", "quote", "negation", "words", "language"]
MissingWhere = Literal["nowhere", "elsewhere", "another source", "stitched", "dropped"]


@dataclass(frozen=True, slots=True)
class Missing:
    """Something of a statement that the words it cites do not hold.

    ``where``: elsewhere in the cited source, in another source, nowhere in the cited source; "stitched" is a quote of
    words that do not stand together like this, "dropped" a negation that the source has and the statement has not.
    ``text`` is what is missing, as written or in one common form; for ``words`` the share that was found.
    """

    kind: MissingKind
    text: str
    where: MissingWhere


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of an answer, at ``[start, end)`` of its text, and whether its sources bear it out.

    ``markers`` are those that name a source. ``reason`` says in words what is ``missing``; "" where nothing is.
    ``path`` is the JSON pointer of the value that it is, in an answer in JSON; "" in one in prose.
    """

    start: int
    end: int
    markers: tuple[int, ...]
    verdict: Verdict
    missing: tuple[Missing, ...] = ()
    reason: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """A sentence that was written and is not shown, because of what was found of it."""

    text: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A sentence that several sources have alike but for one value; all four are in the order of the sources.

    ``quotes`` are the sentences, ``dates`` those of the documents, "" where none is known.
    """

    markers: tuple[int, ...]
    values: tuple[str, ...]
    quotes: tuple[str, ...]
    dates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """The words that support one statement of an answer.

    ``quote == document.text[start:end]``, cut from stored text. ``place`` says in words where that is: "page 3",
    "slide 3", "§ Installation, line 40"; "" where the document is gone meanwhile. ``answer_start``/``answer_end`` is
    the span of the statement in the answer's text; ``marker`` the number it carries there. ``verdict`` says whether
    these words, with those of the markers beside it, bear out the words before the marker; see ``Missing``. ``link``
    is the address of the quote in its source, below that of the service; "" where nobody said which collection it is.
    In an answer in JSON ``path`` is the JSON pointer of the value, and the span that of the value in the text.
    """

    marker: int
    document: str
    page: int | None
    place: str
    start: int
    end: int
    quote: str
    answer_start: int
    answer_end: int
    chunk_id: str
    verdict: Verdict
    missing: tuple[Missing, ...]
    reason: str
    link: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class ModerationVerdict:
    """What a moderator says of one text: the categories it flags and its scores in [0, 1]."""

    flagged: bool
    categories: tuple[str, ...]
    scores: Mapping[str, float]
    model: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. ``answered`` is False when the documents do not say, or moderation stopped it (``refusal``).

    ``unknown_markers`` are numbers in the text that name no source: reported, never repaired. ``removed`` are sentences
    that were left out of the text. ``unanswered`` are parts of the question that the documents leave open,
    ``contradictions`` what its sources say differently. ``notes`` are what retrieval and writing say of themselves,
    ``queries`` what was searched with, ``trace`` the calls of tools that it was come by, none without an agent.
    ``value`` is the text of an answer in JSON, read.
    """

    id: str
    question: str
    text: str
    answered: bool
    refusal: Refusal | None
    citations: tuple[Citation, ...]
    statements: tuple[Statement, ...]
    unknown_markers: tuple[int, ...]
    sources: tuple[Source, ...]
    model: str
    finish_reason: str | None
    usage: Usage
    timings_ms: Mapping[str, float]
    moderation: tuple[ModerationVerdict, ...] = ()
    notes: tuple[str, ...] = ()
    removed: tuple[Removed, ...] = ()
    queries: tuple[str, ...] = ()
    trace: tuple[Step, ...] = ()
    value: Any = None
    unanswered: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the text, and each quote where its marker is hovered over."""
        return answer_fragment(self)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The sources an answer will be written from, sent before its first word."""

    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Moderated:
    """The question or the answer was flagged; ``blocked`` says whether that stopped it."""

    target: Literal["question", "answer"]
    verdict: ModerationVerdict
    blocked: bool


AnswerEvent = Step | Retrieved | Moderated | TextDelta | Citation | Statement | Answer
