"""Documents of a collection: list, upload, read, delete."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, SeenFootnote, needs_json, needs_multipart
from index.records import DocumentInfo
from ingest.report import FileResult
from ingest.uploads import safe_name
from rag.errors import DocumentReadError, RagError
from rag.types import Document

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}/documents", tags=["documents"])

Offset = Annotated[int | None, Query(ge=0, description="in characters of the document's text")]


@router.get("", response_model=schemas.DocumentList)
def list_documents(
    name: schemas.CollectionName,
    footnote: SeenFootnote,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(description="the `next_after` of the page before")] = "",
) -> Response:
    """List the documents in order of id, a page at a time."""
    documents = sorted(footnote.documents(name), key=lambda document: document.id)
    rest = [document for document in documents if document.id > after]
    page, has_more = rest[:limit], len(rest) > limit
    attributes = footnote.attributes([document.id for document in page], collection=name)
    return JSONReply(
        {
            "documents": [_entry_json(document, attributes.get(document.id, {})) for document in page],
            "total": len(documents),
            "has_more": has_more,
            "next_after": page[-1].id if has_more else None,
        }
    )


@router.post("", response_model=schemas.UploadReply, dependencies=[Depends(needs_multipart)])
async def upload_documents(
    name: schemas.CollectionName,
    files: list[UploadFile],
    footnote: CurrentFootnote,
    attributes: Annotated[str, Form(description='a JSON object: attributes of these files, {"year": 2024} say')] = "",
) -> Response:
    """Store files in the collection's own folder and read them in; each has a state of its own in the reply.

    An archive has one for each file in it. A file of the same name is replaced. The whole request may be as large as
    `server.max_upload_mb`.
    """
    names, given = _safe_names(files), _given(attributes)
    if name != footnote.settings.collection:  # the default one is made by its first upload, others are asked for
        await asyncio.to_thread(footnote.status, name)
    results: list[dict[str, Any]] = []
    for safe, file in zip(names, files, strict=True):
        try:
            found = await footnote.upload(safe, await file.read(), collection=name, attributes=given)
        except RagError as error:
            if not results:
                raise
            found = [FileResult(safe, "failed", str(error), retriable=True)]  # the files before it are in; say so
        results += [_upload_json(file.filename or safe, result) for result in found]
    return JSONReply({"collection": name, "files": results})


@router.get("/{document_id:path}", response_model=schemas.DocumentText)
def show_document(
    name: schemas.CollectionName, document_id: str, footnote: SeenFootnote, start: Offset = None, end: Offset = None
) -> Response:
    """Show a document: its pages and headings, and with `start` and `end` its exact text, to check a citation."""
    document = footnote.document(document_id, collection=name)
    attributes = footnote.attributes([document_id], collection=name).get(document_id, {})
    return JSONReply({**_document_json(document, _span(document, start, end)), "attributes": dict(attributes)})


@router.patch("/{document_id:path}", response_model=schemas.DocumentAttributes, dependencies=[Depends(needs_json)])
async def change_attributes(
    name: schemas.CollectionName, document_id: str, body: schemas.NewAttributes, footnote: CurrentFootnote
) -> Response:
    """Set attributes of a document, over those of its other sources; null takes a key back."""
    found = await footnote.set_attributes(document_id, body.attributes, collection=name)
    return JSONReply({"id": document_id, "attributes": dict(found)})


@router.delete("/{document_id:path}", response_model=schemas.DeletedDocument)
async def delete_document(name: schemas.CollectionName, document_id: str, footnote: CurrentFootnote) -> Response:
    """Delete a document from the collection, and its file where it was uploaded; of an archive all documents."""
    note = await footnote.delete_document(document_id, collection=name)
    return JSONReply({"id": document_id, "deleted": True, "note": note})


def _safe_names(files: list[UploadFile]) -> list[str]:
    names = []
    for place, file in enumerate(files):
        try:
            safe = safe_name(file.filename or "")
        except DocumentReadError as error:
            raise _bad(("body", "files", place), str(error)) from error
        if safe in names:
            raise _bad(("body", "files", place), f"a second file is named {safe!r}; send it in another request")
        names.append(safe)
    return names


def _given(attributes: str) -> dict[str, Any] | None:
    if not attributes:
        return None
    try:
        found = json.loads(attributes)
    except ValueError as error:
        raise _bad(("body", "attributes"), f"it is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _bad(("body", "attributes"), "it must be a JSON object")
    return found


def _span(document: Document, start: int | None, end: int | None) -> tuple[int, int] | None:
    if start is None and end is None:
        return None
    n_characters = len(document.text)
    first, last = start or 0, n_characters if end is None else end
    if last > n_characters:
        raise _bad(("query", "end"), f"the document has {n_characters} characters, got end={last}")
    if first > last:
        raise _bad(("query", "start"), f"start must not be after end, got start={first} and end={last}")
    return first, last


def _bad(loc: tuple[str | int, ...], message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": loc, "msg": message, "type": "value_error"}])


def _entry_json(info: DocumentInfo, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {**_plain(info), "metadata": dict(info.metadata), "attributes": dict(attributes)}


def _plain(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _document_json(document: Document, span: tuple[int, int] | None) -> dict[str, Any]:
    start, end = span or (None, None)
    return {
        "id": document.id,
        "title": document.title,
        "sha256": document.sha256,
        "media_type": document.media_type,
        "reader": document.reader,
        "n_characters": len(document.text),
        "pages": [_plain(page) for page in document.pages],
        "headings": [_plain(heading) for heading in document.headings],
        "metadata": dict(document.metadata),
        "warnings": list(document.warnings),
        "start": start,
        "end": end,
        "text": None if span is None else document.text[start:end],
    }


def _upload_json(filename: schemas.CollectionName, result: FileResult) -> dict[str, Any]:
    return {
        "filename": filename,
        "path": result.path,
        "state": result.state,
        "reason": result.reason,
        "n_pages": result.n_pages,
        "n_chunks": result.n_chunks,
        "n_tokens": result.n_tokens,
        "warnings": list(result.warnings),
    }
