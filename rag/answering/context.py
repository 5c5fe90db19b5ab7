"""Packs hits into the sources of a prompt, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rag.answering.prompt import render_source
from rag.contracts import DocumentStore, Tokenizer
from rag.errors import DocumentNotFoundError
from rag.types import Hit, Source

__all__ = ["pack"]

MAX_GAP_CHARS = 200
"""Two hits of a document no further apart are one passage: what lies between costs less than a second header."""

_A_BOUNDARY = "137924685"  # as long as any


@dataclass(frozen=True, slots=True)
class _Passage:
    """Hits of one document that touch, in order of place; ``rank`` is the place of the best of them among all hits."""

    hits: tuple[Hit, ...]
    rank: int

    @property
    def document_id(self) -> str:
        return self.hits[0].chunk.document_id

    @property
    def start(self) -> int:
        return self.hits[0].chunk.start

    @property
    def end(self) -> int:
        return max(hit.chunk.end for hit in self.hits)

    def touches(self, other: _Passage) -> bool:
        gap = max(self.start, other.start) - min(self.end, other.end)
        return self.document_id == other.document_id and gap <= MAX_GAP_CHARS

    def joined(self, others: Sequence[_Passage]) -> _Passage:
        hits = {hit.chunk.id: hit for passage in (self, *others) for hit in passage.hits}
        in_place = sorted(hits.values(), key=lambda hit: (hit.chunk.start, hit.chunk.end, hit.chunk.id))
        return _Passage(tuple(in_place), min(passage.rank for passage in (*others, self)))


def pack(
    hits: Sequence[Hit], *, documents: DocumentStore, tokenizer: Tokenizer, budget_tokens: int, highest_marker: int = 0
) -> tuple[Source, ...]:
    """Return the sources made of ``hits`` (best first), numbered from 1, best first.

    Room is left for numbers after ``highest_marker``, which a conversation may have reached.

    Hits of one document that overlap or lie close together become one source, read from the stored text; one that
    begins among the rows of a table keeps the table's header, which its first chunk brings as its context. The budget
    counts sources as the prompt renders them. A hit that does not fit is passed over in favour of smaller ones after
    it, never cut. A hit whose document has changed or gone since it was found is passed over too: it is no longer so.
    """
    packer = _Packer(documents, tokenizer, widest_marker=highest_marker + max(len(hits), 1))
    passages: list[_Passage] = []
    for rank, hit in enumerate(hits):
        new = _Passage((hit,), rank)
        near = [passage for passage in passages if passage.touches(new)]
        trial = [passage for passage in passages if passage not in near] + [new.joined(near)]
        try:
            fits = packer.is_current(hit) and sum(packer.cost(passage) for passage in trial) <= budget_tokens
        except DocumentNotFoundError:
            continue
        if fits:
            passages = trial
    passages.sort(key=lambda passage: passage.rank)
    return tuple(packer.source(passage, marker) for marker, passage in enumerate(passages, start=1))


class _Packer:
    """Reads and counts passages, each once."""

    def __init__(self, documents: DocumentStore, tokenizer: Tokenizer, *, widest_marker: int) -> None:
        self._documents = documents
        self._tokenizer = tokenizer
        self._widest_marker = widest_marker
        self._sources: dict[tuple[str, int, int], Source] = {}
        self._costs: dict[tuple[str, int, int], int] = {}

    def is_current(self, hit: Hit) -> bool:
        chunk = hit.chunk
        spans = ((chunk.start, chunk.text), (chunk.context_start, chunk.context))
        return all(
            self._documents.text(chunk.document_id, start, start + len(text)) == text for start, text in spans if text
        )

    def cost(self, passage: _Passage) -> int:
        """Return the tokens of a passage rendered under the widest number it can get."""
        key = (passage.document_id, passage.start, passage.end)
        if key not in self._costs:
            rendered = render_source(self.source(passage, self._widest_marker), _A_BOUNDARY)
            self._costs[key] = self._tokenizer.count(rendered)
        return self._costs[key]

    def source(self, passage: _Passage, marker: int) -> Source:
        key = (passage.document_id, passage.start, passage.end)
        if key not in self._sources:
            self._sources[key] = self._read(passage)
        return replace(
            self._sources[key],
            marker=marker,
            score=max(hit.score for hit in passage.hits),
            chunk_ids=tuple(hit.chunk.id for hit in passage.hits),
            chunk_starts=tuple(hit.chunk.start for hit in passage.hits),
        )

    def _read(self, passage: _Passage) -> Source:
        document_id, start, end = passage.document_id, passage.start, passage.end
        return Source(
            marker=0,
            document_id=document_id,
            title=self._documents.title(document_id),
            start=start,
            end=end,
            text=self._documents.text(document_id, start, end),
            page=self._documents.page_at(document_id, start),
            place=self._documents.place_at(document_id, start),
            headings=passage.hits[0].chunk.headings,
            score=0.0,
            chunk_ids=(),
            context=passage.hits[0].chunk.context,
            context_start=passage.hits[0].chunk.context_start,
        )
