"""The words of the pipeline: frozen dataclasses, one per stage.

Offsets are in characters of the document's normalised text; every span is ``[start, end)``. Page numbers count from 1.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rag.prices import FREE_USAGE, UsagePrice

__all__ = [
    "Answer",
    "AnswerEvent",
    "Chunk",
    "ChunkingSettings",
    "Citation",
    "Document",
    "EmbedderProfile",
    "EmbeddingLimits",
    "Embeddings",
    "FloatArray",
    "GenerationDone",
    "GenerationEvent",
    "GenerationSettings",
    "Heading",
    "Hit",
    "MediaKind",
    "MediaLimits",
    "MediaProfile",
    "MediaText",
    "MediaUsage",
    "Medium",
    "Missing",
    "MissingKind",
    "MissingWhere",
    "Moderated",
    "ModerationVerdict",
    "Page",
    "PlacedText",
    "Prompt",
    "Refusal",
    "Retrieval",
    "Retrieved",
    "Source",
    "Statement",
    "Table",
    "TextDelta",
    "TextKind",
    "TimedText",
    "Turn",
    "Usage",
    "Verdict",
    "chunk_id",
    "content_address",
    "in_context",
    "line_place",
]

FloatArray = NDArray[np.float32]
TextKind = Literal["document", "query"]
Refusal = Literal["not_in_documents", "moderation"]
MediaKind = Literal["page", "picture", "speech"]
"""What a program or a model has to read: a page for its text, a picture for what it shows, speech for what is said."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paged format: its printed place in the file, counted from 1, and its span in the text.

    ``label`` is what a person calls it where that is not "page N": "slide 3", "sheet 'Costs' A2:D40", "00:01:12".
    """

    number: int
    start: int
    end: int
    label: str = ""

    @property
    def place(self) -> str:
        """What the page is called in a footnote."""
        return self.label or f"page {self.number}"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 is the highest; ``start`` is the offset of its line in the text."""

    level: int
    title: str
    start: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``[start, end)`` in the text, of which ``[header_start, header_end)`` names its columns.

    The header is one or more rows, with a short caption right above them where the format marks one; empty for none.
    """

    start: int
    end: int
    header_start: int
    header_end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One source file, after reading.

    ``id`` is the path relative to the ingested folder, with forward slashes. ``sha256`` is of the file's bytes, in hex.
    ``pages`` is empty for formats without pages; otherwise it is in order and covers the text (an empty page has
    start == end). ``headings`` is in order of ``start``. ``tables`` are those that the format marks, in order and
    apart; what is drawn with bars is found in the text. ``warnings`` are for the report: what was read only in part.
    ``unread`` names the kinds of media in it that nobody was there to read; it is not stored with the document.
    """

    id: str
    title: str
    text: str
    sha256: str
    media_type: str
    reader: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    unread: tuple[MediaKind, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """Return the number of the page that holds the character at ``offset``; None for formats without pages."""
        page = self._page_at(offset)
        return None if page is None else page.number

    def place_at(self, offset: int) -> str:
        """Return what a person calls the place of the character at ``offset``: its page, else its line."""
        page = self._page_at(offset)
        if page is not None:
            return page.place
        heading = bisect.bisect_right(self.headings, offset, key=lambda heading: heading.start) - 1
        title = self.headings[heading].title if heading >= 0 else ""
        return line_place(self.text.count("\n", 0, offset) + 1, heading=title)

    def _page_at(self, offset: int) -> Page | None:
        place = bisect.bisect_right(self.pages, offset, key=lambda page: page.start) - 1
        return self.pages[max(place, 0)] if self.pages else None

    def headings_at(self, offset: int) -> tuple[str, ...]:
        """Return the titles above ``offset``, outermost first."""
        path: list[Heading] = []
        for heading in self.headings:
            if heading.start > offset:
                break
            while path and path[-1].level >= heading.level:
                path.pop()
            path.append(heading)
        return tuple(heading.title for heading in path)


def line_place(line: int, *, heading: str) -> str:
    """Return what a place is called in a format without pages: its last heading ("" for none) and its line, from 1.

    >>> line_place(40, heading="Installation")
    '§ Installation, line 40'
    """
    return f"§ {heading}, line {line}" if heading else f"line {line}"


# --- media -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Medium:
    """A page, a picture or a stretch of speech as it is handed to whoever reads it.

    ``width`` and ``height`` are in pixels, ``seconds`` the duration of speech: 0 where they mean nothing.
    """

    kind: MediaKind
    media_type: str
    data: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    seconds: float = 0.0

    @property
    def address(self) -> bytes:
        """The 32-byte SHA-256 of the bytes: with the reader's identity, the key of its text."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True, slots=True)
class TimedText:
    """What is said between two moments, in seconds from the beginning of the medium; ``speaker`` where it is told."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class MediaUsage:
    """What reading a medium took, as the reader told it or, where ``estimated``, as it was counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    estimated: bool = False

    def __add__(self, other: MediaUsage) -> MediaUsage:
        return MediaUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
            self.estimated or other.estimated,
        )

    def cost(self, price: UsagePrice) -> float:
        """Return what it costs."""
        return price.cost(input_tokens=self.input_tokens, output_tokens=self.output_tokens, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class MediaText:
    """What was read of a medium; an empty text where nothing can be read of it.

    ``segments`` are the text once more, by its times (speech), and ``language`` is the one that was heard. ``reader``
    says in words who read it, "" where nobody was asked because there is nothing to see. ``refusal`` is why it is not
    read ("" where it is), and ``note`` what is to be said of a text all the same: that it was cut off, say.
    """

    text: str
    segments: tuple[TimedText, ...] = ()
    reader: str = ""
    refusal: str = ""
    note: str = ""
    usage: MediaUsage = MediaUsage()
    language: str = ""


@dataclass(frozen=True, slots=True)
class PlacedText:
    """The text of a medium at a place of its file, as the file's reader ``numbered_by`` ("pdf/2") counts places."""

    kind: MediaKind
    place: int
    numbered_by: str
    text: MediaText


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The largest medium that a reader takes: bytes, pixels in all, pixels of a side, seconds of speech.

    ``media_types`` are what it takes, the best first; empty where it takes what is usual.
    """

    max_bytes: int = 5_000_000
    max_pixels: int = 6_000_000
    max_side: int = 6_000
    max_seconds: float = 600.0
    media_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """Who reads a kind of media. ``title`` is what a person calls it: "tesseract 5.3.0 (eng)", or a model's name.

    ``identity`` goes into the key of what it has read: engine, model, version, languages, version of the prompt. Two
    readers of one identity make the same of the same bytes. ``price`` is None where it is not known. ``concurrency``
    media are read at once at first, up to ``max_concurrency`` where the reader bears it; one that does not answer for
    ``patience_s`` seconds counts as gone. ``endpoint`` is its address, "" for what runs here.
    """

    title: str
    identity: str
    price: UsagePrice | None = FREE_USAGE
    limits: MediaLimits = MediaLimits()
    concurrency: int = 1
    max_concurrency: int = 1
    patience_s: float = 600.0
    endpoint: str = ""


# --- chunking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkingSettings:
    """How a collection cuts its documents: at most ``tokens`` a chunk, ``overlap`` of them shared with the one before.

    Tokens are those of the collection's tokenizer. ``overlap`` is below half of ``tokens``.
    """

    tokens: int
    overlap: int

    def __post_init__(self) -> None:
        if self.tokens < 16:
            raise ValueError(f"chunk tokens must be at least 16, got {self.tokens}")
        if not 0 <= self.overlap < self.tokens / 2:
            raise ValueError(f"chunk overlap must be in [0, {self.tokens / 2:g}), got {self.overlap}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document's text: ``text == document.text[start:end]``.

    ``page`` is the page of its first character (None without pages); ``headings`` the titles above it, outermost first.
    ``context`` is text from elsewhere in the document that it is read with, "" for none: to the rows of a table, its
    header. It begins at ``context_start`` and is the document's own words, as the chunk is. ``n_tokens`` are those of
    both, as they are embedded.
    """

    id: str
    document_id: str
    start: int
    end: int
    text: str
    n_tokens: int
    page: int | None = None
    headings: tuple[str, ...] = ()
    context: str = ""
    context_start: int = 0

    @property
    def embedded_text(self) -> str:
        """What is embedded and searched by words; what is quoted is ``text``."""
        return in_context(self.text, self.context)


def in_context(text: str, context: str) -> str:
    """Return a text below what it is read with, if there is any.

    >>> in_context("Ada | 36", "name | age")
    'name | age\\nAda | 36'
    """
    return f"{context}\n{text}" if context else text


def chunk_id(document_id: str, start: int, text: str) -> str:
    """Return the id shown to users: 16 hex digits of a hash of document, position and text."""
    digest = hashlib.sha256(f"{document_id}\0{start}\0{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


def content_address(text: str) -> bytes:
    """Return the 32-byte SHA-256 of the exact text: with model and dimensions, the key of its vector."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


# --- embedding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbeddingLimits:
    """What one embeddings request may hold, and how many may be under way.

    ``concurrency`` requests are under way at first, up to ``max_concurrency`` (None: no more) where the endpoint bears
    it. A run goes on for ``patience_s`` seconds without one success before the endpoint counts as gone.
    """

    max_inputs: int = 2048
    max_input_tokens: int = 8191
    max_request_tokens: int = 300_000
    concurrency: int = 8
    max_concurrency: int | None = None
    patience_s: float = 600.0


@dataclass(frozen=True, slots=True)
class EmbedderProfile:
    """Who embeds. ``model`` and ``dimensions`` name the vector space; None dimensions are learnt from the first reply.

    ``tokenizer`` is the name of the tokenizer that counts for this model (see ``rag.tokens``). ``endpoint`` is the
    address that serves it, without keys; "" for a model that runs here.
    """

    model: str
    dimensions: int | None
    tokenizer: str
    limits: EmbeddingLimits = EmbeddingLimits()
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an endpoint says is left of its rate: of requests or of tokens.

    Of ``limit`` there are ``left``; all of it is back after ``reset_s`` seconds, spread evenly.
    """

    limit: float
    left: float
    reset_s: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of some texts, in their order: ``vectors`` is float32 (n, dim), C-contiguous, rows of unit length.

    ``readable[i]`` is False where the model cannot read text i (its row is all zeros and must get no vote).
    ``n_tokens`` is what was paid for, as told by the endpoint or counted; ``estimated`` says which.
    ``requests_left`` and ``tokens_left`` are the endpoint's allowances, where it told them.
    """

    vectors: FloatArray
    readable: NDArray[np.bool_]
    n_tokens: int
    estimated: bool = False
    requests_left: Allowance | None = None
    tokens_left: Allowance | None = None


# --- retrieving ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk with its score in [0, 1], higher is better.

    ``vector_score`` is the cosine and ``keyword_score`` the BM25 score of the leg that found it, None where it did not;
    ``rerank_score`` is the reranker's, None where none has judged it.
    """

    chunk: Chunk
    score: float
    vector_score: float | None = None
    keyword_score: float | None = None
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Hits, best first, with how they were found: which legs voted and how long each stage took.

    ``reranker`` is the model that put them in this order, "" where none did. ``notes`` say in words what could not be
    done as it was set. ``nothing_allowed``: no document matched the filter, so nothing was searched.
    ``queries`` are those asked for a question of an answer, and ``usage`` what a chat model took to write them.
    """

    hits: tuple[Hit, ...]
    legs: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=lambda: _EMPTY)
    reranker: str = ""
    notes: tuple[str, ...] = ()
    nothing_allowed: bool = False
    queries: tuple[str, ...] = ()
    usage: Usage | None = None


# --- answering -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A numbered passage of the context: neighbouring hits of one document, merged. ``marker`` counts from 1.

    ``text`` is the stored text's ``[start, end)``; ``place`` says in words where it begins, as in a citation.
    ``chunk_ids`` are the hits in it, in order of place, and ``chunk_starts`` where each begins in the document.
    ``context`` is what its first chunk is read with: the header of a table that it begins inside of.
    """

    marker: int
    document_id: str
    title: str
    start: int
    end: int
    text: str
    page: int | None
    headings: tuple[str, ...]
    score: float
    chunk_ids: tuple[str, ...]
    chunk_starts: tuple[int, ...] = ()
    place: str = ""
    context: str = ""
    context_start: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator gets: instructions, sources and question stay apart until a generator renders them."""

    instructions: str
    sources: tuple[Source, ...]
    question: str
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """The sampling parameters of a chat completion; None leaves the endpoint's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0, 2),
            "top_p": (0, 1),
            "frequency_penalty": (-2, 2),
            "presence_penalty": (-2, 2),
            "max_tokens": (1, 10_000_000),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
        if len(self.stop) > 4:
            raise ValueError(f"stop takes at most 4 strings, got {len(self.stop)}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens paid for. ``estimated`` is True where the provider sent none and they were counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    embedding_tokens: int = 0
    estimated: bool = False


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
    """

    start: int
    end: int
    markers: tuple[int, ...]
    verdict: Verdict
    missing: tuple[Missing, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """The words that support one statement of an answer.

    ``quote == document.text[start:end]``, cut from stored text. ``place`` says in words where that is: "page 3",
    "slide 3", "§ Installation, line 40"; "" where the document is gone meanwhile. ``answer_start``/``answer_end`` is
    the span of the statement in the answer's text; ``marker`` the number it carries there. ``verdict`` says whether
    these words, with those of the markers beside it, bear out the words before the marker; see ``Missing``.
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

    ``unknown_markers`` are numbers in the text that name no source: reported, never repaired. ``notes`` are what the
    retrieval says of itself.
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


# --- events: generation (model to us) and answer (us to the reader) --------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationDone:
    """The end of a generation. ``usage`` is None where the provider sent none."""

    finish_reason: str | None
    model: str
    usage: Usage | None = None


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


GenerationEvent = TextDelta | GenerationDone
AnswerEvent = Retrieved | Moderated | TextDelta | Citation | Answer
