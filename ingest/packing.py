"""What fits into one request, and how a text that fits into none is cut and put together again: pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np

from rag.types import EmbeddingLimits, FloatArray

__all__ = ["pack", "parts_of", "weighted_mean"]

_BREAKS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n"),
    re.compile(r"\s+|(?<=[,;:，；：、])"),
)
"""Where a text is cut, best first: between paragraphs, sentences, words."""


def pack(sizes: Sequence[int], limits: EmbeddingLimits) -> int:
    """Return how many of the first texts, given their token counts, fit one request; at least 1 if there are any.

    >>> pack([100, 150, 100], EmbeddingLimits(max_inputs=10, max_request_tokens=300))
    2
    """
    n_tokens = 0
    for n_texts, size in enumerate(sizes):
        n_tokens += size
        if n_texts == limits.max_inputs or (n_texts and n_tokens > limits.max_request_tokens):
            return n_texts
    return len(sizes)


def parts_of(text: str, n: int) -> list[str]:
    """Return the text in about ``n`` parts of similar length, cut between paragraphs, sentences or words if possible.

    The parts together are the text, to the last character, but for parts of blanks only, which are left out.

    >>> parts_of("One sentence. And another.", 2)
    ['One sentence. ', 'And another.']
    """
    n = max(1, min(n, len(text)))
    length = len(text) / n
    cuts = [0]
    for i in range(1, n):
        cut = _cut_near(text, round(i * length), reach=int(length / 3))
        if cut > cuts[-1]:
            cuts.append(cut)
    cuts.append(len(text))
    parts = [text[start:end] for start, end in itertools.pairwise(cuts)]
    return [part for part in parts if part.strip()] or [text]


def _cut_near(text: str, at: int, *, reach: int) -> int:
    """Return the place of the best break within ``reach`` characters, the nearest of its kind; else ``at`` itself."""
    low, high = max(0, at - reach), min(len(text), at + reach)
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return min(ends, key=lambda end: abs(end - at))
    return at


def weighted_mean(vectors: FloatArray, weights: Sequence[float]) -> FloatArray:
    """Return the unit vector (dim,) of the weighted mean of unit rows (n, dim); all zeros where they cancel out."""
    mean = np.asarray(weights, dtype=np.float64) @ vectors.astype(np.float64)
    length = float(np.sqrt(mean @ mean))
    return (mean / length if length > 1e-9 else np.zeros_like(mean)).astype(np.float32)
