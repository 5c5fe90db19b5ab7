"""Path globs: ``*`` is anything but a slash, ``**`` anything, ``**/`` any folders or none, ``?`` one character. Pure.

A glob comes from strangers, so it must not become a regular expression that can be made to take for ever: the states
that it can be in after each character are the bits of a number, and a text is read once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["glob_matches", "glob_prefix"]

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]", re.DOTALL)


def glob_prefix(glob: str) -> str:
    """Return what every text that fits begins with.

    >>> glob_prefix("reports/20??/**"), glob_prefix("**")
    ('reports/20', '')
    """
    return re.split(r"[*?]", glob, maxsplit=1)[0]


def glob_matches(text: str, glob: str) -> bool:
    """Return whether the whole text fits.

    >>> [glob_matches(path, "a/**/*.md") for path in ("a/x.md", "a/b/c/x.md", "a/x.txt", "b/x.md")]
    [True, True, False, False]
    """
    machine = _machine(glob)
    states = machine.closed(1)
    for character in text:
        moved = states & machine.letters.get(character, 0)
        stayed = states & machine.globstar
        if character == "/":
            moved |= states & machine.inside
            stayed |= states & machine.inside
        else:
            moved |= states & machine.single
            stayed |= states & (machine.star | machine.inside)
        states = machine.closed(moved << 1 | stayed)
        if not states:
            return False
    return bool(states >> machine.n & 1)


@dataclass(frozen=True, slots=True)
class _Machine:
    """Bit i is the state before piece i; ``**/`` is two pieces: it is skipped, or entered and left by a slash."""

    n: int
    letters: dict[str, int]
    single: int
    star: int
    globstar: int
    entry: int
    inside: int

    def closed(self, states: int) -> int:
        """Return the states with those that are reached by skipping what may be nothing."""
        skipped = self.star | self.globstar | self.entry
        while more := ((states & skipped) << 1 | (states & self.entry) << 2) & ~states:
            states |= more
        return states


@lru_cache(maxsize=256)
def _machine(glob: str) -> _Machine:
    pieces: list[str] = []
    for piece in _PIECE.findall(glob):
        pieces += ["entry", "inside"] if piece == "**/" else [piece]
    at: dict[str, int] = {}
    for place, piece in enumerate(pieces):
        at[piece] = at.get(piece, 0) | 1 << place
    named = {piece: at.pop(piece, 0) for piece in ("?", "*", "**", "entry", "inside")}
    return _Machine(len(pieces), at, *named.values())
