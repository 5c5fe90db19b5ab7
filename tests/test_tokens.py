"""Tokenizers: the shipped vocabularies are tiktoken's, offsets are right, and cutting at a seam changes no token."""

import base64
import hashlib
import lzma
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import ConfigError
from rag.seams import MAX_RUN, hard_cuts, late_seam, next_seam
from rag.tokens import BYTE_PAIR, TOKENIZERS, VOCABULARIES, BytePairTokenizer, pack, pinned_source, tokenizer, unpack

# Pieces at which pre-tokenisation is tricky, to be strung together.
PIECES = [
    *" \t\n\r\u3000\xa0\x1c'’/.,;:!?()，。；：！？、“”…-_#|*`~0123aZé中你好ﬁß",
    *(
        "'s",
        "'LL",
        "word",
        "WORLD",
        "Hello",
        "世界",
        "\r\n",
        "\n\n",
        "  ",
        "e\u0301",
        "ไทย",
        "हिन्दी",
        "한국어",
        "カタカナ",
    ),
    *(
        "😀",
        "👩‍👩‍👧",
        "🇨🇳",
        "\u200b",
        "\ufeff",
        "\x00",
        "<|endoftext|>",
        "...\n\n",
        ".\n/",
        "12345",
        "x" * 40,
        "\u0301",
    ),
]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(max_size=60),
    st.text(st.characters(), max_size=30),  # surrogates too
)
names = st.sampled_from(TOKENIZERS)


@pytest.fixture(scope="module")
def cl100k() -> BytePairTokenizer:
    return BytePairTokenizer("cl100k_base")


def slow_starts(tokenizer: BytePairTokenizer, text: str) -> list[int]:
    """The character in which each token's first byte lies, looked up byte by byte."""
    encoding = tokenizer.encoding
    character_of_byte = [i for i, character in enumerate(text) for _ in character.encode()]
    starts, at = [], 0
    for token in encoding.encode(text, disallowed_special=()):
        starts.append(character_of_byte[at])
        at += len(encoding.decode_single_token_bytes(token))
    return [*starts, len(text)]


@pytest.mark.parametrize("name", BYTE_PAIR)
def test_the_shipped_vocabulary_is_the_one_tiktoken_pins(name: str) -> None:
    ranks = unpack(lzma.decompress((VOCABULARIES / f"{name}.xz").read_bytes()))
    file = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    assert hashlib.sha256(file).hexdigest() == pinned_source(name)[1]


def test_packing_is_undone_by_unpacking() -> None:
    assert pack([b"a", b"bc"]) == b"\x02\0\0\0\x01\x02abc"
    assert unpack(pack([b"a", b"bc"])) == {b"a": 0, b"bc": 1}


@pytest.mark.parametrize(
    ("name", "ids"),
    [("cl100k_base", [15339, 1917]), ("o200k_base", [24912, 2375])],
)
def test_known_text_has_its_known_tokens(name: str, ids: list[int]) -> None:
    assert BytePairTokenizer(name).encoding.encode("hello world") == ids


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_is_made_once_and_knows_its_name(name: str) -> None:
    assert tokenizer(name) is tokenizer(name)
    assert tokenizer(name).name == name


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'gpt2'.*cl100k_base, o200k_base, minilm-wordpiece"):
        tokenizer("gpt2")


def test_a_token_inside_a_character_starts_at_that_character(cl100k: BytePairTokenizer) -> None:
    assert cl100k.starts("a 🐙🐙.").tolist() == [0, 1, 2, 2, 3, 3, 3, 4, 5]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_an_empty_text_has_no_tokens(name: str) -> None:
    assert tokenizer(name).count("") == 0
    assert tokenizer(name).starts("").tolist() == [0]


@pytest.mark.parametrize("name", BYTE_PAIR)
@given(text=texts.filter(lambda text: text.encode("utf-8", "ignore").decode() == text))
@settings(max_examples=150, deadline=None)
def test_starts_agree_with_looking_up_every_byte(name: str, text: str) -> None:
    made = tokenizer(name)
    assert isinstance(made, BytePairTokenizer)
    assert made.starts(text).tolist() == slow_starts(made, text)


@given(name=names, text=texts)
@settings(max_examples=300, deadline=None)
def test_starts_never_decrease_and_agree_with_the_count(name: str, text: str) -> None:
    starts = tokenizer(name).starts(text)
    assert starts.dtype == np.int64
    assert (np.diff(starts) >= 0).all()
    assert starts[-1] == len(text)
    assert len(starts) == tokenizer(name).count(text) + 1


@given(name=names, text=texts)
@settings(max_examples=500, deadline=None)
def test_cutting_at_any_seam_keeps_the_tokens(name: str, text: str) -> None:
    made = tokenizer(name)
    whole = made.starts(text).tolist()
    seam = next_seam(text, 1, len(text)) if text else 0
    while seam < len(text):
        left, right = made.starts(text[:seam]).tolist(), made.starts(text[seam:]).tolist()
        assert left[:-1] + [start + seam for start in right] == whole
        seam = next_seam(text, seam + 1, len(text))


@given(text=texts, start=st.integers(0, 60), end=st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_a_late_seam_is_a_seam_and_missed_only_where_there_is_none(text: str, start: int, end: int) -> None:
    end = min(end, len(text))
    start = min(start, end)
    seams, at = {0, len(text)}, 0
    while (at := next_seam(text, at + 1, len(text))) < len(text):
        seams.add(at)
    inside = [seam for seam in seams if start <= seam <= end]
    found = late_seam(text, start, end)
    assert found in inside or (found == start and not inside)


def long_runs() -> dict[str, str]:
    return {
        "blanks": " " * 1_200_000 + "x",
        "letters": "a" * 1_200_000,
        "line breaks": "\n" * 1_200_000 + "x",
        "Chinese": "中文字" * 400_000,
        "marks": "^" * 1_200_000,
    }


@pytest.mark.parametrize("kind", long_runs())
def test_a_run_without_a_seam_is_cut_and_takes_seconds_at_most(kind: str, cl100k: BytePairTokenizer) -> None:
    """Uncut, tiktoken 0.14 panics on the blanks."""
    text = long_runs()[kind]
    begun = time.perf_counter()
    starts = cl100k.starts(text)
    assert time.perf_counter() - begun < 20  # half a second where nothing else runs
    assert len(starts) > 1000
    assert starts[-1] == len(text)


def test_long_runs_are_cut_at_the_same_places_in_a_slice() -> None:
    begin = 17 * 30 - 1
    text = "some words here. " * 30 + "a" * 200_000 + " and more" * 20_000 + "b" * 90_000
    assert hard_cuts(text)[:3] == [begin + 65_536, begin + 131_072, begin + 196_608]
    assert [cut + begin for cut in hard_cuts(text[begin:])] == hard_cuts(text)
    assert hard_cuts("ordinary words, " * 10_000) == []


PARTS = {
    "words": "word " * 9_000,
    "letters": "a" * 70_000,
    "Chinese": "中文。" * 15_000,
    "blanks": " " * 66_000,
    "x": "x",
}


@given(parts=st.lists(st.sampled_from(sorted(PARTS)), max_size=6))
@settings(max_examples=12, deadline=None)
def test_a_text_of_long_runs_is_cut_only_within_them(parts: list[str]) -> None:
    text = "".join(PARTS[part] for part in parts)
    for cut in hard_cuts(text):
        assert next_seam(text, cut - MAX_RUN + 1, cut + 1) == cut + 1
    made = tokenizer("cl100k_base")
    assert made.count(text) == len(made.starts(text)) - 1


def test_an_altered_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read.*install the package again"):
        BytePairTokenizer("cl100k_base", tmp_path)
    (tmp_path / "PROVENANCE.json").write_text('{"files": {"cl100k_base.xz": {"packed_sha256": "00"}}}')
    (tmp_path / "cl100k_base.xz").write_bytes(lzma.compress(pack([b"a"])))
    with pytest.raises(ConfigError, match=r"was altered.*install the package again"):
        BytePairTokenizer("cl100k_base", tmp_path)


def test_what_looks_like_a_special_token_is_ordinary_text() -> None:
    for name in TOKENIZERS:
        made = tokenizer(name)
        assert made.count("<|endoftext|>") > 1
        assert made.starts("a<|endoftext|>b")[-1] == 15
