"""Files that come without a folder: kept beside the collection, so that they are ingested like any other."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from index.collection import Collection
from index.files import write_whole
from ingest.roots import folder_of
from rag.errors import DocumentReadError

__all__ = ["remove_document", "safe_name", "save_upload"]

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


def save_upload(folder: Path, filename: str, data: bytes) -> Path:
    """Write an uploaded file, whole or not at all, over one of the same name; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / safe_name(filename)
    write_whole(path, data)
    return path


def remove_document(collection: Collection, document_id: str, *, uploads: Path, library: Path) -> None:
    """Remove a document, and its file where it was uploaded. Raises DocumentNotFoundError."""
    with collection.writer(f"removal of {document_id}") as writer:
        entry = collection.ledger().get(document_id)
        if entry is not None and folder_of(entry.root, library=library) == uploads.resolve():
            (uploads / document_id.rpartition("/")[2]).unlink(missing_ok=True)
        writer.remove(document_id)
        writer.forget(document_id)
