"""What the parts ask of each other: protocols of one or two methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rag.types import (
    EmbedderProfile,
    Embeddings,
    GenerationEvent,
    GenerationSettings,
    ModerationVerdict,
    Prompt,
    Retrieval,
    TextKind,
)

__all__ = ["ABSTENTION", "DocumentStore", "Embedder", "Generator", "Moderator", "Reranker", "Retriever", "Tokenizer"]

ABSTENTION = "NOT_IN_DOCUMENTS"
"""What a generator writes, and nothing else, when the sources do not answer the question."""


class Tokenizer(Protocol):
    """Cuts a text into tokens. The same text always gives the same tokens."""

    @property
    def name(self) -> str: ...

    def count(self, text: str) -> int:
        """Return the number of tokens; text that looks like a special token is ordinary text."""
        ...

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return n + 1 character offsets: where each of the n tokens begins, then ``len(text)``.

        Never decreasing. A token that begins inside a character (byte-level vocabularies) gets that character's offset.
        """
        ...


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def profile(self) -> EmbedderProfile: ...

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        """Embed one request's worth of texts: the caller has packed them within ``profile.limits``.

        Raises EmbeddingError when the model or endpoint fails, and when the reply is not one finite, non-zero vector
        of the right dimension per text. An empty text is a ValueError. No texts give (0, dim).
        """
        ...


class DocumentStore(Protocol):
    """Reads stored documents. Unknown ids raise DocumentNotFoundError."""

    def text(self, document_id: str, start: int, end: int) -> str:
        """Return the characters [start, end) of a document's text."""
        ...

    def title(self, document_id: str) -> str: ...

    def page_at(self, document_id: str, offset: int) -> int | None:
        """Return the page that holds the character at ``offset``; None for formats without pages."""
        ...

    def place_at(self, document_id: str, offset: int) -> str:
        """Return what a person calls the place of the character at ``offset``, as ``Document.place_at`` does."""
        ...


class Generator(Protocol):
    """Writes an answer to a prompt, piece by piece; the last event is GenerationDone.

    Statements carry the markers of their sources as ``[1]`` or ``[1][3]``; ABSTENTION alone says "not in them".
    """

    @property
    def model(self) -> str: ...

    def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncIterator[GenerationEvent]:
        """Yield the text. Raises GenerationError. Closing the iterator stops the upstream call."""
        ...


class Moderator(Protocol):
    """Judges texts, one verdict per text, in their order."""

    async def moderate(self, texts: Sequence[str]) -> list[ModerationVerdict]:
        """Raises ModerationError when no judgement can be had."""
        ...


class Reranker(Protocol):
    """Judges how well passages answer a query, each against the query itself: slower than a search, and more exact."""

    @property
    def model(self) -> str: ...

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return a score in [0, 1] for each text, in their order, higher is better. Raises RerankError."""
        ...


class Retriever(Protocol):
    """Finds the chunks that bear on a query."""

    async def retrieve(self, query: str, *, k: int) -> Retrieval:
        """Return at most ``k`` hits, best first, ties by chunk id. Nothing fitting gives no hits."""
        ...
