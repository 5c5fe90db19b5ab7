"""Answers a question: moderate and retrieve side by side, pack, write, cite."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from rag.answering.asking import Asking
from rag.answering.context import pack
from rag.answering.contradictions import DatesOf, contradictions_in, told
from rag.answering.delivery import Delivery, Unsupported
from rag.answering.filling_in import FillingIn
from rag.answering.forms import Form, form_of
from rag.answering.injection import injection_notes, without_addressed
from rag.answering.languages import Notice
from rag.answering.moderation import Check, ModerationPolicy, check_text
from rag.answering.numbering import Numbering
from rag.answering.prompt import history_notes, instructions, pack_history
from rag.answering.question import checked_question, notice, retrieval_query
from rag.answering.sifting import Shown
from rag.answering.verification import Verifier
from rag.answering.writing import Writing
from rag.contracts import ABSTENTION, DocumentStore, Generator, Moderator, Retriever, Tokenizer
from rag.types import (
    Answer,
    AnswerEvent,
    Citation,
    Contradiction,
    GenerationSettings,
    Hit,
    Moderated,
    ModerationVerdict,
    Prompt,
    Refusal,
    Removed,
    Retrieval,
    Retrieved,
    Source,
    Statement,
    TextDelta,
    Turn,
    Usage,
)

__all__ = ["AnswerSettings", "Answerer"]


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How answers are made.

    ``k`` hits are retrieved; those of a relevance below ``relevance_floor`` are left out; the rest is packed into
    ``context_tokens``, earlier turns into ``history_tokens``. ``extra_instructions`` of the operator are added to the
    system's, ``wishes`` of the one who asks after them. ``language`` is the English name of the language to answer in;
    "" is that of the question. ``unsupported``: what is done about statements that their sources do
    not bear out, see ``delivery``.
    """

    k: int = 8
    context_tokens: int = 4000
    history_tokens: int = 1000
    relevance_floor: float = 0.0
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    extra_instructions: str = ""
    wishes: str = ""
    language: str = ""
    unsupported: Unsupported = "flag"
    addressed: Literal["flag", "exclude", "off"] = "flag"

    def __post_init__(self) -> None:
        if self.k < 1 or self.context_tokens < 1 or self.history_tokens < 0:
            raise ValueError("k and context_tokens must be at least 1, history_tokens at least 0")
        if not 0 <= self.relevance_floor <= 1:
            raise ValueError(f"relevance_floor must be in [0, 1], got {self.relevance_floor}")


@dataclass(slots=True)
class _Draft:
    """What is known of an answer so far."""

    question: str
    model: str
    sources: tuple[Source, ...] = ()
    text: str = ""
    refusal: Refusal | None = None
    citations: Sequence[Citation] = ()
    statements: Sequence[Statement] = ()
    removed: Sequence[Removed] = ()
    unanswered: tuple[str, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    unknown_markers: tuple[int, ...] = ()
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    verdicts: list[ModerationVerdict] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    value: Any = None
    nothing_allowed: bool = False
    timings_ms: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timings_ms[stage] = (time.perf_counter() - started) * 1000

    def answer(self) -> Answer:
        return Answer(
            id=f"answer-{uuid.uuid4().hex}",
            question=self.question,
            text=self.text,
            answered=self.refusal is None,
            refusal=self.refusal,
            citations=tuple(self.citations),
            statements=tuple(self.statements),
            unknown_markers=self.unknown_markers,
            sources=self.sources,
            model=self.model,
            finish_reason=self.finish_reason,
            usage=self.usage,
            timings_ms=self.timings_ms | {"total": (time.perf_counter() - self.started) * 1000},
            moderation=tuple(self.verdicts),
            notes=self.notes,
            removed=tuple(self.removed),
            unanswered=self.unanswered,
            contradictions=self.contradictions,
            queries=self.queries,
            value=self.value,
        )


class _QuestionBlocked(Exception):
    pass


class Answerer:
    """Answers questions from what a retriever finds, in the words of a generator, with citations."""

    def __init__(
        self,
        retriever: Retriever,
        generator: Generator,
        documents: DocumentStore,
        tokenizer: Tokenizer,
        *,
        moderator: Moderator | None = None,
        policy: ModerationPolicy | None = None,
        asking: Asking | None = None,
        verifier: Verifier | None = None,
        dates_of: DatesOf | None = None,
        settings: AnswerSettings | None = None,
    ) -> None:
        """Without ``asking`` nobody writes queries, without ``verifier`` verdicts are those of the rules."""
        self._retriever = retriever
        self._generator = generator
        self._documents = documents
        self._tokenizer = tokenizer
        self._moderator = moderator
        self._policy = policy or ModerationPolicy()
        self._asking = asking
        self._verifier = verifier
        self._dates_of = dates_of
        self._settings = settings or AnswerSettings()

    async def answer(
        self,
        question: str,
        *,
        history: Sequence[Turn] = (),
        generation: GenerationSettings | None = None,
        k: int | None = None,
        numbering: Numbering | None = None,
    ) -> Answer:
        """Return the finished answer: the last event of ``stream``."""
        stream = self.stream(question, history=history, generation=generation, k=k, numbering=numbering)
        async with aclosing(stream) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise AssertionError("a stream ends with its answer")

    def stream(
        self,
        question: str,
        *,
        history: Sequence[Turn] = (),
        generation: GenerationSettings | None = None,
        k: int | None = None,
        numbering: Numbering | None = None,
    ) -> AsyncGenerator[AnswerEvent]:
        """Yield the answer as it comes about.

        First Retrieved (unless the question is blocked), then TextDelta, Citation, Statement and Moderated as they
        come, last the Answer, whose text is that of all deltas together. ``generation`` replaces the default settings,
        ``history`` is the conversation so far, oldest turn first, whose markers ``numbering`` knows and goes on with.
        Nothing found, or nothing that fits the context, is answered without calling the generator. Closing the iterator
        stops what is under way. Raises QuestionError at once for an empty question, AnswerFormatError for
        a response_format that is none; while iterating, what retrieval,
        generation and (if the policy is closed) moderation raise.
        """
        question = checked_question(question)
        k = self._settings.k if k is None else k
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        generation = generation or self._settings.generation
        form_of(generation.response_format)  # a schema that is none is told before anything is searched
        return self._stream(question, tuple(history), generation, k, numbering)

    async def _stream(
        self,
        question: str,
        history: Sequence[Turn],
        generation: GenerationSettings,
        k: int,
        numbering: Numbering | None,
    ) -> AsyncGenerator[AnswerEvent]:
        draft = _Draft(question, self._generator.model)
        hits = await self._find(draft, history, k)
        flags = [Moderated("question", verdict, blocked=hits is None) for verdict in draft.verdicts if verdict.flagged]
        if hits is None:
            for flag in flags:
                yield flag
            yield TextDelta(_refused(draft, "moderation", self._notice("question_blocked", draft)))
        else:
            draft.sources = await self._packed(draft, hits, numbering)
            yield Retrieved(draft.sources)
            for flag in flags:
                yield flag
            async with aclosing(self._written(draft, history, generation, is_numbered=numbering is not None)) as events:
                async for event in events:
                    yield event
        yield draft.answer()

    async def _find(self, draft: _Draft, history: Sequence[Turn], k: int) -> tuple[Hit, ...] | None:
        """Return the hits; None as soon as moderation blocks the question, whether or not retrieval is done."""
        try:
            async with asyncio.TaskGroup() as group:
                retrieving = group.create_task(self._retrieved(draft, history, k))
                if (check := self._check("question")) is not None:
                    group.create_task(self._judge_question(draft, check))
        except ExceptionGroup as failures:
            if any(isinstance(failure, _QuestionBlocked) for failure in failures.exceptions):
                return None
            first = failures.exceptions[0]
            raise first from first.__cause__
        retrieval = retrieving.result()
        draft.timings_ms.update(retrieval.timings_ms)
        draft.notes = retrieval.notes
        draft.queries = retrieval.queries
        draft.usage = retrieval.usage or draft.usage
        draft.nothing_allowed = retrieval.nothing_allowed
        floor = self._settings.relevance_floor
        hits = tuple(hit for hit in retrieval.hits if hit.relevance is None or hit.relevance >= floor)
        if self._settings.addressed == "exclude":
            hits, left_out = without_addressed(hits)
            draft.notes = (*draft.notes, *left_out)
        return hits

    async def _retrieved(self, draft: _Draft, history: Sequence[Turn], k: int) -> Retrieval:
        with draft.timed("retrieve"):
            if self._asking is not None:
                return await self._asking.retrieve(self._retriever, draft.question, history, k=k)
            query = retrieval_query(draft.question, history)
            return replace(await self._retriever.retrieve(query, k=k), queries=(query,))

    async def _judge_question(self, draft: _Draft, check: Check) -> None:
        with draft.timed("moderation"):
            verdict = await check(draft.question)
        if verdict is not None:
            draft.verdicts.append(verdict)
            if verdict.flagged and self._policy.action == "block":
                raise _QuestionBlocked

    async def _packed(self, draft: _Draft, hits: Sequence[Hit], numbering: Numbering | None) -> tuple[Source, ...]:
        def packed() -> tuple[Source, ...]:
            sources = pack(
                hits,
                documents=self._documents,
                tokenizer=self._tokenizer,
                budget_tokens=self._settings.context_tokens,
                highest_marker=0 if numbering is None else numbering.highest,
            )
            return sources if numbering is None else numbering.number(sources)

        with draft.timed("pack"):
            return await asyncio.to_thread(packed)  # reads the disk and counts tokens: not on the event loop

    async def _written(
        self, draft: _Draft, history: Sequence[Turn], generation: GenerationSettings, *, is_numbered: bool
    ) -> AsyncGenerator[Shown | Moderated]:
        """Yield what the generator writes, or the notice that there is nothing to write from; fill the draft."""
        if not draft.sources:
            said: Notice = "nothing_allowed" if draft.nothing_allowed else "not_in_documents"
            yield TextDelta(_refused(draft, "not_in_documents", self._notice(said, draft)))
            return
        budget = self._settings.history_tokens
        turns = pack_history(history, tokenizer=self._tokenizer, budget_tokens=budget)
        left_out = history_notes(history, turns, budget_tokens=budget)
        draft.notes = (
            *draft.notes,
            *left_out,
            *(injection_notes(draft.sources) if self._settings.addressed == "flag" else ()),
        )
        with draft.timed("compare"):
            draft.contradictions = await asyncio.to_thread(contradictions_in, draft.sources, dates_of=self._dates_of)
        options = self._settings
        rules = instructions(options.extra_instructions, wishes=options.wishes, language=options.language)
        prompt = Prompt(rules, draft.sources, draft.question, turns, is_numbered=is_numbered, language=options.language)
        prompt = replace(prompt, contradictions=told(draft.contradictions))
        if (form := form_of(generation.response_format)) is not None:
            async with aclosing(self._filled_in(draft, prompt, form, generation)) as filled_in:
                async for event in filled_in:
                    yield event
            return
        delivery = Delivery(
            lambda objections: Writing(
                replace(prompt, objections=tuple(objections)), generator=self._generator, documents=self._documents
            ),
            unsupported=self._settings.unsupported,
            verify=None if self._verifier is None else partial(self._verifier.refine, sources=draft.sources),
        )
        blocks = self._policy.action == "block"
        async with aclosing(delivery.events(generation, check=self._check("answer"), blocks=blocks)) as events:
            async for event in events:
                yield event
        self._fill(draft, delivery)
        if delivery.chosen.blocked:
            ending = ("\n\n" if delivery.text.strip() else "") + self._notice("answer_blocked", draft)
            yield TextDelta(_refused(draft, "moderation", ending))
        elif delivery.chosen.abstained or delivery.holds_nothing or (draft.unanswered and not draft.text.strip()):
            yield TextDelta(_refused(draft, "not_in_documents", self._notice("not_in_documents", draft)))
        elif ABSTENTION in delivery.text and not delivery.citations:
            draft.refusal = "not_in_documents"  # said so after some words of its own; they have been shown and stay

    async def _filled_in(
        self, draft: _Draft, prompt: Prompt, form: Form, generation: GenerationSettings
    ) -> AsyncGenerator[Shown | Moderated]:
        """Yield an answer in JSON; fill the draft."""
        filling = FillingIn(
            prompt, form, generator=self._generator, documents=self._documents, tokenizer=self._tokenizer
        )
        blocks = self._policy.action == "block"
        async with aclosing(filling.events(generation, check=self._check("answer"), blocks=blocks)) as events:
            async for event in events:
                yield event
        draft.text, draft.value = filling.text, filling.value
        draft.citations, draft.statements = filling.citations, filling.statements
        draft.unknown_markers = filling.unknown_markers
        draft.notes = (*draft.notes, *filling.notes, *(filling.done.notes if filling.done else ()))
        draft.timings_ms.update(filling.timings_ms)
        draft.verdicts += filling.verdicts
        for usage in filling.usages:
            draft.usage = _sum(draft.usage, usage)
        if filling.done is not None:
            draft.model, draft.finish_reason = filling.done.model, filling.done.finish_reason
        if filling.blocked:
            yield TextDelta(_refused(draft, "moderation", self._notice("answer_blocked", draft)))
        elif filling.abstained:
            yield TextDelta(_refused(draft, "not_in_documents", self._notice("not_in_documents", draft)))

    def _fill(self, draft: _Draft, delivery: Delivery) -> None:
        writing = delivery.chosen
        draft.text = delivery.text
        draft.citations, draft.statements, draft.removed = delivery.citations, delivery.statements, delivery.removed
        draft.unknown_markers = delivery.unknown_markers
        draft.unanswered = writing.unanswered
        draft.notes = (*draft.notes, *delivery.notes, *writing.notes)
        draft.timings_ms.update(delivery.writings[0].timings_ms | delivery.timings_ms)
        for written in delivery.writings:
            draft.verdicts += written.verdicts
            draft.usage = _sum(draft.usage, written.usage(self._tokenizer))
        for usage in delivery.usages:
            draft.usage = _sum(draft.usage, usage)
        if writing.done is not None:
            draft.model, draft.finish_reason = writing.done.model, writing.done.finish_reason
            draft.notes = (*draft.notes, *writing.done.notes)

    def _notice(self, which: Notice, draft: _Draft) -> str:
        return notice(which, draft.question, self._settings.language)

    def _check(self, target: Literal["question", "answer"]) -> Check | None:
        """Return how to moderate such a text, None where it is not moderated."""
        moderator, policy = self._moderator, self._policy
        if moderator is None or not policy.covers(target):
            return None

        async def check(text: str) -> ModerationVerdict | None:
            return await check_text(text, moderator=moderator, policy=policy)

        return check


def _refused(draft: _Draft, refusal: Refusal, text: str) -> str:
    """Turn the draft into a refusal that ends in ``text``, and return that."""
    draft.refusal = refusal
    draft.text += text
    return text


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.embedding_tokens + other.embedding_tokens,
        one.estimated or other.estimated,
    )
