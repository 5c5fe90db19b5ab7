"""What came back for a batch: vectors stored line by line, failures counted by their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.vector_store import VectorStore
from ingest.batch_orders import Order, Requested
from rag.errors import EmbeddingError, EndpointError, EndpointResponseError
from rag.gateway.batches import Batch
from rag.gateway.embeddings import tokens_told, unit_rows_of
from rag.gateway.error_bodies import error_in, json_of
from rag.types import Embeddings

__all__ = ["EndedBatch", "TakenReplies"]


@dataclass(frozen=True, slots=True)
class EndedBatch:
    """What came of one batch.

    ``status`` is the endpoint's (completed, expired, cancelled, failed), "refused" where it was not even begun, "lost"
    where the endpoint no longer has the files of replies. Of ``n_texts`` vectors were stored for ``n_stored``;
    ``problems`` say why not for the others.
    """

    id: str
    status: str
    n_texts: int
    n_stored: int
    n_tokens: int
    problems: tuple[str, ...]

    @property
    def holds_back(self) -> bool:
        """Whether what it lacks must not be paid in full unasked: it came to no good as a whole."""
        return self.status not in ("completed", "expired")


class TakenReplies:
    """The lines that came back for an order: vectors stored line by line, failures counted by their reason."""

    def __init__(self, vectors: VectorStore, order: Order, requests: Mapping[str, Requested]) -> None:
        self._vectors = vectors
        self._order = order
        self._requests = requests
        self._stored: set[str] = set()
        self._reasons: dict[str, str] = {}
        self._n_foreign = 0
        self._n_tokens = 0

    def take(self, path: Path) -> None:
        """Store what a file of replies holds. A line that is no good costs its own texts only."""
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        try:
            reply = json_of(line)
        except ValueError:
            reply = None
        custom_id = reply.get("custom_id") if isinstance(reply, dict) else None
        requested = self._requests.get(custom_id) if isinstance(custom_id, str) else None
        if requested is None:
            self._n_foreign += 1
            return
        assert isinstance(reply, dict)
        assert isinstance(custom_id, str)
        if custom_id in self._stored:
            return
        try:
            self._store(_body_of(reply), requested)
        except (EndpointError, EmbeddingError) as error:
            self._reasons[custom_id] = str(error)
        else:
            self._stored.add(custom_id)

    def _store(self, body: dict[str, Any], requested: Requested) -> None:
        n_texts = len(requested.addresses)
        rows = unit_rows_of(body, n_texts=n_texts, dimensions=self._order.dimensions)
        told = tokens_told(body)
        n_tokens = requested.n_tokens if told is None else told
        embeddings = Embeddings(rows, np.ones(n_texts, np.bool_), n_tokens, estimated=told is None)
        self._vectors.put(self._order.space, requested.addresses, embeddings)
        self._n_tokens += n_tokens

    def ended(self, batch: Batch, *, status: str) -> EndedBatch:
        """Return what came of the batch, now that all its files are read."""
        n_stored = sum(len(self._requests[custom_id].addresses) for custom_id in self._stored)
        return EndedBatch(
            id=batch.id,
            status="cancelled" if status == "canceled" else status,
            n_texts=self._order.n_texts,
            n_stored=n_stored,
            n_tokens=self._n_tokens,
            problems=(*batch.problems, *self._problems()),
        )

    def _problems(self) -> Iterable[str]:
        counted: Counter[str] = Counter()
        for custom_id, requested in self._requests.items():
            if custom_id not in self._stored:
                counted[self._reasons.get(custom_id, "not answered")] += len(requested.addresses)
        yield from (f"{n:,} texts: {reason}" for reason, n in counted.most_common())
        if self._n_foreign:
            yield f"{self._n_foreign:,} lines answer nothing that was asked, and were left out"


def _body_of(reply: dict[str, Any]) -> dict[str, Any]:
    """Return the embeddings reply inside a line, or raise what is there instead; codes only: messages quote texts."""
    response = reply.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    body = response.get("body") if isinstance(response, dict) else None
    found = error_in(body) or error_in(reply)
    if status == 200 and isinstance(body, dict) and found is None:
        return body
    said = ", ".join(
        part
        for part in (f"status {status}" if status else "", f"code {found.code}" if found and found.code else "")
        if part
    )
    raise EndpointResponseError(said or "no reply", status=status if isinstance(status, int) else None)
