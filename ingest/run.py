"""Brings a collection in step with a folder: read, chunk, embed and store, each file ending in exactly one state.

Files are read and cut one after the other (in a thread), while the texts of many share the embedding requests. A
document is written, whole, once all its vectors are stored, with others that are ready; until then its former version
answers. What waits between reading and writing is bounded in tokens, whatever the folder's size.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from index.collection import Collection
from index.reading_store import ReadingStore
from index.records import LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from index.writer import Replacement, Writer
from ingest.attributes import PathRules
from ingest.chunking import chunk, headless_tables
from ingest.closing import closing_all
from ingest.cost import Spending
from ingest.embedding import EmbeddingQueue, EmbeddingStoppedError, Filled
from ingest.instructions import addressed_to_models
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead, Wanted
from ingest.media import STAND_IN, MediaSource, MediaTexts, served_kinds
from ingest.media_sending import MediaStoppedError
from ingest.plan import Work, reader_of
from ingest.readers import reader_name
from ingest.rehearsal import Rehearsal, RehearsedMedia, RehearsedTexts
from ingest.report import Change, FileResult, FileState, IngestReport
from ingest.roots import Place, Scope, scope_of, scope_of_url
from ingest.sources import WalkRules
from ingest.stopping import to_the_end, unless_stopped
from ingest.survey import Survey
from ingest.tally import IngestProgress, Tally
from ingest.together import Together
from ingest.web.sighting import Looker, Sighting
from rag.attributes import Attributes
from rag.contracts import Embedder, MediaReader, Tokenizer
from rag.errors import DocumentReadError, EmbeddingError, MediaError, RagError, UnsupportedFormatError
from rag.local.embedder import LOCAL_MODEL
from rag.types import Chunk, Document, EmbeddingLimits, MediaKind

__all__ = ["Intake", "TextQueue", "ingest", "rehearse"]

MAX_TOKENS_WAITING = 1_000_000
"""Tokens of documents that may wait for their vectors, beyond what fills the endpoint's requests twice over."""

TURN_S = 0.05
"""How long files are read and cut before what came of them is handed on; small files would cost more to hand on."""

MAX_FILES_WITH_MEDIA = 3
"""Files whose media may be read at once, while others go on; each holds up to 32 MB of them."""


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
    attributes: Mapping[str, Attributes]

    @property
    def n_tokens(self) -> int:
        return sum(chunk.n_tokens for chunk in self.chunks)

    def without(self, n_media: int) -> _Prepared:
        """Return the file as a dry run shows it, whose media would be read first."""
        said = f"{n_media:,} pages, pictures or recordings are read first; their text is not in these figures"
        return dataclasses.replace(self, document=dataclasses.replace(self.document, warnings=(said,)))


_Outcome = _Prepared | Wanted | DocumentReadError
"""What came of reading and cutting a file."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """A file with what came of it; without, where the run had been stopped before."""

    work: Work
    file: ToRead | None = None
    outcome: _Outcome | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What to read, and under which rules.

    ``library`` is the folder that holds the collection: it is never read, and roots beside it are remembered relative
    to it. ``alone`` keeps ``path`` apart from a known folder that it lies in. ``limits`` are what reading one file may
    take. ``parts`` are the only paths in the folder that the run looks at, and ``leave`` those that it leaves as they
    are, both relative to it. ``web`` says how an address is fetched. ``attributes`` are the rules over paths.
    """

    path: Place
    library: Path
    rules: WalkRules
    alone: bool = False
    limits: ReadingLimits | None = None
    parts: tuple[str, ...] = ()
    leave: frozenset[str] = frozenset()
    web: Looker | None = None
    attributes: PathRules | None = None

    async def look(self, collection: Collection | Rehearsal, tally: Tally) -> tuple[Scope, Sighting | None]:
        """Return the folder that names the documents and the parts that are looked at; of an address, what it has.

        Pages that were ingested by themselves before become those of the sitemap that lists them.
        """
        if not isinstance(self.path, str):
            scope = scope_of(self.path, library=self.library, known=collection.roots(), alone=self.alone)
            return (scope.narrowed(self.parts, leave=self.leave) if self.parts or self.leave else scope), None
        if self.web is None:
            raise ValueError(f"{self.path} is an address, and nothing says how to fetch it")
        ledger = collection.ledger()
        scope = scope_of_url(self.path, roots={path: entry.root for path, entry in ledger.items()})
        page = scope.parts[0] if scope.parts else ""
        sighting = await self.web.look(scope.key, page, self.rules, tally.fetched)
        tally.notes += sighting.notes
        seen = {item.id for item in sighting.items}
        alone = frozenset(url for url in seen if url in ledger and ledger[url].root == url)
        return dataclasses.replace(scope, absorbed=alone), sighting


async def ingest(
    intake: Intake,
    *,
    collection: Collection,
    vectors: VectorStore,
    embedder: Embedder,
    tokenizer: Tokenizer,
    queue: TextQueue | None = None,
    media: Mapping[MediaKind, MediaReader] | None = None,
    readings: ReadingStore | None = None,
    spending: Spending | None = None,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
    stop: asyncio.Event | None = None,
) -> IngestReport:
    """Bring ``collection`` in step with the files of ``intake`` (a folder, or one file) and report on each.

    Documents of other roots are left alone. ``queue`` takes the texts in place of one that embeds them at once.
    ``media`` says who reads which media, and ``readings`` keeps what they have read; without it nobody does.
    ``spending`` is the price, and the limit on what is embedded at once; several runs may share it.

    Raises CollectionLockedError when somebody else writes, RagError when the root is missing or the disk is full; a
    file that fails is in the report. Cancelling it stops cleanly: documents and vectors stored so far stay. Setting
    ``stop`` does too, at once, and gives the report, in which files that were not reached are failed and retriable.
    """
    started = time.monotonic()
    spending = spending or Spending(None)
    tally = Tally(spending, on_progress)
    limits = embedder.profile.limits
    with collection.writer(f"rag ingest {intake.path}") as writer:
        async with closing_all() as stack:
            texts = _media_texts(spending.metered_media(media or {}), readings, tally)
            if texts is not None:
                stack.push_async_callback(texts.aclose)
            if queue is None:
                own = _embedding_queue(collection, vectors, spending.metered(embedder, tokenizer), tokenizer, tally)
                stack.push_async_callback(own.aclose)
                queue = own
            await stack.enter_async_context(tally.telling())
            readers = stack.enter_context(
                IsolatedReaders(intake.limits, served=served_kinds(texts.profiles) if texts else ())
            )
            seen: list[tuple[Scope, Sighting | None]] = []

            async def look() -> None:
                seen.append(await intake.look(collection, tally))

            if not await unless_stopped(look(), stop):
                tally.stopped = "interrupted"
                return tally.report(str(intake.path), collection.name, time.monotonic() - started)
            [(scope, sighting)] = seen
            survey = Survey(scope, collection, writer, tally, readers, sighting, intake.attributes)
            run = _Run(survey, collection, writer, readers, queue, tokenizer, tally, limits, texts)
            if not await unless_stopped(run.execute(intake.rules.without(intake.library, scope.root)), stop):
                run.interrupt()
            tally.phase = "finishing"
            tally.tell(always=True)
            if not await unless_stopped(asyncio.to_thread(collection.refresh), stop):
                writer.leave_indexes()
        report = tally.report(str(scope.root), collection.name, time.monotonic() - started)
        if report.changed or not intake.parts:  # a look at a part that found nothing is no event in its history
            kept = {name: getattr(report, name) for name in _KEPT}
            media_read = [count.to_json() for count in report.media]
            writer.record_run({"root": scope.key, "counts": dict(report.counts), **kept, "media": media_read})
    return report


_KEPT = ("seconds", "n_texts_embedded", "n_tokens_embedded", "n_texts_reused", "n_tokens_reused", "cost", "currency")
"""What the history of a collection keeps of a report, beside the root and the counts."""


async def rehearse(
    intake: Intake,
    *,
    rehearsal: Rehearsal,
    texts: RehearsedTexts,
    limits: EmbeddingLimits,
    tokenizer: Tokenizer,
    media: RehearsedMedia | None = None,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> IngestReport:
    """Return the report that ``ingest`` would end with if every text could be embedded; embed and change nothing.

    A file with media that would be read counts as indexed, with the text that it has without them. Takes no lock. The
    files' ``n_tokens_embedded`` are what would be sent, as the tokenizer counts it. ``limits`` are the embedder's.
    """
    started = time.monotonic()
    tally = Tally(Spending(None), on_progress)
    if media is not None:
        media.on_read = tally.media_read
    with IsolatedReaders(intake.limits, served=served_kinds(media.profiles) if media else ()) as readers:
        scope, sighting = await intake.look(rehearsal, tally)
        survey = Survey(scope, rehearsal, rehearsal, tally, readers, sighting, intake.attributes)
        run = _Run(survey, rehearsal, rehearsal, readers, texts, tokenizer, tally, limits, media)
        async with tally.telling():
            await run.execute(intake.rules.without(intake.library, scope.root))
            tally.phase = "finishing"
            tally.tell(always=True)
    return tally.report(str(scope.root), rehearsal.name, time.monotonic() - started)


def _embedding_queue(
    collection: Collection, vectors: VectorStore, embedder: Embedder, tokenizer: Tokenizer, tally: Tally
) -> EmbeddingQueue:
    """Return a queue that embeds at once, and tells the tally what it does."""
    queue = EmbeddingQueue(
        embedder,
        vectors,
        VectorSpace(collection.config.model, collection.config.dimensions),
        on_embedded=tally.embedded,
        on_pause=tally.tell,
        learnt=vectors.path.with_name("endpoints.json"),
        count_tokens=tokenizer.count,
    )
    tally.embeds_with(queue.status, on="embedded model" if embedder.profile.model == LOCAL_MODEL else "endpoint")
    return queue


def _media_texts(
    media: Mapping[MediaKind, MediaReader], readings: ReadingStore | None, tally: Tally
) -> MediaTexts | None:
    if not media or readings is None:
        return None
    return MediaTexts(media, readings, on_read=tally.media_read, on_pause=tally.tell)


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
    """Reads, cuts, embeds and writes what the survey found to do."""

    def __init__(
        self,
        survey: Survey,
        collection: Collection | Rehearsal,
        writer: Writer | Rehearsal,
        readers: IsolatedReaders,
        queue: TextQueue,
        tokenizer: Tokenizer,
        tally: Tally,
        limits: EmbeddingLimits,
        media: MediaSource | None,
    ) -> None:
        self._survey = survey
        self._collection = collection
        self._writer = writer
        self._readers = readers
        self._queue = queue
        self._tokenizer = tokenizer
        self._tally = tally
        self._gate = _Gate(2 * limits.concurrency * limits.max_request_tokens + MAX_TOKENS_WAITING)
        self._media = media
        self._reading_media = asyncio.Semaphore(MAX_FILES_WITH_MEDIA)
        self._writing = asyncio.Lock()
        self._store = Together(writer.replace_all, lock=self._writing)
        self._work: tuple[Work, ...] = ()

    async def execute(self, rules: WalkRules) -> None:
        served = list(self._media.profiles) if self._media else []
        try:
            plan = await asyncio.to_thread(self._survey.plan, rules, served=served)
        except asyncio.CancelledError:
            self._survey.cancel()
            raise
        self._work = plan.work
        self._tally.n_bytes = sum(work.found.size for work in plan.work)
        self._tally.phase = "working"
        self._readers.announce(self._to_read(work) for work in plan.work)
        try:
            async with asyncio.TaskGroup() as group:
                works = iter(plan.work)
                while some := await asyncio.to_thread(self._look_at_some, works):
                    for looked in some:
                        await self._take(looked, group)
        except* RagError as errors:
            raise errors.exceptions[0] from None
        if not self._tally.stopped:
            await to_the_end(self._survey.remove, plan.remove)

    def interrupt(self) -> None:
        """Note that a run was cancelled because somebody wished it: what it had before it was not reached."""
        self._tally.stopped = self._tally.stopped or "interrupted"
        for work in self._work:
            if work.found.id not in self._tally.files:
                self._not_reached(work)

    def _not_reached(self, work: Work) -> None:
        self._tally.done(FileResult(work.found.id, "failed", f"not reached: {self._tally.stopped}", retriable=True))

    def _look_at_some(self, works: Iterator[Work]) -> list[_Looked]:
        """Read and cut the next files, for a moment: one at least, many where they are small, none at the end."""
        until = time.monotonic() + TURN_S
        looked: list[_Looked] = []
        for work in works:
            self._tally.path = work.found.id  # told when that is due: to wake the loop costs more than a small file
            if self._tally.stopped:
                looked.append(_Looked(work))
            else:
                file = self._to_read(work)
                looked.append(_Looked(work, file, self._outcome(work, file)))
            if time.monotonic() >= until:
                break
        return looked

    def _to_read(self, work: Work) -> ToRead:
        found = work.found
        known = self._media.known(work.sha256) if self._media else ()
        return ToRead(
            found.path,
            found.id,
            found.size,
            name=found.name,
            member=found.member,
            archive_size=found.archive_size,
            known=known,
        )

    def _outcome(self, work: Work, file: ToRead) -> _Outcome:
        try:
            with self._tally.reading(work.found.id, 0 if file.known else file.size):
                document = self._readers.read(file)
                if isinstance(document, Wanted):
                    return document
                chunks = chunk(document, self._tokenizer, self._collection.config.chunking)
        except DocumentReadError as error:
            return error
        attributes, problems = self._survey.attributes_of(work.found, document)
        told = (*headless_tables(document, chunks), *addressed_to_models(document, chunks))
        warnings = (*document.warnings, *told, *problems)
        return _Prepared(work, dataclasses.replace(document, warnings=warnings), chunks, attributes)

    async def _take(self, looked: _Looked, group: asyncio.TaskGroup) -> None:
        """Record what came of a file; what it wants to have read or embedded is begun, as soon as there is room."""
        work, file = looked.work, looked.file
        if file is None or looked.outcome is None:
            self._not_reached(work)
            return
        for known in file.known:
            assert self._media is not None
            self._tally.media_read(known.kind, self._media.profiles[known.kind], known.text, is_new=False)
        left = await self._settled(work, looked.outcome)
        if isinstance(left, Wanted):
            await self._reading_media.acquire()
            group.create_task(self._read_media(work, file, left))
        elif left is not None:
            await self._gate.enter(left.n_tokens)
            group.create_task(self._embed_and_write(left))

    async def _settled(self, work: Work, outcome: _Outcome, *, n_unread: int = 0) -> _Prepared | Wanted | None:
        """Return what is left to do for a file; None where it ended here, in a state of its own.

        ``n_unread`` media of it stand for others in a rehearsal: what becomes of them is not known.
        """
        if isinstance(outcome, UnsupportedFormatError):
            await self._close(work, "unsupported", str(outcome), drop_document=True)
        elif isinstance(outcome, DocumentReadError):
            await self._close(work, "failed", str(outcome), retriable=outcome.retriable)
        elif isinstance(outcome, Wanted):
            return outcome
        else:
            self._tally.cut(len(outcome.chunks), outcome.n_tokens)
            if n_unread:
                return outcome.without(n_unread)
            if outcome.chunks:
                return outcome
            await self._close_empty(outcome)
        return None

    async def _read_media(self, work: Work, file: ToRead, wanted: Wanted) -> None:
        """Have the media of a file read, in as many rounds as it takes, and go on with it."""
        assert self._media is not None
        left: _Prepared | Wanted | None = wanted
        n_unread = 0
        try:
            while isinstance(left, Wanted):
                with self._tally.waiting("reader of media", work.found.id):
                    texts = await self._media.texts(left, file=work.sha256)
                n_unread += sum(placed.text is STAND_IN for placed in texts)
                file = self._readers.again(file, left, texts)
                outcome = await asyncio.to_thread(self._outcome, work, file)
                left = await self._settled(work, outcome, n_unread=n_unread)
        except MediaError as error:
            if isinstance(error, MediaStoppedError):
                self._tally.stopped = str(error)
            await self._close(work, "failed", str(error), retriable=True)
            return
        finally:
            self._reading_media.release()
        if left is not None:
            await self._gate.enter(left.n_tokens)
            await self._embed_and_write(left)

    async def _embed_and_write(self, prepared: _Prepared) -> None:
        try:
            filled = await self._queue.fill(prepared.chunks)
        except EmbeddingError as error:
            if isinstance(error, EmbeddingStoppedError):
                self._tally.stopped = str(error)
            self._tally.given_up(len(prepared.chunks))
            await self._close(prepared.work, "failed", str(error), retriable=True)
        else:
            await self._write(prepared, filled)
        finally:
            await self._gate.leave(prepared.n_tokens)

    async def _write(self, prepared: _Prepared, filled: Filled) -> None:
        work, document = prepared.work, prepared.document
        replaces = document.id in self._survey.held
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
        with self._tally.waiting("disk", document.id):
            error = await self._store(
                Replacement(document, prepared.chunks, entry, work.renamed_from, prepared.attributes)
            )
        if error is not None:
            raise error
        self._tally.reused(len(prepared.chunks) - filled.n_texts, prepared.n_tokens - filled.n_tokens)
        self._tally.done(result)

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
            await to_the_end(self._writer.record, entry, drop_document=drop_document)
        self._tally.done(result)

    def _entry(self, work: Work, result: FileResult, document: Document | None) -> LedgerEntry:
        assert result.state != "unchanged"
        found = work.found
        return LedgerEntry(
            path=found.id,
            root=self._survey.root,
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
            reader=reader_of(reader_name(found.name), document.unread if document else ()),
            updated_at=time.time(),
        )
