"""What goes over the wire: requests are checked by these models, replies are described by them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from index.library import check_collection_name
from rag.errors import CollectionError
from rag.settings import AnswerOptions
from rag.types import GenerationSettings, Turn

__all__ = [
    "Answer",
    "AskRequest",
    "Collection",
    "CollectionList",
    "CollectionName",
    "Created",
    "Deleted",
    "DeletedDocument",
    "DocumentAttributes",
    "DocumentList",
    "DocumentText",
    "Error",
    "Health",
    "IngestUrlsRequest",
    "NewAttributes",
    "NewCollection",
    "SearchReply",
    "SearchRequest",
    "UploadReply",
    "UrlsReply",
]

MAX_QUESTION_CHARACTERS = 32_000
MAX_TURN_CHARACTERS = 200_000
MAX_TURNS = 200

Text = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS, pattern=r"\S")]


def _name(value: str) -> str:
    try:
        check_collection_name(value)
    except CollectionError as error:
        raise PydanticCustomError("collection_name", "{reason}", {"reason": str(error)}) from error
    return value


CollectionName = Annotated[str, AfterValidator(_name)]
WhichCollection = Annotated[CollectionName | None, Field(description="without one, the service's default")]
Collections = Annotated[
    list[CollectionName],
    Field(max_length=50, description="several, searched as one; documents are then named `manuals/guide.md`"),
]
Hits = Annotated[int, Field(ge=1, le=1000)]


class _Request(BaseModel):
    """Unknown fields are refused: a misspelt one would be a setting that silently does nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid")


# --- requests --------------------------------------------------------------------------------------------------------


class HistoryTurn(_Request):
    """One earlier message of the conversation."""

    role: Literal["user", "assistant"]
    text: Annotated[str, Field(max_length=MAX_TURN_CHARACTERS)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Filtering = Annotated[
    str | dict[str, Any] | None,
    Field(
        description="only documents that match: OpenAI's shape, or a text such as `year >= 2020 and lang = en`",
        examples=[{"type": "gte", "key": "year", "value": 2020}],
    ),
]


class _OfCollections(_Request):
    """What is asked of one collection, or of several."""

    collection: WhichCollection = None
    collections: Collections = []

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.collection is not None and self.collections:
            raise PydanticCustomError("collections", "name one `collection` or several `collections`, not both")
        return self


class AskRequest(_OfCollections):
    """A question. The sampling parameters are those of a chat completion; left out, the service's settings hold."""

    question: Annotated[Text, Field(examples=["When did the first crewed landing on the Moon take place?"])]
    history: Annotated[list[HistoryTurn], Field(max_length=MAX_TURNS, description="oldest first")] = []
    k: Annotated[Hits | None, Field(description="hits the answer is written from")] = None
    filter: Filtering = None
    stream: Annotated[bool, Field(description="send server-sent events as the answer is written")] = False
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1, le=10_000_000)] = None
    frequency_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    presence_penalty: Annotated[float | None, Field(ge=-2, le=2)] = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    stop: Annotated[
        Annotated[list[str], Field(max_length=4)] | None, BeforeValidator(_listed), Field(description="or one string")
    ] = None
    response_format: Annotated[dict[str, Any] | None, Field(description="as in a chat completion")] = None

    def turns(self) -> tuple[Turn, ...]:
        return tuple(Turn(turn.role, turn.text) for turn in self.history)

    def generation(self, defaults: AnswerOptions) -> GenerationSettings | None:
        """Return the sampling parameters, the service's own where the request is silent; None if it names none."""
        given = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        if not given:
            return None
        if self.stop is not None:
            given["stop"] = tuple(self.stop)
        usual = {name: getattr(defaults, name) for name in _SAMPLING if hasattr(defaults, name)}
        return GenerationSettings(**{**usual, **given})


_SAMPLING = tuple(field.name for field in dataclasses.fields(GenerationSettings))


class SearchRequest(_OfCollections):
    query: Annotated[Text, Field(examples=["moon landing date"])]
    k: Hits | None = None
    filter: Filtering = None


class NewCollection(_Request):
    name: Annotated[CollectionName, Field(examples=["handbooks"])]


class IngestUrlsRequest(_Request):
    urls: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=2000)]],
        Field(min_length=1, max_length=100, description="addresses of pages or sitemaps"),
    ]


class NewAttributes(_Request):
    attributes: Annotated[dict[str, Any], Field(examples=[{"year": 2024, "tags": ["hr", "board"]}])]


# --- replies ---------------------------------------------------------------------------------------------------------


class ErrorDetail(_Reply):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(_Reply):
    """Every error, whatever its status: what failed, what was found, what to do."""

    error: ErrorDetail


_VERDICT = Literal["supported", "partly", "unsupported", "unknown marker", "uncited"]


class Missing(_Reply):
    """Something of a statement that the words it cites do not hold; ``where`` says where it was found instead."""

    kind: Literal["number", "date", "name", "quote", "negation", "words", "language"]
    text: str
    where: Literal["nowhere", "elsewhere", "another source", "stitched", "dropped"]


class Statement(_Reply):
    """A sentence of the answer's text, from ``start`` to ``end``, and whether the words it cites bear it out."""

    start: int
    end: int
    markers: Annotated[list[int], Field(description="the numbers at it that name a source")]
    verdict: _VERDICT
    missing: list[Missing]
    reason: Annotated[str, Field(description="what is missing, in words; empty where nothing is")]


class Support(_Reply):
    """How much of the answer its sources bear out; the counts are of statements."""

    n_statements: int
    n_supported: int
    n_partly: int
    n_unsupported: int
    n_unknown_marker: int
    n_uncited: int
    share: Annotated[float, Field(description="supported statements among all; 1 where there are none")]


class Citation(_Reply):
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


_CONTEXT = "what the text is read with: the header of the table that it begins in"
_CONTEXT_START = "where that stands in the document"


class Source(_Reply):
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


class Usage(_Reply):
    input_tokens: int
    output_tokens: int
    embedding_tokens: int
    estimated: Annotated[bool, Field(description="true where the provider sent no counts")]


class Verdict(_Reply):
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
        }
    ],
    "statements": [{"start": 0, "end": 56, "markers": [1], "verdict": "supported", "missing": [], "reason": ""}],
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
}


class Answer(_Reply):
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


class Hit(_Reply):
    """A chunk with its score, higher is better; a leg that did not find it has no score.

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
    vector_score: float | None
    keyword_score: float | None
    rerank_score: float | None


class SearchReply(_Reply):
    query: str
    hits: list[Hit]
    legs: list[str]
    timings_ms: dict[str, float]
    reranker: Annotated[str, Field(description="the model that put the hits in this order; empty where none did")]
    notes: Annotated[list[str], Field(description="what could not be done as it was set")]


class Collection(_Reply):
    """A collection at a glance; ``changed_at`` is in Unix seconds."""

    name: str
    n_documents: int
    n_chunks: int
    n_tokens: int
    n_unreadable: Annotated[int, Field(description="chunks that the embedding model cannot read")]
    model: str
    dimensions: int
    chunk_tokens: int
    chunk_overlap: int
    size_bytes: int
    files: Annotated[dict[str, int], Field(description="how many input files ended in which state")]
    changed_at: float | None
    writer: Annotated[str | None, Field(description="who is writing to it now")]


class CollectionList(_Reply):
    collections: list[str]
    default: str


class Created(_Reply):
    name: str


class Deleted(_Reply):
    id: str
    deleted: Literal[True]


class DeletedDocument(Deleted):
    """``note`` says what would bring it back; "" where nothing does."""

    note: str


class DocumentAttributes(_Reply):
    """All attributes of a document, of whatever source."""

    id: str
    attributes: dict[str, Any]


class DocumentEntry(_Reply):
    id: str
    title: str
    sha256: str
    media_type: str
    reader: str
    n_characters: int
    n_pages: int
    n_chunks: int
    n_tokens: int
    metadata: dict[str, str]
    warnings: list[str]
    changed_at: float
    attributes: dict[str, Any]


class DocumentList(_Reply):
    """One page, in order of id; ask for the next with ``after``."""

    documents: list[DocumentEntry]
    total: int
    has_more: bool
    next_after: str | None


class PageSpan(_Reply):
    number: int
    start: int
    end: int
    label: Annotated[str, Field(description='what a person calls it, "slide 3" say; "" for "page N"')]


class HeadingLine(_Reply):
    level: int
    title: str
    start: int


class DocumentText(_Reply):
    """A document: pages and headings with their offsets, and the text from ``start`` to ``end`` where asked for."""

    id: str
    title: str
    sha256: str
    media_type: str
    reader: str
    n_characters: int
    pages: list[PageSpan]
    headings: list[HeadingLine]
    metadata: dict[str, str]
    warnings: list[str]
    start: int | None
    end: int | None
    text: str | None


class UploadedFile(_Reply):
    """What became of one file; ``path`` is the id of its document. The files of an archive share its ``filename``."""

    filename: str
    path: str
    state: Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
    reason: str
    n_pages: int
    n_chunks: int
    n_tokens: int
    warnings: list[str]


class UploadReply(_Reply):
    collection: str
    files: list[UploadedFile]


class SeenPage(_Reply):
    """What became of one page; ``path`` is its address, and the id of its document."""

    path: str
    state: Literal["indexed", "unchanged", "empty", "failed", "unsupported", "skipped"]
    reason: str
    retriable: bool
    n_pages: int
    n_chunks: int
    n_tokens: int
    warnings: list[str]


class UrlsReply(_Reply):
    """The pages in the order of their addresses; ``removed`` are all documents that went."""

    collection: str
    files: list[SeenPage]
    removed: list[str]
    notes: list[str]


class Health(_Reply):
    status: Literal["ok"]
    version: str
    n_collections: int
