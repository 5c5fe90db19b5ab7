"""Writes one answer in JSON: asked for, read, checked, cited leaf by leaf; asked for once more where it is wrong."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from rag.answering.citations import LeafCiter
from rag.answering.forms import Filled, Form, FormProblem, render_value
from rag.answering.links import LinkGuard
from rag.answering.moderation import Check
from rag.answering.prompt import prompt_tokens
from rag.answering.sifting import Shown
from rag.contracts import ABSTENTION, DocumentStore, Generator, Tokenizer
from rag.errors import GenerationError
from rag.types import (
    Citation,
    GenerationDone,
    GenerationSettings,
    Moderated,
    ModerationVerdict,
    Prompt,
    Statement,
    TextDelta,
    Usage,
)

__all__ = ["FillingIn"]

_TRIES = 2


class FillingIn:
    """One answer in JSON. Read ``events`` to their end, then the attributes.

    The JSON comes as one piece: half of it follows no schema. ``abstained``: the sources do not answer, and nothing
    came. ``blocked``: moderation stopped it before it was shown. ``usages`` has one entry for each try.
    """

    def __init__(
        self, prompt: Prompt, form: Form, *, generator: Generator, documents: DocumentStore, tokenizer: Tokenizer
    ) -> None:
        self.text = ""
        self.value: Any = None
        self.abstained = False
        self.blocked = False
        self.citations: list[Citation] = []
        self.statements: list[Statement] = []
        self.unknown_markers: tuple[int, ...] = ()
        self.verdicts: list[ModerationVerdict] = []
        self.usages: list[Usage] = []
        self.notes: list[str] = []
        self.done: GenerationDone | None = None
        self.timings_ms: dict[str, float] = {}
        self._prompt = prompt
        self._form = form
        self._generator = generator
        self._documents = documents
        self._tokenizer = tokenizer

    async def events(
        self, settings: GenerationSettings, *, check: Check | None, blocks: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        """Yield the JSON as one TextDelta, then its citations and statements.

        Raises GenerationError where the second reply is not in the form either.
        """
        filled = await self._filled(replace(settings, response_format=self._form.response_format()))
        self.abstained = filled.value is None
        if self.abstained:
            return
        text, _ = render_value(filled.value)
        if check is not None and (verdict := await check(text)) is not None:
            self.verdicts.append(verdict)
            if verdict.flagged:
                self.blocked = blocks
                yield Moderated("answer", verdict, blocked=blocks)
        if self.blocked:
            return
        self.text, self.value = text, filled.value
        yield TextDelta(text)
        started = time.perf_counter()
        self._cite(filled)
        self.timings_ms["cite"] = (time.perf_counter() - started) * 1000
        for citation in self.citations:
            yield citation
        for statement in self.statements:
            yield statement

    async def _filled(self, settings: GenerationSettings) -> Filled:
        problem = ""
        for _ in range(_TRIES):
            reply = await self._reply(settings, problem)
            if reply.strip().strip('"').startswith(ABSTENTION):
                return Filled(None, {})
            try:
                return self._form.read(reply)
            except FormProblem as error:
                reason = self.done.finish_reason if self.done else None
                problem = f"{error}; it was cut off, raise max_tokens" if reason == "length" else str(error)
                self.notes = [f"asked twice: the first reply was not in the form asked for ({problem})"]
        model = self.done.model if self.done else self._generator.model
        raise GenerationError(f"{model} did not answer in the form asked for, twice: {problem}; simplify the schema")

    async def _reply(self, settings: GenerationSettings, problem: str) -> str:
        prompt = replace(self._prompt, form=self._form.instructions(problem))
        started = time.perf_counter()
        text, done = "", None
        events = self._generator.generate(prompt, settings=settings)
        assert isinstance(events, AsyncGenerator)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, GenerationDone):
                    done = event
                else:
                    text += event.text
        took = (time.perf_counter() - started) * 1000
        self.timings_ms["generate"] = self.timings_ms.get("generate", 0.0) + took
        self.done = done
        counted = Usage(prompt_tokens(prompt, self._tokenizer), self._tokenizer.count(text), estimated=True)
        self.usages.append(done.usage if done is not None and done.usage is not None else counted)
        return text

    def _cite(self, filled: Filled) -> None:
        citer = LeafCiter(self._prompt.sources, documents=self._documents)
        _, leaves = render_value(filled.value)
        for leaf in leaves:
            judged = citer.judged(leaf.value, filled.sources.get(leaf.path, ()))
            self.citations += [
                replace(citation, answer_start=leaf.start, answer_end=leaf.end, path=leaf.path)
                for citation in judged.citations
            ]
            if judged.statement is not None:
                self.statements.append(replace(judged.statement, start=leaf.start, end=leaf.end, path=leaf.path))
            self.unknown_markers = tuple(dict.fromkeys((*self.unknown_markers, *judged.unknown_markers)))
        if strangers := [leaf.path for leaf in leaves if isinstance(leaf.value, str) and self._leads_out(leaf.value)]:
            self.notes.append(f"addresses that no source holds stand at {', '.join(strangers[:5])}: do not open them")
        paths = {leaf.path for leaf in leaves}
        if stray := sorted(set(filled.sources) - paths):
            self.notes.append(f"citations of no value were left out: {', '.join(stray[:5])}")

    def _leads_out(self, text: str) -> bool:
        guard = LinkGuard(self._prompt.sources)
        guard.feed(text)
        guard.finish()
        return guard.n_removed > 0
