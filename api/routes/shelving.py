"""Collections as a whole: copy, rename, export, import, snapshots."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from fastapi import APIRouter, Depends, UploadFile
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from api import schemas
from api.edge import JSONReply
from api.routes.current import CurrentFootnote, needs_json, needs_multipart
from api.schemas import CollectionName, Created, Deleted

__all__ = ["router"]

router = APIRouter(prefix="/collections/{name}", tags=["collections"])


@router.post("/copy", response_model=Created, status_code=201, dependencies=[Depends(needs_json)])
async def copy_collection(name: CollectionName, body: schemas.NewName, footnote: CurrentFootnote) -> Response:
    """Make a second collection of one, as of this moment; their vectors are shared, so nothing is paid."""
    await footnote.copy_collection(name, body.to)
    return JSONReply({"name": body.to}, status_code=201)


@router.post("/rename", response_model=Created, dependencies=[Depends(needs_json)])
async def rename_collection(name: CollectionName, body: schemas.NewName, footnote: CurrentFootnote) -> Response:
    """Give a collection another name, in one step."""
    await footnote.rename_collection(name, body.to)
    return JSONReply({"name": body.to})


@router.get("/export", responses={200: {"content": {"application/zip": {}}}}, response_class=Response)
async def export_collection(name: CollectionName, footnote: CurrentFootnote) -> Response:
    """Send a collection with its vectors as one file, which `import` takes."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="footnote-export-"))
    try:
        await footnote.export_collection(name, folder / "collection.zip")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        folder / "collection.zip",
        media_type="application/zip",
        filename=f"{name}.zip",
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


@router.post("/import", response_model=schemas.Imported, status_code=201, dependencies=[Depends(needs_multipart)])
async def import_collection(
    name: CollectionName, file: UploadFile, footnote: CurrentFootnote, replace: bool = False
) -> Response:
    """Make a collection of an exported file, under this name; one that is there stays unless `replace`.

    The request may be as large as `server.max_upload_mb`; larger files are for `rag collections import`.
    """
    with tempfile.TemporaryDirectory(prefix="footnote-import-") as folder:
        path = Path(folder) / "collection.zip"
        await asyncio.to_thread(_save, file, path)
        imported = await footnote.import_collection(path, name, replace=replace)
    return JSONReply(asdict(imported), status_code=201)


def _save(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)


@router.get("/snapshots", response_model=schemas.SnapshotList)
def list_snapshots(name: CollectionName, footnote: CurrentFootnote) -> Response:
    """List the snapshots of a collection, oldest first."""
    return JSONReply({"collection": name, "snapshots": [asdict(kept) for kept in footnote.snapshots(name)]})


@router.post("/snapshots", response_model=schemas.Snapshot, status_code=201, dependencies=[Depends(needs_json)])
async def take_snapshot(name: CollectionName, body: schemas.NewSnapshot, footnote: CurrentFootnote) -> Response:
    """Keep what a collection is at this moment, under a label or the time of day."""
    return JSONReply(asdict(await footnote.take_snapshot(name, body.label or "")), status_code=201)


@router.post("/snapshots/prune", response_model=schemas.Pruned, dependencies=[Depends(needs_json)])
async def prune_snapshots(name: CollectionName, body: schemas.Pruning, footnote: CurrentFootnote) -> Response:
    """Delete all but the newest `keep` snapshots."""
    deleted = await asyncio.to_thread(footnote.prune_snapshots, name, keep=body.keep)
    return JSONReply({"collection": name, "deleted": deleted})


@router.post("/snapshots/{label}/restore", response_model=schemas.Restored, dependencies=[Depends(needs_json)])
async def restore_snapshot(
    name: CollectionName, label: CollectionName, body: schemas.Restoring, footnote: CurrentFootnote
) -> Response:
    """Make a collection what it was, in one step; what it is now is kept as a snapshot, unless `keep` is false."""
    replaced = await footnote.restore_snapshot(name, label, keep=body.keep)
    return JSONReply({"collection": name, "restored": label, "replaced": None if replaced is None else replaced.label})


@router.delete("/snapshots/{label}", response_model=Deleted)
def delete_snapshot(name: CollectionName, label: CollectionName, footnote: CurrentFootnote) -> Response:
    """Delete a snapshot."""
    footnote.delete_snapshot(name, label)
    return JSONReply({"id": label, "deleted": True})
