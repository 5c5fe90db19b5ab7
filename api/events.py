"""Answers, events and hits as plain values for JSON: what the service sends and the command's ``--json`` writes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from api.errors import error_reply
from rag.answering.support import support_of
from rag.types import (
    Answer,
    AnswerEvent,
    Citation,
    Hit,
    Moderated,
    ModerationVerdict,
    Retrieval,
    Retrieved,
    Source,
    Statement,
    Step,
    TextDelta,
    Usage,
)

__all__ = [
    "HEARTBEAT",
    "answer_json",
    "citation_json",
    "error_json",
    "event_json",
    "hit_json",
    "json_bytes",
    "retrieval_json",
    "usage_json",
]

JSON = dict[str, Any]

HEARTBEAT = b": still working\n\n"
"""A comment, which every reader of server-sent events skips: it keeps proxies from dropping a quiet connection."""


def event_json(event: AnswerEvent) -> JSON:
    """Return an event with its ``type``: step, retrieved, moderated, delta, citation, statement or answer (last)."""
    match event:
        case Step():
            return {"type": "step", "step": dataclasses.asdict(event)}
        case Retrieved():
            return {"type": "retrieved", "sources": [_source_json(source) for source in event.sources]}
        case Moderated():
            verdict = _verdict_json(event.verdict)
            return {"type": "moderated", "target": event.target, "blocked": event.blocked, "verdict": verdict}
        case TextDelta():
            return {"type": "delta", "text": event.text}
        case Citation():
            return {"type": "citation", "citation": citation_json(event)}
        case Statement():
            return {"type": "statement", "statement": dataclasses.asdict(event)}
        case Answer():
            return {"type": "answer", "answer": answer_json(event)}


def error_json(error: Exception) -> JSON:
    """Return the event that ends a stream in which something failed."""
    return {"type": "error", **error_reply(error).body}


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON in UTF-8, on one line."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # subtle: a lone surrogate (of a file name that is not UTF-8) cannot be encoded; as \udc80 it is valid JSON.
    return content.encode("utf-8", "backslashreplace")


def answer_json(answer: Answer) -> JSON:
    return {
        "id": answer.id,
        "question": answer.question,
        "text": answer.text,
        "answered": answer.answered,
        "refusal": answer.refusal,
        "citations": [citation_json(citation) for citation in answer.citations],
        "statements": [dataclasses.asdict(statement) for statement in answer.statements],
        "support": dataclasses.asdict(support_of(answer.statements)),
        "unknown_markers": list(answer.unknown_markers),
        "sources": [_source_json(source) for source in answer.sources],
        "model": answer.model,
        "finish_reason": answer.finish_reason,
        "usage": usage_json(answer.usage),
        "timings_ms": dict(answer.timings_ms),
        "moderation": [_verdict_json(verdict) for verdict in answer.moderation],
        "notes": list(answer.notes),
        "removed": [dataclasses.asdict(sentence) for sentence in answer.removed],
        "unanswered": list(answer.unanswered),
        "contradictions": [dataclasses.asdict(one) for one in answer.contradictions],
        "queries": list(answer.queries),
        "trace": [dataclasses.asdict(step) for step in answer.trace],
        "value": answer.value,
    }


def citation_json(citation: Citation) -> JSON:
    return dataclasses.asdict(citation)


def retrieval_json(query: str, retrieval: Retrieval, places: Sequence[str]) -> JSON:
    """``places`` say in words where each hit begins."""
    return {
        "query": query,
        "hits": [hit_json(hit, place) for hit, place in zip(retrieval.hits, places, strict=True)],
        "legs": list(retrieval.legs),
        "timings_ms": dict(retrieval.timings_ms),
        "reranker": retrieval.reranker,
        "notes": list(retrieval.notes),
    }


def hit_json(hit: Hit, place: str) -> JSON:
    """``place`` says in words where the chunk begins, as in a citation."""
    chunk = hit.chunk
    return {
        "chunk_id": chunk.id,
        "document": chunk.document_id,
        "page": chunk.page,
        "place": place,
        "start": chunk.start,
        "end": chunk.end,
        "headings": list(chunk.headings),
        "text": chunk.text,
        "context": chunk.context,
        "context_start": chunk.context_start if chunk.context else None,
        "score": hit.score,
        "relevance": hit.relevance,
        "duplicates": list(hit.duplicates),
        "vector_score": hit.vector_score,
        "keyword_score": hit.keyword_score,
        "rerank_score": hit.rerank_score,
    }


def _source_json(source: Source) -> JSON:
    return {
        "marker": source.marker,
        "document": source.document_id,
        "title": source.title,
        "page": source.page,
        "place": source.place,
        "start": source.start,
        "end": source.end,
        "headings": list(source.headings),
        "text": source.text,
        "context": source.context,
        "context_start": source.context_start if source.context else None,
        "score": source.score,
        "chunk_ids": list(source.chunk_ids),
    }


def usage_json(usage: Usage) -> JSON:
    return dataclasses.asdict(usage)


def _verdict_json(verdict: ModerationVerdict) -> JSON:
    return {
        "flagged": verdict.flagged,
        "categories": list(verdict.categories),
        "scores": dict(verdict.scores),
        "model": verdict.model,
    }
