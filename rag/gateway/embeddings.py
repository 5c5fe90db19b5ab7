"""Embeddings of an endpoint: one request in, one checked float32 array out."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rag.contracts import Tokenizer
from rag.errors import EmbeddingError, EndpointError, EndpointResponseError
from rag.gateway.endpoint import EndpointClient
from rag.gateway.providers import embedding_model
from rag.gateway.retry import allowance
from rag.types import EmbedderProfile, Embeddings, FloatArray, TextKind

__all__ = ["EndpointEmbedder", "tokens_told", "unit_rows_of"]

_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORTEST = 1e-12  # a vector shorter than this has no direction worth keeping


class EndpointEmbedder:
    """Satisfies ``rag.contracts.Embedder`` with the model that ``profile`` names.

    ``dimensions`` go into the request where the profile wants other than the model's usual ones. Base64 is asked for
    where the provider takes it: a quarter of the bytes, and none of the parsing. ``tokenizer`` counts where the reply
    does not. A query is tried again as the client's endpoint says. Documents are sent once: whoever embeds many has a
    queue, which must hear of every refusal to slow down all of its requests.
    """

    def __init__(self, client: EndpointClient, profile: EmbedderProfile, *, tokenizer: Tokenizer) -> None:
        known = embedding_model(client.endpoint.provider, profile.model)
        is_other = profile.dimensions is not None and profile.dimensions != known.dimensions
        self._client = client
        self._profile = replace(profile, endpoint=client.endpoint.address)
        self._tokenizer = tokenizer
        self._asked_dimensions = profile.dimensions if is_other and known.takes_dimensions else None
        self._asks_base64 = known.sends_base64

    @property
    def profile(self) -> EmbedderProfile:
        """The profile; its dimensions are known after the first reply at the latest."""
        return self._profile

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        """Embed one request's worth of texts. ``kind`` makes no difference to the vectors.

        Raises EmbeddingError, ValueError for an empty text or more texts than one request holds.
        """
        limit = self._profile.limits.max_inputs
        if len(texts) > limit:
            raise ValueError(f"one request holds {limit} texts, got {len(texts)}")
        if any(not text for text in texts):
            raise ValueError("an empty text has no embedding")
        if not texts:
            return Embeddings(np.zeros((0, self._profile.dimensions or 0), np.float32), np.zeros(0, np.bool_), 0)
        try:
            reply, headers = await self._reply(texts, retries=kind == "query")
            vectors = unit_rows_of(reply, n_texts=len(texts), dimensions=self._profile.dimensions)
        except EndpointError as error:
            raise EmbeddingError(f"embedding {len(texts)} texts with {self._profile.model!r}: {error}") from error
        self._profile = replace(self._profile, dimensions=vectors.shape[1])
        told = tokens_told(reply)
        n_tokens = sum(map(self._tokenizer.count, texts)) if told is None else told
        return Embeddings(
            vectors,
            np.ones(len(texts), np.bool_),
            n_tokens,
            estimated=told is None,
            requests_left=allowance(headers, "requests"),
            tokens_left=allowance(headers, "tokens"),
        )

    def request_body(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the body of the request for some texts: what ``embed`` sends, and what a line of a batch holds."""
        body: dict[str, Any] = {
            "model": self._profile.model,
            "input": [_SURROGATES.sub("\ufffd", text) for text in texts],
        }
        if self._asked_dimensions is not None:
            body["dimensions"] = self._asked_dimensions
        if self._asks_base64:
            body["encoding_format"] = "base64"
        return body

    async def _reply(self, texts: Sequence[str], *, retries: bool) -> tuple[dict[str, Any], Mapping[str, str]]:
        try:
            return await self._client.post("/embeddings", self.request_body(texts), retries=retries)
        except EndpointError as error:
            is_about_format = error.status in (400, 422) and "encoding_format" in f"{error.param} {error}"
            if not (self._asks_base64 and is_about_format):
                raise
        self._asks_base64 = False  # learnt: do not ask again
        return await self._client.post("/embeddings", self.request_body(texts), retries=retries)


def unit_rows_of(reply: dict[str, Any], *, n_texts: int, dimensions: int | None) -> FloatArray:
    """Return the vectors of an embeddings reply in the order of the texts, float32 (n, dim), each of unit length.

    Takes floats and base64 (little-endian float32, as the protocol has it), side by side if need be. Raises
    EndpointResponseError unless there is exactly one finite, non-zero vector of the right length for every text.
    """
    items = _in_order(reply.get("data"), n_texts)
    rows = [_row(item.get("embedding"), place) for place, item in enumerate(items)]
    wanted = len(rows[0]) if dimensions is None else dimensions
    for place, row in enumerate(rows):
        if len(row) != wanted or wanted == 0:
            raise _bad(
                f"vector {place} has {len(row)} dimensions instead of {wanted}", "check model and dimensions setting"
            )
    vectors = np.empty((n_texts, wanted), np.float32)
    for place, row in enumerate(rows):
        vectors[place] = row
    if not np.isfinite(vectors).all():
        place = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise _bad(f"vector {place} holds a value that is no finite number", "the model may have failed on that text")
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    if (lengths < _SHORTEST).any():
        raise _bad(f"vector {int(np.argmin(lengths))} is all zeros", "the model may have failed on that text")
    vectors /= lengths[:, np.newaxis]
    return vectors


def _in_order(data: Any, n_texts: int) -> list[dict[str, Any]]:
    """Return the items sorted by their index; where none of them has one, as they came."""
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise _bad("the reply has no list of embeddings", "check that the model is an embedding model")
    if len(data) != n_texts:
        raise _bad(f"{n_texts} texts were sent and {len(data)} vectors came back", "lower embeddings.max_inputs")
    indexes = [item.get("index") for item in data]
    if all(index is None for index in indexes):
        return data
    if any(not isinstance(index, int) for index in indexes) or sorted(indexes) != list(range(n_texts)):
        raise _bad("the vectors are not numbered from 0 up, each number once", "lower embeddings.max_inputs to 1")
    return sorted(data, key=lambda item: int(item["index"]))


def _row(embedding: Any, place: int) -> FloatArray:
    """Return one vector; its bytes are read as little-endian whatever this machine is."""
    try:
        if isinstance(embedding, str):
            return np.frombuffer(binascii.a2b_base64(embedding, strict_mode=True), dtype="<f4")
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as that
            row = np.array(embedding, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad(f"vector {place} is neither numbers nor base64", "the endpoint speaks another protocol") from error
    if row.ndim != 1:
        raise _bad(f"vector {place} has {row.ndim} axes instead of 1", "the model gives no single vector per text")
    return row


def tokens_told(reply: dict[str, Any]) -> int | None:
    """Return the tokens that a reply says were read; None where it does not say."""
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return None
    told = usage.get("prompt_tokens") or usage.get("total_tokens") or usage.get("input_tokens")
    return told if isinstance(told, int) and told > 0 else None


def _bad(found: str, advice: str) -> EndpointResponseError:
    return EndpointResponseError(f"{found}; {advice}", status=200)
