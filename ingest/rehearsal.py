"""Stand-ins with which a run goes through all its steps, and neither embeds nor writes.

So a dry run is the run itself, on real files and a real ledger: what it finds is what the run would do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from index.collection import Collection
from index.reading_store import ReadingStore
from index.records import CollectionConfig, LedgerEntry
from index.vector_store import VectorSpace, VectorStore
from index.writer import Replacement, free_prefix
from ingest.embedding import Filled
from ingest.isolation import Wanted
from ingest.media import STAND_IN, KnownMedia, OnRead
from ingest.packing import pack
from ingest.roots import is_under
from rag.attributes import Attributes
from rag.contracts import MediaReader
from rag.types import (
    Chunk,
    EmbeddingLimits,
    MediaKind,
    MediaProfile,
    MediaText,
    PlacedText,
    content_address,
)

__all__ = ["Rehearsal", "RehearsedMedia", "RehearsedTexts", "n_requests"]


class Rehearsal:
    """A collection and its writer in one: it begins as ``collection`` is (None: empty), and remembers what it is told.

    Several paths may be rehearsed one after the other, as they would be ingested.
    """

    def __init__(self, name: str, config: CollectionConfig, collection: Collection | None = None) -> None:
        self.name = name
        self.config = config
        self._ledger = {} if collection is None else collection.ledger()
        self._held = set() if collection is None else collection.document_ids()
        self._prefixes = {} if collection is None else collection.prefixes()

    def ledger(self, *, within: Sequence[str] | None = None) -> dict[str, LedgerEntry]:
        return {path: entry for path, entry in self._ledger.items() if _is_within(path, within)}

    def roots(self) -> set[str]:
        return {entry.root for entry in self._ledger.values()}

    def document_ids(self, *, within: Sequence[str] | None = None) -> set[str]:
        return {document_id for document_id in self._held if _is_within(document_id, within)}

    def prefix_for(self, root: str) -> str:
        if root not in self._prefixes:
            names = {*self._ledger, *self._held}
            self._prefixes[root] = free_prefix(set(self._prefixes.values()), names, root)
        return self._prefixes[root]

    def replace_all(self, replacements: Sequence[Replacement]) -> list[None]:
        for one in replacements:
            if one.replaces is not None:
                self.forget(one.replaces)
            self._held.add(one.document.id)
            self._ledger[one.document.id] = one.entry
        return [None] * len(replacements)

    def record(self, entry: LedgerEntry, *, drop_document: bool) -> None:
        if drop_document:
            self._held.discard(entry.path)
        self._ledger[entry.path] = entry

    def set_attributes(self, changes: Mapping[str, Mapping[str, Attributes]]) -> list[str]:
        """Change nothing: what attributes a file has costs nothing."""
        return []

    def forget(self, path: str) -> None:
        self._held.discard(path)
        self._ledger.pop(path, None)


class RehearsedTexts:
    """Counts the texts that would be sent, each once, instead of sending them. ``store`` is None where there is none.

    A text is not counted that ``store`` has a vector of in ``space``; None for a space that is not known yet.
    """

    def __init__(self, store: VectorStore | None, space: VectorSpace | None) -> None:
        self._store = store
        self._space = space
        self._counted: set[bytes] = set()
        self.sizes: list[int] = []
        """tokens of each text, in the order of sending"""

    async def fill(self, chunks: Sequence[Chunk]) -> Filled:
        """Return what this document's texts would cost."""
        sizes = {content_address(chunk.embedded_text): chunk.n_tokens for chunk in chunks}
        unknown = list(sizes)
        if self._store is not None and self._space is not None:
            unknown = await asyncio.to_thread(self._store.missing, self._space, unknown)
        new = [address for address in unknown if address not in self._counted]
        self._counted.update(new)
        self.sizes += [sizes[address] for address in new]
        return Filled(len(new), sum(sizes[address] for address in new))


class RehearsedMedia:
    """Counts the media that would be read, each once, instead of reading them; ``STAND_IN`` takes the place of a text.

    ``store`` is None where there is none. ``on_read`` hears of each, with about what reading it would take.
    """

    def __init__(self, readers: Mapping[MediaKind, MediaReader], store: ReadingStore | None) -> None:
        self._readers = readers
        self._known = KnownMedia(readers, store)
        self._counted: set[tuple[str, bytes]] = set()
        self.on_read: OnRead = lambda kind, reader, text, *, is_new: None

    @property
    def profiles(self) -> Mapping[MediaKind, MediaProfile]:
        return self._known.profiles

    def known(self, file: str) -> tuple[PlacedText, ...]:
        return self._known.known(file)

    async def texts(self, wanted: Wanted, *, file: str) -> list[PlacedText]:
        """Return what is known of a file's media, and stand-ins for the rest."""
        texts = await asyncio.to_thread(self._known.read_before, wanted.wants)
        placed: list[PlacedText] = []
        for want in wanted.wants:
            text = texts.get(want, STAND_IN)
            placed.append(PlacedText(want.kind, want.place, wanted.reader, text))
            if want.medium is None:
                continue
            reader = self._readers[want.kind]
            key = (reader.profile.identity, want.medium.address)
            is_new = text is STAND_IN and key not in self._counted
            if is_new:
                self._counted.add(key)
                text = MediaText("", usage=reader.expected_usage(want.medium))
            if is_new or text is not STAND_IN:
                self.on_read(want.kind, reader.profile, text, is_new=is_new)
        return placed


def _is_within(path: str, within: Sequence[str] | None) -> bool:
    return within is None or any(is_under(path, part) for part in within)


def n_requests(sizes: Sequence[int], limits: EmbeddingLimits) -> int:
    """Return how many full requests texts of these token counts make.

    >>> n_requests([100] * 5, EmbeddingLimits(max_inputs=2))
    3
    """
    n, start = 0, 0
    while start < len(sizes):
        start += pack(sizes[start : start + limits.max_inputs], limits)
        n += 1
    return n
