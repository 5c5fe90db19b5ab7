"""The tokenizer of the embedded model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.local.wordpiece import WordPieceTokenizer

TOKENIZER = WordPieceTokenizer()


def pieces(text: str) -> list[str]:
    starts = TOKENIZER.starts(text)
    return [text[start:end] for start, end in itertools.pairwise(starts)]


def test_tokens_begin_where_their_words_begin_in_the_original_text() -> None:
    assert pieces("Café Zürich, embeddings") == ["Café ", "Zürich", ", ", "em", "bed", "ding", "s"]


def test_a_text_without_tokens_has_one_offset() -> None:
    assert TOKENIZER.starts("").tolist() == [0]
    assert TOKENIZER.starts("  \n").tolist() == [3]
    assert TOKENIZER.count("") == 0


@pytest.mark.parametrize("special", ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"])
def test_what_looks_like_a_special_token_is_ordinary_text(special: str) -> None:
    (tokens,) = TOKENIZER.encode([f"the {special} token"])

    assert not set(tokens.ids) & {0, 100, 101, 102, 103}


def test_long_text_is_neither_cut_nor_padded() -> None:
    text = "word " * 5000

    assert TOKENIZER.count(text) == 5000
    assert [len(tokens.ids) for tokens in TOKENIZER.encode([text, "word"])] == [5000, 1]


def test_an_unknown_word_counts_one_token_per_character() -> None:
    thai = "สวัสดีชาวโลก"

    assert TOKENIZER.count(thai) == len(thai)
    assert TOKENIZER.count("x" * 100_000) == 100_000
    assert len(TOKENIZER.encode(["x" * 100_000])[0].ids) == 1


def test_a_character_of_several_tokens_gives_each_its_offset() -> None:
    assert TOKENIZER.starts("한국").tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_a_lone_surrogate_is_read_as_the_replacement_character() -> None:
    assert TOKENIZER.starts("a \ud800 b").tolist() == TOKENIZER.starts("a \ufffd b").tolist()


def test_cutting_into_pieces_changes_no_token() -> None:
    text = "The naïve café's menu, page 12: crème brûlée 中文 (7.50). " * 400

    whole = TOKENIZER.encode([text])[0]

    assert TOKENIZER.count(text) == len(whole.ids)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_offsets_never_decrease_and_end_with_the_text(text: str) -> None:
    starts = TOKENIZER.starts(text)

    assert starts.dtype == np.int64
    assert starts[-1] == len(text)
    assert (np.diff(starts) >= 0).all()
    assert TOKENIZER.count(text) == len(starts) - 1 >= len(TOKENIZER.encode([text])[0].ids)


def test_words_and_foreign_words_are_told_from_numbers_and_marks() -> None:
    (tokens,) = TOKENIZER.encode(["What does 关系 mean in 2024?"])

    assert (len(tokens.ids), tokens.n_words, tokens.n_foreign) == (9, 6, 2)
