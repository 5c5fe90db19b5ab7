"""Writing to a collection: one writer, one transaction a document."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import PurePath
from types import TracebackType
from typing import Any

from index.database import Database, sql_text
from index.locks import WriterLock
from index.records import LedgerEntry
from index.statements import delete_document, delete_entry, insert_chunks, insert_document, insert_row, put_entry
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError, DocumentNotFoundError
from rag.types import Chunk, Document, content_address

__all__ = ["Writer", "free_prefix"]


class Writer:
    """The one who may change a collection; got from ``Collection.writer``, used as a context manager.

    Each method is one transaction: readers see all of it or nothing. Its methods may be called from several threads,
    one after the other. A clean exit brings the derived indexes up to date; after an exception the next search does.
    """

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        *,
        space: VectorSpace,
        lock: WriterLock,
        holder: str,
        finish: Callable[[], None],
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._space = space
        self._lock = lock
        self._holder = holder
        self._finish = finish
        self._open = False

    def __enter__(self) -> Writer:
        self._lock.acquire(self._holder)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if kind is None:
                self._finish()
        finally:
            self._lock.release()

    def replace(
        self, document: Document, chunks: Sequence[Chunk], *, entry: LedgerEntry, replaces: str | None = None
    ) -> None:
        """Store a document with its chunks and ledger entry, in the place of what had its id.

        ``replaces`` is the id of another document that goes in the same transaction, with its ledger entry: a rename.
        The vectors must be in the store already. Raises ValueError when chunks or entry are not of this document, and
        CollectionError when a vector is missing; then nothing has changed.
        """
        self._check_open()
        _check(document, chunks, entry)
        addresses = [content_address(chunk.embedded_text) for chunk in chunks]
        readable = self._vectors.readable(self._space, addresses)
        if missing := set(addresses) - readable.keys():
            raise CollectionError(
                f"{len(missing)} of {len(chunks)} chunks of {document.id!r} have no vector of {self._space.model!r} in"
                " the library; embed them first (`rag ingest` does)"
            )
        with self._database.writing() as connection:
            for gone in dict.fromkeys([document.id, replaces or document.id]):
                delete_document(connection, gone)
            if replaces is not None and replaces != document.id:
                delete_entry(connection, replaces)
            number = insert_document(connection, document, chunks)
            insert_chunks(connection, number, chunks, [(address, readable[address]) for address in addresses])
            put_entry(connection, entry)

    def remove(self, document_id: str) -> None:
        """Delete a document and its ledger entry. Raises DocumentNotFoundError."""
        self._check_open()
        with self._database.writing() as connection:
            if not delete_document(connection, document_id):
                raise DocumentNotFoundError(f"no document {document_id!r} in this collection; nothing was removed")
            delete_entry(connection, document_id)

    def record(self, entry: LedgerEntry, *, drop_document: bool) -> None:
        """Write what became of a path; ``drop_document`` also deletes the document of that id, if there is one.

        A file that failed keeps its last good version (False); one that is now empty, unsupported or skipped does not.
        """
        self._check_open()
        with self._database.writing() as connection:
            if drop_document:
                delete_document(connection, entry.path)
            put_entry(connection, entry)

    def forget(self, path: str) -> None:
        """Delete the ledger entry of a path that has gone, and its document if there is one."""
        self._check_open()
        with self._database.writing() as connection:
            delete_document(connection, path)
            delete_entry(connection, path)

    def prefix_for(self, root: str) -> str:
        """Return what the document ids of an ingested folder begin with, without a slash; the same for ever after.

        The first folder of a collection has "", a later one its own name, with a number where that is taken.
        """
        self._check_open()
        with self._database.writing() as connection:
            known = connection.execute(
                "SELECT prefix FROM roots WHERE root = CAST(? AS TEXT)", (sql_text(root),)
            ).fetchone()
            if known is not None:
                return str(known[0])
            taken = {prefix for (prefix,) in connection.execute("SELECT prefix FROM roots")}
            paths = connection.execute("SELECT path FROM ledger UNION SELECT id FROM documents")
            prefix = free_prefix(taken, (path for (path,) in paths), root)
            insert_row(connection, "roots", (root, prefix))
            return prefix

    def record_run(self, run: Mapping[str, Any]) -> None:
        """Add a run's report (anything JSON can hold) to the history."""
        self._check_open()
        report = json.dumps(run)
        with self._database.writing() as connection:
            insert_row(connection, "runs", (time.time(), report))

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("a Writer works inside its `with` block only")


def _check(document: Document, chunks: Sequence[Chunk], entry: LedgerEntry) -> None:
    if entry.path != document.id or entry.state != "indexed":
        raise ValueError(f"the ledger entry of {document.id!r} is {entry.state!r} of {entry.path!r}")
    if (entry.sha256, entry.n_chunks) != (document.sha256, len(chunks)):
        raise ValueError(f"the ledger entry of {document.id!r} is of {entry.n_chunks} chunks of {entry.sha256}")
    for chunk in chunks:
        if chunk.document_id != document.id:
            raise ValueError(f"chunk {chunk.id} is of {chunk.document_id!r}, not of {document.id!r}")
        if not 0 <= chunk.start < chunk.end <= len(document.text):
            raise ValueError(f"chunk {chunk.id} of {document.id!r} has the span [{chunk.start}, {chunk.end})")
        if not document.text.startswith(chunk.text, chunk.start) or len(chunk.text) != chunk.end - chunk.start:
            raise ValueError(f"chunk {chunk.id} of {document.id!r} is not the text at [{chunk.start}, {chunk.end})")
        if not document.text.startswith(chunk.context, chunk.context_start):
            raise ValueError(f"the context of chunk {chunk.id} is not the text of {document.id!r} at its place")


def free_prefix(prefixes: Set[str], paths: Iterable[str], root: str) -> str:
    """Return what the ids of a new folder begin with, given the prefixes and the paths that are there."""
    if not prefixes:
        return ""
    taken = prefixes | {path.split("/", 1)[0] for path in paths}  # a folder of the first root may have the name too
    name = PurePath(root).name or "root"
    candidates = [name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)
