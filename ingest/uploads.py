"""Files that come without a folder: kept beside the collection, so that they are ingested like any other."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from index.collection import Collection
from index.files import write_whole
from ingest.attributes import SIDECAR
from ingest.roots import folder_of, is_under
from rag.attributes import checked_attributes
from rag.errors import DocumentReadError, FilterError

__all__ = ["remove_document", "safe_name", "save_upload", "upload_id"]

MAX_NAME_BYTES = 200
"""File systems take 255 bytes a name; the rest is for the temporary suffix."""


def safe_name(filename: str) -> str:
    """Return the name of an uploaded file without folders and without characters that a file system may refuse.

    Raises DocumentReadError when nothing is left of it.

    >>> safe_name("../../etc/pass wd.txt")
    'pass wd.txt'
    """
    base = re.split(r"[/\\]", unicodedata.normalize("NFC", filename))[-1]
    kept = "".join("_" if char in '<>:"|?*' else char for char in base if unicodedata.category(char)[0] != "C")
    kept = kept.strip().lstrip(".")
    stem, dot, suffix = kept.rpartition(".")
    while len(kept.encode()) > MAX_NAME_BYTES and stem:
        stem = stem[:-1]
        kept = f"{stem}{dot}{suffix}"
    if not kept.strip(". ") or len(kept.encode()) > MAX_NAME_BYTES:
        raise DocumentReadError(f"{filename!r} is no name for a file; send one such as 'report.pdf'")
    return kept


def save_upload(folder: Path, filename: str, data: bytes, attributes: Mapping[str, object] | None = None) -> Path:
    """Write an uploaded file, whole or not at all, over one of the same name; return its path.

    ``attributes`` are written first, as its sidecar, so that no moment knows it without its access labels; None leaves
    those of the file before. Raises FilterError where one cannot be used, and then nothing is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / safe_name(filename)
    if attributes is not None:
        usable, problems = checked_attributes(dict(attributes.items()), where=repr(filename))
        if problems:
            raise FilterError(f"{problems[0]}; nothing was stored")
        write_whole(path.with_name(path.name + SIDECAR), json.dumps(usable, ensure_ascii=False).encode())
    write_whole(path, data)
    return path


def upload_id(collection: Collection, filename: str, *, uploads: Path, library: Path) -> str:
    """Return the id that an uploaded file has; the files of an archive lie below it."""
    prefixes = {folder_of(key, library=library): prefix for key, prefix in collection.prefixes().items()}
    prefix = prefixes.get(uploads.resolve(), "")
    return f"{prefix}/{filename}" if prefix else filename


def remove_document(collection: Collection, document_id: str, *, uploads: Path, library: Path) -> str:
    """Remove a document, or an uploaded file with all that was read from it; return what brings it back, or "".

    Raises DocumentNotFoundError.
    """
    with collection.writer(f"removal of {document_id}") as writer:
        place = uploads.resolve()
        ledger = collection.ledger()
        entry = ledger.get(document_id)
        filename = document_id.rpartition("/")[2]
        if document_id == upload_id(collection, filename, uploads=uploads, library=library):
            parts = [path for path, entry in ledger.items() if is_under(path, document_id)]
            if parts and all(folder_of(ledger[path].root, library=library) == place for path in parts):
                (uploads / filename).unlink(missing_ok=True)
                (uploads / f"{filename}{SIDECAR}").unlink(missing_ok=True)
                for path in parts:
                    writer.forget(path)
                return ""
        writer.remove(document_id)
        if entry is None or folder_of(entry.root, library=library) != place:
            return "its file was not touched: the next ingest of its folder reads it again"
        return "it lies in an uploaded archive: the next upload reads it again; delete the archive to be rid of it"
