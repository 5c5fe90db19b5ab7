"""A Footnote as somebody with some access labels sees it."""

from __future__ import annotations

from collections.abc import Iterable

from api.footnote import Footnote
from index.collection import Collection
from index.restricted import Guarded, RestrictedCollection, checked_labels

__all__ = ["SeenFootnote"]


class SeenFootnote(Guarded, Footnote):
    """Asks, searches and reads what the labels open, and changes nothing; closed with the Footnote it is a view of.

    Whatever else a Footnote can do raises AccessDeniedError.
    """

    _open_names = frozenset({
        *("settings", "wiring", "collection", "collections", "status", "ledger", "documents", "document"),
        *("attributes", "search", "places", "page", "stream", "ask"),
        *("records", "observing"),
    })  # fmt: skip

    def __init__(self, whole: Footnote, labels: Iterable[str]) -> None:
        vars(self).update(vars(whole))
        self._whole = whole
        self._labels = checked_labels(labels)

    def collection(self, name: str | None = None) -> Collection:
        return RestrictedCollection(self._whole.collection(name), self._labels)

    def collections(self) -> list[str]:
        """Return the names of the collections that hold an open document, and that of the default one."""
        return [
            name
            for name in self._whole.collections()
            if name == self.settings.collection or self.collection(name).n_chunks()
        ]
