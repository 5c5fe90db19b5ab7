"""Collections: list, make, look at, delete."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, SeenFootnote, needs_json
from index.records import CollectionStatus

__all__ = ["router"]

router = APIRouter(prefix="/collections", tags=["collections"])

# Routes without `async` touch the disk; FastAPI runs them in threads.


@router.get("", response_model=schemas.CollectionList)
def list_collections(footnote: SeenFootnote) -> Response:
    """List the collections by name; `default` answers where a request names none."""
    return JSONReply({"collections": footnote.collections(), "default": footnote.settings.collection})


@router.post("", response_model=schemas.Created, status_code=201, dependencies=[Depends(needs_json)])
async def create_collection(body: schemas.NewCollection, footnote: CurrentFootnote) -> Response:
    """Make an empty collection for the service's embedding model."""
    await footnote.create_collection(body.name)
    return JSONReply({"name": body.name}, status_code=201)


@router.get("/{name}", response_model=schemas.Collection)
def show_collection(name: schemas.CollectionName, footnote: SeenFootnote) -> Response:
    """Show what a collection holds and how it was made."""
    return JSONReply(_status_json(footnote.status(name)))


@router.delete("/{name}", response_model=schemas.Deleted)
def delete_collection(name: schemas.CollectionName, footnote: CurrentFootnote) -> Response:
    """Delete a collection with all its documents. Files outside the library are not touched."""
    footnote.delete_collection(name)
    return JSONReply({"id": name, "deleted": True})


def _status_json(status: CollectionStatus) -> dict[str, object]:
    config = status.config
    return {
        "name": status.name,
        "n_documents": status.n_documents,
        "n_chunks": status.n_chunks,
        "n_tokens": status.n_tokens,
        "n_unreadable": status.n_unreadable,
        "model": config.model,
        "dimensions": config.dimensions,
        "chunk_tokens": config.chunking.tokens,
        "chunk_overlap": config.chunking.overlap,
        "size_bytes": sum(status.size_bytes.values()),
        "files": dict(status.ledger),
        "changed_at": status.changed_at,
        "writer": status.writer,
    }
