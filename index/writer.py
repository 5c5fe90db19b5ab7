"""Writing to a collection: one writer; each document appears whole, some of them in one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from pathlib import PurePath
from types import TracebackType
from typing import Any

from index.attributes import copy_given, forget_attributes, gives_other, put_attributes, set_source
from index.database import Database, sql_text
from index.locks import WriterLock
from index.records import LedgerEntry
from index.statements import delete_document, delete_entry, insert_chunks, insert_document, insert_row, put_entry
from index.vector_store import VectorSpace, VectorStore
from rag.attributes import Attributes
from rag.errors import CollectionError, DocumentNotFoundError
from rag.types import Chunk, Document, content_address

__all__ = ["Replacement", "Writer", "free_prefix"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """A document with its chunks and ledger entry, for the place of what has its id.

    ``replaces`` is the id of another document that goes in the same transaction, with its ledger entry: a rename.
    ``attributes`` are those that each source gives, by source; a source that is not named keeps what it gave before.
    """

    document: Document
    chunks: Sequence[Chunk]
    entry: LedgerEntry
    replaces: str | None = None
    attributes: Mapping[str, Attributes] = field(default_factory=dict)

    def gone(self) -> Iterable[str]:
        """Return the ids of the documents whose place it takes."""
        return dict.fromkeys([self.document.id, self.replaces or self.document.id])


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
        except BaseException as failed:
            error = failed
            raise
        finally:
            self._release(after=error)

    def _release(self, *, after: BaseException | None) -> None:
        """Give the lock back; where that fails after another error, it is a note to that one."""
        try:
            self._lock.release()
        except CollectionError as late:
            if after is None:
                raise
            after.add_note(str(late))

    def replace(
        self, document: Document, chunks: Sequence[Chunk], *, entry: LedgerEntry, replaces: str | None = None
    ) -> None:
        """Store one document, as ``replace_all`` does; raises what kept it from being stored."""
        (error,) = self.replace_all([Replacement(document, chunks, entry, replaces)])
        if error is not None:
            raise error

    def replace_all(self, replacements: Sequence[Replacement]) -> list[ValueError | CollectionError | None]:
        """Store documents in their order, all in one transaction; return what is wrong with those that are left out.

        The vectors must be in the store already. A document is left out, and the others stored, with ValueError when
        chunks or entry are not its own, CollectionError when a vector is missing. Raises CollectionError when the disk
        does not take them; then nothing has changed.
        """
        self._check_open()
        addresses = [[content_address(chunk.embedded_text) for chunk in one.chunks] for one in replacements]
        readable = self._vectors.readable(self._space, list(dict.fromkeys(chain.from_iterable(addresses))))
        errors = [
            _error_in(one) or self._missing(one, set(its) - readable.keys())
            for one, its in zip(replacements, addresses, strict=True)
        ]
        with self._database.writing() as connection:
            for one, its, error in zip(replacements, addresses, errors, strict=True):
                if error is None:
                    _put(connection, one, [(address, readable[address]) for address in its])
        return errors

    def _missing(self, one: Replacement, missing: Set[bytes]) -> CollectionError | None:
        if not missing:
            return None
        return CollectionError(
            f"{len(missing)} of {len(one.chunks)} chunks of {one.document.id!r} have no vector of {self._space.model!r}"
            " in the library; embed them first (`rag ingest` does)"
        )

    def remove(self, document_id: str) -> None:
        """Delete a document and its ledger entry. Raises DocumentNotFoundError."""
        self._check_open()
        with self._database.writing() as connection:
            if not delete_document(connection, document_id):
                raise DocumentNotFoundError(f"no document {document_id!r} in this collection; nothing was removed")
            delete_entry(connection, document_id)
            forget_attributes(connection, document_id)

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
            forget_attributes(connection, path)

    def set_attributes(self, changes: Mapping[str, Mapping[str, Attributes]]) -> list[str]:
        """Write what sources give, by document id and source, in one transaction; return the ids that it changed.

        No document need be there yet: the one that comes has them from its first moment.
        """
        self._check_open()
        with self._database.reading() as connection:
            changes = {
                document_id: sources
                for document_id, sources in changes.items()
                if any(gives_other(connection, document_id, source, given) for source, given in sources.items())
            }
        if not changes:
            return []
        with self._database.writing() as connection:
            changed = [
                document_id
                for document_id, sources in changes.items()
                if any([set_source(connection, document_id, source, given) for source, given in sources.items()])
            ]
            for document_id in changed:
                put_attributes(connection, document_id, log=True)
        return changed

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

    def leave_indexes(self) -> None:
        """Leave it to the next search to bring the derived indexes up to date: whoever writes is in a hurry to end."""
        self._finish = lambda: None

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("a Writer works inside its `with` block only")


def _error_in(one: Replacement) -> ValueError | None:
    """Return what is wrong where chunks or entry are not those of the document."""
    document, entry, chunks = one.document, one.entry, one.chunks
    if entry.path != document.id or entry.state != "indexed":
        return ValueError(f"the ledger entry of {document.id!r} is {entry.state!r} of {entry.path!r}")
    if (entry.sha256, entry.n_chunks) != (document.sha256, len(chunks)):
        return ValueError(f"the ledger entry of {document.id!r} is of {entry.n_chunks} chunks of {entry.sha256}")
    for chunk in chunks:
        if chunk.document_id != document.id:
            return ValueError(f"chunk {chunk.id} is of {chunk.document_id!r}, not of {document.id!r}")
        if not 0 <= chunk.start < chunk.end <= len(document.text):
            return ValueError(f"chunk {chunk.id} of {document.id!r} has the span [{chunk.start}, {chunk.end})")
        if not document.text.startswith(chunk.text, chunk.start) or len(chunk.text) != chunk.end - chunk.start:
            return ValueError(f"chunk {chunk.id} of {document.id!r} is not the text at [{chunk.start}, {chunk.end})")
        if chunk.context_start < 0 or not document.text.startswith(chunk.context, chunk.context_start):
            return ValueError(f"the context of chunk {chunk.id} is not the text of {document.id!r} at its place")
    return None


def _put(connection: sqlite3.Connection, one: Replacement, vectors: Sequence[tuple[bytes, bool]]) -> None:
    for gone in one.gone():
        delete_document(connection, gone)
        if gone != one.document.id:
            delete_entry(connection, gone)
            copy_given(connection, gone, one.document.id)
            forget_attributes(connection, gone)
    number = insert_document(connection, one.document, one.chunks)
    insert_chunks(connection, number, one.chunks, vectors)
    put_entry(connection, one.entry)
    for source, given in one.attributes.items():
        set_source(connection, one.document.id, source, given)
    put_attributes(connection, one.document.id, log=False)


def free_prefix(prefixes: Set[str], paths: Iterable[str], root: str) -> str:
    """Return what the ids of a new folder begin with, given the prefixes and the paths that are there."""
    if not prefixes:
        return ""
    taken = prefixes | {path.split("/", 1)[0] for path in paths}  # a folder of the first root may have the name too
    name = PurePath(root).name or "root"
    candidates = [name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)
