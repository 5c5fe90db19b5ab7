"""Reranking by an endpoint: the request that Jina, Cohere, vLLM, llama.cpp and SiliconFlow have in common.

``POST {base_url}/rerank`` with ``model``, ``query``, ``documents`` and ``top_n``; the reply lists ``index`` and
``relevance_score`` under ``results`` (Voyage: ``data``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rag.errors import EndpointError, EndpointResponseError, RerankError
from rag.gateway.endpoint import EndpointClient

__all__ = ["EndpointReranker"]


class EndpointReranker:
    """Satisfies ``rag.contracts.Reranker``."""

    def __init__(self, client: EndpointClient, *, model: str) -> None:
        self._client = client
        self._model = model

    @property
    def model(self) -> str:
        return self._model

    async def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return a score in [0, 1] for each text, in their order. Raises RerankError.

        Endpoints that send logits (llama.cpp does) have them put on [0, 1] by the logistic function.
        """
        if not texts:
            return []
        request = {
            "model": self._model,
            "query": query,
            "documents": list(texts),
            "top_n": len(texts),
            "return_documents": False,
        }
        try:
            scores = _scores_of(await self._client.post_json("/rerank", request), n_texts=len(texts))
        except EndpointError as error:
            raise RerankError(f"reranking {len(texts)} passages with {self._model!r}: {error}") from error
        if any(not 0 <= score <= 1 for score in scores):
            return [1 / (1 + math.exp(-max(min(score, 60.0), -60.0))) for score in scores]
        return scores


def _scores_of(reply: dict[str, Any], *, n_texts: int) -> list[float]:
    """Return the score of each text. Raises EndpointResponseError unless each of them has one."""
    results = reply.get("results", reply.get("data"))
    scores: dict[int, float] = {}
    for result in results if isinstance(results, list) else ():
        if not isinstance(result, dict):
            continue
        place, score = result.get("index"), result.get("relevance_score", result.get("score"))
        if isinstance(place, int) and isinstance(score, int | float) and math.isfinite(score):
            scores[place] = float(score)
    if scores.keys() != set(range(n_texts)):
        raise EndpointResponseError(
            f"{n_texts} passages were sent and {len(scores)} of them came back with a score; check that the model "
            "reranks",
            status=200,
        )
    return [scores[place] for place in range(n_texts)]
