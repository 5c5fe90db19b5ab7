"""Answers by quoting: the sentences of the sources most likely to answer, word for word, each with its marker.

Needs no model but the embedder, and works without that. It cannot reason, add up or translate; what it writes stands in
the sources, or it says that they do not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from rag.answering.question import retrieval_query
from rag.answering.unanswered import MISSING, parts_without_words
from rag.contracts import ABSTENTION, Embedder
from rag.errors import AnswerFormatError, EmbeddingError, GenerationError
from rag.local.candidates import Candidate, candidates
from rag.local.question_terms import read_question
from rag.local.relevance import log_odds, measure, threshold
from rag.types import FloatArray, GenerationDone, GenerationEvent, GenerationSettings, Prompt, Source, TextDelta, Usage

__all__ = ["LOCAL_GENERATOR", "ExtractiveGenerator", "choose", "cosines_with", "rate"]

LOCAL_GENERATOR = "local/extractive"
MAX_SENTENCES = 4
WITHIN = 0.7
"""A further sentence is quoted if its odds are at least half (e^-0.7) of the best one's, and over the threshold."""

MAX_EMBEDDED = (
    96  # sentences compared by meaning: a quarter of a second; beyond, those with most of the question's words
)


class ExtractiveGenerator:
    """Quotes up to four sentences, best first, or abstains. Satisfies ``rag.contracts.Generator``.

    With an embedder that reads the question, sentences are compared by meaning as well as by words. Sampling settings
    and a language have no effect, and the notes say so.
    """

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder

    @property
    def model(self) -> str:
        return LOCAL_GENERATOR

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent]:
        """Yield the quotes, one delta each, on a line of their own; or ABSTENTION. Usage is nothing: none is paid for.

        Raises GenerationError when the embedder fails.
        """
        if settings.response_format is not None and settings.response_format.get("type") != "text":
            raise AnswerFormatError(
                "the embedded answerer quotes the documents and writes no JSON; set a chat model (OPENAI_API_KEY, or "
                "see `rag doctor`), or leave response_format out"
            )
        question = retrieval_query(prompt.question, prompt.history)
        found, odds, least = await rate(question, prompt.sources, embedder=self._embedder)
        chosen = choose(found, odds, least=least)
        for number, candidate in enumerate(chosen):
            marker = f" [{prompt.sources[candidate.source].marker}]"
            yield TextDelta(("\n" if number else "") + " ".join(piece + marker for piece in candidate.pieces))
        if not chosen:
            yield TextDelta(ABSTENTION)
        elif missing := parts_without_words(prompt.question, prompt.sources):
            yield TextDelta(f"\n{MISSING} {'; '.join(missing)}")
        yield GenerationDone("stop", self.model, Usage(), _without_effect(prompt, settings))


def _without_effect(prompt: Prompt, settings: GenerationSettings) -> tuple[str, ...]:
    """Return in words what was asked for that quoting cannot do."""
    given = [item.name for item in fields(settings) if getattr(settings, item.name) is not None]
    given += ["language"] if prompt.language else []
    if not given:
        return ()
    return (f"{', '.join(given)}: no effect, the embedded answerer quotes the documents word for word",)


async def rate(
    question: str, sources: Sequence[Source], *, embedder: Embedder | None
) -> tuple[list[Candidate], NDArray[np.float64], float]:
    """Return what can be quoted, the log-odds that each answers, and the least that the best must have."""
    found = await asyncio.to_thread(candidates, sources)
    terms = read_question(question)
    cosines = await cosines_with(question, found, embedder) if embedder and found else None
    measures = await asyncio.to_thread(measure, terms, found, sources, cosines=cosines)
    return found, log_odds(measures), threshold(measures)


def choose(found: Sequence[Candidate], odds: NDArray[np.float64], *, least: float) -> list[Candidate]:
    """Return what to quote, best first; nothing when the best is below ``least``. Ties go to the earlier sentence.

    What ends with a colon brings what it announces. A sentence that was quoted already is not quoted from elsewhere.
    """
    chosen: dict[str, Candidate] = {}
    by_place = {(candidate.source, candidate.place): candidate for candidate in found}
    order = np.argsort(-odds, kind="stable")
    for row in order:
        if odds[row] < least or odds[row] < odds[order[0]] - WITHIN or len(chosen) >= MAX_SENTENCES:
            break
        candidate: Candidate | None = found[row]
        while candidate is not None and len(chosen) < MAX_SENTENCES:
            announces = candidate.text.rstrip("*_").endswith((":", "："))
            chosen.setdefault(candidate.text.casefold(), candidate)
            following = (candidate.source, candidate.place + 1)
            candidate = by_place.get(following) if announces else None
    return list(chosen.values())


async def cosines_with(question: str, found: Sequence[Candidate], embedder: Embedder) -> NDArray[np.float32] | None:
    """Return the cosine of the question with each candidate, 0 where one is not compared; None for an unread question.

    What may be longer than the embedder's window is compared window by window, and the best counts.
    """
    limits = embedder.profile.limits
    texts = [candidate.meant for candidate in found]
    if len(texts) > MAX_EMBEDDED:
        terms = read_question(question).terms
        shared = [sum(term in text.casefold() for term in terms) for text in texts]
        kept = np.sort(np.argsort(-np.array(shared), kind="stable")[:MAX_EMBEDDED])
    else:
        kept = np.arange(len(texts))
    width = limits.max_input_tokens  # characters: hardly any readable text has more tokens than characters
    windows = [(row, texts[row][at : at + width]) for row in kept for at in range(0, len(texts[row]), width)]
    try:
        asked = await embedder.embed([question[:width]], kind="query")
        if not asked.readable[0]:
            return None
        vectors = await _embed_all([window for _, window in windows], embedder)
    except EmbeddingError as error:
        raise GenerationError(f"the sentences to quote could not be compared with the question: {error}") from error
    cosines = np.zeros(len(texts), dtype=np.float32)
    np.maximum.at(cosines, [row for row, _ in windows], vectors @ asked.vectors[0])
    return cosines


async def _embed_all(texts: Sequence[str], embedder: Embedder) -> FloatArray:
    limits = embedder.profile.limits
    size = max(1, min(limits.max_inputs, limits.max_request_tokens // limits.max_input_tokens))
    requests = (texts[at : at + size] for at in range(0, len(texts), size))
    return np.concatenate([(await embedder.embed(request, kind="document")).vectors for request in requests])
