"""Writes one answer: from a prompt to text and judged sentences, in the order they come about."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from rag.answering.abstention import abstention_in
from rag.answering.citations import CitationStream, Judged
from rag.answering.links import LinkGuard
from rag.answering.moderation import Check, gated, whole_sentences
from rag.answering.prompt import prompt_tokens
from rag.answering.unanswered import OpenParts
from rag.contracts import DocumentStore, Generator, Tokenizer
from rag.errors import GenerationError
from rag.types import (
    GenerationDone,
    GenerationEvent,
    GenerationSettings,
    Moderated,
    ModerationVerdict,
    Prompt,
    TextDelta,
    Usage,
)

__all__ = ["Writing", "WrittenEvent"]

WrittenEvent = TextDelta | Judged | Moderated

_MAX_AFTER_ABSTENTION = 400  # characters read on for the usage that ends the stream; then it is closed


class Writing:
    """One generation under way. Read ``events`` to their end, then the attributes.

    ``abstained``: the generator said that the sources do not answer, and no event came. ``blocked``: moderation stopped
    it after ``text``, which is all the text of the events. ``timings_ms`` has first_token, generate and cite.
    """

    def __init__(self, prompt: Prompt, *, generator: Generator, documents: DocumentStore) -> None:
        self.abstained = False
        self.blocked = False
        self.verdicts: list[ModerationVerdict] = []
        self.done: GenerationDone | None = None
        self.timings_ms: dict[str, float] = {"cite": 0.0}
        self._prompt = prompt
        self._generator = generator
        self._cited = CitationStream(prompt.sources, documents=documents)
        self._links = LinkGuard(prompt.sources)
        self._open_parts = OpenParts()
        self._raw = ""

    @property
    def notes(self) -> list[str]:
        """What was done to the text."""
        n = self._links.n_removed
        return [f"{n} link{'s' * (n > 1)} removed from the answer: no source holds the address"] if n else []

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The parts of the question that it says the sources leave open."""
        return tuple(dict.fromkeys(self._open_parts.parts))

    @property
    def text(self) -> str:
        return self._cited.text

    def usage(self, tokenizer: Tokenizer) -> Usage:
        """Return what the provider said was paid for, or else an estimate by counting."""
        if self.done is not None and self.done.usage is not None:
            return self.done.usage
        return Usage(
            input_tokens=prompt_tokens(self._prompt, tokenizer),
            output_tokens=tokenizer.count(self._raw),
            estimated=True,
        )

    async def events(
        self, settings: GenerationSettings, *, check: Check | None, blocks: bool
    ) -> AsyncGenerator[WrittenEvent]:
        """Yield the text and, after each sentence's text, what was found of it.

        With ``check`` text comes sentence by sentence, each held until it is judged; with ``blocks`` the first flagged
        one ends the answer and is not shown. Raises GenerationError also when nothing was written.
        """
        texts = self._guarded(self._parted(self._texts(settings)))
        if check is None:
            async with aclosing(texts):
                async for text in texts:
                    for event in self._shown(text):
                        yield event
        else:
            async with aclosing(gated(whole_sentences(texts), check)) as judged:
                async for text, verdict in judged:
                    if verdict is not None:
                        self.verdicts.append(verdict)
                        if verdict.flagged:
                            yield Moderated("answer", verdict, blocked=blocks)
                            if blocks:
                                self.blocked = True
                                break
                    for event in self._shown(text):
                        yield event
        for sentence in self._timed(self._cited.finish):
            yield sentence

    def _shown(self, text: str) -> list[WrittenEvent]:
        return [TextDelta(text), *self._timed(lambda: self._cited.feed(text))]

    def _timed(self, judge: Callable[[], list[Judged]]) -> list[Judged]:
        started = time.perf_counter()
        sentences = judge()
        self.timings_ms["cite"] += (time.perf_counter() - started) * 1000
        return sentences

    async def _parted(self, texts: AsyncGenerator[str]) -> AsyncGenerator[str]:
        """Yield the text without the line that names what it leaves open."""
        async with aclosing(texts):
            async for text in texts:
                if shown := self._open_parts.feed(text):
                    yield shown
        if shown := self._open_parts.finish():
            yield shown

    async def _guarded(self, texts: AsyncGenerator[str]) -> AsyncGenerator[str]:
        """Yield the text without links to addresses that no source holds."""
        async with aclosing(texts):
            async for text in texts:
                if shown := self._links.feed(text):
                    yield shown
        if shown := self._links.finish():
            yield shown

    async def _texts(self, settings: GenerationSettings) -> AsyncGenerator[str]:
        """Yield the generated text from where it is known not to be an abstention."""
        held: str | None = ""
        async with aclosing(self._deltas(settings)) as deltas:
            async for delta in deltas:
                if self.abstained:
                    if len(self._raw) > _MAX_AFTER_ABSTENTION:
                        return
                elif held is None:
                    yield delta
                else:
                    held += delta
                    state = abstention_in(held)
                    self.abstained = state == "yes"
                    if state == "no":
                        yield held
                        held = None
        if self.abstained or held is None:
            return
        if not held.strip():
            raise GenerationError(self._nothing_written())
        self.abstained = abstention_in(held, final=True) == "yes"
        if not self.abstained:
            yield held

    async def _deltas(self, settings: GenerationSettings) -> AsyncGenerator[str]:
        started = time.perf_counter()
        try:
            async with _closing(self._generator.generate(self._prompt, settings=settings)) as events:
                async for event in events:
                    if isinstance(event, GenerationDone):
                        self.done = event
                    elif event.text:
                        self.timings_ms.setdefault("first_token", (time.perf_counter() - started) * 1000)
                        self._raw += event.text
                        yield event.text
        finally:
            self.timings_ms["generate"] = (time.perf_counter() - started) * 1000

    def _nothing_written(self) -> str:
        reason = self.done.finish_reason if self.done else None
        advice = "raise max_tokens, the model spent them before writing" if reason == "length" else "ask again"
        return f"{self._generator.model} wrote no answer (finish_reason {reason!r}); {advice}"


@asynccontextmanager
async def _closing(events: AsyncIterator[GenerationEvent]) -> AsyncGenerator[AsyncIterator[GenerationEvent]]:
    """Close the iterator at the end if it can be closed: a generator's can, a plain iterator's need not."""
    try:
        yield events
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
