"""What a library has had read of media: by whom, what of it is in no file any more, and copies for another library."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from index.library import Library
from index.reading_store import ReaderStats, ReadingStore
from rag.errors import CollectionError
from rag.types import MediaKind, MediaText, MediaUsage, TimedText

__all__ = ["ReadingsSurvey", "add_readings", "checked_readings", "readings_of", "survey_readings"]

_ADDRESS_BYTES = 32
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ReadingsSurvey:
    """All readings of a library. ``n_orphans`` are of media that no file has which a ledger names.

    ``n_reused`` media were not read again in the runs of its collections; ``saved`` is what that would have cost, by
    currency, where the price was known.
    """

    readers: tuple[ReaderStats, ...] = ()
    n_orphans: int = 0
    size_bytes: int = 0
    n_reused: int = 0
    saved: Mapping[str, float] = field(default_factory=dict)


def survey_readings(library: Library, runs: Iterable[Mapping[str, Any]]) -> ReadingsSurvey:
    """Return what the store holds; ``runs`` are those of all collections."""
    store = library.readings()
    if store is None:
        return ReadingsSurvey()
    stats = store.stats()
    n_reused, saved = 0, defaultdict[str, float](float)
    for count in (count for run in runs for count in run.get("media") or ()):
        n_reused += count["n_known"]
        if count["saved"]:
            saved[count["currency"]] += count["saved"]
    return ReadingsSurvey(
        stats.readers, store.n_orphans(library.known_files()), stats.size_bytes, n_reused, dict(saved)
    )


def add_readings(store: ReadingStore, copy: Path) -> int:
    """Write all readings into a copy of the vectors that was just made, and return how many they are."""
    return store.copy_into(copy, format=_FORMAT)


Entry = tuple[str, MediaKind, bytes, MediaText]


def checked_readings(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell whether an exported file has readings. Raises CollectionError unless each of them is what it should be."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if "readings_format" not in tables:
        return False
    (version,) = connection.execute("SELECT max(version) FROM readings_format").fetchone()
    if version != _FORMAT or not {"readers", "readings", "uses"} <= tables:
        raise CollectionError(
            f"{path} has readings of format {version}, this version of Footnote reads {_FORMAT}; export it again, or "
            "upgrade Footnote"
        )
    for _ in readings_of(connection, path):
        pass
    return True


def readings_of(connection: sqlite3.Connection, path: Path) -> Iterator[Entry]:
    """Yield the readings of an exported file, each checked."""
    rows = connection.execute(
        "SELECT identity, kind, address, text, segments, title, refusal, note, input_tokens, output_tokens, seconds,"
        " estimated, language FROM readings JOIN readers ON readings.reader = readers.number ORDER BY readings.number"
    )
    for row in rows:
        try:
            yield _entry(row)
        except (ValueError, TypeError, KeyError) as error:
            raise CollectionError(
                f"{path} has a reading that is none ({error}); nothing was imported, export it again"
            ) from error


def _entry(row: tuple[Any, ...]) -> Entry:
    identity, kind, address, text, segments, title, refusal, note, n_in, n_out, seconds, estimated, language = row
    if not all(isinstance(value, str) for value in (identity, text, title, refusal, note, language)) or not identity:
        raise ValueError("its texts are not text")
    if kind not in get_args(MediaKind):
        raise ValueError(f"its kind is {kind!r}")
    if not isinstance(address, bytes) or len(address) != _ADDRESS_BYTES:
        raise ValueError("its address is not 32 bytes")
    timed = tuple(
        TimedText(float(start), float(end), str(said), str(speaker))
        for start, end, said, speaker in json.loads(segments)
    )
    usage = MediaUsage(int(n_in), int(n_out), float(seconds), bool(estimated))
    if not math.isfinite(usage.seconds):
        raise ValueError("its duration is no number")
    return identity, kind, address, MediaText(text, timed, title, refusal, note, usage, language)
