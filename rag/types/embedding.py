"""Vectors, and the models that make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Allowance",
    "EmbedderProfile",
    "EmbeddingLimits",
    "Embeddings",
    "FloatArray",
    "TextKind",
]

FloatArray = NDArray[np.float32]
TextKind = Literal["document", "query"]


@dataclass(frozen=True, slots=True)
class EmbeddingLimits:
    """What one embeddings request may hold, and how many may be under way.

    ``concurrency`` requests are under way at first, up to ``max_concurrency`` (None: no more) where the endpoint bears
    it. A run goes on for ``patience_s`` seconds without one success before the endpoint counts as gone.
    """

    max_inputs: int = 2048
    max_input_tokens: int = 8191
    max_request_tokens: int = 300_000
    concurrency: int = 8
    max_concurrency: int | None = None
    patience_s: float = 600.0


@dataclass(frozen=True, slots=True)
class EmbedderProfile:
    """Who embeds. ``model`` and ``dimensions`` name the vector space; None dimensions are learnt from the first reply.

    ``tokenizer`` is the name of the tokenizer that counts for this model (see ``rag.tokens``). ``endpoint`` is the
    address that serves it, without keys; "" for a model that runs here.
    """

    model: str
    dimensions: int | None
    tokenizer: str
    limits: EmbeddingLimits = EmbeddingLimits()
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an endpoint says is left of its rate: of requests or of tokens.

    Of ``limit`` there are ``left``; all of it is back after ``reset_s`` seconds, spread evenly.
    """

    limit: float
    left: float
    reset_s: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of some texts, in their order: ``vectors`` is float32 (n, dim), C-contiguous, rows of unit length.

    ``readable[i]`` is False where the model cannot read text i (its row is all zeros and must get no vote).
    ``n_tokens`` is what was paid for, as told by the endpoint or counted; ``estimated`` says which.
    ``requests_left`` and ``tokens_left`` are the endpoint's allowances, where it told them.
    """

    vectors: FloatArray
    readable: NDArray[np.bool_]
    n_tokens: int
    estimated: bool = False
    requests_left: Allowance | None = None
    tokens_left: Allowance | None = None
