"""What a retrieval finds, and the sources that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rag.types.documents import Chunk

__all__ = [
    "Hit",
    "Retrieval",
    "Source",
    "Usage",
]

_NO_TIMINGS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens paid for. ``estimated`` is True where the provider sent none and they were counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    embedding_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk with its score in [0, 1], higher is better, which compares the hits of one query with each other.

    ``relevance`` compares them with those of any other: how likely the chunk bears on the query, in [0, 1], None where
    it cannot be told. ``vector_score`` is the cosine and ``keyword_score`` the BM25 score of the leg that found it,
    None where it did not; ``rerank_score`` is the reranker's, None where none has judged it. ``duplicates`` are the
    ids of other documents that say the same in nearly the same words, where hits are folded.
    """

    chunk: Chunk
    score: float
    vector_score: float | None = None
    keyword_score: float | None = None
    rerank_score: float | None = None
    relevance: float | None = None
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Hits, best first, with how they were found: which legs voted and how long each stage took.

    ``reranker`` is the model that put them in this order, "" where none did. ``notes`` say in words what could not be
    done as it was set. ``nothing_allowed``: no document matched the filter, so nothing was searched.
    ``queries`` are those asked for a question of an answer, and ``usage`` what a chat model took to write them.
    """

    hits: tuple[Hit, ...]
    legs: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=lambda: _NO_TIMINGS)
    reranker: str = ""
    notes: tuple[str, ...] = ()
    nothing_allowed: bool = False
    queries: tuple[str, ...] = ()
    usage: Usage | None = None


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
