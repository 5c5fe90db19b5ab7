"""What brings documents into collections: runs over folders and addresses, uploads, batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from api.background import Change
from api.shelf import REBUILDING, Shelf
from index.collection import Collection
from rag.errors import (
    CollectionError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConfigError,
    IndexMismatchError,
)

if TYPE_CHECKING:
    from ingest.batch_report import BatchProgress, BatchReport, BatchRun
    from ingest.cost import IngestEstimate, Spending
    from ingest.reembed import ReembedReport
    from ingest.report import FileResult, IngestReport
    from ingest.roots import Place
    from ingest.run import TextQueue
    from ingest.tally import IngestProgress

__all__ = ["FillingShelf"]

_LOG = logging.getLogger(__name__)

# The readers and the chunker are imported by the first ingest: a question is answered sooner without them.


def _is_set(stop: asyncio.Event | None) -> bool:
    return stop is not None and stop.is_set()


class FillingShelf(Shelf):
    """The part of ``api.footnote.Footnote`` that reads documents into collections and takes them out."""

    async def delete_document(self, document_id: str, *, collection: str | None = None) -> str:
        """Remove a document, or an uploaded file with all documents in it; return what would bring it back, or ""."""
        opened = self.collection(collection)
        from ingest.uploads import remove_document

        async with self._writing[opened.name]:
            return await asyncio.to_thread(
                remove_document,
                opened,
                document_id,
                uploads=self.library.uploads(opened.name),
                library=self.library.folder,
            )

    async def ingest(
        self,
        *paths: Path | str,
        collection: str | None = None,
        rebuild: bool = False,
        on_progress: Callable[[IngestProgress], None] = lambda progress: None,
        stop: asyncio.Event | None = None,
    ) -> list[IngestReport]:
        """Bring a collection in step with folders, files or addresses, one after the other; it is made if need be.

        A text that begins with http:// or https:// is the address of a page or a sitemap. ``rebuild`` makes the
        collection anew with today's models and chunk size, from these and from all it was made from; the old one
        answers until the new one is whole, and stays when the run is stopped. Pages that are kept are not fetched then.
        Setting ``stop`` ends the run within moments; its report says what was not reached, and further paths are not
        begun.
        """
        places = _places(paths)
        name = collection or self.settings.collection
        spending = await self._spending(None if rebuild else name)
        if rebuild and name in self.collections():
            return await self._rebuild(name, places, spending, on_progress, stop)
        opened = await self._writable(name)
        reports: list[IngestReport] = []
        for place in places:
            if not (reports and _is_set(stop)):
                reports.append(await self._ingest(place, opened, spending, on_progress, stop=stop))
        return reports

    async def watch(
        self,
        *paths: Path | str,
        collection: str | None = None,
        on_progress: Callable[[IngestProgress], None] = lambda progress: None,
        on_notice: Callable[[str], None] = lambda words: None,
        stop: asyncio.Event | None = None,
    ) -> AsyncGenerator[IngestReport, None]:
        """Ingest folders or files, then follow them: yield the report of each run, until it is closed or ``stop`` set.

        A burst of changes is one run, over what changed. ``on_notice`` is told in words what happens between runs: a
        folder that went away, a collection that somebody else writes to. ``ingest.max_cost`` is for all runs together,
        and ends the watch.
        """
        from ingest.watch import Watch

        if not paths:
            raise ConfigError("nothing to watch: name at least one folder or file")
        name = collection or self.settings.collection
        spending = await self._spending(name)
        await self._writable(name)
        ingested: dict[Path, Collection] = {}

        async def one_run(path: Path, parts: Sequence[str], leave: frozenset[str]) -> IngestReport:
            opened = self.collection(name)
            if ingested.get(path) is not opened:  # the first run, or somebody has rebuilt the collection
                parts, leave = (), frozenset()
            report = await self._ingest(path, opened, spending, on_progress, stop=stop, parts=parts, leave=leave)
            ingested[path] = opened
            return report

        watch = Watch(
            [Path(path) for path in paths],
            run=one_run,
            rules=self.wiring.walk_rules(),
            library=self.library.folder,
            quiet_s=self.settings.ingest.watch_quiet_s,
            poll_s=self.settings.ingest.watch_poll_s,
            on_notice=on_notice,
            is_over=lambda: spending.is_spent,
            stop=stop,
        )
        async with aclosing(watch.reports()) as reports:
            async for report in reports:
                yield report

    async def ingest_by_batch(
        self,
        *paths: Path | str,
        collection: str | None = None,
        wait: bool = True,
        on_progress: Callable[[IngestProgress], None] = lambda progress: None,
        on_batch: Callable[[BatchProgress], None] = lambda progress: None,
    ) -> BatchRun:
        """Do what ``ingest`` does with embeddings from the Batch API: usually for half the price, within a day.

        Without ``wait`` it returns while batches are under way; the next call collects them. A cancelled or killed call
        is gone on with in the same way.
        """
        from api.batching import ingest_by_batch

        places = _places(paths)
        opened = await self._writable(collection or self.settings.collection)
        spending = await self._spending(opened.name, counts_reuse=False)

        async def one_pass(queue: TextQueue | None) -> list[IngestReport]:
            return [await self._ingest(place, opened, spending, on_progress, queue=queue) for place in places]

        return await ingest_by_batch(
            self.wiring, self.library, opened, one_pass, spending=spending, wait=wait, on_batch=on_batch
        )

    async def cancel_batches(
        self, *, wait: bool = True, on_batch: Callable[[BatchProgress], None] = lambda progress: None
    ) -> BatchReport:
        """Cancel the library's batches and store what they finished; ``wait`` until the endpoint says they ended."""
        from api.batching import cancel_batches

        return await cancel_batches(self.wiring, self.library, wait=wait, on_batch=on_batch)

    async def plan_ingest(
        self,
        *paths: Path | str,
        collection: str | None = None,
        rebuild: bool = False,
        on_progress: Callable[[IngestProgress], None] = lambda progress: None,
    ) -> list[IngestEstimate]:
        """Return what ``ingest`` of these paths would do and cost: a dry run, which embeds nothing and writes nothing.

        Every new and changed file is read and cut, and what is paid for already is looked up; so the figures are those
        of the run. No lock is taken.
        """
        from api.planning import plan_ingest

        places = _places(paths)
        name = collection or self.settings.collection
        return await plan_ingest(
            places,
            name=name,
            settings=self.settings,
            wiring=self.wiring,
            library=self.library if (self.settings.library / "vectors.db").exists() else None,
            collection=self.collection(name) if name in self.collections() else None,
            rebuild=rebuild,
            on_progress=on_progress,
        )

    async def change_model(
        self,
        name: str | None = None,
        *,
        dry_run: bool = False,
        on_progress: Callable[[int, int], None] = lambda n_done, n_all: None,
        stop: asyncio.Event | None = None,
    ) -> ReembedReport:
        """Make a collection anew for the embedding model of the settings, from its stored texts; no file is read.

        The old one answers until the new one is whole, and stays when the run is stopped or fails; the next run finds
        the vectors that were paid for. ``dry_run`` says what it would cost; ``ingest.max_cost`` is the limit.
        """
        from api.remodelling import change_model

        return await change_model(
            self.wiring,
            self.library,
            self.collection(name),
            max_cost=self.settings.ingest.max_cost,
            dry_run=dry_run,
            on_progress=on_progress,
            stop=stop,
        )

    def start_change_of_model(self, name: str | None = None) -> Change:
        """Begin ``change_model`` in the background; what it returns is brought up to date, ``stop`` in it cancels."""
        name = self.collection(name).name
        return self.changes.start(name, lambda told, stop: self.change_model(name, on_progress=told, stop=stop))

    async def upload(
        self,
        filename: str,
        data: bytes,
        *,
        collection: str | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> list[FileResult]:
        """Store a file in place of one of its name and ingest it: one result, or one for each file of an archive.

        ``attributes`` are for all of it; None leaves those that a file of this name was given before.
        """
        from ingest.roots import is_under
        from ingest.uploads import save_upload, upload_id

        opened = await self._writable(collection or self.settings.collection)
        path = await asyncio.to_thread(save_upload, self.library.uploads(opened.name), filename, data, attributes)
        spending = await self._spending(opened.name)
        report = await self._ingest(path.parent, opened, spending, lambda progress: None, alone=True)
        own_id = upload_id(opened, path.name, uploads=path.parent, library=self.library.folder)
        return [file for file in report.files if is_under(file.path, own_id)]

    async def ingest_urls(self, *urls: str, collection: str | None = None) -> list[IngestReport]:
        """Do what ``ingest`` does for addresses that a stranger names: public ones only, whatever the settings say."""
        places = [place for place in _places(urls) if isinstance(place, str)]
        if len(places) < len(urls):
            raise ConfigError("these are no addresses; each must begin with http:// or https://")
        opened = await self._writable(collection or self.settings.collection)
        spending = await self._spending(opened.name)
        return [
            await self._ingest(place, opened, spending, lambda progress: None, public_only=True) for place in places
        ]

    # --- how

    async def _writable(self, name: str) -> Collection:
        if name in self.collections():
            return self.collection(name)
        try:
            return await self.create_collection(name)
        except CollectionExistsError:  # made meanwhile, by another ingest
            return self.collection(name)

    async def _spending(self, name: str | None, *, counts_reuse: bool = True) -> Spending:
        """Return the price and the limit of one command; ``name`` is None where the collection is made anew."""
        from ingest.cost import Spending

        config = self.collection(name).config if name in self.collections() else None
        embedder = await self.wiring.embedder(config)
        price = self.wiring.price(embedder.profile.model)
        media = {kind: reader.profile for kind, reader in (await self.wiring.media_readers()).items()}
        return Spending(price, limit=self.settings.ingest.max_cost, counts_reuse=counts_reuse, media=media)

    async def _rebuild(
        self,
        name: str,
        places: Sequence[Place],
        spending: Spending,
        on_progress: Callable[[IngestProgress], None],
        stop: asyncio.Event | None,
    ) -> list[IngestReport]:
        """Make the collection anew under another name, then let it take the place of the old one."""
        from ingest.roots import is_there

        library = self.library
        old, roots = self._former_roots(name, places)
        new_name = f"{name}{REBUILDING}"
        if new_name in library.collections():  # what an interrupted rebuild left; its vectors are kept
            library.delete(new_name)
        new = await self._create(new_name)
        if old is not None:
            new.set_own_settings(old.own_settings())
        if old is not None and (given := old.all_given()):
            with new.writer("attributes of a rebuild") as writer:
                writer.set_attributes({document_id: {"api": found} for document_id, found in given.items()})
        uploads = self.library.uploads(name).resolve()
        there = [root for root in roots if is_there(root)]
        reports: list[IngestReport] = []
        for root in there:
            if not (reports and _is_set(stop)):
                alone = root == uploads
                report = await self._ingest(root, new, spending, on_progress, alone=alone, from_mirror=True, stop=stop)
                reports.append(report)
        if not _is_set(stop) and not any(report.stopped for report in reports):
            if old is not None:
                reports += await asyncio.to_thread(self._gone, old, [root for root in roots if root not in there])
            library.supersede(name, by=new_name)
        return [replace(report, collection=name) for report in reports]

    def _former_roots(self, name: str, places: Sequence[Place]) -> tuple[Collection | None, list[Place]]:
        """Return the collection that is to be made anew, and what from; None where nothing of it can be read.

        Then it is made from its uploads and the paths that are named, for nothing tells which others there were.
        """
        from ingest.roots import all_roots

        folder = self.library.folder
        try:
            old = self.collection(name)
            return old, all_roots(old.runs(), places, library=folder)
        except (CollectionNotFoundError, IndexMismatchError):
            raise
        except CollectionError as error:
            _LOG.warning("%s; it is made anew from what is named: name every folder that it is to hold", error)
            uploads = self.library.uploads(name)
            return None, all_roots((), [*places, *([uploads] if uploads.is_dir() else [])], library=folder)

    def _gone(self, old: Collection, roots: Sequence[Place]) -> list[IngestReport]:
        """Return a report for each folder that is no longer there: its documents are not in the rebuilt collection."""
        from ingest.report import IngestReport
        from ingest.roots import folder_of

        held = {info.id for info in old.documents()}
        lost: dict[Place, list[str]] = {root: [] for root in roots}
        for path, entry in old.ledger().items():
            root = folder_of(entry.root, library=self.library.folder)
            if root in lost and path in held:
                lost[root].append(path)
        return [IngestReport(str(root), old.name, (), tuple(sorted(lost[root])), 0, 0, 0, 0.0) for root in roots]

    async def _ingest(
        self,
        place: Place,
        collection: Collection,
        spending: Spending,
        on_progress: Callable[[IngestProgress], None],
        *,
        alone: bool = False,
        queue: TextQueue | None = None,
        stop: asyncio.Event | None = None,
        parts: Sequence[str] = (),
        leave: Iterable[str] = (),
        from_mirror: bool = False,
        public_only: bool = False,
    ) -> IngestReport:
        from ingest.run import Intake, ingest

        library = self.library.folder
        web = None
        if isinstance(place, str):
            web = self.wiring.web_source(library / "web", from_mirror=from_mirror, public_only=public_only)
        intake = Intake(
            place,
            library,
            self.wiring.walk_rules(),
            alone=alone,
            limits=self.wiring.reading_limits(),
            parts=tuple(parts),
            leave=frozenset(leave),
            web=web,
            attributes=self.wiring.attribute_rules(),
        )
        media = await self.wiring.media_readers()
        async with self._writing[collection.name]:  # uploads wait for each other; another process is an error
            return await ingest(
                intake,
                collection=collection,
                vectors=self.library.vectors,
                embedder=await self.wiring.embedder(collection.config),
                tokenizer=self.wiring.tokenizer(collection.config.tokenizer),
                queue=queue,
                media=media,
                readings=self.library.readings(create=True) if media else None,
                spending=spending,
                on_progress=on_progress,
                stop=stop,
            )


def _places(named: Sequence[Path | str]) -> list[Place]:
    """Return what is named for an ingest, each as a path or a canonical address."""
    from ingest.roots import place_of

    if not named:
        raise ConfigError("nothing to ingest: name at least one folder, file or address")
    return [place_of(one) for one in named]
