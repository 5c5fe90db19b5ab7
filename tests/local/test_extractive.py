"""The generator that quotes: verbatim, cited, and silent when nothing fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answering.citations import cite
from rag.contracts import ABSTENTION, Generator
from rag.errors import EmbeddingError, GenerationError
from rag.local.candidates import candidates
from rag.local.embedder import LocalEmbedder
from rag.local.extractive import ExtractiveGenerator, choose
from rag.local.question_terms import read_question, term_weights
from rag.types import (
    EmbedderProfile,
    Embeddings,
    GenerationDone,
    GenerationSettings,
    Prompt,
    Source,
    TextDelta,
    TextKind,
    Turn,
    Usage,
)

LAMP = (
    "# Lumina lamp\n\nThe Lumina is a lamp for the desk. On a full charge its battery lasts eleven hours at the\n"
    "lowest setting, and about 3.5 hours at the highest. It weighs 410 g. Dr. Halvorsen designed it in 1987."
)
RETURNS = "You may return an unused item within 30 days. The money goes back to the card you paid with."
TOWER = "黑豹队是一支职业橄榄球队。黑豹队的防守在整个赛季只丢了308分，在联赛中排名第六。球队的主场位于夏洛特。"


def source(marker: int, text: str, *, title: str = "", score: float = 0.5) -> Source:
    return Source(marker, f"d{marker}.md", title, 0, len(text), text, None, (), score, (f"c{marker}",), (0,))


SOURCES = (source(1, LAMP, title="Lumina lamp"), source(2, RETURNS, title="Returns"), source(3, TOWER, title="黑豹队"))


class Stored:
    """The documents behind SOURCES."""

    def text(self, document_id: str, start: int, end: int) -> str:
        return {one.document_id: one.text for one in SOURCES}[document_id][start:end]

    def title(self, document_id: str) -> str:
        return document_id

    def page_at(self, document_id: str, offset: int) -> int | None:
        return None

    def place_at(self, document_id: str, offset: int) -> str:
        return "line 1"


@pytest.fixture(scope="module")
def generator() -> ExtractiveGenerator:
    return ExtractiveGenerator(LocalEmbedder())


async def written(
    generator: Generator, question: str, sources: Sequence[Source] = SOURCES, *, history: tuple[Turn, ...] = ()
) -> str:
    prompt = Prompt("", tuple(sources), question, history)
    events = [event async for event in generator.generate(prompt, settings=GenerationSettings())]
    assert events[-1] == GenerationDone("stop", "local/extractive", Usage())
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_it_quotes_the_sentence_that_answers_with_its_marker(generator: ExtractiveGenerator) -> None:
    text = await written(generator, "How long does the battery of the lamp last?")

    assert text.splitlines()[0] == (
        "On a full charge its battery lasts eleven hours at the lowest setting, and about 3.5 hours at the highest. [1]"
    )


async def test_it_quotes_chinese(generator: ExtractiveGenerator) -> None:
    text = await written(generator, "黑豹队的防守丢了多少分？")

    assert text.splitlines()[0] == "黑豹队的防守在整个赛季只丢了308分，在联赛中排名第六。 [3]"


@pytest.mark.parametrize(
    "question", ["Who is the president of Peru?", "What does a submarine cable cost per mile?", "长城有多长？"]
)
async def test_it_abstains_when_nothing_fits(generator: ExtractiveGenerator, question: str) -> None:
    assert await written(generator, question) == ABSTENTION


async def test_it_abstains_without_sources(generator: ExtractiveGenerator) -> None:
    assert await written(generator, "Why?", ()) == ABSTENTION


async def test_it_works_without_an_embedder() -> None:
    generator = ExtractiveGenerator(None)

    assert (await written(generator, "How many days may I take to return an item?")).startswith(
        "You may return an unused item within 30 days. [2]"
    )
    assert await written(generator, "Who is the president of Peru?") == ABSTENTION


@pytest.mark.parametrize("question", ["How long does the battery last?", "Who designed the lamp?", "黑豹队排名第几？"])
async def test_each_quote_is_found_word_for_word_in_the_source_it_names(
    generator: ExtractiveGenerator, question: str
) -> None:
    text = await written(generator, question)
    cited = cite(text, SOURCES, documents=Stored())

    assert cited.citations
    assert not cited.unknown_markers
    for line in text.splitlines():
        quote, _, marker = line.rpartition(" [")
        assert quote in " ".join(SOURCES[int(marker[:-1]) - 1].text.split())
    for citation in cited.citations:
        assert text[citation.answer_start : citation.answer_end].startswith(" ".join(citation.quote.split()))


async def test_a_follow_up_is_read_with_the_question_before_it(generator: ExtractiveGenerator) -> None:
    history = (Turn("user", "Tell me about the battery of the Lumina lamp."), Turn("assistant", "It has one. [1]"))

    assert "eleven hours" in await written(generator, "How long does it last?", history=history)


async def test_markers_and_abstentions_in_a_source_are_not_repeated(generator: ExtractiveGenerator) -> None:
    hostile = (
        "The ferry to Orkney[4] leaves daily at nine,[5] weather permitting.[6] "
        f"{ABSTENTION} is what the ferry to Orkney leaves daily at nine says."
    )

    text = await written(generator, "When does the ferry to Orkney leave?", [source(1, hostile)])

    assert text == "The ferry to Orkney [1] leaves daily at nine, [1] weather permitting. [1]"


async def test_what_a_colon_announces_comes_with_it(generator: ExtractiveGenerator) -> None:
    text = "Shipping is free.\n\nTo install the Lumina driver run:\n\n```\npip install lumina\n```\n\nHave fun with it."

    answer = await written(generator, "How do I install the Lumina driver?", [source(1, text)])

    assert answer.splitlines()[:2] == ["To install the Lumina driver run: [1]", "pip install lumina [1]"]


class FailingEmbedder:
    """An endpoint that is down."""

    profile = EmbedderProfile("down", 2, "cl100k_base")

    async def embed(self, texts: Sequence[str], *, kind: TextKind) -> Embeddings:
        raise EmbeddingError("no connection")


async def test_a_failing_embedder_is_a_generation_error() -> None:
    with pytest.raises(GenerationError, match="no connection"):
        await written(ExtractiveGenerator(FailingEmbedder()), "How long does the battery last?")


async def test_long_sentences_are_compared_window_by_window(generator: ExtractiveGenerator) -> None:
    long = "Among other things, " + "and 12, 13, 14, 15, 16, 17, 18; " * 17 + "the lamp has a battery."

    assert len(candidates([source(1, long)])) == 1
    await written(generator, "Does the lamp have a battery?", [source(1, long)])


def test_headings_rules_and_markers_alone_are_not_quoted() -> None:
    found = candidates([source(1, "# Refunds\n\n---\n\n[12]\n\nWe refund within 30 days. It e.g. takes 3.5 hours.")])

    assert [one.text for one in found] == ["We refund within 30 days.", "It e.g. takes 3.5 hours."]


def test_prose_is_told_from_headings_rows_and_code() -> None:
    prose = "It (the lamp) runs on a battery; see the table below."
    text = f"How it works\n\n{prose}\n\n| lamp | 410 g |\n\nconst now = computed(() => {{ return a.b; }});"

    assert [one.is_prose for one in candidates([source(1, text)])] == [False, True, False, False]


def test_the_best_is_quoted_first_and_ties_go_to_the_earlier() -> None:
    found = candidates([source(1, "First one here. Second one here. Third one here. First one here.")])

    chosen = choose(found, np.array([1.0, 1.5, 1.0, 1.0]), least=0.0)

    assert [one.text for one in chosen] == ["Second one here.", "First one here.", "Third one here."]
    assert choose(found, np.array([1.0, 1.5, 1.0, 1.0]), least=2.0) == []


def test_a_question_is_read_for_what_it_asks() -> None:
    english = read_question("How many floors has the Eiffel Tower?")
    chinese = read_question("黑豹队的防守丢了多少分？")

    assert english.terms == {"floor", "eiffel", "tower"}
    assert english.names == {"eiffel", "tower"}
    assert (english.cue_met("It has 3 of them."), english.cue_met("It has some.")) == (1, 0)
    assert {"黑豹", "豹队", "防守"} <= chinese.terms
    assert "多少" not in chinese.terms


def test_rare_terms_weigh_more_and_weights_add_up_to_one() -> None:
    weights = term_weights(frozenset("ab"), [frozenset("a"), frozenset("a"), frozenset("ab")])

    assert weights["b"] > weights["a"]
    assert sum(weights.values()) == pytest.approx(1)
    assert term_weights(frozenset(), []) == {}


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab。. \n`#:[1]|，", max_size=200))
def test_every_piece_of_any_source_is_verbatim(text: str) -> None:
    collapsed = " ".join(text.split())

    for candidate in candidates([source(1, text)]):
        assert all(piece in collapsed for piece in candidate.pieces)
