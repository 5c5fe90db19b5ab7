"""What a library has paid for: its vectors and readings, who uses them, what they saved, and copies for another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from index.cache_readings import ReadingsSurvey, add_readings, checked_readings, readings_of, survey_readings
from index.checksums import vector_checksum
from index.collection import Collection
from index.files import put_in_place, temporary_beside
from index.library import Library
from index.migrations import VECTORS_STEPS
from index.reading_store import ReadingStore
from index.vector_store import VectorSpace, VectorStore
from rag.errors import CollectionError
from rag.types import Embeddings

__all__ = ["CacheSurvey", "Imported", "SpaceSurvey", "export_cache", "import_cache", "prune_cache", "survey"]

_BATCH = 1000
_ADDRESS_BYTES = 32
_HEADER = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class SpaceSurvey:
    """The vectors of one model and length. Unreadable texts are counted apart: they have no vector.

    ``used_by`` says how many texts of each collection are in the store; several may use the same. ``n_orphans`` are
    used by none, and by no snapshot.
    ``n_texts_reused`` and ``n_tokens_reused`` are what the runs of these collections did not embed again.
    """

    space: VectorSpace
    n_vectors: int
    n_unreadable: int
    used_by: Mapping[str, int]
    n_orphans: int
    n_texts_reused: int
    n_tokens_reused: int


@dataclass(frozen=True, slots=True)
class CacheSurvey:
    """All of a library's vectors, and their size on disk in bytes; and what was read of media."""

    spaces: tuple[SpaceSurvey, ...]
    size_bytes: int
    readings: ReadingsSurvey = field(default_factory=ReadingsSurvey)

    @property
    def n_orphans(self) -> int:
        return sum(space.n_orphans for space in self.spaces)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import found: entries that were new, and such as were there already."""

    n_new: int
    n_known: int


def survey(library: Library) -> CacheSurvey:
    """Return what the store holds and who uses it. Takes no lock: beside a running ingest it is of about now."""
    used: dict[VectorSpace, dict[str, set[bytes]]] = {}
    saved: dict[VectorSpace, tuple[int, int]] = {}
    all_runs: list[dict[str, object]] = []
    for name in library.collections():
        with library.open_collection(name) as collection:
            used.setdefault(collection.space, {})[name] = collection.addresses()
            runs = collection.runs()
        all_runs += runs
        n_texts, n_tokens = saved.get(collection.space, (0, 0))
        n_texts += sum(_count(run, "n_texts_reused") for run in runs)
        n_tokens += sum(_count(run, "n_tokens_reused") for run in runs)
        saved[collection.space] = (n_texts, n_tokens)
    kept: dict[VectorSpace, set[bytes]] = {}
    for folder in library.snapshot_folders():
        with Collection(folder, library.vectors) as snapshot:
            kept.setdefault(snapshot.space, set()).update(snapshot.addresses())
    stats = library.vectors.stats()
    spaces = []
    for found in stats.spaces:
        addresses = used.get(found.space, {})
        union = list(kept.get(found.space, set()).union(*addresses.values()))
        there = library.vectors.readable(found.space, union).keys()
        spaces.append(
            SpaceSurvey(
                space=found.space,
                n_vectors=found.n_vectors,
                n_unreadable=found.n_unreadable,
                used_by={name: len(own & there) for name, own in addresses.items()},
                n_orphans=found.n_vectors + found.n_unreadable - len(there),
                n_texts_reused=saved.get(found.space, (0, 0))[0],
                n_tokens_reused=saved.get(found.space, (0, 0))[1],
            )
        )
    return CacheSurvey(tuple(spaces), stats.size_bytes, survey_readings(library, all_runs))


def _count(run: Mapping[str, object], name: str) -> int:
    value = run.get(name, 0)  # runs of before this was counted have none
    return value if isinstance(value, int) else 0


def prune_cache(library: Library) -> int:
    """Delete the vectors and readings that no collection uses, give their space back, and return how many they were.

    Raises CollectionLockedError while somebody is writing to a collection.
    """
    n_pruned = library.prune()
    if n_pruned:
        library.vectors.compact()
        if (readings := library.readings()) is not None:
            readings.compact()
    return n_pruned


# --- copies


def export_cache(store: VectorStore, path: Path, *, readings: ReadingStore | None = None) -> int:
    """Write all vectors and readings to a new file, whole or not at all, and return how many entries it holds.

    The file is an SQLite database with the tables of ``vectors.db``, and where there are readings those of
    ``readings.db`` (see ``index.migrations``). Raises CollectionError where ``path`` is taken or cannot be written.
    """
    if path.exists():
        raise CollectionError(f"{path} is there already; name a new file, or delete it first")
    if not path.absolute().parent.is_dir():
        raise CollectionError(f"the folder of {path} does not exist; make it first")
    temporary = temporary_beside(path)
    try:
        store.copy_to(temporary)
        with _opened(temporary) as connection:
            n_entries = int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
        if readings is not None:
            n_entries += add_readings(readings, temporary)
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return n_entries


def import_cache(
    store: VectorStore, path: Path, *, readings: Callable[[], ReadingStore | None] = lambda: None
) -> Imported:
    """Add the entries of an exported file to a store. What is there already stays; doing it twice changes nothing.

    ``readings`` gives the store for what was read of media; it is asked where the file has any. Every entry is looked
    at before the first is added: an address of 32 bytes, a vector of its space's length and of unit length, or none,
    and a checksum that agrees where there is one. Raises CollectionError for anything else. Nothing can tell whether a
    vector or a text is that of what it is said to be: import what you or somebody you trust has exported.
    """
    n_new = n_known = 0
    with _opened(path) as connection:
        spaces = _spaces(connection, path)
        for number, space in spaces.items():
            for _ in _batches(connection, number, space, path):
                pass
        has_readings = checked_readings(connection, path)
        for number, space in spaces.items():
            for addresses, embeddings in _batches(connection, number, space, path):
                n_missing = len(store.missing(space, addresses))
                store.put(space, addresses, embeddings)
                n_new += n_missing
                n_known += len(addresses) - n_missing
        if has_readings and (kept := readings()) is not None:
            for identity, kind, address, text in readings_of(connection, path):
                is_new = kept.put(identity, kind, address, text)
                n_new, n_known = n_new + is_new, n_known + (not is_new)
    return Imported(n_new, n_known)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open somebody else's SQLite file to read from, trusting nothing in it."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(_HEADER)) != _HEADER:
                raise CollectionError(f"{path} is no file that `rag cache export` wrote: it is not an SQLite database")
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.text_factory = _decode
            yield connection
    except OSError as error:
        raise CollectionError(f"{path} cannot be read: {error.strerror or error}; check its name") from error
    except sqlite3.Error as error:
        raise CollectionError(
            f"{path} is damaged, or was not written by `rag cache export`: SQLite says '{error}'; export it again"
        ) from error


def _decode(raw: bytes) -> str | bytes:
    """Return a text as it was stored, with lone surrogates; bytes where it is none, which no check takes for a text."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw


def _spaces(connection: sqlite3.Connection, path: Path) -> dict[int, VectorSpace]:
    """Return the spaces by number, once the file has been found to be whole and of a known form."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not 1 <= version <= len(VECTORS_STEPS) or not {"spaces", "vectors"} <= tables:
        raise CollectionError(
            f"{path} has format {version}, this version of Footnote reads 1 to {len(VECTORS_STEPS)}; export it again, "
            "or upgrade Footnote"
        )
    problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise CollectionError(f"{path} is damaged: {problem}; nothing was imported, export it again")
    spaces: dict[int, VectorSpace] = {}
    for number, model, dimensions in connection.execute("SELECT number, model, dimensions FROM spaces"):
        if not isinstance(model, str) or not model or not isinstance(dimensions, int) or dimensions < 1:
            raise CollectionError(f"{path} names a model {model!r} of {dimensions!r} dimensions; nothing was imported")
        spaces[number] = VectorSpace(model, dimensions)
    (n_strays,) = connection.execute(
        "SELECT count(*) FROM vectors WHERE space NOT IN (SELECT number FROM spaces)"
    ).fetchone()
    if n_strays:
        raise CollectionError(f"{path} has {n_strays} vectors of no model; nothing was imported")
    return spaces


def _batches(
    connection: sqlite3.Connection, number: int, space: VectorSpace, path: Path
) -> Iterator[tuple[list[bytes], Embeddings]]:
    """Yield the entries of a space, each checked."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    checksum = "checksum" if version >= 2 else "NULL"  # before, there were none
    query = f"SELECT address, embedding, {checksum} FROM vectors WHERE space = ? ORDER BY number"
    found = connection.execute(query, (number,))
    while batch := found.fetchmany(_BATCH):
        embeddings = _embeddings([row[:2] for row in batch], space, path)
        if any(checksum not in (None, vector_checksum(address, vector)) for address, vector, checksum in batch):
            raise _bad_entry(path, space, "a vector that is not as it was written")
        yield [address for address, _, _ in batch], embeddings


def _embeddings(rows: Sequence[tuple[object, object]], space: VectorSpace, path: Path) -> Embeddings:
    vectors = np.zeros((len(rows), space.dimensions), np.float32)
    readable = np.zeros(len(rows), np.bool_)
    for place, (address, embedding) in enumerate(rows):
        if not isinstance(address, bytes) or len(address) != _ADDRESS_BYTES:
            raise _bad_entry(path, space, "an address that is not 32 bytes")
        if embedding is None:
            continue
        if not isinstance(embedding, bytes) or len(embedding) != 4 * space.dimensions:
            raise _bad_entry(path, space, f"a vector that is not {space.dimensions} numbers")
        vectors[place] = np.frombuffer(embedding, "<f4")
        readable[place] = True
    lengths = np.linalg.norm(vectors[readable].astype(np.float64), axis=1)
    if not np.all(np.abs(lengths - 1.0) <= 1e-3):  # subtle: NaN and infinity fail this too
        raise _bad_entry(path, space, "a vector that is not of length 1")
    return Embeddings(vectors, readable, 0)


def _bad_entry(path: Path, space: VectorSpace, found: str) -> CollectionError:
    return CollectionError(f"{path} has {found} for {space.model}; nothing was imported, export it again")
