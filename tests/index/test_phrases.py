"""Phrases: what is read out of a query, what stands in a text, and which chunks a search then lets through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.collection import Collection
from index.library import Library
from index.many import ManyRetriever
from index.phrases import Phrase, held_by, wanted_exactly
from index.retriever import HybridRetriever
from index.terms import IndexedTerms
from rag.filter_text import parse_filter
from rag.types import Chunk
from tests.fakes import LengthEmbedder
from tests.index.shelving import CONFIG, shelve


@pytest.mark.parametrize(
    ("query", "phrases", "quoted"),
    [
        ('find "exact words" here', ["exact words"], True),
        ("“exact words”「价格表」", ["exact words", "价格表"], True),
        ('"one" "two" "one"', ["one", "two"], True),
        ('什么是"价格表"？', ["价格表"], True),
        ('a 5" pipe and a 7" pipe', [], False),
        ('an unclosed "quote', [], False),
        ('"" and "  "', [], False),
        ("E-1042", ["E-1042"], False),
        ("foo.bar() maxTokens", ["foo.bar()", "maxTokens"], False),
        ("max_tokens, top_p", ["max_tokens", "top_p"], False),
        ("what is E-1042", [], False),
        ("well-known 2024", [], False),
        ("https://example.com/a_b", [], False),
        ("", [], False),
    ],
)
def test_a_query_says_what_it_wants_word_for_word(query: str, phrases: list[str], quoted: bool) -> None:
    wanted = wanted_exactly(query)
    assert [phrase.text for phrase in wanted.phrases] == phrases
    assert wanted.quoted == quoted


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("warm start", "A WARM\n\t  start."),
        ("ＡＢＣ 12", "abc １２"),
        ("价格表", "看 价格\n表 吧"),
        ("don't stop", "they don’t stop"),
        ("2019-2020", "in 2019–2020"),
        ("bold words", "some **bold** words"),
        ("dog", "the dog's bone"),
        ("tokens per", "max_tokens per minute"),
        ("猫", "小猫咪"),
        ("C++", "in C++, mostly"),
    ],
)
def test_a_phrase_stands_in_a_text_however_it_is_written(phrase: str, text: str) -> None:
    assert Phrase(phrase).stands_in(text)
    assert Phrase(phrase).required <= set(IndexedTerms()(text).split())


@pytest.mark.parametrize(
    ("phrase", "text"),
    [("art", "a start"), ("warm start", "warm, cold start"), ("start warm", "warm start"), ("格价", "价格")],
)
def test_a_phrase_does_not_stand_where_only_its_words_do(phrase: str, text: str) -> None:
    assert not Phrase(phrase).stands_in(text)


WORDS = st.sampled_from([
    *("the", "Zebra's", "max_tokens", "E-1042", "v1.2.3", "maxTokens", "C++", "C#", "don’t", "ＡＢＣ", "naïve"),
    *("价格表", "猫", "iPhone15手机", "ソニー", "서울", "สวัสดี", "--", "*bold*", "`code`", "rock-n-roll"),
    *("a.b.c", "Straße", "ﬁne"),
])  # fmt: skip


@given(
    words=st.lists(WORDS, min_size=1, max_size=8), data=st.data(), blank=st.sampled_from([" ", "\n", "  ", "\u3000"])
)
def test_any_words_of_a_text_are_found_in_it_and_its_index(words: list[str], data: st.DataObject, blank: str) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    phrase = Phrase(" ".join(words[first:last]))
    text = blank.join(words)
    assert phrase.required <= set(IndexedTerms()(text).split())
    assert phrase.stands_in(text) or not phrase.required


def test_of_many_chunks_with_the_words_as_many_are_looked_at_as_are_needed() -> None:
    texts = {row: "start warm" for row in range(3000)} | {2500: "warm start", 2600: "warm start"}
    looked: list[int] = []

    def search(query: str, required: Sequence[str], k: int) -> list[int]:
        assert set(required) == {"warm", "start"}
        return list(texts)[:k]

    def read(rows: Iterable[int]) -> dict[int, Chunk]:
        looked.extend(rows)
        return {row: Chunk(str(row), "doc", 0, 1, texts[row], 1) for row in rows}

    held = held_by(wanted_exactly('"warm start"'), search, read, n=10)
    assert (held.rows, held.note) == ((2500, 2600), "")
    assert looked == list(texts), "each is read once"


def test_a_search_that_ends_before_all_were_looked_at_says_so() -> None:
    def read(rows: Iterable[int]) -> dict[int, Chunk]:
        return {row: Chunk(str(row), "doc", 0, 1, "start warm", 1) for row in rows}

    held = held_by(wanted_exactly('"warm start"'), lambda query, required, k: range(k), read, n=10)
    assert held.rows is None
    assert "the best 12,800 were looked at" in held.note
    assert "no passage holds “warm start”" in held.note


@pytest.fixture
def filled(library: Library, collection: Collection) -> Collection:
    with collection.writer("test") as writer:
        shelve(library, collection, writer, "far.txt", "zebra zebra start warm zebra")
        shelve(library, collection, writer, "near.txt", "some longer text in which a Warm\nStart is named once")
        shelve(library, collection, writer, "价格.txt", "价格表在第三页")
        shelve(library, collection, writer, "码.txt", "错误 E-1042 见手册")
    return collection


async def found(collection: Collection, query: str, filter_: str = "") -> tuple[list[str], tuple[str, ...]]:
    parsed = parse_filter(filter_) if filter_ else None
    retrieval = await HybridRetriever(collection, LengthEmbedder(), filter_=parsed).retrieve(query, k=9)
    return [hit.chunk.document_id for hit in retrieval.hits], retrieval.notes


async def test_only_what_holds_the_quoted_words_is_let_through(filled: Collection) -> None:
    assert await found(filled, 'zebra "warm start"') == (["near.txt"], ())
    assert await found(filled, "「价格表」") == (["价格.txt"], ())
    assert await found(filled, "E-1042") == (["码.txt"], ())
    assert len(set((await found(filled, "zebra warm start"))[0])) == 4


async def test_words_that_nothing_holds_side_by_side_are_searched_as_others_and_that_is_said(
    filled: Collection,
) -> None:
    names, notes = await found(filled, '"zebra warm"')
    assert set(names) == {name for name in (await found(filled, "zebra warm"))[0]}
    assert notes == ("no passage holds “zebra warm”: searched as if it were not quoted",)
    assert (await found(filled, "E-9999"))[1] == ()


async def test_phrases_that_no_chunk_holds_together_are_found_each_for_itself(filled: Collection) -> None:
    names, notes = await found(filled, '"warm start" or "start warm"')
    assert set(names) == {"near.txt", "far.txt"}
    assert notes == ("no passage holds “warm start” and “start warm” together: these hold one of them",)


async def test_a_quote_without_words_is_not_looked_for(filled: Collection) -> None:
    names, notes = await found(filled, 'zebra "->"')
    assert names[0] == "far.txt"
    assert notes == ("“->” holds no word to look for; searched without it",)


async def test_a_phrase_is_looked_for_in_what_the_filter_allows(filled: Collection) -> None:
    names, notes = await found(filled, '"warm start"', 'path != "near.txt"')
    assert "near.txt" not in names
    assert "no passage holds" in notes[0]


def test_where_one_collection_holds_the_words_the_others_are_silent(library: Library, filled: Collection) -> None:
    other = library.create("other", CONFIG)
    with other.writer("test") as writer:
        shelve(library, other, writer, "warm.txt", "warm warm warm start start")
        shelve(library, other, writer, "cold.txt", "cold start")
    retrievers = [HybridRetriever(one, LengthEmbedder()) for one in (filled, other)]
    many = ManyRetriever([filled, other], retrievers)
    both = asyncio.run(many.retrieve('"start warm"', k=9))
    assert [hit.chunk.document_id for hit in both.hits] == ["main/far.txt"]
    assert both.notes == ()
    none = asyncio.run(many.retrieve('"start zebra"', k=9))
    assert len(none.hits) > 2
    assert none.notes == ("no passage holds “start zebra”: searched as if it were not quoted",)
