"""Brings a collection in step with a folder: read, chunk, embed and store, each file ending in exactly one state.

One file at a time is read and cut (in a thread), while the texts of many files share the embedding requests. A
document is written, whole, once all its vectors are stored; until then its former version answers. What waits between
reading and writing is bounded in tokens, whatever the folder's size.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from index.collection import Collection, Writer
from index.records import LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from ingest.chunking import chunk
from ingest.cost import Spending
from ingest.embedding import EmbeddingQueue, EmbeddingStatus, EmbeddingStoppedError, Filled
from ingest.isolation import IsolatedReaders, ReadingLimits
from ingest.plan import Known, Plan, Work, plan_changes, triage
from ingest.readers import reader_name
from ingest.rehearsal import Rehearsal, RehearsedTexts
from ingest.report import Change, FileResult, FileState, IngestReport
from ingest.roots import Scope, is_under, scope_of
from ingest.sources import Found, Skipped, Unreadable, WalkRules, walk
from rag.contracts import Embedder, Tokenizer
from rag.errors import DocumentReadError, EmbeddingError, RagError, UnsupportedFormatError
from rag.types import Chunk, Document, Embeddings

__all__ = ["IngestProgress", "TextQueue", "ingest", "rehearse"]

MAX_TOKENS_WAITING = 1_000_000
"""Tokens of documents that may wait for their vectors, beyond what fills the endpoint's requests twice over."""


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a run is. ``n_texts_embedded`` of ``n_chunks`` were sent and came back; ``path`` was looked at last.

    ``cost`` is what they cost, None where the price is not known (see IngestReport). ``embedding`` tells what waits for
    the endpoint.
    """

    n_files: int
    n_done: int
    n_chunks: int
    n_texts_embedded: int
    n_tokens_embedded: int
    path: str
    cost: float | None = None
    currency: str = ""
    embedding: EmbeddingStatus | None = None


class TextQueue(Protocol):
    """Sees to it that texts have their vectors: at once (``EmbeddingQueue``), or later (``ingest.batch``)."""

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return once every chunk's vector is stored; raises EmbeddingError where that cannot be for now."""
        ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    work: Work
    document: Document
    chunks: list[Chunk]

    @property
    def n_tokens(self) -> int:
        return sum(chunk.n_tokens for chunk in self.chunks)


async def ingest(
    root: Path,
    *,
    collection: Collection,
    vectors: VectorStore,
    embedder: Embedder,
    tokenizer: Tokenizer,
    rules: WalkRules,
    library: Path,
    alone: bool = False,
    limits: ReadingLimits | None = None,
    queue: TextQueue | None = None,
    spending: Spending | None = None,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> IngestReport:
    """Bring ``collection`` in step with the files under ``root`` (a folder, or one file) and report on each.

    Documents of other roots are left alone. ``library`` is the folder that holds the collection: it is never read, and
    roots beside it are remembered relative to it. ``alone`` keeps ``root`` apart from a known folder that it lies in.
    ``limits`` are what reading one file may take. ``queue`` takes the texts in place of one that embeds them at once.
    ``spending`` is the price, and the limit on what is embedded at once; several runs may share it.

    Raises CollectionLockedError when somebody else writes, RagError when the root is missing or the disk is full; a
    file that fails is in the report. Cancelling it stops cleanly: documents and vectors stored so far stay.
    """
    started = time.monotonic()
    spending = spending or Spending(None)
    embedder = spending.metered(embedder, tokenizer)
    with collection.writer(f"rag ingest {root}") as writer, IsolatedReaders(limits) as readers:
        known = {entry.root for entry in collection.ledger().values()}
        scope = scope_of(root, library=library, known=known, alone=alone)
        run = _Run(scope, collection, writer, readers, vectors, embedder, tokenizer, queue, spending, on_progress)
        await run.execute(_without(library, scope.root, rules))
        report = run.report(time.monotonic() - started)
        kept = {name: getattr(report, name) for name in _KEPT}
        writer.record_run({"root": scope.key, "counts": dict(report.counts), **kept})
    return report


_KEPT = ("seconds", "n_texts_embedded", "n_tokens_embedded", "n_texts_reused", "n_tokens_reused", "cost", "currency")
"""What the history of a collection keeps of a report, beside the root and the counts."""


async def rehearse(
    root: Path,
    *,
    rehearsal: Rehearsal,
    texts: RehearsedTexts,
    embedder: Embedder,
    tokenizer: Tokenizer,
    rules: WalkRules,
    library: Path,
    alone: bool = False,
    limits: ReadingLimits | None = None,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> IngestReport:
    """Return the report that ``ingest`` would end with if every text could be embedded; embed and change nothing.

    Takes no lock. The files' ``n_tokens_embedded`` are what would be sent, as the tokenizer counts it. ``embedder`` is
    asked for its limits only.
    """
    started = time.monotonic()
    with IsolatedReaders(limits) as readers:
        known = {entry.root for entry in rehearsal.ledger().values()}
        scope = scope_of(root, library=library, known=known, alone=alone)
        spending = Spending(None)
        run = _Run(scope, rehearsal, rehearsal, readers, None, embedder, tokenizer, texts, spending, on_progress)
        await run.execute(_without(library, scope.root, rules))
    return run.report(time.monotonic() - started)


def _without(library: Path, root: Path, rules: WalkRules) -> WalkRules:
    """Return the rules that also leave out the library, where it lies in the folder that is read."""
    library = library.resolve()
    if library == root or not library.is_relative_to(root):
        return rules
    return dataclasses.replace(rules, exclude=(*rules.exclude, f"/{library.relative_to(root).as_posix()}/"))


class _Gate:
    """Lets tokens in up to a bound; a document larger than the bound passes alone."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._inside = 0
        self._changed = asyncio.Condition()

    async def enter(self, n: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._inside == 0 or self._inside + n <= self._capacity)
            self._inside += n

    async def leave(self, n: int) -> None:
        async with self._changed:
            self._inside -= n
            self._changed.notify_all()


class _Run:
    def __init__(
        self,
        scope: Scope,
        collection: Collection | Rehearsal,
        writer: Writer | Rehearsal,
        readers: IsolatedReaders,
        vectors: VectorStore | None,
        embedder: Embedder,
        tokenizer: Tokenizer,
        queue: TextQueue | None,
        spending: Spending,
        on_progress: Callable[[IngestProgress], None],
    ) -> None:
        self._scope = scope
        self._root = scope.key
        self._collection = collection
        self._writer = writer
        self._readers = readers
        self._tokenizer = tokenizer
        self._spending = spending
        self._on_progress = on_progress
        self._own_queue: EmbeddingQueue | None = None
        if queue is None:
            assert vectors is not None, "texts that are embedded at once need a place for their vectors"
            space = VectorSpace(collection.config.model, collection.config.dimensions)
            queue = self._own_queue = EmbeddingQueue(
                embedder,
                vectors,
                space,
                on_embedded=self._embedded,
                on_pause=lambda: self._tell(""),
                learnt=vectors.path.with_name("endpoints.json"),
                count_tokens=tokenizer.count,
            )
        self._queue = queue
        limits = embedder.profile.limits
        self._gate = _Gate(2 * limits.concurrency * limits.max_request_tokens + MAX_TOKENS_WAITING)
        self._writing = asyncio.Lock()
        self._files: dict[str, FileResult] = {}
        self._removed: tuple[str, ...] = ()
        self._n_files = 0
        self._n_chunks = 0
        self._n_texts_embedded = 0
        self._n_tokens_embedded = 0
        self._n_texts_unreadable = 0
        self._n_texts_reused = 0
        self._n_tokens_reused = 0
        self._stopped = ""
        self._prefix = ""
        self._held: set[str] = set()

    async def execute(self, rules: WalkRules) -> None:
        plan = await asyncio.to_thread(self._plan, rules)
        try:
            self._readers.announce((work.found.path, work.found.id, work.found.size) for work in plan.work)
            async with asyncio.TaskGroup() as group:
                for work in plan.work:
                    await self._start(work, group)
        except* RagError as errors:
            raise errors.exceptions[0] from None
        finally:
            if self._own_queue is not None:
                await self._own_queue.aclose()
        if not self._stopped:
            await asyncio.to_thread(self._remove, plan.remove)

    def report(self, seconds: float) -> IngestReport:
        return IngestReport(
            root=str(self._scope.root),
            collection=self._collection.name,
            files=tuple(self._files[path] for path in sorted(self._files)),
            removed=self._removed,
            n_texts_embedded=self._n_texts_embedded,
            n_tokens_embedded=self._n_tokens_embedded,
            n_texts_unreadable=self._n_texts_unreadable,
            seconds=round(seconds, 3),
            stopped=self._stopped,
            n_texts_reused=self._n_texts_reused,
            n_tokens_reused=self._n_tokens_reused,
            cost=self._spending.cost(self._n_tokens_embedded),
            currency=self._spending.currency,
        )

    # --- planning

    def _plan(self, rules: WalkRules) -> Plan:
        everything = self._collection.ledger()
        self._held = {info.id for info in self._collection.documents()}
        ledger = {path: entry for path, entry in everything.items() if self._is_ours(entry)}
        found: list[Found] = []
        out_of_sight: list[str] = []
        for item in self._seen(rules):
            taken = everything.get(item.id)
            if taken is not None and not self._is_ours(taken):
                reason = f"its name is taken by a document of {taken.root}; rename one of them"
                self._done(FileResult(item.id, "failed", reason))
            elif isinstance(item, Found):
                found.append(item)
            elif isinstance(item, Skipped):
                self._note_skipped(item, taken)
            else:
                self._fail(item.id, item.reason)
                out_of_sight.append(item.id)
        keep = {path for path in ledger if any(is_under(path, folder) for folder in out_of_sight)}
        keep |= {path for path in ledger if not self._covers(path)} | set(self._files)
        readers = {file.id: reader_name(file.path) for file in found}
        known, unsure = triage(found, ledger, readers)
        plan = plan_changes(known, list(self._hashed(unsure)), ledger, readers, keep=keep)
        self._n_files = len(self._files) + len(plan.known) + len(plan.work)
        for known_file in plan.known:
            self._note_known(known_file)
        return plan

    def _seen(self, rules: WalkRules) -> Iterable[Found | Skipped | Unreadable]:
        """Yield what the scope holds, under the ids it has in the collection."""
        prefix = self._writer.prefix_for(self._root)
        self._prefix = f"{prefix}/" if prefix else ""
        for item in walk(self._scope.root, rules=rules):
            if self._scope.holds(item.id):
                yield dataclasses.replace(item, id=self._prefix + item.id)

    def _covers(self, path: str) -> bool:
        return self._scope.holds(path.removeprefix(self._prefix))

    def _is_ours(self, entry: LedgerEntry) -> bool:
        return entry.root == self._root or entry.root in self._scope.absorbed

    def _hashed(self, files: Iterable[Found]) -> Iterable[tuple[Found, str]]:
        for file in files:
            try:
                with file.path.open("rb") as stream:
                    yield file, hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                self._fail(file.id, f"cannot be read: {error.strerror or error}")

    def _note_skipped(self, item: Skipped, before: LedgerEntry | None) -> None:
        if before is None or (before.state, before.reason) != ("skipped", item.reason):
            entry = LedgerEntry(path=item.id, root=self._root, state="skipped", reason=item.reason)
            self._writer.record(entry, drop_document=True)
        self._done(FileResult(item.id, "skipped", item.reason))

    def _note_known(self, item: Known) -> None:
        entry = item.entry
        if item.hashed:
            self._writer.record(_entry_of(item.found, entry), drop_document=False)
        state: FileState = "unchanged" if entry.state == "indexed" else entry.state
        self._done(
            FileResult(
                item.found.id,
                state,
                entry.reason,
                n_pages=entry.n_pages,
                n_chunks=entry.n_chunks,
                n_tokens=entry.n_tokens,
                warnings=entry.warnings,
            )
        )

    # --- one file

    async def _start(self, work: Work, group: asyncio.TaskGroup) -> None:
        if self._stopped:
            self._done(FileResult(work.found.id, "failed", f"not reached: {self._stopped}", retriable=True))
            return
        self._tell(work.found.id)
        try:
            prepared = await asyncio.to_thread(self._prepare, work)
        except UnsupportedFormatError as error:
            await self._close(work, "unsupported", str(error), drop_document=True)
        except DocumentReadError as error:
            await self._close(work, "failed", str(error), retriable=error.retriable)
        else:
            if not prepared.chunks:
                await self._close_empty(prepared)
                return
            self._n_chunks += len(prepared.chunks)
            await self._gate.enter(prepared.n_tokens)
            group.create_task(self._embed_and_write(prepared))

    def _prepare(self, work: Work) -> _Prepared:
        document = self._readers.read(work.found.path, document_id=work.found.id, size=work.found.size)
        chunks = chunk(document, self._tokenizer, self._collection.config.chunking)
        return _Prepared(work, document, chunks)

    async def _embed_and_write(self, prepared: _Prepared) -> None:
        try:
            filled = await self._queue.fill(prepared.chunks)
        except EmbeddingError as error:
            if isinstance(error, EmbeddingStoppedError):
                self._stopped = str(error)
            await self._close(prepared.work, "failed", str(error), retriable=True)
        else:
            await self._write(prepared, filled)
        finally:
            await self._gate.leave(prepared.n_tokens)

    async def _write(self, prepared: _Prepared, filled: Filled) -> None:
        work, document = prepared.work, prepared.document
        replaces = document.id in self._held
        change: Change = "renamed" if work.renamed_from else "changed" if replaces else "new"
        result = FileResult(
            document.id,
            "indexed",
            change=change,
            renamed_from=work.renamed_from,
            n_pages=len(document.pages),
            n_chunks=len(prepared.chunks),
            n_tokens=prepared.n_tokens,
            n_tokens_embedded=filled.n_tokens,
            warnings=document.warnings,
        )
        entry = self._entry(work, result, document)
        async with self._writing:
            await asyncio.to_thread(
                self._writer.replace, document, prepared.chunks, entry=entry, replaces=work.renamed_from
            )
        if self._spending.counts_reuse:
            self._n_texts_reused += len(prepared.chunks) - filled.n_texts
            self._n_tokens_reused += prepared.n_tokens - filled.n_tokens
        self._done(result)

    async def _close_empty(self, prepared: _Prepared) -> None:
        document = prepared.document
        reason = "; ".join(document.warnings)  # a reader that finds no text says so, and for how many pages
        told = dataclasses.replace(document, warnings=())
        await self._close(prepared.work, "empty", reason, drop_document=True, document=told)

    async def _close(
        self,
        work: Work,
        state: FileState,
        reason: str,
        *,
        retriable: bool = False,
        drop_document: bool = False,
        document: Document | None = None,
    ) -> None:
        """Record a file that has nothing to index. A failed one keeps its former version."""
        warnings = document.warnings if document else ()
        n_pages = len(document.pages) if document else 0
        result = FileResult(work.found.id, state, reason, retriable=retriable, warnings=warnings, n_pages=n_pages)
        entry = self._entry(work, result, document)
        async with self._writing:
            await asyncio.to_thread(self._writer.record, entry, drop_document=drop_document)
        self._done(result)

    def _entry(self, work: Work, result: FileResult, document: Document | None) -> LedgerEntry:
        assert result.state != "unchanged"
        found = work.found
        return LedgerEntry(
            path=found.id,
            root=self._root,
            state=result.state,
            sha256=document.sha256 if document else work.sha256,
            size=found.size,
            mtime_ns=found.mtime_ns,
            ctime_ns=found.ctime_ns,
            inode=found.inode,
            reason=result.reason,
            retriable=result.retriable,
            n_pages=result.n_pages,
            n_chunks=result.n_chunks,
            n_tokens=result.n_tokens,
            warnings=result.warnings,
            reader=reader_name(found.path),
            updated_at=time.time(),
        )

    # --- bookkeeping

    def _remove(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._writer.forget(path)
        self._removed = tuple(path for path in paths if path in self._held)

    def _fail(self, path: str, reason: str) -> None:
        """Record a path that could not be opened; a former version of it keeps answering."""
        entry = LedgerEntry(path, self._root, "failed", reason=reason, retriable=True, updated_at=time.time())
        self._writer.record(entry, drop_document=False)
        self._done(FileResult(path, "failed", reason, retriable=True))

    def _done(self, result: FileResult) -> None:
        self._files[result.path] = result
        self._tell(result.path)

    def _embedded(self, embeddings: Embeddings) -> None:
        self._n_texts_embedded += len(embeddings.readable)
        self._n_texts_unreadable += int((~embeddings.readable).sum())
        self._n_tokens_embedded += embeddings.n_tokens
        self._tell("")

    def _tell(self, path: str) -> None:
        self._on_progress(
            IngestProgress(
                n_files=self._n_files,
                n_done=len(self._files),
                n_chunks=self._n_chunks,
                n_texts_embedded=self._n_texts_embedded,
                n_tokens_embedded=self._n_tokens_embedded,
                path=path,
                cost=self._spending.cost(self._n_tokens_embedded),
                currency=self._spending.currency,
                embedding=self._own_queue.status() if self._own_queue else None,
            )
        )


def _entry_of(file: Found, entry: LedgerEntry) -> LedgerEntry:
    """Return the entry with the file's present size and times, looked at now."""
    return dataclasses.replace(
        entry,
        size=file.size,
        mtime_ns=file.mtime_ns,
        ctime_ns=file.ctime_ns,
        inode=file.inode,
        updated_at=time.time(),
    )
