"""An answer from question to citations, with fakes at the protocols."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest

from rag.answering.answer import Answerer, AnswerSettings
from rag.answering.moderation import ModerationPolicy
from rag.contracts import ABSTENTION, Generator, Moderator, Retriever
from rag.errors import EmbeddingError, GenerationError, ModerationError, QuestionError
from rag.types import (
    Answer,
    AnswerEvent,
    Citation,
    GenerationSettings,
    Moderated,
    Retrieved,
    Statement,
    TextDelta,
    Turn,
    Usage,
)
from tests.fakes import CannedGenerator, CannedRetriever, Shelf, WordModerator, WordTokenizer, document, whole

BOOK = document("book.pdf", "The pump starts at 40 bar. ", "It stops at 60 bar, says Li.", title="Pump book")
BAD = {"poison": "violence"}


def make(
    generator: Generator,
    *,
    retriever: Retriever | None = None,
    moderator: Moderator | None = None,
    policy: ModerationPolicy | None = None,
    settings: AnswerSettings | None = None,
) -> Answerer:
    return Answerer(
        retriever or CannedRetriever(whole(BOOK)),
        generator,
        Shelf(BOOK),
        WordTokenizer(),
        moderator=moderator,
        policy=policy,
        settings=settings,
    )


async def events_of(answerer: Answerer, question: str = "When does it start?") -> list[AnswerEvent]:
    return [event async for event in answerer.stream(question)]


async def test_an_answer_cites_the_page_and_words_of_its_source() -> None:
    answer = await make(CannedGenerator("It stops at ", "60 bar [1].", usage=Usage(7, 3))).answer("When does it stop?")
    (citation,) = answer.citations
    assert (citation.page, citation.quote) == (2, "It stops at 60 bar, says Li.")
    assert citation.quote == BOOK.text[citation.start : citation.end]
    assert answer.text[citation.answer_start : citation.answer_end] == "It stops at 60 bar [1]."
    assert (answer.answered, answer.model, answer.finish_reason) == (True, "canned-1", "stop")
    assert answer.usage == Usage(7, 3)


async def test_events_come_in_order_and_their_deltas_make_the_text() -> None:
    events = await events_of(make(CannedGenerator("At 40 bar [1]. ", "It stops at 60 bar [1]. So [9].")))
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-1], kinds.count(Answer)) == (Retrieved, Answer, 1)
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    assert tuple(event for event in events if isinstance(event, Citation)) == answer.citations
    assert answer.unknown_markers == (9,)


async def test_a_citation_comes_as_soon_as_the_next_statement_begins() -> None:
    kinds = [type(event) for event in await events_of(make(CannedGenerator("At 40 bar [1]. ", "It", " stops [1].")))]
    first = [Retrieved, TextDelta, TextDelta, Citation, Statement]
    assert kinds == [*first, TextDelta, Citation, Statement, Answer]


async def test_every_stage_is_timed() -> None:
    moderator = WordModerator(BAD)
    answer = await make(CannedGenerator("40 bar [1]."), moderator=moderator).answer("When?")
    stages = "moderation retrieve embed_query fuse pack first_token generate cite total".split()  # noqa: SIM905
    assert set(stages) <= set(answer.timings_ms)
    assert all(value >= 0 for value in answer.timings_ms.values())


async def test_answers_have_ids_of_their_own() -> None:
    answerer = make(CannedGenerator("40 bar [1]."))
    assert (await answerer.answer("When?")).id != (await answerer.answer("When?")).id


@pytest.mark.parametrize("question", ["", " \n\t"])
def test_an_empty_question_is_refused_before_anything_runs(question: str) -> None:
    retriever = CannedRetriever()
    with pytest.raises(QuestionError, match="empty"):
        make(CannedGenerator(), retriever=retriever).stream(question)
    assert retriever.queries == []


@pytest.mark.parametrize(
    ("settings", "retriever"),
    [
        (AnswerSettings(), CannedRetriever()),
        (AnswerSettings(relevance_floor=0.6), CannedRetriever(replace(whole(BOOK), relevance=0.5))),
        (AnswerSettings(context_tokens=5), CannedRetriever(whole(BOOK))),
    ],
    ids=["no hits", "none relevant", "none fits"],
)
async def test_nothing_to_answer_from_costs_nothing(settings: AnswerSettings, retriever: CannedRetriever) -> None:
    generator = CannedGenerator("never")
    answer = await make(generator, retriever=retriever, settings=settings).answer("泵什么时候启动？")
    assert (answer.answered, answer.refusal, answer.citations) == (False, "not_in_documents", ())
    assert answer.text == "文档中没有能回答这个问题的内容。"
    assert (generator.prompts, answer.usage) == ([], Usage())


@pytest.mark.parametrize(
    "pieces",
    [
        (ABSTENTION,),
        tuple(ABSTENTION),
        ("**NOT_IN", "_DOCUMENTS**"),
        ('\n"NOT_IN_DOCUMENTS".\n',),
        ("NOT\\_IN\\_DOCUMENTS",),
        ("NOT_IN_DOCUMENTS. ", "The sources speak of pumps [1]."),
    ],
    ids=["whole", "letter by letter", "bold", "quoted", "escaped", "with prose"],
)
async def test_an_abstention_becomes_a_sentence_without_citations(pieces: tuple[str, ...]) -> None:
    answer = await make(CannedGenerator(*pieces, usage=Usage(5, 1))).answer("Why?")
    assert answer.text == "The documents do not answer this question."
    assert (answer.answered, answer.refusal, answer.citations) == (False, "not_in_documents", ())
    assert answer.usage == Usage(5, 1)


async def test_a_long_tail_after_an_abstention_is_not_paid_for() -> None:
    generator = CannedGenerator(ABSTENTION + ". ", *["words and words "] * 1000)
    answer = await make(generator).answer("Why?")
    assert answer.refusal == "not_in_documents"
    assert generator.written < 50
    assert generator.closed == 1
    assert answer.usage.estimated


async def test_text_is_held_no_longer_than_it_could_be_an_abstention() -> None:
    events = await events_of(make(CannedGenerator("NOT", "_IN", "_TIME [1]", " a")))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["NOT_IN_TIME [1]", " a"]


async def test_an_abstention_after_other_words_counts_unless_something_is_cited() -> None:
    refused = await make(CannedGenerator("I looked. ", ABSTENTION)).answer("Why?")
    assert (refused.refusal, refused.text) == ("not_in_documents", f"I looked. {ABSTENTION}")
    assert (await make(CannedGenerator("At 40 bar [1]. ", ABSTENTION)).answer("Why?")).answered


async def test_usage_is_counted_where_the_provider_sends_none() -> None:
    usage = (await make(CannedGenerator("It is 40 bar [1].")).answer("When?")).usage
    assert (usage.output_tokens, usage.estimated) == (8, True)  # It is 40 bar [ 1 ] .
    assert usage.input_tokens > 100


async def test_an_empty_reply_is_an_error_that_says_why() -> None:
    with pytest.raises(GenerationError, match="max_tokens"):
        await make(CannedGenerator(" ", finish_reason="length")).answer("When?")


async def test_errors_of_retrieval_and_generation_come_out_as_they_are() -> None:
    failed = CannedRetriever(error=EmbeddingError("no embedding"))
    with pytest.raises(EmbeddingError, match="no embedding"):
        await make(CannedGenerator(), retriever=failed).answer("When?")
    for moderator in (None, WordModerator(BAD)):
        generator = CannedGenerator("At 40", error=GenerationError("broken"))
        with pytest.raises(GenerationError, match="broken"):
            await make(generator, moderator=moderator).answer("When?")


async def test_history_and_settings_reach_the_generator_and_follow_ups_the_retriever() -> None:
    generator, retriever = CannedGenerator("40 bar [1]."), CannedRetriever(whole(BOOK))
    answerer = make(generator, retriever=retriever, settings=AnswerSettings(extra_instructions="Be kind."))
    history = [Turn("user", "What starts the pump?"), Turn("assistant", "Pressure [1].")]
    generation = GenerationSettings(temperature=0.5)
    await answerer.answer("And when does it stop?", history=history, generation=generation)
    (prompt,) = generator.prompts
    assert prompt.history == tuple(history)
    assert prompt.instructions.endswith("Be kind.")
    assert generator.settings == [generation]
    assert retriever.queries == ["What starts the pump?\nAnd when does it stop?"]


@pytest.mark.parametrize("moderator", [None, WordModerator(BAD)], ids=["unmoderated", "moderated"])
async def test_closing_the_stream_early_stops_the_generator(moderator: WordModerator | None) -> None:
    generator = CannedGenerator(*["More [1]. "] * 1000)
    async with aclosing(make(generator, moderator=moderator).stream("When?")) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert (generator.closed, generator.finished) == (1, 0)
    assert generator.written < 20


async def test_cancelling_the_reader_stops_the_generator() -> None:
    generator = CannedGenerator(*["More [1]. "] * 1000, delay_s=0.01)
    task = asyncio.create_task(make(generator, moderator=WordModerator(BAD)).answer("When?"))
    while generator.written < 3:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert generator.closed == 1
    assert len(asyncio.all_tasks()) == 1  # nothing is left running


# --- moderation ------------------------------------------------------------------------------------------------------


async def test_a_blocked_question_waits_for_no_retrieval_and_calls_no_generator() -> None:
    generator, retriever = CannedGenerator("never"), CannedRetriever(whole(BOOK), delay_s=30)
    started = time.perf_counter()
    events = await events_of(make(generator, retriever=retriever, moderator=WordModerator(BAD)), "Which poison?")
    assert time.perf_counter() - started < 5
    assert [type(event) for event in events] == [Moderated, TextDelta, Answer]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert (answer.answered, answer.refusal, answer.sources) == (False, "moderation", ())
    assert (generator.prompts, retriever.finished) == ([], 0)


async def test_the_question_is_moderated_while_retrieval_runs() -> None:
    answerer = make(
        CannedGenerator("40 bar [1]."),
        retriever=CannedRetriever(whole(BOOK), delay_s=0.1),
        moderator=WordModerator(BAD, delay_s=0.1),
        policy=ModerationPolicy(answer=False),
    )
    timings = (await answerer.answer("When?")).timings_ms
    assert timings["total"] < 0.9 * (timings["moderation"] + timings["retrieve"])


async def test_a_failed_retrieval_cancels_moderation() -> None:
    moderator = WordModerator(BAD, delay_s=30)
    with pytest.raises(EmbeddingError):
        await make(
            CannedGenerator(), retriever=CannedRetriever(error=EmbeddingError("no")), moderator=moderator
        ).answer("When?")
    assert moderator.cancelled == 1


async def test_a_flagged_question_is_reported_and_answered_when_the_policy_only_flags() -> None:
    policy = ModerationPolicy(action="flag", answer=False)
    events = await events_of(
        make(CannedGenerator("40 bar [1]."), moderator=WordModerator(BAD), policy=policy), "Which poison?"
    )
    assert [type(event) for event in events][:2] == [Retrieved, Moderated]
    assert isinstance(events[-1], Answer)
    assert events[-1].answered
    assert [verdict.flagged for verdict in events[-1].moderation] == [True]


async def test_no_moderator_is_called_when_moderation_is_off() -> None:
    moderator = WordModerator(BAD)
    policy = ModerationPolicy(action="off")
    assert (await make(CannedGenerator("poison [1]."), moderator=moderator, policy=policy).answer("poison")).answered
    assert moderator.texts == []


async def test_an_unreachable_moderator_stops_or_passes_by_policy(caplog: pytest.LogCaptureFixture) -> None:
    moderator = WordModerator(BAD, unreachable=True)
    open_policy, closed = ModerationPolicy(when_unreachable="open"), ModerationPolicy(when_unreachable="closed")
    answer = await make(CannedGenerator("40 bar [1]."), moderator=moderator, policy=open_policy).answer("When?")
    assert (answer.answered, answer.moderation) == (True, ())
    assert "without moderation" in caplog.text
    generator = CannedGenerator("40 bar [1].")
    with pytest.raises(ModerationError):
        await make(generator, moderator=moderator, policy=closed).answer("When?")
    assert generator.prompts == []


async def test_a_flagged_sentence_is_never_shown_and_ends_the_answer() -> None:
    generator = CannedGenerator("At 40 bar [1]. ", "Then poi", "son it. ", *["More. "] * 1000)
    events = await events_of(make(generator, moderator=WordModerator(BAD)))
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "At 40 bar [1].\n\nThe answer was stopped here by moderation."
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert shown == answer.text
    assert "poi" not in shown
    assert (answer.answered, answer.refusal, len(answer.citations)) == (False, "moderation", 1)
    assert any(isinstance(event, Moderated) and event.blocked and event.target == "answer" for event in events)
    assert generator.closed == 1
    assert generator.finished == 0


async def test_a_flagged_sentence_is_shown_and_reported_when_the_policy_only_flags() -> None:
    policy = ModerationPolicy(action="flag")
    events = await events_of(
        make(CannedGenerator("Poison: poison [1]. End."), moderator=WordModerator(BAD), policy=policy)
    )
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert (answer.text, answer.answered) == ("Poison: poison [1]. End.", True)
    assert [event.blocked for event in events if isinstance(event, Moderated)] == [False]


async def test_sentences_are_judged_while_the_next_are_written() -> None:
    generator = CannedGenerator(*[f"Sentence {number} [1]. " for number in range(8)], delay_s=0.03)
    moderator = WordModerator(BAD, delay_s=0.03)
    answer = await make(generator, moderator=moderator, policy=ModerationPolicy(question=False)).answer("When?")
    assert len(moderator.texts) == 8
    assert "".join(moderator.texts) == answer.text
    assert answer.timings_ms["total"] < 0.8 * 16 * 30  # one after the other would take 16 x 30 ms


async def test_thresholds_decide_what_is_flagged() -> None:
    policy = ModerationPolicy(thresholds={"violence": 0.95})
    assert (
        await make(CannedGenerator("40 bar [1]."), moderator=WordModerator(BAD), policy=policy).answer("poison")
    ).answered
    strict = ModerationPolicy(thresholds={"violence": 0.05})
    answer = await make(CannedGenerator("40 bar [1]."), moderator=WordModerator(BAD), policy=strict).answer("hello")
    assert answer.refusal == "moderation"
