"""The collections of a library: what there is, and what can be done with one as a whole."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api.agency import Agency
from api.answering import checked_own
from api.background import Changes
from api.wiring import Wiring
from index import points
from index.cache import CacheSurvey, Imported, export_cache, import_cache, prune_cache, survey
from index.collection import Collection
from index.collection_file import Exported, export_collection, import_collection
from index.collection_settings import OwnSettings
from index.library import Library
from index.points import Snapshot
from index.records import CollectionStatus, DocumentInfo, LedgerEntry, RepairReport
from rag.attributes import Attributes, checked_attributes
from rag.errors import CollectionNotFoundError, ConfigError, FilterError
from rag.settings import Settings, load_settings
from rag.types import Document

__all__ = ["REBUILDING", "Shelf"]

REBUILDING = ".rebuild"
"""What the name of a collection that is being made anew ends in, until it takes the place of the old one."""


class Shelf:
    """The part of ``api.footnote.Footnote`` that holds collections and asks no chat model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.wiring = Wiring(settings)
        self._agency = Agency(settings, self.wiring)
        self.changes = Changes()
        self._library: Library | None = None
        self._collections: dict[str, Collection] = {}
        self._opening = threading.Lock()
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @classmethod
    def open(
        cls,
        library: Path | str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        **overrides: Any,
    ) -> Self:
        """Read the settings and return a Footnote; no model is loaded and nothing is written yet.

        ``library`` is the folder that holds the collections. ``overrides`` are settings by name with two underscores
        for the dot: ``retrieval__k=5``.
        """
        flags = {name.replace("__", "."): value for name, value in overrides.items()}
        if library is not None:
            flags["library"] = library
        return cls(load_settings(os.environ if environ is None else environ, file=file, overrides=flags))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections, models and collections."""
        await self.changes.aclose()
        await self.wiring.aclose()
        with self._opening:
            self._collections.clear()
            if self._library is not None:
                self._library.close()
                self._library = None

    # --- collections

    @property
    def library(self) -> Library:
        """The library on disk. Raises CollectionNotFoundError where there is none yet."""
        return self._open_library(create=False)

    def _open_library(self, *, create: bool) -> Library:
        with self._opening:
            if self._library is None:
                target = self.settings.retrieval.recall_target
                self._library = Library.open(self.settings.library, create=create, recall_target=target)
            return self._library

    def collection(self, name: str | None = None) -> Collection:
        """Return an open collection; raises CollectionNotFoundError with what to run."""
        name = name or self.settings.collection
        library = self.library
        with self._opening:
            known = self._collections.get(name)
            if known is None or not known.is_in_place:  # deleted or rebuilt, perhaps by another process
                try:
                    self._collections[name] = library.open_collection(name)
                except CollectionNotFoundError as error:
                    raise CollectionNotFoundError(f"{error}; make it with: rag ingest FOLDER -c {name}") from error
            return self._collections[name]

    def collections(self) -> list[str]:
        """Return the names of the collections, sorted."""
        if not (self.settings.library / "vectors.db").exists():
            return []
        return [name for name in self.library.collections() if not name.endswith(REBUILDING)]

    async def create_collection(self, name: str) -> Collection:
        """Make an empty collection with the models and chunk size of the settings."""
        self._check_new(name)
        return await self._create(name)

    async def _create(self, name: str) -> Collection:
        there = (self.settings.library / "vectors.db").exists()
        config = await self.wiring.new_config(self.library.vectors.spaces() if there else ())
        library = await asyncio.to_thread(self._open_library, create=True)
        await asyncio.to_thread(library.create, name, config)
        return self.collection(name)

    def delete_collection(self, name: str) -> None:
        """Delete a collection, its uploads and snapshots. Its vectors stay, so making it again costs nothing."""
        uploads = self.library.uploads(self.collection(name).name)
        self.library.delete(name)
        shutil.rmtree(uploads, ignore_errors=True)

    def status(self, name: str | None = None) -> CollectionStatus:
        """Return what a collection holds, and whether its parts agree."""
        return self.collection(name).status()

    def check(self, name: str | None = None, *, deep: bool = True) -> list[str]:
        """Compare every entry, document, vector and keyword of a collection; return the problems in words.

        Without ``deep`` ledger and documents are compared, and a sample of the vectors looked for; nothing changes.
        """
        return self.collection(name).check(deep=deep)

    def repair(self, name: str | None = None) -> RepairReport:
        """Mend what can be mended of a collection, and say exactly what was done and what the next ingest has to read.

        What is damaged is taken out of the search, what is whole goes on answering. Where vectors are damaged, all
        collections are mended, for they share them. Raises CollectionLockedError while somebody is writing.
        """
        report = self.library.repair(self.collection(name).name)
        return replace(report, waiting={str(self._folder_of(key)): of for key, of in report.waiting.items()})

    def _folder_of(self, root: str) -> Path | str:
        from ingest.roots import folder_of

        return folder_of(root, library=self.library.folder)

    def ledger(self, name: str | None = None) -> dict[str, LedgerEntry]:
        """Return what became of every input path, by path."""
        return self.collection(name).ledger()

    def documents(self, name: str | None = None) -> list[DocumentInfo]:
        """Return the documents of a collection, sorted by id."""
        return self.collection(name).documents()

    def document(self, document_id: str, *, collection: str | None = None) -> Document:
        """Return a whole document as it was read."""
        return self.collection(collection).document(document_id)

    def attributes(self, document_ids: Sequence[str] | None = None, *, collection: str | None = None) -> dict[str, Any]:
        """Return the attributes of documents by id, each key from its strongest source; all documents, or some."""
        return dict(self.collection(collection).attributes(document_ids))

    async def set_attributes(
        self, document_id: str, given: Mapping[str, object], *, collection: str | None = None
    ) -> Attributes:
        """Set attributes of a document, over those of its other sources; None takes a key back. Returns all it has.

        Raises FilterError where a value cannot be one; then nothing changes. Nothing is read or embedded for it.
        """
        opened = self.collection(collection)
        opened.title(document_id)  # raises DocumentNotFoundError
        values = {key: value for key, value in given.items() if value is not None}
        usable, problems = checked_attributes(dict(values.items()), where=repr(document_id))
        if problems:
            raise FilterError(f"{problems[0]}; nothing was changed")
        async with self._writing[opened.name]:
            await asyncio.to_thread(_give, opened, document_id, given, usable)
        return opened.attributes([document_id]).get(document_id, {})

    def own_settings(self, name: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the settings that a collection has of its own, by section and name: ``{"answer": {"seed": 1}}``."""
        return self.collection(name).own_settings()

    def set_own_settings(self, given: OwnSettings, name: str | None = None) -> dict[str, dict[str, Any]]:
        """Put these settings in the place of those that a collection has of its own, and return them.

        They come before the environment and ``rag.toml``, and after flags and what is said with a question. Raises
        OwnSettingError where one is none, or cannot be one of a collection; then nothing changes.
        """
        checked = checked_own(given)
        self.collection(name).set_own_settings(checked)
        return checked

    # --- copies, snapshots and files

    async def copy_collection(self, name: str, to: str) -> None:
        """Make a second collection of one, as of this moment. Vectors are shared, nothing is paid; uploads stay."""
        self._check_new(to)
        await asyncio.to_thread(points.copy, self.library, name, to)

    async def rename_collection(self, name: str, to: str) -> None:
        """Give a collection another name, in one step. Raises CollectionLockedError while somebody writes to it."""
        self._check_new(to)
        async with self._writing[name]:
            await asyncio.to_thread(self.library.rename, name, to)

    async def export_collection(self, name: str, path: Path | str) -> Exported:
        """Write a collection with its vectors to one new file; source files and uploads are not in it."""
        return await asyncio.to_thread(export_collection, self.library, name, Path(path))

    async def import_collection(self, path: Path | str, name: str = "", *, replace: bool = False) -> Exported:
        """Make a collection of an exported file, which is checked first; one of its name stays unless ``replace``."""
        if name:
            self._check_new(name)
        library = await asyncio.to_thread(self._open_library, create=True)
        return await asyncio.to_thread(import_collection, library, Path(path), name, replace=replace)

    async def take_snapshot(self, name: str | None = None, label: str = "") -> Snapshot:
        """Keep what a collection is at this moment, under a label or the time of day."""
        return await asyncio.to_thread(points.take_snapshot, self.library, name or self.settings.collection, label)

    def snapshots(self, name: str | None = None) -> list[Snapshot]:
        """Return the snapshots of a collection, oldest first."""
        return points.snapshots(self.library, name or self.settings.collection)

    async def restore_snapshot(self, name: str, label: str, *, keep: bool = True) -> Snapshot | None:
        """Make a collection what it was, in one step; what it is now is kept as a snapshot, which is returned."""
        async with self._writing[name]:
            return await asyncio.to_thread(points.restore, self.library, name, label, keep=keep)

    def delete_snapshot(self, name: str, label: str) -> None:
        """Delete a snapshot; its vectors stay until the cache is pruned."""
        points.delete_snapshot(self.library, name, label)

    def prune_snapshots(self, name: str, *, keep: int) -> list[str]:
        """Delete all but the newest ``keep`` snapshots of a collection, and return the labels of the others."""
        return points.prune_snapshots(self.library, name, keep=keep)

    def _check_new(self, name: str) -> None:
        if name.endswith(REBUILDING):
            raise ConfigError(f"names that end in {REBUILDING!r} are kept for rebuilding; choose another")

    # --- what was paid for

    def cache(self) -> CacheSurvey:
        """Return what the library has paid for: vectors and readings, who uses them, and what they saved."""
        return survey(self.library)

    def prune_cache(self) -> int:
        """Delete the vectors and readings that no collection uses, and return how many they were."""
        return prune_cache(self.library)

    def export_cache(self, path: Path | str) -> int:
        """Write all vectors and readings to one new file, for another library; return how many entries it holds."""
        return export_cache(self.library.vectors, Path(path), readings=self.library.readings())

    def import_cache(self, path: Path | str) -> Imported:
        """Add the vectors and readings of an exported file, each checked; what is there already stays as it is."""
        library = self._open_library(create=True)
        return import_cache(library.vectors, Path(path), readings=lambda: library.readings(create=True))


def _give(collection: Collection, document_id: str, given: Mapping[str, object], usable: Attributes) -> None:
    with collection.writer(f"attributes of {document_id}") as writer:
        kept = {key: value for key, value in collection.given(document_id).items() if key not in given}
        writer.set_attributes({document_id: {"api": {**kept, **usable}}})
