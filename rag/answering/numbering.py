"""The numbers of the sources of a conversation: what was [1] in its first answer is [1] in every later one.

A number belongs to a place of one version of a document. A source gets the number under which words in it were cited
before; one that was shown and not cited keeps its number while at least half of it, or of the earlier one, is the same
text. All others get new numbers, and so does the same place of a document that has changed: no number ever names two
things. A number that a model made up is never given out, for an earlier answer would then seem to rest on its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rag.answering.markers import find_markers
from rag.types import Source

__all__ = ["Numbering", "Passage", "Version", "without_numbers"]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a document: its collection, its id there, and the SHA-256 of its file, "" where that is unknown."""

    collection: str
    document: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What a number names: the characters ``[start, end)`` it was first given for, and the spans cited under it."""

    marker: int
    version: Version
    start: int
    end: int
    cited: tuple[Span, ...] = ()


class Numbering:
    """Gives the sources of one answer their numbers, from those that the conversation knows.

    ``taken`` are numbers that name nothing and stay so. ``version`` says of which state of its document a source is; it
    may read the disk.
    """

    def __init__(
        self, known: Sequence[Passage] = (), *, taken: Iterable[int] = (), version: Callable[[Source], Version]
    ) -> None:
        self._known = tuple(known)
        self._taken = frozenset(taken)
        self._version = version
        self._given: dict[int, Passage] = {}

    @property
    def highest(self) -> int:
        """The highest number given so far, 0 at the beginning."""
        return max((passage.marker for passage in (*self._known, *self._given.values())), default=0)

    @property
    def given(self) -> dict[int, Passage]:
        """What the numbers given here name; of a number known before, with the spans cited under it."""
        return dict(self._given)

    def number(self, sources: Sequence[Source]) -> tuple[Source, ...]:
        """Return the sources under their numbers, in the same order: the first chooses first."""
        return tuple(replace(source, marker=self._marker(source)) for source in sources)

    def _marker(self, source: Source) -> int:
        version = self._version(source)
        fitting = [
            (-weight, passage.marker, passage)
            for passage in self._known
            if passage.marker not in self._given
            and passage.version == version
            and version.sha256
            and (weight := _weight(passage, source)) > 0
        ]
        if fitting:
            _, marker, passage = min(fitting, key=lambda one: one[:2])
        else:
            marker = self.highest + 1
            while marker in self._taken:
                marker += 1
            passage = Passage(marker, version, source.start, source.end)
        self._given[marker] = passage
        return marker


def without_numbers(text: str, numbers: Iterable[int]) -> str:
    """Return a text in whose markers none of ``numbers`` is named; a marker that names no other is left out.

    >>> without_numbers("Blue [1][9], and tall [2, 9].", {9})
    'Blue [1], and tall [2].'
    """
    dropped = frozenset(numbers)
    if not dropped:
        return text
    parts: list[str] = []
    end = 0
    for marker in find_markers(text):
        stay = [number for number in marker.numbers if number not in dropped]
        before = text[end : marker.start]
        if len(stay) == len(marker.numbers):
            parts += [before, text[marker.start : marker.end]]
        elif stay:
            parts += [before, "".join(f"[{number}]" for number in stay)]
        else:
            parts.append(before.rstrip(" "))
        end = marker.end
    return "".join(parts) + text[end:]


def _weight(passage: Passage, source: Source) -> int:
    """Return how many spans cited under a number a source holds; of one never cited, 1 for half the same text."""
    if passage.cited:
        return sum(source.start <= start and end <= source.end for start, end in passage.cited)
    shared = min(passage.end, source.end) - max(passage.start, source.start)
    return int(2 * shared >= max(min(passage.end - passage.start, source.end - source.start), 1))
