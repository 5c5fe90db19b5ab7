"""Moderation by an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag.errors import EndpointError, EndpointResponseError, ModerationError
from rag.gateway.endpoint import EndpointClient
from rag.types import ModerationVerdict

__all__ = ["EndpointModerator"]

_PIECE = 20_000  # characters: below the model's window in any language, beyond which it would read no further
_BATCH = 32


class EndpointModerator:
    """Satisfies ``rag.contracts.Moderator``. A long text is judged in pieces: flagged if any piece is."""

    def __init__(self, client: EndpointClient, *, model: str) -> None:
        self._client = client
        self._model = model

    async def moderate(self, texts: Sequence[str]) -> list[ModerationVerdict]:
        """Return one verdict per text, in order; a blank text is not sent and not flagged."""
        pieces = [
            (place, text[start : start + _PIECE])
            for place, text in enumerate(texts)
            if text.strip()
            for start in range(0, len(text), _PIECE)
        ]
        verdicts = [ModerationVerdict(False, (), {}, self._model) for _ in texts]
        for first in range(0, len(pieces), _BATCH):
            batch = pieces[first : first + _BATCH]
            for (place, _), verdict in zip(batch, await self._judge([piece for _, piece in batch]), strict=True):
                verdicts[place] = _merged(verdicts[place], verdict)
        return verdicts

    async def _judge(self, texts: list[str]) -> list[ModerationVerdict]:
        try:
            reply = await self._client.post_json("/moderations", {"model": self._model, "input": texts})
            return _verdicts_of(reply, n_texts=len(texts), model=self._model)
        except EndpointError as error:
            raise ModerationError(f"moderating {len(texts)} texts with {self._model!r}: {error}") from error


def _verdicts_of(reply: dict[str, Any], *, n_texts: int, model: str) -> list[ModerationVerdict]:
    results = reply.get("results")
    n_results = len(results) if isinstance(results, list) else 0
    if n_results != n_texts or not all(isinstance(result, dict) and "flagged" in result for result in results or ()):
        raise EndpointResponseError(
            f"{n_texts} texts were sent and {n_results} judgements came back; check that the model moderates",
            status=200,
        )
    return [_verdict(result, str(reply.get("model") or model)) for result in results or ()]


def _verdict(result: dict[str, Any], model: str) -> ModerationVerdict:
    flags = result.get("categories") or {}
    scores = result.get("category_scores") or {}
    return ModerationVerdict(
        flagged=bool(result["flagged"]),
        categories=tuple(sorted(name for name, is_flagged in flags.items() if is_flagged)),
        scores={name: float(score) for name, score in scores.items() if score is not None},
        model=model,
    )


def _merged(one: ModerationVerdict, other: ModerationVerdict) -> ModerationVerdict:
    names = one.scores.keys() | other.scores.keys()
    return ModerationVerdict(
        flagged=one.flagged or other.flagged,
        categories=tuple(sorted({*one.categories, *other.categories})),
        scores={name: max(one.scores.get(name, 0.0), other.scores.get(name, 0.0)) for name in sorted(names)},
        model=other.model,
    )
