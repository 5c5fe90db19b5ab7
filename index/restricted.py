"""A collection as somebody with some access labels sees it: what the labels do not open is not there.

Every document without labels is open to all; one with labels (attribute ``access``) to those who have one of them. An
empty list, which is what labels that could not be read become, opens to nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from index import store
from index.collection import Collection
from index.filtering import AllowedRows, allowed_ids
from index.records import CollectionStatus, DocumentInfo, LedgerEntry
from rag.attributes import ACCESS, Attributes, date_span
from rag.errors import AccessDeniedError, ConfigError, DocumentNotFoundError
from rag.filters import Comparison, Compound, Filter, all_of
from rag.types import Chunk, Document, FloatArray

__all__ = ["Guarded", "RestrictedCollection", "checked_labels", "open_to"]

T = TypeVar("T")


def checked_labels(labels: Iterable[str]) -> frozenset[str]:
    """Return access labels. Raises ConfigError for one that is empty, or a date, which filters compare otherwise."""
    found = frozenset(labels)
    for label in sorted(found):
        if not label.strip() or label != label.strip() or date_span(label) is not None:
            raise ConfigError(f"an access label must be a word, and no date or year, got {label!r}")
    return found


def open_to(labels: frozenset[str]) -> Filter:
    """Return the filter that lets through what is open to somebody with these labels."""
    unlabelled = Comparison("exists", ACCESS, False)
    return Compound("or", (unlabelled, Comparison("in", ACCESS, tuple(sorted(labels))))) if labels else unlabelled


class Guarded:
    """Refuses every public name that ``_open_names`` does not hold: what is added later is closed until it is named."""

    _open_names: frozenset[str] = frozenset()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in type(self)._open_names:
            raise AccessDeniedError(f"a key with access labels may ask, search and read; {name!r} is not open to it")
        return super().__getattribute__(name)


class RestrictedCollection(Guarded, Collection):
    """The part of a collection that some labels open; it reads, and writes nothing.

    It shares the files of the whole one, and is closed with it. Unseen documents raise DocumentNotFoundError, as those
    that are not there do. What they do to a search is how rare a word is, no more: BM25 counts all chunks.
    """

    _open_names = frozenset({
        *("name", "config", "space", "is_in_place", "refresh", "search_vectors", "search_keywords"),
        *("background", "term_worths"),
        *("allowed", "rows", "n_chunks", "chunks", "chunk_ids", "vectors_of", "iter_chunks", "documents", "document"),
        *("attributes", "document_chunks", "text", "title", "page_at", "place_at", "ledger", "document_ids", "status"),
        *("roots", "prefixes", "language", "own_settings"),
    })  # fmt: skip

    def __init__(self, whole: Collection, labels: frozenset[str]) -> None:
        vars(self).update(vars(whole))
        self._seen = open_to(checked_labels(labels))

    # --- searching

    def allowed(self, filter_: Filter | None) -> AllowedRows:
        """Return the chunks that the labels and a filter allow, among the documents that the labels open."""
        seen = super().allowed(self._seen)
        assert seen is not None
        if filter_ is None:
            return replace(seen, n_all_documents=seen.n_documents)
        found = super().allowed(all_of(self._seen, filter_))
        assert found is not None
        return replace(found, n_all_documents=seen.n_documents)

    # --- reading

    def rows(self) -> list[int]:
        return [int(row) for row in self.allowed(None).rows]

    def n_chunks(self) -> int:
        return len(self.allowed(None))

    def chunks(self, rows: Sequence[int]) -> dict[int, Chunk]:
        return super().chunks(self._open_rows(rows))

    def chunk_ids(self, rows: Sequence[int]) -> dict[int, str]:
        return super().chunk_ids(self._open_rows(rows))

    def vectors_of(self, rows: Sequence[int]) -> FloatArray:
        opened = set(self._open_rows(rows))
        vectors = super().vectors_of(rows)
        for place, row in enumerate(rows):
            if row not in opened:
                vectors[place] = 0
        return vectors

    def documents(self) -> list[DocumentInfo]:
        opened = self.document_ids()
        return [info for info in super().documents() if info.id in opened]

    def document_ids(self, *, within: Sequence[str] | None = None, filter_: Filter | None = None) -> set[str]:
        seen = all_of(self._seen, filter_)
        assert seen is not None
        with self._database.reading() as connection:
            opened = allowed_ids(connection, seen)
        return opened if within is None else opened & super().document_ids(within=within)

    def document(self, document_id: str) -> Document:
        return self._of(document_id, lambda: Collection.document(self, document_id))

    def attributes(self, document_ids: Sequence[str] | None = None) -> dict[str, Attributes]:
        opened = self.document_ids()
        return {name: found for name, found in super().attributes(document_ids).items() if name in opened}

    def document_chunks(self, document_id: str) -> list[Chunk]:
        return self._of(document_id, lambda: Collection.document_chunks(self, document_id))

    def text(self, document_id: str, start: int, end: int) -> str:
        return self._of(document_id, lambda: Collection.text(self, document_id, start, end))

    def title(self, document_id: str) -> str:
        return self._of(document_id, lambda: Collection.title(self, document_id))

    def page_at(self, document_id: str, offset: int) -> int | None:
        return self._of(document_id, lambda: Collection.page_at(self, document_id, offset))

    def place_at(self, document_id: str, offset: int) -> str:
        return self._of(document_id, lambda: Collection.place_at(self, document_id, offset))

    def ledger(self, root: str | None = None, *, within: Sequence[str] | None = None) -> dict[str, LedgerEntry]:
        """Return what became of the open documents: files that are no document have no labels, and are not told of."""
        opened = self.document_ids()
        return {path: entry for path, entry in super().ledger(root, within=within).items() if path in opened}

    def status(self) -> CollectionStatus:
        """Return the counts of what is open; sizes and the state of the indexes are those of the whole."""
        documents = self.documents()
        states = Counter(entry.state for entry in self.ledger().values())
        with self._database.reading() as connection:
            readable = np.array([row for row, _ in store.readable_rows(connection)], np.int64)
        n_readable = int(self.allowed(None).holds(readable).sum())
        n_chunks = sum(info.n_chunks for info in documents)
        return replace(
            super().status(),
            n_documents=len(documents),
            n_chunks=n_chunks,
            n_tokens=sum(info.n_tokens for info in documents),
            n_unreadable=n_chunks - n_readable,
            ledger=dict(sorted(states.items())),
            writer=None,
            n_with_warnings=sum(bool(info.warnings) for info in documents),
        )

    # --- how

    def _of(self, document_id: str, read: Callable[[], T]) -> T:
        with self._database.reading() as connection:
            if not allowed_ids(connection, self._seen, document_id):
                raise DocumentNotFoundError(
                    f"no document {document_id!r} in this collection; `rag status` lists what there is"
                )
        return read()

    def _open_rows(self, rows: Sequence[int]) -> list[int]:
        holds = self.allowed(None).holds(np.asarray(rows, np.int64))
        return [row for row, is_open in zip(rows, holds, strict=True) if is_open]
