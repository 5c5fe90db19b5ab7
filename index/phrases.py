"""Words to be found exactly as they stand: quoted in a query, or identifiers that are all of it.

The keyword index knows no positions. So the chunks that hold all words of a phrase are asked of it, best first, and
each is read to see whether the phrase stands in it: in any case and width of letters, with any blanks between the
words, with whatever marks of emphasis, but not as a part of longer words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from index.terms import UNSPACED, terms
from rag.types import Chunk

__all__ = ["Held", "Phrase", "Wanted", "held_by", "wanted_exactly"]

_QUOTED = re.compile(
    r"(?<![A-Za-z0-9])\"(?P<straight>[^\"]*)\"(?![A-Za-z0-9])|“(?P<curly>[^“”]+)”|「(?P<corner>[^「」]+)」"
)
_IDENTIFIER = re.compile(r"(?=\S*[^\W\d_])(?=\S*(?:\d|_|\w[.:/]\w|[a-z][A-Z]|\(\)$))[\w.:/#$@+\-]+(?:\(\))?", re.ASCII)
"""A word with a letter in it, and a digit, an underscore, a joint or a hump: ``E-1042``, ``max_tokens``, ``a.b``."""
_ADDRESS = re.compile(r"\w+://")
_POSSESSIVE = re.compile(r"['’]s\b", re.IGNORECASE)
_JOINTS = re.compile(r"[._\-'’+#]+")
_LONGEST = 128  # characters of a term, as in index.terms: longer words are indexed in pieces
_ALIKE = str.maketrans({
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("‐‑‒–—", "-"),
    **dict.fromkeys("*`\u00ad\u200b\u200c\u200d\ufeff", None),
})  # fmt: skip
_BLANKS_IN_UNSPACED = re.compile(rf"(?<=[{UNSPACED}]) (?=[{UNSPACED}])")
_FIRST_LOOK = 200  # chunks
_LAST_LOOK = 12_800


@dataclass(frozen=True)
class Phrase:
    """Words that must stand in a text side by side."""

    text: str
    required: frozenset[str] = field(init=False)
    """terms that every text with the phrase in it has, however it is written there"""

    def __post_init__(self) -> None:
        words = _JOINTS.sub(" ", _POSSESSIVE.sub("", unicodedata.normalize("NFKC", self.text)).casefold())
        spaced = re.sub(f"[{UNSPACED}]+", " ", words)
        unspaced = re.findall(f"[{UNSPACED}]", words)
        found = (term for term in terms(spaced) if len(term) < _LONGEST)
        object.__setattr__(self, "required", frozenset((*found, *unspaced)))

    def stands_in(self, text: str) -> bool:
        """Return whether the phrase stands in a text, not as a part of longer words.

        >>> Phrase("warm start").stands_in("A *warm\\n  START*.")
        True
        >>> Phrase("art").stands_in("A warm start.")
        False
        """
        return self._pattern.search(_plain(text)) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        words = _plain(self.text)
        spaced = rf"[^\W_{UNSPACED}]"
        before = rf"(?<!{spaced})" if re.match(spaced, words) else ""
        after = rf"(?!{spaced})" if re.match(spaced, words[-1:]) else ""
        return re.compile(before + re.escape(words) + after)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The phrases of a query; ``quoted`` by the user, or words that are plainly meant as they stand."""

    phrases: tuple[Phrase, ...] = ()
    quoted: bool = False
    unreadable: tuple[str, ...] = ()
    """quoted, but without a letter or digit that could be looked up"""


def wanted_exactly(query: str) -> Wanted:
    """Return what a query wants word for word.

    >>> [phrase.text for phrase in wanted_exactly('who said "to be" or “not to be”?').phrases]
    ['to be', 'not to be']
    >>> [phrase.text for phrase in wanted_exactly("max_tokens E-1042").phrases]
    ['max_tokens', 'E-1042']
    >>> wanted_exactly("what does max_tokens do").phrases
    ()
    """
    quoted = dict.fromkeys(
        text for found in _QUOTED.finditer(query) if (text := "".join(filter(None, found.groups())).strip())
    )
    if quoted:
        phrases = [Phrase(text) for text in quoted]
        readable = tuple(phrase for phrase in phrases if phrase.required)
        return Wanted(readable, True, tuple(phrase.text for phrase in phrases if not phrase.required))
    words = [word.strip(",;?!") for word in query.split()]
    if words and all(_IDENTIFIER.fullmatch(word) and not _ADDRESS.match(word) for word in words):
        return Wanted(tuple(Phrase(word) for word in dict.fromkeys(words)))
    return Wanted()


@dataclass(frozen=True, slots=True)
class Held:
    """The rows of chunks that hold what is wanted, best first; with a note where that is not all that could be said.

    ``rows`` is None where none does, or nothing is wanted: then everything is searched.
    """

    rows: tuple[int, ...] | None = None
    note: str = ""


Search = Callable[[str, Sequence[str], int], Sequence[int]]
"""Returns at most so many rows whose chunks hold all the terms, those that fit a query best first."""


def held_by(wanted: Wanted, search: Search, read: Callable[[Sequence[int]], dict[int, Chunk]], *, n: int) -> Held:
    """Return the first ``n`` chunks that hold all phrases; where none does, those that hold one of them."""
    notes = [f"“{text}” holds no word to look for; searched without it" for text in wanted.unreadable]
    if not wanted.phrases:
        return Held(None, "; ".join(notes))
    rows, note = _holding(wanted.phrases, search, read, n)
    notes += [note] if note else []
    if not rows and len(wanted.phrases) > 1:
        each = [_holding([phrase], search, read, n) for phrase in wanted.phrases]
        rows = list(dict.fromkeys(row for found, _ in each for row in found))[:n]
        notes += [note for _, note in each if note]
        if rows and wanted.quoted:
            notes.append(f"no passage holds {_named(wanted.phrases)} together: these hold one of them")
    if not rows and wanted.quoted:
        notes.append(f"no passage holds {_named(wanted.phrases)}: searched as if it were not quoted")
    return Held(tuple(rows) or None, "; ".join(notes))


def _holding(
    phrases: Sequence[Phrase], search: Search, read: Callable[[Sequence[int]], dict[int, Chunk]], n: int
) -> tuple[list[int], str]:
    query = " ".join(phrase.text for phrase in phrases)
    required = sorted(frozenset().union(*(phrase.required for phrase in phrases)))
    found: list[int] = []
    n_read, look = 0, _FIRST_LOOK
    while True:
        rows = search(query, required, look)
        new = list(rows[n_read:])
        chunks = read(new)
        found += [row for row in new if row in chunks and all(_holds(chunks[row], phrase) for phrase in phrases)]
        n_read += len(new)
        if len(found) >= n or len(rows) < look:
            return found[:n], ""
        if look >= _LAST_LOOK:
            return found, f"of the passages with all words of {_named(phrases)}, the best {n_read:,} were looked at"
        look *= 8


def _holds(chunk: Chunk, phrase: Phrase) -> bool:
    return phrase.stands_in(chunk.text) or phrase.stands_in(chunk.context)


def _named(phrases: Sequence[Phrase]) -> str:
    return " and ".join(f"“{phrase.text}”" for phrase in phrases)


def _plain(text: str) -> str:
    """Return a text without what does not count in a comparison."""
    folded = unicodedata.normalize("NFKC", text.translate(_ALIKE)).casefold()
    return _BLANKS_IN_UNSPACED.sub("", " ".join(folded.split()))
