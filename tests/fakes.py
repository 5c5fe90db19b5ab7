"""One fake per protocol, with results that can be worked out by hand. Replace edges with these, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rag.errors import DocumentNotFoundError, GenerationError, ModerationError
from rag.types import (
    Chunk,
    Document,
    EmbedderProfile,
    Embeddings,
    GenerationDone,
    GenerationEvent,
    GenerationSettings,
    Hit,
    ModerationVerdict,
    Page,
    Prompt,
    Retrieval,
    TextDelta,
    TextKind,
    Usage,
    chunk_id,
)


class WordTokenizer:
    """One token per run of word characters, one per other visible character; each CJK character is one."""

    name = "words"
    _TOKEN = re.compile(r"[A-Za-z0-9_]+|\S")

    def count(self, text: str) -> int:
        return len(self._TOKEN.findall(text))

    def starts(self, text: str) -> NDArray[np.int64]:
        return np.array([match.start() for match in self._TOKEN.finditer(text)] + [len(text)], dtype=np.int64)


class LengthEmbedder:
    """A text's vector counts its words of one, two, ... ``dimensions`` letters (longer ones in the last), normalised.

    ``calls`` holds the texts of each request.
    """

    def __init__(self, dimensions: int = 8) -> None:
        self.profile = EmbedderProfile(model="lengths", dimensions=dimensions, tokenizer="words")
        self.calls: list[tuple[str, ...]] = []
        self._dimensions = dimensions

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        self.calls.append(tuple(texts))
        vectors = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            if not text:
                raise ValueError("cannot embed an empty text")
            for word in re.findall(r"\w+", text) or ["x"]:
                vectors[row, min(len(word), self._dimensions) - 1] += 1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        n_tokens = sum(WordTokenizer().count(text) for text in texts)
        return Embeddings(vectors, np.ones(len(texts), dtype=np.bool_), n_tokens)


class Shelf:
    """A document store that holds the documents it is given."""

    def __init__(self, *documents: Document) -> None:
        self._documents = {document.id: document for document in documents}

    def text(self, document_id: str, start: int, end: int) -> str:
        return self._get(document_id).text[start:end]

    def title(self, document_id: str) -> str:
        return self._get(document_id).title

    def page_at(self, document_id: str, offset: int) -> int | None:
        return self._get(document_id).page_at(offset)

    def place_at(self, document_id: str, offset: int) -> str:
        return self._get(document_id).place_at(offset)

    def remove(self, document_id: str) -> None:
        del self._documents[document_id]

    def _get(self, document_id: str) -> Document:
        if document_id not in self._documents:
            raise DocumentNotFoundError(f"no document {document_id!r}")
        return self._documents[document_id]


class CannedRetriever:
    """Finds the same hits for every query, after ``delay_s``, or raises ``error``. ``queries`` holds what was asked."""

    def __init__(self, *hits: Hit, delay_s: float = 0, error: Exception | None = None) -> None:
        self.queries: list[str] = []
        self.finished = 0
        self._hits = hits
        self._delay_s = delay_s
        self._error = error

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        self.queries.append(query)
        await asyncio.sleep(self._delay_s)
        if self._error is not None:
            raise self._error
        self.finished += 1
        return Retrieval(self._hits[:k], legs=("canned",), timings_ms={"embed_query": 1.0, "fuse": 2.0})


class CannedGenerator:
    """Writes the same text for every prompt, in the pieces it is given, ``delay_s`` before each.

    ``usage`` ends the stream; ``error`` is raised after the text. ``closed`` counts the streams that ended, in whatever
    way, ``finished`` those that were read to their end.
    """

    def __init__(
        self,
        *pieces: str,
        usage: Usage | None = None,
        finish_reason: str = "stop",
        delay_s: float = 0,
        error: GenerationError | None = None,
    ) -> None:
        self.model = "canned"
        self.prompts: list[Prompt] = []
        self.settings: list[GenerationSettings] = []
        self.written = 0
        self.closed = 0
        self.finished = 0
        self._pieces = pieces
        self._done = GenerationDone(finish_reason, "canned-1", usage)
        self._delay_s = delay_s
        self._error = error

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent, None]:
        self.prompts.append(prompt)
        self.settings.append(settings)
        try:
            for piece in self._pieces:
                await asyncio.sleep(self._delay_s)
                self.written += 1
                yield TextDelta(piece)
            if self._error is not None:
                raise self._error
            yield self._done
            self.finished += 1
        finally:
            self.closed += 1


class WordModerator:
    """Flags texts that hold one of the words, under its category, with score 0.9; all else scores 0.1.

    ``texts`` holds what was judged; ``delay_s`` comes before each verdict; ``unreachable`` makes every call fail.
    """

    def __init__(self, words: Mapping[str, str], *, delay_s: float = 0, unreachable: bool = False) -> None:
        self.texts: list[str] = []
        self.cancelled = 0
        self._words = words
        self._delay_s = delay_s
        self._unreachable = unreachable

    async def moderate(self, texts: Sequence[str]) -> list[ModerationVerdict]:
        self.texts += texts
        try:
            await asyncio.sleep(self._delay_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._unreachable:
            raise ModerationError("the moderator cannot be reached; try again later")
        return [self._verdict(text) for text in texts]

    def _verdict(self, text: str) -> ModerationVerdict:
        scores = {
            category: 0.9 if any(word in text for word, of in self._words.items() if of == category) else 0.1
            for category in self._words.values()
        }
        found = tuple(category for category, score in scores.items() if score > 0.5)
        return ModerationVerdict(bool(found), found, scores, "words")


def document(document_id: str, *pages: str, title: str = "") -> Document:
    """Return a document whose text is its pages together; one page makes a format without pages."""
    text = "".join(pages)
    spans: list[Page] = []
    start = 0
    for number, page in enumerate(pages, start=1):
        spans.append(Page(number, start, start + len(page)))
        start += len(page)
    return Document(
        id=document_id,
        title=title or document_id,
        text=text,
        sha256="0" * 64,
        media_type="text/plain",
        reader="fake",
        pages=tuple(spans) if len(pages) > 1 else (),
    )


def hit(of: Document, start: int, end: int, *, score: float = 0.5, headings: tuple[str, ...] = ()) -> Hit:
    """Return a hit on the characters [start, end) of a document."""
    text = of.text[start:end]
    chunk = Chunk(
        id=chunk_id(of.id, start, text),
        document_id=of.id,
        start=start,
        end=start + len(text),
        text=text,
        n_tokens=WordTokenizer().count(text),
        page=of.page_at(start),
        headings=headings,
    )
    return Hit(chunk, score)


def whole(of: Document, *, score: float = 0.5) -> Hit:
    """Return a hit on all of a document."""
    return hit(of, 0, len(of.text), score=score)
