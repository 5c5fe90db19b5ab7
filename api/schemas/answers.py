"""Answers and hits as they are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.schemas.base import Reply

__all__ = [
    "Answer",
    "Citation",
    "Contradiction",
    "Hit",
    "Missing",
    "Removed",
    "SearchReply",
    "Source",
    "Statement",
    "Step",
    "Support",
    "Usage",
    "Verdict",
]

_VERDICT = Literal["supported", "partly", "unsupported", "unknown marker", "uncited"]


class Missing(Reply):
    """Something of a statement that the words it cites do not hold; ``where`` says where it was found instead."""

    kind: Literal["number", "date", "name", "quote", "negation", "words", "language"]
    text: str
    where: Literal["nowhere", "elsewhere", "another source", "stitched", "dropped"]


class Statement(Reply):
    """A sentence of the answer's text, from ``start`` to ``end``, and whether the words it cites bear it out."""

    start: int
    end: int
    markers: Annotated[list[int], Field(description="the numbers at it that name a source")]
    verdict: _VERDICT
    missing: list[Missing]
    reason: Annotated[str, Field(description="what is missing, in words; empty where nothing is")]
    path: Annotated[str, Field(description="JSON pointer of the value, in an answer in JSON; else empty")]


class Contradiction(Reply):
    """A sentence that several sources have alike but for one value; all lists are in the order of the sources."""

    markers: list[int]
    values: list[str]
    quotes: Annotated[list[str], Field(description="the sentences")]
    dates: Annotated[list[str], Field(description="of the documents; empty where none is known")]


class Removed(Reply):
    """A sentence that was written and left out of the text, and what was found of it."""

    text: str
    verdict: _VERDICT
    reason: str


class Support(Reply):
    """How much of the answer its sources bear out; the counts are of statements."""

    n_statements: int
    n_supported: int
    n_partly: int
    n_unsupported: int
    n_unknown_marker: int
    n_uncited: int
    share: Annotated[float, Field(description="supported statements among all; 1 where there are none")]


class Citation(Reply):
    """The exact words that support one statement: ``quote`` is the document's text from ``start`` to ``end``."""

    marker: Annotated[int, Field(description="the number in the answer's text: [1]")]
    document: str
    page: Annotated[int | None, Field(description="from 1; null for formats without pages")]
    place: Annotated[str, Field(description="in words: page 3, slide 3, § Installation, line 40")]
    start: Annotated[int, Field(description="in characters of the document's text")]
    end: int
    quote: str
    answer_start: Annotated[int, Field(description="where the statement stands in the answer's text")]
    answer_end: int
    chunk_id: str
    verdict: _VERDICT
    missing: list[Missing]
    reason: Annotated[str, Field(description="what is missing, in words; empty where nothing is")]
    link: Annotated[str, Field(description="the quote in its source, an address below that of the service")]
    path: Annotated[str, Field(description="JSON pointer of the value, in an answer in JSON; else empty")]


_CONTEXT = "what the text is read with: the header of the table that it begins in"
_CONTEXT_START = "where that stands in the document"


class Source(Reply):
    """A numbered passage that the answer was written from."""

    marker: int
    document: str
    title: str
    page: int | None
    place: Annotated[str, Field(description="in words, as in a citation")]
    start: int
    end: int
    headings: list[str]
    text: str
    context: Annotated[str, Field(description=_CONTEXT)]
    context_start: Annotated[int | None, Field(description=_CONTEXT_START)]
    score: float
    chunk_ids: list[str]


class Usage(Reply):
    input_tokens: int
    output_tokens: int
    embedding_tokens: int
    estimated: Annotated[bool, Field(description="true where the provider sent no counts")]


class Step(Reply):
    """One call of a tool; those of one ``turn`` of the model ran side by side."""

    number: Annotated[int, Field(description="counts the calls from 1")]
    turn: int
    tool: str
    arguments: Annotated[str, Field(description="JSON as the model wrote it")]
    summary: Annotated[str, Field(description="what came of it, in words")]
    markers: Annotated[list[int], Field(description="the sources that it showed")]
    tokens: Annotated[int, Field(description="what the model was given to read")]
    took_ms: float
    error: Annotated[str, Field(description="what the model was told instead of a result; empty for none")]
    is_repeated: Annotated[bool, Field(description="the same call had been made, and was not made again")]
    said: Annotated[str, Field(description="what the model wrote beside its calls; no part of the answer")]


class Verdict(Reply):
    flagged: bool
    categories: list[str]
    scores: dict[str, float]
    model: str


_ANSWER: dict[str, Any] = {
    "id": "answer-5f0c",
    "question": "When did the first crewed landing on the Moon take place?",
    "text": "The first crewed landing took place on 20 July 1969 [1].",
    "answered": True,
    "refusal": None,
    "citations": [
        {
            "marker": 1,
            "document": "wikipedia/apollo-program.txt",
            "page": None,
            "place": "line 9",
            "start": 1204,
            "end": 1271,
            "quote": "Apollo 11 made the first crewed landing on the Moon on 20 July 1969",
            "answer_start": 0,
            "answer_end": 56,
            "chunk_id": "0f3a9c21d4e87b65",
            "verdict": "supported",
            "missing": [],
            "reason": "",
            "link": "collections/default/source/wikipedia/apollo-program.txt?highlight=1204-1271#quote",
            "path": "",
        }
    ],
    "statements": [
        {"start": 0, "end": 56, "markers": [1], "verdict": "supported", "missing": [], "reason": "", "path": ""}
    ],
    "support": {
        "n_statements": 1,
        "n_supported": 1,
        "n_partly": 0,
        "n_unsupported": 0,
        "n_unknown_marker": 0,
        "n_uncited": 0,
        "share": 1.0,
    },
    "unknown_markers": [],
    "sources": [],
    "model": "your-chat-model",
    "finish_reason": "stop",
    "usage": {"input_tokens": 1480, "output_tokens": 21, "embedding_tokens": 12, "estimated": False},
    "timings_ms": {"retrieve": 14.2, "generate": 903.5, "total": 918.1},
    "moderation": [],
    "notes": [],
    "removed": [],
    "unanswered": [],
    "contradictions": [],
    "queries": ["When did the first crewed landing on the Moon take place?"],
    "trace": [],
    "value": None,
}


class Answer(Reply):
    """A finished answer. ``answered`` is false when the documents do not say, or moderation stopped it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANSWER]})

    id: str
    question: str
    text: str
    answered: bool
    refusal: Literal["not_in_documents", "moderation"] | None
    citations: list[Citation]
    statements: list[Statement]
    support: Support
    unknown_markers: Annotated[list[int], Field(description="numbers in the text that name no source")]
    sources: list[Source]
    model: str
    finish_reason: str | None
    usage: Usage
    timings_ms: dict[str, float]
    moderation: list[Verdict]
    notes: Annotated[list[str], Field(description="what the retrieval could not do as it was set")]
    removed: Annotated[list[Removed], Field(description="sentences left out, where `unsupported` is not `flag`")]
    unanswered: Annotated[list[str], Field(description="parts of the question that the documents leave open")]
    contradictions: Annotated[list[Contradiction], Field(description="what the sources say differently")]
    queries: Annotated[list[str], Field(description="what was searched with: as asked, or as a chat model wrote it")]
    trace: Annotated[list[Step], Field(description="the calls of tools, in an answer by an agent")]
    value: Annotated[Any, Field(description="an answer in JSON, read; null in prose, and where nothing was answered")]


class Hit(Reply):
    """A chunk with its score, higher is better; a leg that did not find it has no score.

    ``score`` compares the hits of one query; ``relevance``, from 0 to 1, also those of different ones.
    ``place`` says in words where it begins, as in a citation; it is empty where the document is gone meanwhile.
    """

    chunk_id: str
    document: str
    page: int | None
    place: str
    start: int
    end: int
    headings: list[str]
    text: str
    context: Annotated[str, Field(description=_CONTEXT)]
    context_start: Annotated[int | None, Field(description=_CONTEXT_START)]
    score: float
    relevance: float | None
    duplicates: Annotated[list[str], Field(description="other documents that say the same in nearly the same words")]
    vector_score: float | None
    keyword_score: float | None
    rerank_score: float | None


class SearchReply(Reply):
    query: str
    hits: list[Hit]
    legs: list[str]
    timings_ms: dict[str, float]
    reranker: Annotated[str, Field(description="the model that put the hits in this order; empty where none did")]
    notes: Annotated[list[str], Field(description="what could not be done as it was set")]
