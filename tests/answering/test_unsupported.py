"""What is done about statements that their sources do not bear out: shown, left out, or written again."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.answer import Answerer, AnswerSettings
from rag.answering.citations import CitationStream
from rag.answering.context import pack
from rag.answering.delivery import Unsupported
from rag.answering.moderation import ModerationPolicy
from rag.answering.prompt import render_messages
from rag.answering.sifting import Sieve
from rag.contracts import ABSTENTION, Generator
from rag.errors import GenerationError
from rag.types import (
    Answer,
    AnswerEvent,
    Citation,
    GenerationDone,
    GenerationEvent,
    GenerationSettings,
    Moderated,
    Prompt,
    Removed,
    Statement,
    TextDelta,
    Usage,
)
from tests.fakes import CannedRetriever, Shelf, WordModerator, WordTokenizer, document, whole

BOOK = document("book.pdf", "The pump starts at 40 bar. ", "It stops at 60 bar, says Li.", title="Pump book")
STARTS = "The pump starts at 40 bar [1]."
STOPS = "It stops at 60 bar [1]."
WRONG = "The pump starts at 55 bar [1]."
NOWHERE = "The valve is red [7]."
UNCITED = "Valves are useful things."
REFUSAL = "The documents do not answer this question."


class DraftGenerator:
    """Writes the first draft, then the second, and so on; an error is raised in the place of its draft."""

    model = "drafts"

    def __init__(self, *drafts: str | GenerationError) -> None:
        self.prompts: list[Prompt] = []
        self._drafts = drafts

    async def generate(self, prompt: Prompt, *, settings: GenerationSettings) -> AsyncGenerator[GenerationEvent]:
        draft = self._drafts[len(self.prompts)]
        self.prompts.append(prompt)
        if isinstance(draft, GenerationError):
            raise draft
        for piece in re.findall(r"\S+\s*", draft):
            yield TextDelta(piece)
        yield GenerationDone("stop", f"draft-{len(self.prompts)}", Usage(100, 10))


async def events_of(
    generator: Generator, unsupported: Unsupported, *, moderator: WordModerator | None = None
) -> tuple[list[AnswerEvent], Answer]:
    answerer = Answerer(
        CannedRetriever(whole(BOOK)),
        generator,
        Shelf(BOOK),
        WordTokenizer(),
        moderator=moderator,
        policy=ModerationPolicy(),
        settings=AnswerSettings(unsupported=unsupported),
    )
    events = [event async for event in answerer.stream("When does it start?")]
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    assert tuple(event for event in events if isinstance(event, Citation)) == answer.citations
    assert tuple(event for event in events if isinstance(event, Statement)) == answer.statements
    for statement in answer.statements:
        assert answer.text[statement.start : statement.end].strip() == answer.text[statement.start : statement.end]
    return events, answer


async def test_flagged_statements_stay_and_come_as_events_after_their_citations() -> None:
    events, answer = await events_of(DraftGenerator(f"{STARTS} {WRONG}"), "flag")
    assert (answer.text, answer.removed) == (f"{STARTS} {WRONG}", ())
    found = [event for event in events if isinstance(event, Citation | Statement)]
    assert [type(event) for event in found] == [Citation, Statement] * 2
    assert [event.verdict for event in found] == ["supported", "supported", "unsupported", "unsupported"]


async def test_what_is_left_out_is_listed_and_the_places_of_the_rest_are_those_in_the_text() -> None:
    _, answer = await events_of(DraftGenerator(f"{WRONG} {STARTS} {NOWHERE}\n\n{UNCITED} {STOPS}"), "remove")
    assert answer.text == f"{STARTS}\n\n{UNCITED} {STOPS}"
    assert answer.removed == (
        Removed(WRONG, "unsupported", "the number 55 does not stand in the source"),
        Removed(NOWHERE, "unknown marker", "[7] names no source"),
    )
    spans = [answer.text[one.start : one.end] for one in answer.statements]
    assert spans == [STARTS, UNCITED, STOPS]
    assert [answer.text[one.answer_start : one.answer_end] for one in answer.citations] == [STARTS, STOPS]
    assert (answer.answered, answer.unknown_markers) == (True, ())


async def test_a_sentence_is_held_until_it_is_judged_and_then_shown_at_once() -> None:
    events, _ = await events_of(DraftGenerator(f"{STARTS} {WRONG} {STOPS}"), "remove")
    assert [event.text for event in events if isinstance(event, TextDelta)] == [STARTS, f" {STOPS}"]


@pytest.mark.parametrize("unsupported", ["remove", "regenerate"])
async def test_where_nothing_is_borne_out_the_documents_do_not_say(unsupported: Unsupported) -> None:
    draft = f"{UNCITED} {WRONG}"
    _, answer = await events_of(DraftGenerator(draft, draft), unsupported)
    assert (answer.text, answer.answered, answer.refusal) == (REFUSAL, False, "not_in_documents")
    assert (answer.citations, answer.statements) == ((), ())
    assert {sentence.text for sentence in answer.removed} == {UNCITED, WRONG}


async def test_a_text_that_states_nothing_is_shown() -> None:
    _, answer = await events_of(DraftGenerator("Yes."), "remove")
    assert (answer.text, answer.answered) == ("Yes.", True)


async def test_an_answer_is_written_again_with_the_reasons_named_and_the_better_is_shown() -> None:
    generator = DraftGenerator(f"{WRONG} {STOPS}", f"{STARTS} {STOPS}")
    _, answer = await events_of(generator, "regenerate")
    assert (answer.text, answer.model, answer.removed) == (f"{STARTS} {STOPS}", "draft-2", ())
    assert answer.usage == Usage(200, 20)
    assert answer.notes == (
        "1 statement was not borne out, so the answer was written again: the second is shown "
        "(first 1 of 2 statements supported, second 2 of 2 statements supported)",
    )
    assert generator.prompts[0].objections == ()
    request = render_messages(generator.prompts[1], boundary=lambda: "123456789")[-1]["content"]
    assert f"<draft-123456789>\n- “{WRONG}”: the number 55 does not stand in the source\n</draft-123456789>" in request


@pytest.mark.parametrize(
    ("second", "note"),
    [
        (f"{WRONG} {NOWHERE}", "the first is shown, for the second is no better"),
        (ABSTENTION, "the second says that the documents do not answer, the first is shown"),
        (GenerationError("the endpoint is down"), "writing it again failed: the endpoint is down"),
    ],
)
async def test_the_first_stays_where_the_second_is_no_better(second: str | GenerationError, note: str) -> None:
    _, answer = await events_of(DraftGenerator(f"{STARTS} {NOWHERE}", second), "regenerate")
    assert answer.text == f"{STARTS} {NOWHERE}"
    assert [one.verdict for one in answer.statements] == ["supported", "unknown marker"]
    assert (answer.unknown_markers, len(answer.notes)) == ((7,), 1)
    assert note in answer.notes[0]


async def test_an_honest_second_is_better_than_a_first_without_support() -> None:
    _, answer = await events_of(DraftGenerator(WRONG, ABSTENTION), "regenerate")
    assert (answer.text, answer.refusal) == (REFUSAL, "not_in_documents")


async def test_nothing_is_written_again_where_all_is_borne_out() -> None:
    generator = DraftGenerator(f"{STARTS} {STOPS}")
    _, answer = await events_of(generator, "regenerate")
    assert (len(generator.prompts), answer.text, answer.notes) == (1, f"{STARTS} {STOPS}", ())


async def test_moderation_stops_an_answer_whose_sentences_are_held() -> None:
    moderator = WordModerator({"poison": "violence"})
    events, answer = await events_of(DraftGenerator(f"{STARTS} Drink poison [1]."), "remove", moderator=moderator)
    assert (answer.text.startswith(STARTS), answer.refusal) == (True, "moderation")
    assert sum(isinstance(event, Moderated) for event in events) == 1


_PIECES = st.sampled_from(
    [STARTS, STOPS, WRONG, NOWHERE, UNCITED, "# Head", "- ", "\n", "\n\n", " ", "Two ways:", "。"]
)


@given(st.lists(_PIECES, max_size=12).map(" ".join), st.lists(st.integers(0, 300), max_size=6))
def test_what_a_sieve_shows_is_the_text_without_what_it_lists(text: str, cuts: Sequence[int]) -> None:
    sources = pack([whole(BOOK)], documents=Shelf(BOOK), tokenizer=WordTokenizer(), budget_tokens=1000)
    stream, sieve = CitationStream(sources, documents=Shelf(BOOK)), Sieve()
    shown = []
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(edges):
        for sentence in stream.feed(text[start:end]):
            shown += sieve.take(stream.text, sentence)
    for sentence in stream.finish():
        shown += sieve.take(stream.text, sentence)
    shown += sieve.finish()
    assert "".join(event.text for event in shown if isinstance(event, TextDelta)) == sieve.text
    assert all(statement.verdict in ("supported", "partly", "uncited") for statement in sieve.statements)
    for statement in sieve.statements:
        assert sieve.text[statement.start : statement.end] in text
    left = sieve.text + "".join(sentence.text for sentence in sieve.removed)
    if sieve.text or not sieve.removed:
        assert sorted("".join(left.split())) == sorted("".join(text.split()))
