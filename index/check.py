"""The deep check of a collection: truth against itself, against the vectors, against both derived indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice

import numpy as np

from index import store
from index.exact import RowArray
from index.vector_store import VectorSpace, VectorStore
from rag.types import content_address

__all__ = ["compare_rows", "document_problems", "vector_problems"]

_BATCH = 4096
_NORM_TOLERANCE = 1e-3


def document_problems(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the stored documents and chunks, in words."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    problems = [f"collection.db: {problem}" for problem in found if problem != "ok"]
    for info in store.documents(connection):
        length = len(store.document(connection, info.id).text)
        if length != info.n_characters:
            problems.append(f"{info.id}: the text has {length} characters instead of {info.n_characters}")
        records = store.document_chunks(connection, info.id)
        if len(records) != info.n_chunks:
            problems.append(f"{info.id}: {len(records)} chunks instead of {info.n_chunks}")
        addresses = store.addresses_of(connection, [row for row, _ in records])
        for row, chunk in records:
            if len(chunk.text) != chunk.end - chunk.start:
                problems.append(f"{info.id}: chunk {chunk.id} lies outside the text")
            elif row in addresses and addresses[row] != content_address(chunk.embedded_text):
                problems.append(f"{info.id}: chunk {chunk.id} has the vector of another text")
    return problems


def vector_problems(connection: sqlite3.Connection, vectors: VectorStore, space: VectorSpace) -> list[str]:
    """Return which chunks lack a vector or have one that is not of unit length, in words."""
    problems = vectors.problems()
    records = store.readable_rows(connection)
    n_missing = n_wrong = 0
    while batch := list(islice(records, _BATCH)):
        found = vectors.get(space, [address for _, address in batch])
        rows = [vector for _, address in batch if (vector := found.get(address)) is not None]
        n_missing += len(batch) - len(rows)
        if rows:
            norms = np.linalg.norm(np.stack(rows).astype(np.float64), axis=1)
            n_wrong += int(np.count_nonzero(~(np.abs(norms - 1.0) <= _NORM_TOLERANCE)))
    if n_missing:
        problems.append(f"vectors.db: {n_missing} chunks have no vector")
    if n_wrong:
        problems.append(f"vectors.db: {n_wrong} vectors are not of unit length")
    return problems


def compare_rows(name: str, held: RowArray, expected: Sequence[int]) -> list[str]:
    """Return how the rows of a derived index differ from those of SQLite, in words."""
    wanted = np.array(expected, np.int64)
    problems = []
    if n_missing := len(np.setdiff1d(wanted, held)):
        problems.append(f"{name}: {n_missing} chunks are missing")
    if n_extra := len(np.setdiff1d(held, wanted)):
        problems.append(f"{name}: {n_extra} deleted chunks are still there")
    if n_twice := len(held) - len(np.unique(held)):
        problems.append(f"{name}: {n_twice} chunks are there twice")
    return problems
