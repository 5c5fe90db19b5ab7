"""Terms by hand; BM25 against the obvious slow version; deletes that really delete."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import keywords
from index.filtering import AllowedRows
from index.keywords import KeywordIndex
from index.records import Position
from index.snapshot import DamagedIndexError
from index.terms import IndexedTerms, characters, terms

HERE = Position(1, "mark")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("!!! —— ★ 🎉", []),
        ("Running dogs ran", ["run", "dog", "ran"]),
        ("to be or not to be", ["to", "be", "or", "not", "to", "be"]),
        ("max_tokens", ["max_tokens", "max", "token"]),
        ("E-1042", ["e-1042", "e", "1042"]),
        ("v1.2.3", ["v1.2.3", "v1", "2", "3"]),
        ("foo.bar()", ["foo.bar", "foo", "bar"]),
        ("__init__", ["init"]),
        ("C++ and C#", ["c++", "c", "and", "c#", "c"]),
        ("maxTokens", ["maxtoken", "max", "token"]),
        ("HTTPServer2", ["httpserver2"]),
        ("Ada's don’t", ["ada", "don", "t"]),
        ("价格", ["价格"]),
        ("价格表", ["价格", "格表"]),
        ("价", ["价"]),
        ("使用API接口。", ["使用", "api", "接口"]),
        ("ＡＢＣ ﬁne Straße", ["abc", "fine", "strass"]),
        ("ひらがなカタカナ", ["ひら", "らが", "がな", "なカ", "カタ", "タカ", "カナ"]),
        ("한국어", ["한국", "국어"]),
        ("a\ud800b \0", ["a", "b"]),
    ],
    ids=repr,
)
def test_terms_of(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_a_run_without_spaces_is_cut_not_dropped() -> None:
    assert [len(term) for term in terms("x" * 300)] == [128, 128, 44]


def test_characters_of_runs_that_are_longer_than_one() -> None:
    assert characters("猫 and 小狗小, 鱼") == ["小", "狗", "小"]


@given(st.text())
def test_terms_never_hold_white_space_and_repeat(text: str) -> None:
    found = terms(text)
    assert terms(text) == found
    assert all(term and not any(c.isspace() for c in term) for term in found)


PIECES = [
    "cells,",
    "(Cells)",
    "C++",
    "c#.",
    "maxTokens",
    "max_tokens=1",
    "v1.2.3",
    "don't",
    "Ada's",
    "-x-",
    "__init__",
    "价格表。",
    "猫",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map(" ".join)))
def test_an_index_holds_the_terms_and_characters(text: str) -> None:
    of = IndexedTerms()
    expected = sorted([*terms(text), *characters(text)])
    assert sorted(of(text).split()) == expected
    assert sorted(of(text).split()) == expected, "remembered as they were found"


def indexed(texts: dict[int, str]) -> KeywordIndex:
    index = KeywordIndex.create(None)
    index.update(remove=[], add=texts.items(), position=HERE)
    return index


def found(index: KeywordIndex, query: str, *, k: int = 10) -> list[int]:
    return [row for row, _ in index.search(query, k=k)]


def bm25(texts: dict[int, str], query: str) -> dict[int, float]:
    """BM25 as in the textbook, with tantivy's k1 and b; the index's marker is one more document, without words."""
    bags = {row: Counter(terms(text)) for row, text in texts.items()} | {-1: Counter()}
    mean = sum(bag.total() for bag in bags.values()) / len(bags)
    scores: dict[int, float] = {}
    for term in terms(query):
        n = sum(term in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - n + 0.5) / (n + 0.5))
        for row, bag in bags.items():
            if term in bag:
                tf = bag[term]
                part = tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * bag.total() / mean))
                scores[row] = scores.get(row, 0.0) + idf * part
    return scores


VOCABULARY = ["cat", "dog", "fish", "bird", "run", "token", "price", "table", "model", "page"]
WORDS = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(bodies=st.lists(WORDS, min_size=1, max_size=12), question=WORDS)
def test_scores_are_those_of_the_textbook(bodies: list[list[str]], question: list[str]) -> None:
    texts = {row: " ".join(body) for row, body in enumerate(bodies)}
    expected = bm25(texts, " ".join(question))
    hits = dict(indexed(texts).search(" ".join(question), k=20))
    assert hits.keys() == expected.keys()
    assert hits == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("query", "expected"),
    [("价格", [1]), ("max tokens", [2]), ("max_tokens", [2]), ("E-1042", [3]), ("猫", [1, 3]), ("dogs", [2])],
)
def test_finds(query: str, expected: list[int]) -> None:
    index = indexed(
        {1: "第三页有价格表，小猫。", 2: "The max_tokens of a running dog", 3: "Error E-1042 猫咪 happened"}
    )
    assert sorted(found(index, query)) == expected


@pytest.mark.parametrize(
    "query", ["", "   ", "!!!", "()", '"', "AND", "text:dog AND -run", "dog^5 [a TO b]", "*", "/x/"]
)
def test_nothing_in_a_query_is_an_operator(query: str) -> None:
    index = indexed({1: "a dog runs", 2: "dog AND cat"})
    rows = found(index, query)
    assert rows == sorted(bm25({1: "a dog runs", 2: "dog AND cat"}, query), key=lambda row: rows.index(row))


@pytest.fixture
def telling_from_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take collections of four chunks and more for large ones."""
    monkeypatch.setattr(keywords, "_TELLING_FROM", 4)


@pytest.mark.usefixtures("telling_from_four")
def test_in_a_large_collection_the_commonest_words_have_no_say_beside_two_others() -> None:
    texts = {0: "the cat and the dog", 1: "the dog of the house", 2: "the fish", 3: "the the the", 4: "the bird"}
    hits = dict(indexed(texts).search("the cat or the dog", k=10))
    assert hits.keys() == {0, 1}, "not 2, 3 and 4, which have only 'the' in common with it"
    expected = bm25(texts, "cat dog")
    assert hits == pytest.approx({0: expected[0], 1: expected[1]}, rel=1e-4)


@pytest.mark.usefixtures("telling_from_four")
@pytest.mark.parametrize(
    "query", ["the", "the fish", "the fish zebra"], ids=["alone", "with one", "with an absent one"]
)
def test_in_a_large_collection_common_words_count_where_there_is_little_else(query: str) -> None:
    texts = {0: "the cat and the dog", 1: "the dog of the house", 2: "the fish", 3: "the the the", 4: "the bird"}
    assert dict(indexed(texts).search(query, k=10)) == pytest.approx(bm25(texts, query), rel=1e-4)


@pytest.mark.usefixtures("telling_from_four")
def test_a_filter_does_not_change_the_scores_of_a_large_collection() -> None:
    texts = {row: f"the {word} of the {VOCABULARY[row - 1]}" for row, word in enumerate(VOCABULARY)}
    index = indexed(texts)
    everywhere = dict(index.search("the cat of the dog", k=20))
    among = dict(index.search("the cat of the dog", k=20, allowed=AllowedRows(np.array([0, 2, 5]), 1, 1)))
    assert among == pytest.approx({row: everywhere[row] for row in (0, 2, 5) if row in everywhere}, rel=1e-5)
    assert among


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be"):
        indexed({1: "a"}).search("a", k=0)


def test_an_empty_index_finds_nothing() -> None:
    assert found(KeywordIndex.create(None), "dog") == []


def test_deleted_rows_are_gone_and_rows_tell(tmp_path: Path) -> None:
    index = KeywordIndex.create(tmp_path / "keywords")
    index.update(remove=[], add=[(row, f"dog number {row}") for row in range(50)], position=HERE)
    index.update(remove=list(range(40)), add=[(77, "one more dog")], position=Position(2, "later"))
    assert sorted(found(index, "dog", k=100)) == [*range(40, 50), 77]
    assert index.rows().tolist() == [*range(40, 50), 77]
    assert len(index) == 11


def test_the_position_is_in_the_commit(tmp_path: Path) -> None:
    index = KeywordIndex.create(tmp_path / "keywords")
    assert index.position is None
    index.update(remove=[], add=[], position=Position(5, "five"))
    assert KeywordIndex.open(tmp_path / "keywords").position == Position(5, "five")


def test_an_update_that_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    index = KeywordIndex.create(tmp_path / "keywords")
    index.update(remove=[], add=[(1, "dog")], position=HERE)

    def texts() -> object:
        yield 2, "dog"
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        index.update(remove=[1], add=texts(), position=Position(2, "x"))  # type: ignore[arg-type]
    index.reload()
    assert found(index, "dog") == [1]
    index.update(remove=[1], add=[(2, "dog")], position=Position(2, "x"))
    assert found(index, "dog") == [2]


def test_every_flipped_byte_of_a_segment_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "keywords"
    index = KeywordIndex.create(folder)
    index.update(remove=[], add=[(row, "dog cat fish") for row in range(5)], position=HERE)
    index.update(remove=[3], add=[], position=Position(2, "x"))
    for path in [path for path in folder.iterdir() if path.name.count(".") and path.suffix not in (".json", ".lock")]:
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
            with pytest.raises(DamagedIndexError):
                KeywordIndex.open(folder)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DamagedIndexError):
            KeywordIndex.open(folder)
        path.write_bytes(whole)
    assert KeywordIndex.open(folder).rows().tolist() == [0, 1, 2, 4]
