"""Looks at a folder: what is there, what the ledger knows of it, and so what has to be read, kept or removed."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterable, Sequence

from index.collection import Collection, Writer
from index.records import LedgerEntry
from ingest.plan import Known, Plan, plan_changes, triage
from ingest.readers import reader_name
from ingest.rehearsal import Rehearsal
from ingest.report import FileResult, FileState
from ingest.roots import Scope, is_under
from ingest.sources import Closed, Found, Skipped, Unreadable, WalkRules, walk
from ingest.tally import Tally
from ingest.web.sighting import Sighting

__all__ = ["Survey"]


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
        sighting: Sighting | None = None,
    ) -> None:
        self.root = scope.key
        self.held: set[str] = set()
        self._scope = scope
        self._collection = collection
        self._writer = writer
        self._tally = tally
        self._sighting = sighting
        self._prefix = ""

    def plan(self, rules: WalkRules) -> Plan:
        """Walk, compare with the ledger, and return what is to be done."""
        everything = self._collection.ledger()
        self.held = {info.id for info in self._collection.documents()}
        ledger = {path: entry for path, entry in everything.items() if self._is_ours(entry)}
        found: list[Found] = []
        out_of_sight: list[str] = []
        for item in self._seen(rules):
            taken = everything.get(item.id)
            if taken is not None and not self._is_ours(taken) and self._scope.is_url:
                self._tally.done(FileResult(item.id, "skipped", f"read already as a page of {taken.root}"))
            elif taken is not None and not self._is_ours(taken):
                reason = f"its name is taken by a document of {taken.root}; rename one of them"
                self._tally.done(FileResult(item.id, "failed", reason))
            elif isinstance(item, Found):
                found.append(item)
            elif isinstance(item, Skipped):
                self._note_skipped(item, taken)
            elif isinstance(item, Closed):
                self._note_closed(item, taken)
            else:
                self._fail(item.id, item.reason)
                out_of_sight.append(item.id)
        keep = {path for path in ledger if any(is_under(path, folder) for folder in out_of_sight)}
        keep |= {path for path in ledger if not self._covers(path)} | set(self._tally.files)
        if self._sighting is not None and not self._sighting.is_complete:
            keep |= set(ledger)
        readers = {file.id: reader_name(file.name) for file in found}
        known, unsure = triage(found, ledger, readers)
        plan = plan_changes(known, list(self._hashed(unsure)), ledger, readers, keep=keep)
        self._tally.n_files = len(self._tally.files) + len(plan.known) + len(plan.work)
        for known_file in plan.known:
            self._note_known(known_file)
        return plan

    def _seen(self, rules: WalkRules) -> Iterable[Found | Skipped | Unreadable | Closed]:
        """Yield what the scope holds, under the ids it has in the collection."""
        if isinstance(self._scope.root, str):
            yield from self._sighting.items if self._sighting else ()
            return
        prefix = self._writer.prefix_for(self.root)
        self._prefix = f"{prefix}/" if prefix else ""
        for item in walk(self._scope.root, rules=rules):
            if self._scope.holds(item.id):
                yield dataclasses.replace(item, id=self._prefix + item.id)

    def _covers(self, path: str) -> bool:
        return self._scope.holds(path.removeprefix(self._prefix))

    def _is_ours(self, entry: LedgerEntry) -> bool:
        return entry.root == self.root or entry.root in self._scope.absorbed

    def _hashed(self, files: Iterable[Found]) -> Iterable[tuple[Found, str]]:
        for file in files:
            try:
                with file.path.open("rb") as stream:
                    yield file, hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                self._fail(file.id, f"cannot be read: {error.strerror or error}")

    def _note_skipped(self, item: Skipped, before: LedgerEntry | None) -> None:
        if before is None or (before.state, before.reason) != ("skipped", item.reason):
            entry = LedgerEntry(path=item.id, root=self.root, state="skipped", reason=item.reason)
            self._writer.record(entry, drop_document=True)
        self._tally.done(FileResult(item.id, "skipped", item.reason))

    def _note_closed(self, item: Closed, before: LedgerEntry | None) -> None:
        if before is None or (before.state, before.reason) != (item.state, item.reason):
            entry = LedgerEntry(
                path=item.id,
                root=self.root,
                state=item.state,
                reason=item.reason,
                retriable=item.retriable,
                updated_at=time.time(),
            )
            self._writer.record(entry, drop_document=item.drop_document)
        if item.drop_document and item.id in self.held:
            self._tally.removed += (item.id,)
        self._tally.done(FileResult(item.id, item.state, item.reason, retriable=item.retriable))

    def _note_known(self, item: Known) -> None:
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
                warnings=entry.warnings,
            )
        )

    def remove(self, paths: Sequence[str]) -> None:
        """Forget the paths that are gone, and their documents."""
        for path in paths:
            self._writer.forget(path)
        self._tally.removed += tuple(path for path in paths if path in self.held)

    def _fail(self, path: str, reason: str) -> None:
        """Record a path that could not be opened; a former version of it keeps answering."""
        entry = LedgerEntry(path, self.root, "failed", reason=reason, retriable=True, updated_at=time.time())
        self._writer.record(entry, drop_document=False)
        self._tally.done(FileResult(path, "failed", reason, retriable=True))


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
