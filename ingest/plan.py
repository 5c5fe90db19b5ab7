"""Decides what a run has to do, from what is on disk and what the ledger remembers. Pure: touches nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from index.records import LedgerEntry
from ingest.sources import Found
from rag.types import MediaKind

__all__ = ["Known", "Plan", "Work", "file_stamps", "plan_changes", "reader_of", "reader_today", "triage"]

RACY_NS = 2_000_000_000
"""A file that changed less than this before it was last looked at may have changed again within the same timestamp."""


@dataclass(frozen=True, slots=True)
class Known:
    """A file whose bytes are those of the last run; ``hashed`` when only its hash could tell."""

    found: Found
    entry: LedgerEntry
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """A file to read. ``before`` is its entry of the last run; ``renamed_from`` the gone path with the same bytes."""

    found: Found
    sha256: str
    before: LedgerEntry | None = None
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: read these, keep those, remove the paths that are gone (renamed ones are in ``work``)."""

    work: tuple[Work, ...]
    known: tuple[Known, ...]
    remove: tuple[str, ...]


_WITHOUT = " without "


def reader_of(reader: str, unread: Iterable[MediaKind]) -> str:
    """Return what the ledger calls the reader of a file that has kinds of media which nobody was there to read.

    >>> reader_of("pdf/2", ["page"])
    'pdf/2 without page'
    """
    kinds = ", ".join(sorted(unread))
    return f"{reader}{_WITHOUT}{kinds}" if kinds else reader


def reader_today(reader: str, recorded: str, served: Collection[MediaKind]) -> str:
    """Return what the ledger would call a file's reader now that media of these kinds are served.

    It differs from ``recorded`` where a file has to be read again: by a new version of its reader, or because somebody
    reads now what nobody did. Another reader of the same media is no reason: what is read stays so until a rebuild.
    """
    name, _, kinds = recorded.partition(_WITHOUT)
    return recorded if name == reader and kinds and not set(kinds.split(", ")) & set(served) else reader


def triage(
    files: Iterable[Found], ledger: Mapping[str, LedgerEntry], readers: Mapping[str, str]
) -> tuple[list[Known], list[Found]]:
    """Part the files whose size, times and inode are those of the ledger from those that must be hashed.

    ``readers`` maps a path to the reader that would read it today: a new reader version reads again. What failed is
    always looked at again, and so is what `rag status --repair` has marked.
    """
    known: list[Known] = []
    unsure: list[Found] = []
    for file in files:
        entry = ledger.get(file.id)
        if entry is not None and _is_current(entry, readers.get(file.id, "")) and _same_stat(file, entry):
            known.append(Known(file, entry))
        else:
            unsure.append(file)
    return known, unsure


def plan_changes(
    known: Sequence[Known],
    hashed: Sequence[tuple[Found, str]],
    ledger: Mapping[str, LedgerEntry],
    readers: Mapping[str, str],
    *,
    keep: Iterable[str] = (),
) -> Plan:
    """Compare hashes with the ledger.

    ``keep`` are ledger paths that could not be looked at this time (an unreadable folder): they are not gone.
    """
    still = [*known]
    changed: list[tuple[Found, str]] = []
    for file, sha256 in hashed:
        entry = ledger.get(file.id)
        if entry is not None and entry.sha256 == sha256 and _is_current(entry, readers.get(file.id, "")):
            still.append(Known(file, entry, hashed=True))
        else:
            changed.append((file, sha256))
    present = {item.found.id for item in still} | {file.id for file, _ in changed} | set(keep)
    gone = {path: entry for path, entry in ledger.items() if path not in present}
    by_hash = {entry.sha256: path for path, entry in sorted(gone.items()) if entry.state == "indexed"}
    work: list[Work] = []
    for file, sha256 in changed:
        before = ledger.get(file.id)
        former = by_hash.pop(sha256, None) if before is None or before.state != "indexed" else None
        if former is not None:
            del gone[former]
        work.append(Work(file, sha256, before, former))
    return Plan(tuple(work), tuple(still), tuple(sorted(gone)))


def file_stamps(ledger: Mapping[str, LedgerEntry]) -> set[tuple[int, int, int]]:
    """Return (mtime, ctime, inode) of the files that have not changed if they still have these.

    An archive has those of its members.
    """
    return {(entry.mtime_ns, entry.ctime_ns, entry.inode) for entry in ledger.values() if _is_settled(entry)}


def _is_current(entry: LedgerEntry, reader: str) -> bool:
    return entry.state in ("indexed", "empty", "unsupported") and not entry.retriable and entry.reader == reader


def _same_stat(file: Found, entry: LedgerEntry) -> bool:
    same = (file.size, file.mtime_ns, file.ctime_ns, file.inode) == (
        entry.size,
        entry.mtime_ns,
        entry.ctime_ns,
        entry.inode,
    )
    return same and _is_settled(entry)


def _is_settled(entry: LedgerEntry) -> bool:
    """Tell whether a file was left alone for long enough before it was looked at to trust its times."""
    return int(entry.updated_at * 1e9) - max(entry.mtime_ns, entry.ctime_ns) > RACY_NS
