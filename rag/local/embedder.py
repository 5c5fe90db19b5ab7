"""The embedded model: all-MiniLM-L6-v2 in 8 bits, on the processor. The only importer of onnxruntime.

Every text is computed alone, on one thread; as many texts at once as there are processors. That is faster than batches
(no padding, no thread waits for another), and makes a vector depend on its text only, to the last bit.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import EmbeddingError, EmbeddingInputError
from rag.local.wordpiece import MINILM, TokenIds, WordPieceTokenizer, wordpiece
from rag.types import EmbedderProfile, EmbeddingLimits, Embeddings, FloatArray, TextKind

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["LOCAL_MODEL", "LocalEmbedder", "available_cores", "is_readable"]

LOCAL_MODEL = "local/all-MiniLM-L6-v2-int8"
DIMENSIONS = 384
MAX_TOKENS = 254
"""The model reads 256 tokens; [CLS] and [SEP] are two of them."""

MAX_FOREIGN_SHARE = 0.4
"""Above this share of foreign words a text gets no vector.

Measured on data/beir: the largest share among 6,200 English passages but one is .32; the smallest among 500 Chinese
passages .70; 99.8 % of 2,200 Chinese questions are above, what is below is Latin names and numbers.
"""

_PROFILE = EmbedderProfile(
    model=LOCAL_MODEL,
    dimensions=DIMENSIONS,
    tokenizer="minilm-wordpiece",
    # About a second of work a request; a second request keeps the processors busy while the first is stored.
    limits=EmbeddingLimits(
        max_inputs=64, max_input_tokens=MAX_TOKENS, max_request_tokens=64 * MAX_TOKENS, concurrency=2
    ),
)


def is_readable(tokens: TokenIds) -> bool:
    """Tell whether the model, trained on English, can read a text.

    The vocabulary spells some words of many scripts, so a known token is no sign of understanding; every token that is
    unknown or not in Latin script counts as foreign. A text without tokens is not readable, one of digits is.
    """
    return len(tokens.ids) > 0 and tokens.n_foreign <= MAX_FOREIGN_SHARE * tokens.n_words


def available_cores() -> int:
    """Return how many processors this process may use: affinity and the quota of a Linux control group count."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores  # not Linux, or no control groups of the second version
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


@dataclass(frozen=True, slots=True)
class _Model:
    tokenizer: WordPieceTokenizer
    session: onnxruntime.InferenceSession

    def vector(self, tokens: TokenIds) -> FloatArray:
        """Return the unit vector of one text, float32 (384,)."""
        first, last = self.tokenizer.special_ids
        ids = np.concatenate([[first], tokens.ids, [last]])[np.newaxis]
        (vectors,) = self.session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vector: FloatArray = vectors[0]
        return vector


class LocalEmbedder:
    """Embeds English text without a key or a network. Satisfies ``rag.contracts.Embedder``.

    The model is loaded by the first text. Documents and queries have a queue each, so that a question does not wait for
    an ingest.
    """

    def __init__(self, folder: Path = MINILM, *, n_threads: int | None = None) -> None:
        """``n_threads`` texts are computed at once; None takes all processors this process may use."""
        self._folder = folder
        self._model: _Model | None = None
        self._loading = threading.Lock()
        self._pools = {
            kind: ThreadPoolExecutor(n_threads or available_cores(), thread_name_prefix=f"embed-{kind}")
            for kind in ("document", "query")
        }

    @property
    def profile(self) -> EmbedderProfile:
        return _PROFILE

    def load(self) -> None:
        """Load the weights now, in this thread; otherwise the first text does. Raises EmbeddingError."""
        self._loaded()

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        """Return a unit vector for each readable text and a row of zeros for each other; see ``is_readable``.

        Raises EmbeddingInputError for a readable text of more than 254 tokens (nothing is cut off), EmbeddingError when
        the model cannot be loaded, ValueError for an empty text.
        """
        for place, text in enumerate(texts):
            if not text:
                raise ValueError(f"text {place} of {len(texts)} is empty; leave it out")
        return await asyncio.to_thread(self._embed, texts, self._pools[kind])

    def _embed(self, texts: Sequence[str], pool: ThreadPoolExecutor) -> Embeddings:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        readable = np.zeros(len(texts), dtype=np.bool_)
        if not texts:
            return Embeddings(vectors, readable, n_tokens=0)
        model = self._loaded()
        encoded = model.tokenizer.encode(texts)
        readable[:] = [is_readable(tokens) for tokens in encoded]
        for place in np.flatnonzero(readable):
            if len(encoded[place].ids) > MAX_TOKENS:
                raise EmbeddingInputError(
                    f"text {place} of {len(texts)} has {len(encoded[place].ids)} tokens and {LOCAL_MODEL} reads "
                    f"{MAX_TOKENS}; cut it into chunks of at most that"
                )
        # Longest first, so that the threads finish together.
        order = sorted(np.flatnonzero(readable), key=lambda place: -len(encoded[place].ids))
        rows = pool.map(lambda place: model.vector(encoded[place]), order)
        for place, row in zip(order, rows, strict=True):
            vectors[place] = row
        if not np.allclose(np.linalg.norm(vectors[order], axis=1), 1, atol=1e-3):
            raise EmbeddingError(f"{LOCAL_MODEL} gave a vector that is not of unit length; reinstall footnote-rag")
        return Embeddings(vectors, readable, n_tokens=sum(len(tokens.ids) for tokens in encoded))

    def _loaded(self) -> _Model:
        with self._loading:
            if self._model is None:
                self._model = _load(self._folder)
            return self._model


def _load(folder: Path) -> _Model:
    import onnxruntime  # late: a fifth of a second that most commands do not need

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # shipped optimised
    options.log_severity_level = 3  # errors only; they are raised as well
    path = folder / "model.onnx"
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return _Model(wordpiece(folder), session)
    except Exception as error:  # both libraries raise bare Exceptions of their own making
        raise EmbeddingError(
            f"the embedded model in {folder} cannot be loaded ({error}); reinstall footnote-rag"
        ) from error
