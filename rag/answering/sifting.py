"""What of an answer is shown: sentence after sentence, as each is judged, without those that are to be left out.

A sentence is shown only once nothing can make it disappear again, so what a reader has seen is never taken back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rag.answering.citations import Judged
from rag.types import Citation, Removed, Statement, TextDelta, Verdict

__all__ = ["NOT_BORNE_OUT", "Shown", "Sieve", "is_borne_out"]

Shown = TextDelta | Citation | Statement

NOT_BORNE_OUT: frozenset[Verdict] = frozenset(("unsupported", "unknown marker"))
"""Verdicts of statements that their sources contradict or do not know. ``uncited`` is not one: nobody was cited."""


def is_borne_out(statement: Statement | None) -> bool:
    """Tell whether the sources bear a statement out, at least in part."""
    return statement is not None and statement.verdict in ("supported", "partly")


class Sieve:
    """Takes the judged sentences of a text in order, and gives what may be shown of them.

    ``without`` are the verdicts whose statements are left out. Nothing is shown before the first statement that its
    sources bear out at least in part. ``text`` is what was shown; citations and statements have their places in it.
    """

    def __init__(self, without: Collection[Verdict] = NOT_BORNE_OUT) -> None:
        self.text = ""
        self.citations: list[Citation] = []
        self.statements: list[Statement] = []
        self.removed: list[Removed] = []
        self._without = without
        self._unknown: dict[int, None] = {}
        self._taken = 0
        self._gap = ""
        self._waiting: list[tuple[str, str, Judged]] | None = []

    @property
    def unknown_markers(self) -> tuple[int, ...]:
        """The numbers in the text shown that name no source."""
        return tuple(self._unknown)

    @property
    def holds_nothing(self) -> bool:
        """Tell whether there were statements, and none that a source bears out; then nothing was shown."""
        return self._waiting is not None and bool(self.removed)

    def take(self, written: str, sentence: Judged) -> list[Shown]:
        """Take the next sentence of the text as it was ``written`` so far; return what is shown now."""
        self._gap = _wider(self._gap, written[self._taken : sentence.start])
        self._taken = sentence.end
        words = written[sentence.start : sentence.end]
        statement = sentence.statement
        if statement is not None and statement.verdict in self._without:
            self._remove(words, statement)
            return []
        piece, self._gap = (self._gap, words, sentence), ""
        if self._waiting is None:
            return self._show(*piece)
        self._waiting.append(piece)
        return self._release() if is_borne_out(statement) else []

    def finish(self) -> list[Shown]:
        """Return what is shown at the end: a text that states nothing. Statements that still wait count as removed."""
        waiting = self._waiting or []
        stated = [(words, sentence.statement) for _, words, sentence in waiting if sentence.statement is not None]
        if not stated and not self.removed:
            return self._release()
        for words, statement in stated:
            self._remove(words, statement)
        return []

    def _release(self) -> list[Shown]:
        waiting, self._waiting = self._waiting or [], None
        return [event for piece in waiting for event in self._show(*piece)]

    def _show(self, gap: str, words: str, sentence: Judged) -> list[Shown]:
        text = (gap if self.text else "") + words
        start = len(self.text) + len(text) - len(words)
        end = start + len(words)
        citations = [replace(citation, answer_start=start, answer_end=end) for citation in sentence.citations]
        found = [] if sentence.statement is None else [replace(sentence.statement, start=start, end=end)]
        self.text += text
        self.citations += citations
        self.statements += found
        self._unknown.update(dict.fromkeys(sentence.unknown_markers))
        return [TextDelta(text), *citations, *found]

    def _remove(self, words: str, statement: Statement) -> None:
        self.removed.append(Removed(words, statement.verdict, statement.reason))


def _wider(one: str, other: str) -> str:
    """Return the white space that parts more: a blank line more than a line break, that more than a blank."""
    return other if other.count("\n") > one.count("\n") or not one else one
