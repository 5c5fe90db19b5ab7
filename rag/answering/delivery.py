"""From what is written to what is shown, by the policy for statements that their sources do not bear out.

``flag`` shows everything as it comes and says what was found of it. ``remove`` holds each sentence until it is judged.
``regenerate`` holds the whole text, and where a statement is not borne out has it written once more.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from rag.answering.citations import Judged
from rag.answering.moderation import Check
from rag.answering.sifting import NOT_BORNE_OUT, Shown, Sieve, is_borne_out
from rag.answering.support import support_of
from rag.answering.verification import Refined, is_doubtful
from rag.answering.writing import Writing
from rag.errors import GenerationError
from rag.types import Citation, GenerationSettings, Moderated, Removed, Statement, Usage

__all__ = ["Delivery", "Unsupported"]

Unsupported = Literal["flag", "remove", "regenerate"]
"""What is done about statements that their sources do not bear out."""

Write = Callable[[Sequence[str]], Writing]
Verify = Callable[[str, Sequence[Judged]], Awaitable[Refined]]


@dataclass(slots=True)
class _Draft:
    """A text written to its end and judged."""

    writing: Writing
    sentences: list[Judged] = field(default_factory=list)

    @property
    def statements(self) -> list[Statement]:
        return [sentence.statement for sentence in self.sentences if sentence.statement is not None]

    @property
    def worth(self) -> tuple[bool, int, float]:
        """Drafts compare by this: something borne out, little that is not, a large share of what is supported."""
        statements = self.statements
        n_bad = sum(statement.verdict in NOT_BORNE_OUT for statement in statements)
        share = support_of(statements).share if statements else 0.0
        return any(map(is_borne_out, statements)), -n_bad, share

    def objections(self) -> list[str]:
        """Return what is wrong with it; nothing where it may stand as it is."""
        bad = [one for one in self.statements if one.verdict in NOT_BORNE_OUT]
        if not bad and self.statements and not any(map(is_borne_out, self.statements)):
            bad = self.statements
        return [f"“{self.writing.text[one.start : one.end]}”: {one.reason}" for one in bad]


class Delivery:
    """One answer on its way to its reader. Read ``events`` to their end, then the attributes.

    ``write`` begins a text; it is told what an earlier one said that the sources do not bear out. ``chosen`` is the
    writing whose text is shown, ``writings`` are all. ``holds_nothing``: nothing of it was borne out, and no text came.
    ``usages`` is what verifying took.
    """

    def __init__(self, write: Write, *, unsupported: Unsupported, verify: Verify | None = None) -> None:
        """``verify`` looks again at the sentences of a finished text that are in doubt; without it the rules decide."""
        self.writings: list[Writing] = []
        self.text = ""
        self.citations: list[Citation] = []
        self.statements: list[Statement] = []
        self.removed: list[Removed] = []
        self.unknown_markers: tuple[int, ...] = ()
        self.notes: list[str] = []
        self.holds_nothing = False
        self.timings_ms: dict[str, float] = {}
        self.usages: list[Usage] = []
        self._write = write
        self._verify = verify
        self._unsupported = unsupported
        self._chosen: Writing | None = None

    @property
    def chosen(self) -> Writing:
        assert self._chosen is not None, "read the events first"
        return self._chosen

    async def events(
        self, settings: GenerationSettings, *, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        """Yield the text and, after each sentence, its citations and what was found of it. See ``Writing.events``."""
        how = {"flag": self._flagged, "remove": self._sifted, "regenerate": self._written_again}[self._unsupported]
        async with aclosing(how(settings, check, blocks)) as events:
            async for event in events:
                yield event

    async def _flagged(
        self, settings: GenerationSettings, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        writing = self._begin(())
        held: list[Judged] = []
        async with aclosing(writing.events(settings, check=check, blocks=blocks)) as events:
            async for event in events:
                if not isinstance(event, Judged):
                    yield event
                elif held or (self._verify is not None and is_doubtful(writing.text, event)):
                    held.append(event)  # the text goes on; verdicts stay in order
                else:
                    for found in self._found(event):
                        yield found
        for sentence in await self._refined(writing.text, held):
            for found in self._found(sentence):
                yield found
        self.text = writing.text

    async def _sifted(
        self, settings: GenerationSettings, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        writing, sieve = self._begin(()), Sieve()
        held: list[Judged] = []
        async with aclosing(writing.events(settings, check=check, blocks=blocks)) as events:
            async for event in events:
                if isinstance(event, Moderated):
                    yield event
                elif isinstance(event, Judged):
                    if held or (self._verify is not None and is_doubtful(writing.text, event)):
                        held.append(event)
                        continue
                    for shown in sieve.take(writing.text, event):
                        yield shown
        for sentence in await self._refined(writing.text, held):
            for shown in sieve.take(writing.text, sentence):
                yield shown
        for shown in sieve.finish():
            yield shown
        self._take(sieve)

    async def _written_again(
        self, settings: GenerationSettings, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        best = _Draft(self._begin(()))
        async with aclosing(self._drafted(best, settings, check, blocks)) as flags:
            async for flag in flags:
                yield flag
        objections = [] if best.writing.blocked or best.writing.abstained else best.objections()
        if objections:
            started = time.perf_counter()
            second = _Draft(self._begin(objections))
            try:
                async with aclosing(self._drafted(second, settings, check, blocks)) as flags:
                    async for flag in flags:
                        yield flag
            except GenerationError as error:
                self.writings.remove(second.writing)
                self.notes.append(f"{_n(len(objections))} not borne out; writing it again failed: {error}")
            else:
                best = self._better(best, second, len(objections))
            self.timings_ms["regenerate"] = (time.perf_counter() - started) * 1000
        self._chosen = best.writing
        sieve = Sieve(without=())
        for sentence in best.sentences:
            for shown in sieve.take(best.writing.text, sentence):
                yield shown
        for shown in sieve.finish():
            yield shown
        self._take(sieve)

    async def _drafted(
        self, draft: _Draft, settings: GenerationSettings, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Moderated]:
        """Write a draft to its end; yield what moderation says of it."""
        async with aclosing(draft.writing.events(settings, check=check, blocks=blocks)) as events:
            async for event in events:
                if isinstance(event, Moderated):
                    yield event
                elif isinstance(event, Judged):
                    draft.sentences.append(event)
        draft.sentences = list(await self._refined(draft.writing.text, draft.sentences))

    def _better(self, first: _Draft, second: _Draft, n_objections: int) -> _Draft:
        """Return the draft to show, and say in the notes which and why."""
        begun = f"{_n(n_objections)} not borne out, so the answer was written again"
        if second.writing.blocked:
            self.notes.append(f"{begun}; moderation blocked the second, the first is shown")
            return first
        if second.writing.abstained:
            is_first = first.worth[0]
            self.notes.append(
                f"{begun}; the second says that the documents do not answer" + (", the first is shown" * is_first)
            )
            return first if is_first else second
        counts = [support_of(draft.statements) for draft in (first, second)]
        is_second = second.worth > first.worth
        said = [f"{count.n_supported} of {count.n_statements} statements supported" for count in counts]
        shown = "the second is shown" if is_second else "the first is shown, for the second is no better"
        self.notes.append(f"{begun}: {shown} (first {said[0]}, second {said[1]})")
        return second if is_second else first

    async def _refined(self, text: str, sentences: Sequence[Judged]) -> Sequence[Judged]:
        """Return the sentences with the verdicts that hold."""
        if self._verify is None or not any(is_doubtful(text, sentence) for sentence in sentences):
            return sentences
        started = time.perf_counter()
        refined = await self._verify(text, sentences)
        self.timings_ms["verify"] = self.timings_ms.get("verify", 0.0) + (time.perf_counter() - started) * 1000
        self.notes += refined.notes
        if refined.usage is not None:
            self.usages.append(refined.usage)
        return refined.sentences

    def _found(self, sentence: Judged) -> list[Citation | Statement]:
        """Keep what was found of a sentence that is shown already, and return it in order."""
        self.citations += sentence.citations
        self.unknown_markers = tuple(dict.fromkeys((*self.unknown_markers, *sentence.unknown_markers)))
        if sentence.statement is None:
            return [*sentence.citations]
        self.statements.append(sentence.statement)
        return [*sentence.citations, sentence.statement]

    def _begin(self, objections: Sequence[str]) -> Writing:
        writing = self._write(objections)
        self.writings.append(writing)
        self._chosen = writing
        return writing

    def _take(self, sieve: Sieve) -> None:
        self.text = sieve.text
        self.citations, self.statements, self.removed = sieve.citations, sieve.statements, sieve.removed
        self.unknown_markers = sieve.unknown_markers
        self.holds_nothing = sieve.holds_nothing


def _n(n: int) -> str:
    return "1 statement was" if n == 1 else f"{n} statements were"
