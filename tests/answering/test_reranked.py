"""Putting hits in order with a reranker, and what happens when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rag.answering.reranked import RerankedRetriever
from rag.errors import RerankError
from rag.types import Hit
from tests.fakes import CannedRetriever, document, whole


class CannedReranker:
    """Gives each text the score that stands in it as a number, after ``delay_s``; ``asked`` holds the texts."""

    model = "canned-reranker"

    def __init__(self, *, delay_s: float = 0, error: RerankError | None = None) -> None:
        self.asked: list[str] = []
        self._delay_s = delay_s
        self._error = error

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.asked += texts
        await asyncio.sleep(self._delay_s)
        if self._error is not None:
            raise self._error
        return [float(text.split()[-1]) for text in texts]


def found(*scores: float) -> list[Hit]:
    """Return hits whose reranked scores are these, found in this order."""
    return [
        whole(document(f"{place}.txt", f"worth {score}"), score=0.9 - place / 10) for place, score in enumerate(scores)
    ]


def reranked(hits: Sequence[Hit], reranker: CannedReranker, **changes: float) -> RerankedRetriever:
    options = {"candidates": 10, "max_tokens": 1000, "timeout_s": 5.0} | changes
    return RerankedRetriever(CannedRetriever(*hits), reranker, **options)  # type: ignore[arg-type]


async def test_hits_come_in_the_order_of_the_reranker_with_its_scores() -> None:
    retrieval = await reranked(found(0.2, 0.9, 0.5), CannedReranker()).retrieve("q", k=2)
    assert [(hit.chunk.document_id, hit.score, hit.rerank_score) for hit in retrieval.hits] == [
        ("1.txt", 0.9, 0.9),
        ("2.txt", 0.5, 0.5),
    ]
    assert (retrieval.reranker, retrieval.notes) == ("canned-reranker", ())
    assert "rerank" in retrieval.timings_ms


async def test_equal_scores_keep_the_order_they_were_found_in() -> None:
    retrieval = await reranked(found(0.5, 0.5, 0.5), CannedReranker()).retrieve("q", k=3)
    assert [hit.chunk.document_id for hit in retrieval.hits] == ["0.txt", "1.txt", "2.txt"]


async def test_what_was_not_judged_ranks_after_what_was_and_scores_no_more() -> None:
    reranker = CannedReranker()
    retrieval = await reranked(found(0.1, 0.2, 0.9), reranker, candidates=2).retrieve("q", k=3)
    assert len(reranker.asked) == 2
    assert [hit.chunk.document_id for hit in retrieval.hits] == ["1.txt", "0.txt", "2.txt"]
    assert retrieval.hits[2].score <= retrieval.hits[1].score
    assert retrieval.hits[2].rerank_score is None


async def test_no_more_tokens_are_judged_than_may_be() -> None:
    reranker = CannedReranker()  # a text such as "worth 0.1" has four tokens: worth, 0, ., 1
    await reranked(found(0.1, 0.2, 0.9), reranker, max_tokens=9).retrieve("q", k=3)
    assert reranker.asked == ["worth 0.1", "worth 0.2"]


async def test_one_hit_is_not_sent_to_be_ordered() -> None:
    reranker = CannedReranker()
    assert len((await reranked(found(0.5), reranker).retrieve("q", k=3)).hits) == 1
    assert reranker.asked == []


async def test_a_slow_reranker_costs_its_time_and_not_the_hits() -> None:
    retrieval = await reranked(found(0.1, 0.9), CannedReranker(delay_s=30), timeout_s=0.05).retrieve("q", k=2)
    assert [hit.chunk.document_id for hit in retrieval.hits] == ["0.txt", "1.txt"]
    assert retrieval.notes == ("not reranked: canned-reranker did not answer within 0.05 s (rerank.timeout_s)",)
    assert retrieval.reranker == ""


async def test_a_failing_reranker_is_said_and_costs_no_hit() -> None:
    reranker = CannedReranker(error=RerankError("it is down; try again later"))
    retrieval = await reranked(found(0.1, 0.9), reranker).retrieve("q", k=2)
    assert len(retrieval.hits) == 2
    assert retrieval.notes == ("not reranked: it is down; try again later",)


def test_wrong_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        reranked(found(0.5), CannedReranker(), candidates=0)
