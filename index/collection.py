"""A collection: the one handle that others hold to read, search and write it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from index import store
from index.attributes import attributes_of, given_over_api, sources_of
from index.check import (
    compare_rows,
    document_findings,
    ledger_findings,
    row_findings,
    sample_findings,
    structure_findings,
    vector_findings,
)
from index.collection_settings import OwnSettings, read_settings, write_settings
from index.database import Database
from index.filtering import AllowedRows, FilterCache, allowed_ids, narrowed
from index.keyword_leg import KeywordLeg
from index.languages import MainLanguage
from index.locks import WriterLock
from index.migrations import COLLECTION_STEPS
from index.records import (
    CELLS_LIMIT,
    EXACT_LIMIT,
    METRIC,
    RECALL_TARGET,
    CollectionConfig,
    CollectionStatus,
    DocumentInfo,
    LedgerEntry,
    RepairReport,
)
from index.relevance import Background
from index.repair import Mended, mend_chunks_without_vectors, mend_collection
from index.seals import n_unsealed, seal_some
from index.statements import insert_row
from index.vector_leg import VectorLeg
from index.vector_store import VectorSpace, VectorStore
from index.writer import Writer
from rag.attributes import Attributes
from rag.errors import CollectionError, IndexMismatchError
from rag.filters import Filter
from rag.types import Chunk, Document, FloatArray

__all__ = ["Collection", "create_collection_files"]

_SEALING_S = 2.0
_SEALED_AT_ONCE = 50  # documents
_ATTEMPTS = 10  # searches, where a writer replaces what they find faster than it can be looked up


class Collection:
    """Documents, their chunks, and two ways to search them; got from a Library, used as a context manager.

    SQLite is the truth and the derived indexes follow it: a search sees every document committed before it began, by
    whichever process. Every method may be called from any thread. ``row`` numbers are for use inside ``index`` only.
    Raises CollectionNotFoundError once another process has deleted or rebuilt the collection: open it again.
    """

    def __init__(
        self,
        folder: Path,
        vectors: VectorStore,
        *,
        exact_limit: int = EXACT_LIMIT,
        cells_limit: int = CELLS_LIMIT,
        recall_target: float = RECALL_TARGET,
    ) -> None:
        self.name = folder.name
        self._folder = folder
        self._vectors = vectors
        self._database = Database(folder / "collection.db", COLLECTION_STEPS)
        try:
            with self._database.reading() as connection:
                self.config = store.config(connection)
        except BaseException:
            self._database.close()
            raise
        self.space = VectorSpace(self.config.model, self.config.dimensions)
        self._vector_leg = VectorLeg(
            folder / "vectors.faiss",
            self._database,
            vectors,
            space=self.space,
            exact_limit=exact_limit,
            cells_limit=cells_limit,
            recall_target=recall_target,
        )
        self._filters = FilterCache()
        self._keyword_leg = KeywordLeg(folder / "keywords", self._database)
        self._language = MainLanguage(self._database)

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up the files, once the upkeep of the vector index that a writer or a search began is done."""
        self._vector_leg.wait()
        self._database.close()

    @property
    def is_in_place(self) -> bool:
        """Whether this is still the collection of its name: False once it was deleted or rebuilt by anybody."""
        return self._database.is_in_place

    def require(self, config: CollectionConfig) -> None:
        """Raise IndexMismatchError, saying what differs, unless the collection was made with this configuration."""
        differences = [
            f"{field.name} {_shown(getattr(self.config, field.name))} instead of {_shown(getattr(config, field.name))}"
            for field in fields(config)
            if getattr(self.config, field.name) != getattr(config, field.name)
        ]
        if differences:
            raise IndexMismatchError(
                f"collection {self.name!r} was made with {', '.join(differences)}; go back to those settings, or run"
                " `rag ingest --rebuild`"
            )

    # --- searching ---------------------------------------------------------------------------------------------------

    def search_vectors(
        self, vector: FloatArray, *, k: int, filter_: Filter | None = None, among: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, cosine), best first, for a query vector of unit length; of what a filter allows.

        The filter is applied before the search: these are the best of what it allows, however little, ``among`` rows.
        """
        return self._confirmed(
            lambda: self._vector_leg.search(vector, k=k, allowed=narrowed(self.allowed(filter_), among))
        )

    def background(self, vector: FloatArray) -> Background:
        """Return what an unrelated chunk has in common with a query vector (``index.relevance``)."""
        return self._vector_leg.background(vector)

    def term_worths(self, query: str) -> dict[str, float]:
        """Return the terms of a query, each with its worth: the rarer here, the more."""
        return self._keyword_leg.worths(query)

    def search_keywords(
        self,
        query: str,
        *,
        k: int,
        filter_: Filter | None = None,
        among: Sequence[int] | None = None,
        required: Sequence[str] = (),
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` (row, BM25) that share a term with the query, best first; of what a filter allows.

        ``among`` some rows, and of chunks with all ``required`` terms.
        """
        return self._confirmed(
            lambda: self._keyword_leg.search(
                query, k=k, allowed=narrowed(self.allowed(filter_), among), required=required
            )
        )

    def allowed(self, filter_: Filter | None) -> AllowedRows | None:
        """Return the chunks that a filter allows; None is all of them."""
        if filter_ is None:
            return None
        with self._database.reading() as connection:
            return self._filters.allowed(connection, filter_)

    def language(self) -> str:
        """Return the language that most of it is written in: "zh", "en", or "" for none of them."""
        return self._language.get()

    def refresh(self) -> None:
        """Bring both derived indexes up to date now, instead of at the next search."""
        self._vector_leg.refresh()
        self._keyword_leg.refresh()

    def _confirmed(self, search: Callable[[], list[tuple[int, float]]]) -> list[tuple[int, float]]:
        """Return the hits that are still there; where one was replaced meanwhile, search again for its new version."""
        for _ in range(_ATTEMPTS):
            hits = search()
            with self._database.reading() as connection:
                there = store.chunk_ids(connection, [row for row, _ in hits])
            if len(there) == len(hits):
                break
        return [hit for hit in hits if hit[0] in there]

    # --- reading -----------------------------------------------------------------------------------------------------

    def rows(self) -> list[int]:
        """Return the row of every chunk, ascending."""
        with self._database.reading() as connection:
            return store.chunk_rows(connection)

    def n_chunks(self) -> int:
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def chunks(self, rows: Sequence[int]) -> dict[int, Chunk]:
        """Return the chunks of rows; those deleted meanwhile are left out."""
        with self._database.reading() as connection:
            return store.chunks(connection, rows)

    def chunk_ids(self, rows: Sequence[int]) -> dict[int, str]:
        """Return the chunk ids of rows, without reading texts; those deleted meanwhile are left out."""
        with self._database.reading() as connection:
            return store.chunk_ids(connection, rows)

    def vectors_of(self, rows: Sequence[int]) -> FloatArray:
        """Return the vectors of rows, (n, dimensions) in their order; zeros where the model could not read the text."""
        with self._database.reading() as connection:
            addresses = store.addresses_of(connection, rows)
        found = self._vectors.get(self.space, list(addresses.values()))
        vectors = np.zeros((len(rows), self.config.dimensions), np.float32)
        for place, row in enumerate(rows):
            vector = found.get(addresses[row]) if row in addresses else None
            if vector is not None:
                vectors[place] = vector
        return vectors

    def addresses(self) -> set[bytes]:
        """Return the content addresses of all chunks, the unreadable ones too."""
        with self._database.reading() as connection:
            return store.all_addresses(connection)

    def iter_chunks(self) -> Iterator[tuple[int, Chunk, FloatArray | None]]:
        """Yield (row, chunk, vector) of the whole collection, a document at a time; None where it has no vector."""
        for info in self.documents():
            with self._database.reading() as connection:
                records = store.document_chunks(connection, info.id)
                addresses = store.addresses_of(connection, [row for row, _ in records])
            found = self._vectors.get(self.space, list(addresses.values()))
            for row, chunk in records:
                yield row, chunk, found.get(addresses[row]) if row in addresses else None

    def documents(self) -> list[DocumentInfo]:
        """Return all documents without their texts, by id."""
        with self._database.reading() as connection:
            return store.documents(connection)

    def document(self, document_id: str) -> Document:
        """Return a document as it was read. Raises DocumentNotFoundError."""
        with self._database.reading() as connection:
            return store.document(connection, document_id)

    def attributes(self, document_ids: Sequence[str] | None = None) -> dict[str, Attributes]:
        """Return the attributes of documents by id: of those that have any, or of some."""
        with self._database.reading() as connection:
            return attributes_of(connection, document_ids)

    def given(self, document_id: str) -> Attributes:
        """Return what was given to a document over the API alone."""
        with self._database.reading() as connection:
            return sources_of(connection, document_id).get("api", {})

    def all_given(self) -> Mapping[str, Attributes]:
        """Return what was given over the API, by document id."""
        with self._database.reading() as connection:
            return given_over_api(connection)

    def document_chunks(self, document_id: str) -> list[Chunk]:
        """Return a document's chunks in the order of its text. Raises DocumentNotFoundError."""
        with self._database.reading() as connection:
            return [chunk for _, chunk in store.document_chunks(connection, document_id)]

    def text(self, document_id: str, start: int, end: int) -> str:
        """Return the characters [start, end) of a document's text. Raises DocumentNotFoundError."""
        with self._database.reading() as connection:
            return store.text(connection, document_id, start, end)

    def title(self, document_id: str) -> str:
        """Return a document's title. Raises DocumentNotFoundError."""
        with self._database.reading() as connection:
            return store.title(connection, document_id)

    def sha256(self, document_id: str) -> str:
        """Return the SHA-256 of a document's file, in hex. Raises DocumentNotFoundError."""
        with self._database.reading() as connection:
            return store.sha256(connection, document_id)

    def page_at(self, document_id: str, offset: int) -> int | None:
        """Return the page that holds the character at ``offset``; None for formats without pages."""
        with self._database.reading() as connection:
            return store.page_at(connection, document_id, offset)

    def place_at(self, document_id: str, offset: int) -> str:
        """Return what a person calls the place of the character at ``offset``: its page, else its heading and line."""
        with self._database.reading() as connection:
            return store.place_at(connection, document_id, offset)

    def ledger(self, root: str | None = None, *, within: Sequence[str] | None = None) -> dict[str, LedgerEntry]:
        """Return what became of each input path, by path; of one ingested folder, or of all.

        ``within``: of these paths and what lies in them, which costs no more than they do.
        """
        with self._database.reading() as connection:
            return store.ledger(connection, root, within)

    def roots(self) -> set[str]:
        """Return the ingested folders that there are files of, as the ledger names them."""
        with self._database.reading() as connection:
            return store.roots(connection)

    def document_ids(self, *, within: Sequence[str] | None = None, filter_: Filter | None = None) -> set[str]:
        """Return the ids of all documents, or of those that are or lie in these paths, and that a filter allows."""
        with self._database.reading() as connection:
            found = store.document_ids(connection, within)
            return found if filter_ is None else found & allowed_ids(connection, filter_)

    def prefixes(self) -> dict[str, str]:
        """Return what the document ids of each ingested folder begin with, by folder as the ledger names it."""
        with self._database.reading() as connection:
            return store.prefixes(connection)

    def runs(self) -> list[dict[str, object]]:
        """Return the reports of past runs, oldest first."""
        with self._database.reading() as connection:
            return store.runs(connection)

    # --- writing and checking ----------------------------------------------------------------------------------------

    def writer(self, holder: str) -> Writer:
        """Return a Writer; entering its ``with`` block takes the collection's lock.

        ``holder`` is the command or activity, for the message to whoever comes second: that one gets
        CollectionLockedError at once. A lock left by a process that died is no obstacle.
        """
        return Writer(
            self._database,
            self._vectors,
            space=self.space,
            lock=WriterLock(self._folder, name=self.name),
            holder=holder,
            finish=self._finish_writing,
        )

    def own_settings(self) -> dict[str, dict[str, Any]]:
        """Return the settings that this collection has of its own, by section and name."""
        with self._database.reading() as connection:
            return read_settings(connection)

    def set_own_settings(self, settings: OwnSettings) -> None:
        """Put these settings in the place of those it has."""
        write_settings(self._database, settings)

    def status(self) -> CollectionStatus:
        """Return the counts, the sizes, and the state of the derived indexes, changing nothing."""
        with self._database.reading() as connection:
            n_documents, n_chunks, n_tokens, n_unreadable, changed_at = store.counts(connection)
            states = dict(connection.execute("SELECT state, count(*) FROM ledger GROUP BY state ORDER BY state"))
            n_with_warnings = store.n_with_warnings(connection)
            seq = store.last_position(connection).seq
            vectors = self._vector_leg.status(connection, n_expected=n_chunks - n_unreadable)
            keywords = self._keyword_leg.status(connection, n_expected=n_chunks)
            unsealed = n_unsealed(connection) + self._vectors.n_unsealed
        return CollectionStatus(
            name=self.name,
            config=self.config,
            n_documents=n_documents,
            n_chunks=n_chunks,
            n_tokens=n_tokens,
            n_unreadable=n_unreadable,
            ledger=states,
            size_bytes={
                "collection": sum(_size(path) for path in self._folder.glob("collection.db*")),
                "vectors": self._vector_leg.size_bytes(),
                "keywords": sum(_size(path) for path in self._folder.glob("keywords/*")),
            },
            changed_at=changed_at,
            seq=seq,
            vectors=vectors,
            keywords=keywords,
            writer=WriterLock(self._folder, name=self.name).holder(),
            n_unsealed=unsealed,
            n_with_warnings=n_with_warnings,
        )

    def check(self, *, deep: bool = True) -> list[str]:
        """Compare ledger, documents, vectors and derived indexes; return the problems in words, none when whole.

        ``deep`` reads every document and vector and brings the derived indexes up to date, as a search would; else
        entries, documents and a sample of the vectors are compared, changing nothing. Not to be run beside a writer:
        what comes or goes meanwhile is reported.
        """
        with self._database.reading() as connection:
            findings = ledger_findings(connection)
            if not deep:
                findings += sample_findings(connection, self._vectors, self.space)
                return [finding.words for finding in findings]
            findings = [*structure_findings(connection), *row_findings(connection), *findings]
            findings += document_findings(connection)
            findings += vector_findings(connection, self._vectors, self.space)
        problems = [finding.words for finding in findings] + self._vectors.problems()
        if n_damaged := len(self._vectors.damaged()):
            problems.append(f"vectors.db: {n_damaged} vectors are not as they were written")
        return problems + self._derived_problems()

    def mend(self, mended: Mended) -> None:
        """Mend what can be mended of documents, ledger and derived indexes; see ``index.repair``.

        The caller holds the writer's lock, and mends the vectors before.
        """
        before = self.status()
        mend_collection(self._database, mended)
        mend_chunks_without_vectors(self._database, self._vectors, self.space, mended)
        for name, leg, status in (
            ("vectors.faiss", self._vector_leg, before.vectors),
            ("keywords", self._keyword_leg, before.keywords),
        ):
            if self._differences(name):
                leg.rebuild()
                mended.done.append(f"{name}: it did not agree with the documents and was built anew")
            elif status.state != "current":
                mended.done.append(f"{name}: it was {status.state} and is up to date")

    def repair_report(self, mended: Mended) -> RepairReport:
        """Return what was mended, which paths wait to be read again, and what a deep check finds now."""
        waiting: dict[str, list[str]] = {}
        for path, entry in self.ledger().items():
            if entry.retriable and (entry.state == "indexed" or path in mended.marked):
                waiting.setdefault(entry.root, []).append(path)
        problems = self.check()
        return RepairReport(
            tuple(mended.done), {root: tuple(paths) for root, paths in waiting.items()}, tuple(problems)
        )

    def _derived_problems(self) -> list[str]:
        try:
            return self._differences("vectors.faiss") + self._differences("keywords")
        except CollectionError as error:
            return [f"the derived indexes cannot be brought up to date: {error}"]

    def _differences(self, name: str) -> list[str]:
        """Return how a derived index, brought up to date, differs from the documents."""
        held = self._vector_leg.rows() if name == "vectors.faiss" else self._keyword_leg.rows()
        with self._database.reading() as connection:
            if name == "vectors.faiss":
                expected = [row for row, _ in store.readable_rows(connection)]
            else:
                expected = store.chunk_rows(connection)
        return compare_rows(name, held, expected)

    def _finish_writing(self) -> None:
        try:
            self.refresh()
            self._vector_leg.save()
            self._vector_leg.tidy()
            self._vector_leg.keep_up()
            self._keyword_leg.tidy()
        except OSError as error:
            raise CollectionError(
                f"the indexes in {self._folder} cannot be brought up to date: {error}; check the disk and the folder's"
                " permissions. The documents are stored, and the next search works"
            ) from error
        self._seal()

    def _seal(self) -> None:
        """Give what was stored before there were checksums its own, for as long as a writer can be kept waiting."""
        with self._database.reading() as connection:
            if not (n_unsealed(connection) or self._vectors.n_unsealed):
                return
        deadline = time.monotonic() + _SEALING_S
        while time.monotonic() < deadline:
            with self._database.writing() as connection:
                left = seal_some(connection, _SEALED_AT_ONCE)
            if not (self._vectors.seal_some() or left):
                return


def create_collection_files(folder: Path, config: CollectionConfig) -> None:
    """Write an empty ``collection.db`` with a configuration into a folder."""
    database = Database(folder / "collection.db", COLLECTION_STEPS, create=True)
    try:
        with database.writing() as connection:
            insert_row(connection, "meta", ("config", json.dumps({**asdict(config), "metric": METRIC})))
            insert_row(connection, "meta", ("mark", secrets.token_hex(8)))
    finally:
        database.close()


def _shown(value: object) -> str:
    chunking = getattr(value, "tokens", None)
    return repr(value) if chunking is None else f"{chunking} tokens overlapping by {getattr(value, 'overlap', 0)}"


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # another process may be merging or checkpointing
        return path.stat().st_size
    return 0
