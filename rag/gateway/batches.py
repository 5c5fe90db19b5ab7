"""Batches: thousands of requests in one file, answered within a day, usually for half the price."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from rag.errors import EndpointError, EndpointResponseError
from rag.gateway.endpoint import CallReply, EndpointClient
from rag.gateway.files import is_missing_route, listed, missing_route

__all__ = [
    "MAX_BATCH_BYTES",
    "MAX_BATCH_REQUESTS",
    "Batch",
    "cancel_batch",
    "check_batches_are_served",
    "create_batch",
    "find_batch",
    "get_batch",
    "list_batches",
]

MAX_BATCH_REQUESTS = 50_000
"""Requests of a batch; of embeddings also inputs. https://developers.openai.com/api/docs/guides/batch"""

MAX_BATCH_BYTES = 200_000_000
"""Size of a batch's input file: 200 MB, the smaller meaning of it. Same source."""

_ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the endpoint tells of it.

    ``status`` is validating, failed, in_progress, finalizing, completed, expired, cancelling or cancelled. ``n_done``
    of ``n_requests`` are answered, ``n_failed`` failed. ``problems`` say why it failed as a whole. ``poll_after_s`` is
    when the endpoint wants to be asked again, None where it does not say. ``raw`` is all that it said.
    """

    id: str
    status: str
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    n_requests: int
    n_done: int
    n_failed: int
    problems: tuple[str, ...]
    poll_after_s: float | None
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more; its files may be there whatever the status."""
        return self.status in _ENDED


async def create_batch(
    client: EndpointClient, input_file_id: str, *, endpoint: str, metadata: Mapping[str, str]
) -> Batch:
    """Start the batch of an uploaded file. A try that was cut off is looked for before there is a second one.

    ``endpoint`` is the path of its requests ("/v1/embeddings"). Raises EndpointError; that the endpoint serves no
    batches is one that says so.
    """

    async def created_already() -> dict[str, Any] | None:
        found = await find_batch(client, input_file_id)
        return None if found is None else dict(found.raw)

    body = {
        "input_file_id": input_file_id,
        "endpoint": endpoint,
        "completion_window": "24h",
        "metadata": dict(metadata),
    }
    try:
        return _batch_of(await client.call("POST", "/batches", body=body, done_already=created_already))
    except EndpointError as error:
        raise missing_route(error, client, "batches") from error


async def get_batch(client: EndpointClient, batch_id: str) -> Batch:
    """Return how far a batch is."""
    return _batch_of(await client.call("GET", f"/batches/{quote(batch_id, safe='')}"))


async def cancel_batch(client: EndpointClient, batch_id: str) -> Batch:
    """Ask for the end of a batch; it may take minutes, and what was answered until then can be fetched.

    A batch that has ended already is returned as it is.
    """
    try:
        return _batch_of(await client.call("POST", f"/batches/{quote(batch_id, safe='')}/cancel"))
    except EndpointError as error:
        if error.status not in (400, 409):
            raise
        batch = await get_batch(client, batch_id)
        if not batch.has_ended and batch.status != "cancelling":
            raise
        return batch


async def list_batches(client: EndpointClient, *, max_pages: int = 20) -> AsyncIterator[Batch]:
    """Yield the batches of the account, the newest first."""
    async for entry in listed(client, "/batches", query={}, max_pages=max_pages):
        yield _batch_of(CallReply(entry, {}))


async def find_batch(client: EndpointClient, input_file_id: str) -> Batch | None:
    """Return the newest batch of an input file, or None.

    An error where the endpoint has no list: a second batch of the same file would be paid for as well.
    """
    async for batch in list_batches(client):
        if batch.input_file_id == input_file_id:
            return batch
    return None


async def check_batches_are_served(client: EndpointClient) -> None:
    """Ask for the list of batches; raises EndpointError saying so where the endpoint serves none."""
    try:
        await client.call("GET", "/batches?limit=1")
    except EndpointError as error:
        raise (missing_route(error, client, "batches") if is_missing_route(error) else error) from error


def _batch_of(reply: CallReply) -> Batch:
    value = reply.value
    batch_id, status = value.get("id"), value.get("status")
    if not isinstance(batch_id, str) or not batch_id or not isinstance(status, str):
        raise EndpointResponseError("the endpoint says of a batch neither id nor status; it speaks another protocol")
    counts = value.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    return Batch(
        id=batch_id,
        status=status,
        input_file_id=str(value.get("input_file_id") or ""),
        output_file_id=value.get("output_file_id") or None,
        error_file_id=value.get("error_file_id") or None,
        n_requests=_count(counts.get("total")),
        n_done=_count(counts.get("completed")),
        n_failed=_count(counts.get("failed")),
        problems=tuple(_problems(value.get("errors"))),
        poll_after_s=_poll_after_s(reply.headers),
        raw=value,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _problems(errors: Any) -> list[str]:
    entries = errors.get("data") if isinstance(errors, dict) else errors
    if not isinstance(entries, list):
        return []
    return [
        " ".join(
            str(part)
            for part in (
                entry.get("code"),
                entry.get("message"),
                f"(line {entry['line']})" if entry.get("line") else "",
            )
            if part
        )
        for entry in entries
        if isinstance(entry, dict)
    ]


def _poll_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        wait_s = float(headers["openai-poll-after-ms"]) / 1000
    except (KeyError, ValueError):
        return None
    return wait_s if math.isfinite(wait_s) and wait_s >= 0 else None
