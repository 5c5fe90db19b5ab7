"""Files kept at an endpoint: uploaded from disk, downloaded to disk, never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from rag.errors import EndpointError, EndpointResponseError
from rag.gateway.endpoint import EndpointClient
from rag.gateway.multipart import multipart_body

__all__ = [
    "RemoteFile",
    "delete_file",
    "download_file",
    "find_file",
    "get_file",
    "is_missing_route",
    "list_files",
    "listed",
    "missing_route",
    "upload_file",
]

PAGE = 100
"""Entries asked for at once by a listing."""

_NO_ROUTE = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the endpoint; ``raw`` is all that was said of it."""

    id: str
    filename: str
    n_bytes: int
    purpose: str
    raw: Mapping[str, Any] = field(repr=False)


async def upload_file(
    client: EndpointClient, path: Path, *, filename: str, purpose: Literal["batch"] = "batch"
) -> RemoteFile:
    """Upload a file, read from disk as it is sent. ``filename`` must be new: by it a try that was cut off is found.

    Raises EndpointError; that the endpoint serves no files is one that says so.
    """
    body = multipart_body({"purpose": purpose}, path, filename=filename, content_type="application/jsonl")

    async def uploaded_already() -> dict[str, Any] | None:
        found = await find_file(client, filename, purpose=purpose)
        # subtle: an upload that was cut off may have left its first part under the name
        return dict(found.raw) if found is not None and found.n_bytes == path.stat().st_size else None

    try:
        reply = await client.call("POST", "/files", body=body, done_already=uploaded_already)
    except EndpointError as error:
        raise missing_route(error, client, "files") from error
    return _file_of(reply.value)


async def get_file(client: EndpointClient, file_id: str) -> RemoteFile:
    """Return what the endpoint says of a file."""
    return _file_of((await client.call("GET", f"/files/{quote(file_id, safe='')}")).value)


async def download_file(client: EndpointClient, file_id: str, destination: Path) -> None:
    """Write the content of a file to disk; ``destination`` is there only once it is whole."""
    await client.download(f"/files/{quote(file_id, safe='')}/content", destination)


async def delete_file(client: EndpointClient, file_id: str) -> None:
    """Delete a file; one that is gone already is no error."""
    try:
        await client.call("DELETE", f"/files/{quote(file_id, safe='')}")
    except EndpointError as error:
        if error.status not in (404, 410):
            raise


async def list_files(client: EndpointClient, *, purpose: str, max_pages: int = 20) -> AsyncIterator[RemoteFile]:
    """Yield the files of a purpose, the newest first where the endpoint sorts."""
    query = {"purpose": purpose, "order": "desc"}
    async for entry in listed(client, "/files", query=query, max_pages=max_pages):
        yield _file_of(entry)


async def find_file(client: EndpointClient, filename: str, *, purpose: str = "batch") -> RemoteFile | None:
    """Return the file of this name; None where there is none, or where the endpoint has no list of files."""
    try:
        async for file in list_files(client, purpose=purpose):
            if file.filename == filename:
                return file
    except EndpointError as error:
        if not is_missing_route(error):
            raise
    return None


async def listed(
    client: EndpointClient, path: str, *, query: Mapping[str, str], max_pages: int
) -> AsyncIterator[dict[str, Any]]:
    """Yield the entries of a paged list, at most ``max_pages`` pages of them."""
    after: str | None = None
    for _ in range(max_pages):
        wanted = {**query, "limit": str(PAGE), **({"after": after} if after else {})}
        page = (await client.call("GET", f"{path}?{urlencode(wanted)}")).value
        entries = page.get("data")
        if not isinstance(entries, list):
            raise EndpointResponseError(f"the list at {path} holds no data; the endpoint speaks another protocol")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("id"):
                yield entry
                after = str(entry["id"])
        if not entries or not page.get("has_more"):
            return


def is_missing_route(error: EndpointError) -> bool:
    """Return whether an endpoint does not know the address at all, as far as its status tells."""
    return error.status in _NO_ROUTE


def missing_route(error: EndpointError, client: EndpointClient, family: str) -> EndpointError:
    """Return the error to raise for one of a route that may not be there: itself where it is about something else."""
    if not is_missing_route(error):
        return error
    endpoint = client.endpoint
    where = f"{endpoint.provider.title} at {endpoint.base_url}"
    return EndpointResponseError(
        f"{where} serves no /{family} (status {error.status}); leave --batch out",
        status=error.status,
        request_id=error.request_id,
    )


def _file_of(value: Mapping[str, Any]) -> RemoteFile:
    file_id = value.get("id")
    if not isinstance(file_id, str) or not file_id:
        raise EndpointResponseError("the endpoint says of a file everything but its id; it speaks another protocol")
    n_bytes = value.get("bytes")
    return RemoteFile(
        id=file_id,
        filename=str(value.get("filename") or ""),
        n_bytes=n_bytes if isinstance(n_bytes, int) else -1,
        purpose=str(value.get("purpose") or ""),
        raw=value,
    )
