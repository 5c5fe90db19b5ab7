"""Looks at a folder: what is there, what the ledger knows of it, and so what has to be read, kept or removed."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from collections.abc import Collection as Kinds
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from index.collection import Collection
from index.records import LedgerEntry
from index.writer import Writer
from ingest.archives.folder import Archives
from ingest.attributes import PathRules, attributes_of_file, described_by, front_matter
from ingest.isolation import IsolatedReaders
from ingest.plan import Known, Plan, file_stamps, plan_changes, reader_today, triage
from ingest.readers import reader_name
from ingest.rehearsal import Rehearsal
from ingest.report import Change, FileResult, FileState
from ingest.roots import Scope, is_under_any
from ingest.sources import Found, Item, Settled, Sieve, Skipped, WalkRules, walk
from ingest.tally import Tally
from ingest.web.sighting import Sighting
from rag.attributes import Attributes
from rag.errors import DocumentReadError
from rag.types import Document, MediaKind

__all__ = ["Survey"]

_Unread = Literal["skipped", "empty", "unsupported"]


class Survey:
    """One look at the scope of a run. Files that need no reading get their state here, in ledger and tally.

    ``root`` is how the ledger calls the folder; ``held`` are the ids of the documents that were there before.
    ``sighting`` is what an address led to, in place of a walk.
    """

    def __init__(
        self,
        scope: Scope,
        collection: Collection | Rehearsal,
        writer: Writer | Rehearsal,
        tally: Tally,
        readers: IsolatedReaders,
        sighting: Sighting | None = None,
        rules: PathRules | None = None,
    ) -> None:
        self.root = scope.key
        self.held: set[str] = set()
        self._scope = scope
        self._collection = collection
        self._writer = writer
        self._tally = tally
        self._readers = readers
        self._archives = Archives(readers, max_bytes=0)
        self._sighting = sighting
        self._rules = rules or PathRules()
        self._prefix = ""
        self._cancelled = False

    def cancel(self) -> None:
        """End a ``plan`` that another thread is at, as soon as it comes to the next file."""
        self._cancelled = True

    def plan(self, rules: WalkRules, *, served: Kinds[MediaKind] = ()) -> Plan:
        """Walk, compare with the ledger, and return what is to be done. ``served`` are the media that can be read."""
        prefix = "" if self._scope.is_url else self._writer.prefix_for(self.root)
        self._prefix = self._tally.prefix = f"{prefix}/" if prefix else ""
        within = [self._prefix + part for part in self._scope.parts] or None
        everything = self._collection.ledger(within=within)
        self.held = self._collection.document_ids(within=within)
        ledger = {path: entry for path, entry in everything.items() if self._is_ours(entry)}
        found: list[Found] = []
        out_of_sight: set[str] = set()
        root_before = self._root_identity()
        for item in self._seen(rules, ledger):
            taken = everything.get(item.id)
            if taken is not None and not self._is_ours(taken) and self._scope.is_url:
                self._tally.done(FileResult(item.id, "skipped", f"read already as a page of {taken.root}"))
            elif taken is not None and not self._is_ours(taken):
                reason = f"its name is taken by a document of {taken.root}; rename one of them"
                self._tally.done(FileResult(item.id, "failed", reason))
            elif isinstance(item, Found):
                found.append(item)
            elif isinstance(item, Skipped):
                self._note(Settled(item.id, "skipped", item.reason), taken)
            elif isinstance(item, Settled):
                self._note(item, taken)
                if item.state == "failed" and not self._scope.is_url:
                    out_of_sight.add(item.id)
            else:
                self._fail(item.id, item.reason, retriable=True)
                out_of_sight.add(item.id)
        if self._root_identity() != root_before:
            raise DocumentReadError(
                f"{str(self._scope.root)!r} was replaced or unmounted while it was looked through; run it again",
                retriable=True,
            )
        readers = {
            file.id: reader_today(reader_name(file.name), ledger[file.id].reader if file.id in ledger else "", served)
            for file in found
        }
        known, unsure = triage(found, ledger, readers)
        self._tally.phase, self._tally.n_to_compare = "comparing", len(unsure)
        hashed = list(self._hashed(unsure))
        keep = {path for path in ledger if is_under_any(path, out_of_sight)}
        keep |= {path for path in ledger if not self._covers(path)} | set(self._tally.files)
        if self._sighting is not None and not self._sighting.is_complete:
            keep |= set(ledger)
        plan = plan_changes(known, hashed, ledger, readers, keep=keep)
        self._tally.n_files = len(self._tally.files) + len(plan.known) + len(plan.work)
        problems = self._describe_again(plan, within)
        for known_file in plan.known:
            self._note_known(known_file, problems.get(known_file.found.id, ()))
        return plan

    def attributes_of(self, file: Found, document: Document) -> tuple[dict[str, Attributes], list[str]]:
        """Return what path, front matter and sidecar say of a file that was read, and what is wrong with that."""
        beside, problems = self._beside(file)
        inside, more = front_matter(document.text, path=file.id) if document.media_type == "text/markdown" else ({}, [])
        return {**beside, "front_matter": inside}, [*problems, *more]

    def _beside(self, file: Found) -> tuple[dict[str, Attributes], list[str]]:
        return attributes_of_file(self._rules, file.id, None if self._scope.is_url else file.path)

    def _describe_again(self, plan: Plan, within: Sequence[str] | None) -> dict[str, Sequence[str]]:
        """Bring the attributes of files that need no reading in step with rules and sidecars; return their problems."""
        problems: dict[str, Sequence[str]] = {}
        given: dict[str, Mapping[str, Attributes]] = {}
        files = {item.found.id: item.found for item in plan.known if item.entry.state == "indexed"}
        for path, file in files.items():
            given[path], problems[path] = self._beside(file)
        if isinstance(self._scope.root, Path):  # a look at a sidecar alone: its file is not among those seen
            sidecars = [path for path in (*self._tally.files, *plan.remove) if within and described_by(path)]
            for described in (described_by(path) or "" for path in sidecars):
                place = self._scope.root / described.removeprefix(self._prefix)
                for path in self._collection.document_ids(within=[described]) - given.keys():  # of an archive, many
                    given[path], problems[path] = attributes_of_file(self._rules, path, place)
        changed = self._writer.set_attributes(given)
        if changed:
            self._tally.notes += (f"the attributes of {len(changed):,} documents changed; nothing was read for it",)
        return problems

    def _seen(self, rules: WalkRules, ledger: Mapping[str, LedgerEntry]) -> Iterable[Item]:
        """Yield what the scope holds, under the ids it has in the collection."""
        if isinstance(self._scope.root, str):
            yield from self._sighting.items if self._sighting else ()
            return
        self._archives = Archives(self._readers, max_bytes=rules.max_bytes, prefix=self._prefix)
        unchanged = file_stamps(ledger)

        def enter(archive: Found, sieve: Sieve) -> Iterable[Item]:
            if not self._scope.holds(archive.id):
                return ()
            is_new = (archive.mtime_ns, archive.ctime_ns, archive.inode) not in unchanged
            return self._archives.enter(archive, sieve, hashed=is_new)

        for item in walk(self._scope.root, rules=rules, parts=self._scope.parts, enter=enter):
            self._check_wanted()
            self._tally.n_seen += 1
            if self._scope.holds(item.id):
                yield dataclasses.replace(item, id=self._prefix + item.id)

    def _root_identity(self) -> tuple[int, int] | None:
        """Return what tells the folder from what a mount leaves behind: all in it would seem to be gone."""
        if isinstance(self._scope.root, str):
            return None
        try:
            status = self._scope.root.stat()
        except OSError:  # the walk says so
            return None
        return status.st_dev, status.st_ino

    def _check_wanted(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError("nobody waits for the plan any more")

    def _covers(self, path: str) -> bool:
        return self._scope.holds(path.removeprefix(self._prefix))

    def _is_ours(self, entry: LedgerEntry) -> bool:
        return entry.root == self.root or entry.root in self._scope.absorbed

    def _hashed(self, files: Iterable[Found]) -> Iterable[tuple[Found, str]]:
        for file in files:
            self._check_wanted()
            self._tally.n_compared += 1
            self._tally.path = file.id
            try:
                yield file, self._archives.sha256(file) if file.member else _sha256(file.path)
            except DocumentReadError as error:
                self._fail(file.id, str(error), retriable=error.retriable)
            except OSError as error:
                self._fail(file.id, f"cannot be read: {error.strerror or error}", retriable=True)

    def _note(self, item: Settled, before: LedgerEntry | None) -> None:
        """Record a path that needs no reading."""
        drops = item.drops_document
        if before is None or (before.root, before.state, before.reason) != (self.root, item.state, item.reason):
            entry = LedgerEntry(
                item.id,
                self.root,
                item.state,
                reason=item.reason,
                retriable=item.retriable,
                updated_at=time.time(),
            )
            self._writer.record(entry, drop_document=drops)
        change: Change | None = "removed" if drops and item.id in self.held else None
        self._tally.done(FileResult(item.id, item.state, item.reason, change=change, retriable=item.retriable))

    def _note_known(self, item: Known, problems: Sequence[str]) -> None:
        entry = item.entry
        if item.hashed or entry.root != self.root:
            self._writer.record(_entry_of(item.found, entry, self.root), drop_document=False)
        state: FileState = "unchanged" if entry.state == "indexed" else entry.state
        self._tally.done(
            FileResult(
                item.found.id,
                state,
                entry.reason,
                n_pages=entry.n_pages,
                n_chunks=entry.n_chunks,
                n_tokens=entry.n_tokens,
                warnings=tuple(dict.fromkeys((*entry.warnings, *problems))),
            )
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Forget the paths that are gone, and their documents."""
        for path in paths:
            self._writer.forget(path)
        self._tally.removed += tuple(path for path in paths if path in self.held)

    def _fail(self, path: str, reason: str, *, retriable: bool) -> None:
        """Record a path that could not be opened; a former version of it keeps answering."""
        entry = LedgerEntry(path, self.root, "failed", reason=reason, retriable=retriable, updated_at=time.time())
        self._writer.record(entry, drop_document=False)
        self._tally.done(FileResult(path, "failed", reason, retriable=retriable))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entry_of(file: Found, entry: LedgerEntry, root: str) -> LedgerEntry:
    """Return the entry under a root with the file's present size and times, looked at now."""
    return dataclasses.replace(
        entry,
        root=root,
        size=file.size,
        mtime_ns=file.mtime_ns,
        ctime_ns=file.ctime_ns,
        inode=file.inode,
        updated_at=time.time(),
    )
