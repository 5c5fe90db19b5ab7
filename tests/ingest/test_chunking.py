"""Chunks: never over the limit, exact offsets, nothing lost, and ends where a reader would end them."""

import dataclasses
import re
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ingest.blocks import fenced_code
from ingest.boundaries import Boundaries
from ingest.chunking import chunk, default_settings
from ingest.ruler import TokenRuler
from rag.contracts import Tokenizer
from rag.errors import ConfigError
from rag.tokens import TOKENIZERS, tokenizer
from rag.types import Chunk, ChunkingSettings, Document, EmbedderProfile, EmbeddingLimits, Heading, Page

DATA = Path(__file__).parents[3] / "shared/data/docs"


class Letters:
    """A tokenizer that can be counted by hand: every character is a token."""

    name = "letters"

    def count(self, text: str) -> int:
        return len(text)

    def starts(self, text: str) -> NDArray[np.int64]:
        return np.arange(len(text) + 1, dtype=np.int64)


def document(text: str, headings: tuple[Heading, ...] = (), pages: tuple[Page, ...] = ()) -> Document:
    return Document("d.md", "D", text, "00", "text/plain", "test", pages=pages, headings=headings)


def markdown(text: str) -> Document:
    found = re.finditer(r"^(#+) (.+)$", text, re.MULTILINE)
    return document(text, tuple(Heading(len(match[1]), match[2], match.start()) for match in found))


def texts_of(text: str, tokens: int, overlap: int = 0) -> list[str]:
    made = chunk(markdown(text), Letters(), ChunkingSettings(tokens, overlap))
    return [piece.text for piece in made]


def check(document: Document, made: list[Chunk], tokenizer: Tokenizer, limit: int) -> None:
    """What must be true of any chunks, said in the slowest and plainest way."""
    text = document.text
    covered = [False] * len(text)
    for piece in made:
        assert piece.text == text[piece.start : piece.end]
        assert piece.context == text[piece.context_start : piece.context_start + len(piece.context)]
        assert piece.n_tokens == tokenizer.count(piece.embedded_text)
        assert piece.n_tokens <= limit
        assert not piece.text[0].isspace()
        assert not piece.text[-1].isspace()
        assert piece.page == document.page_at(piece.start)
        assert piece.headings == document.headings_at(piece.start)
        covered[piece.start : piece.end] = [True] * (piece.end - piece.start)
    for left, right in pairwise(made):
        assert left.start < right.start
        assert left.end < right.end
    assert all(seen or character.isspace() for seen, character in zip(covered, text, strict=True))
    assert len({piece.id for piece in made}) == len(made)


# --- for any text ----------------------------------------------------------------------------------------------------

PIECES = [
    *(
        "A sentence of some words. ",
        "Is it? ",
        "She said “yes.” ",
        "e.g. this one, ",
        "no stop here ",
        "Dr. No, 3.14! ",
    ),
    *("今天天气很好。", "他说：“好的！”", "真的吗？", "一二三，四五六；", "中文", "…"),
    *(
        "\n",
        "\n\n",
        " ",
        "   ",
        "\t",
        "\r\n",
        "# Heading\n",
        "## 标题\n\n",
        "- item\n",
        "1. first\n",
        "Title\n=====\n\n",
    ),
    *(
        "```py\nx = 1\n\ny = 2\n```\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "| 3 | /x y. Z |\n",
        "/|\n",
        "~~~\n\ncode\n~~~\n",
        "```\n",
        "|\n",
    ),
    *(
        "😀",
        "👩‍👩‍👧",
        "🇨🇳🇫🇷",
        "e\u0301",
        "\u200b",
        "\ufeff",
        "\x00",
        "\ud800",
        "\u3000",
        "ไทย",
        "हिन्दी",
        "<|endoftext|>",
    ),
    *(
        "supercalifragilistic",
        "https://a.example/b?c=d&e=f#g",
        "x" * 90,
        "0123456789" * 4,
        "def f(a, b):\n    return a+b\n",
    ),
]
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.text(max_size=200),
    st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 30)), max_size=5).map(
        lambda parts: "".join(piece * times for piece, times in parts)
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A text with the headings it seems to have, and perhaps pages broken anywhere."""
    made = markdown(draw(texts))
    breaks = sorted(draw(st.lists(st.integers(0, len(made.text)), max_size=3)))
    edges = [0, *breaks, len(made.text)]
    pages = tuple(Page(i + 1, edges[i], edges[i + 1]) for i in range(len(edges) - 1)) if breaks else ()
    return dataclasses.replace(made, pages=pages)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(made=documents(), tokens=st.integers(16, 60), part=st.floats(0, 0.49))
@settings(max_examples=150, deadline=None)
def test_any_text_is_cut_without_loss_within_the_limit(name: str, made: Document, tokens: int, part: float) -> None:
    tokenizer_ = tokenizer(name)
    chunks = chunk(made, tokenizer_, ChunkingSettings(tokens, int(tokens * part)))
    check(made, chunks, tokenizer_, tokens)


@given(text=texts, name=st.sampled_from(TOKENIZERS), data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_ruler_counts_any_slice_as_the_tokenizer_does(text: str, name: str, data: st.DataObject) -> None:
    made = tokenizer(name)
    ruler = TokenRuler(text, made)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert ruler.count(ruler.origin(start, within=16), end) == made.count(text[start:end])


@cache
def real_documents() -> tuple[Document, ...]:
    patterns = ("vue-docs-zh/src/guide/**/*.md", "python-doc/_sources/tutorial/*.txt", "tldr/pages.zh/common/git*.md")
    if not DATA.is_dir():
        pytest.skip("no ../shared/data/docs beside this checkout")
    paths = [path for pattern in patterns for path in sorted(DATA.glob(pattern))[:12]]
    return tuple(markdown(path.read_text("utf-8")) for path in paths)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_real_documents_keep_every_promise(name: str) -> None:
    made = tokenizer(name)
    for source in real_documents():
        check(source, chunk(source, made, ChunkingSettings(200, 25)), made, 200)


# --- where chunks end ------------------------------------------------------------------------------------------------


def test_a_text_that_fits_is_one_chunk_without_its_margins() -> None:
    assert texts_of("\n\n  One. Two.  \n", 16) == ["One. Two."]


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000\n"])
def test_nothing_printed_gives_no_chunks(text: str) -> None:
    assert texts_of(text, 16) == []


def test_a_section_ends_a_chunk_rather_than_a_paragraph() -> None:
    text = "An introduction of some words.\n\n# Next\n\nFirst.\n\nSecond paragraph that goes on and on."
    assert texts_of(text, 44)[0] == "An introduction of some words."


def test_a_paragraph_ends_a_chunk_rather_than_a_sentence() -> None:
    text = "One paragraph here. It has two.\n\nAnother one. It is cut. The rest goes on."
    assert texts_of(text, 46)[0] == "One paragraph here. It has two."


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Alpha beta gamma. Delta epsilon zeta eta theta iota", "Alpha beta gamma."),
        ("Is it so? Perhaps it is, or perhaps it is not so", "Is it so?"),
        ("He said “go now!” Then he went home to the others", "He said “go now!”"),
        ("(It was late.) They all went home and slept on", "(It was late.)"),
        ("今天天气很好。我们去公园散步，然后一起吃饭再回家去吧大家都很高兴呢", "今天天气很好。"),
        ("他说：“好的！”然后就走了没有再回来过他们都在等他回家吃饭去了呢吧啊哦", "他说：“好的！”"),
        ("这难道是真的吗？！我不相信他会这样做因为他从来没有做过这种事情在以前的时候呢", "这难道是真的吗？！"),
    ],
)
def test_a_sentence_ends_a_chunk(text: str, first: str) -> None:
    assert texts_of(text, 32)[0] == first


@pytest.mark.parametrize(
    "text",
    [
        "We met with Dr. Smith at 3.14 p.m. near e.g. www.example.com in v2.0.1 of",
        "The works of J. R. R. Tolkien and of Mr. Lewis, cf. Fig. 3 in vol. 2",
        "Numbers such as 1.5 and 2.25 or names like os.path and numpy.linalg",
    ],
)
def test_a_full_stop_within_a_sentence_ends_no_chunk(text: str) -> None:
    for piece in texts_of(text, 32)[:-1]:
        assert not piece.endswith(".")


def test_a_list_item_ends_a_chunk() -> None:
    text = "- first item of the list\n- second item\n- third item, a longer one"
    assert texts_of(text, 42) == ["- first item of the list\n- second item", "- third item, a longer one"]


def test_a_wrapped_line_yields_to_a_sentence() -> None:
    text = "A line that is wrapped here. And the next\nsentence goes on and on until it ends."
    assert texts_of(text, 60)[0] == "A line that is wrapped here."


def test_words_and_characters_are_the_last_resort() -> None:
    assert texts_of("alpha beta gamma delta epsilon", 16)[0] == "alpha beta gamma"
    assert texts_of("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往", 16) == [
        "天地玄黄宇宙洪荒日月盈昃辰宿列张"[:16],
        "寒来暑往",
    ]


@pytest.mark.parametrize("cluster", ["👩‍👩‍👧‍👦", "👍🏽", "🇨🇳", "e\u0301\u0323", "ก็", "\r\n"])
def test_what_is_read_as_one_character_is_not_cut(cluster: str) -> None:
    for shift in range(len(cluster)):
        pieces = texts_of("x" * (20 - shift) + cluster + "y" * 30, 20)
        assert any(cluster in piece for piece in pieces) or cluster == "\r\n"


def test_a_heading_stays_with_the_text_that_follows() -> None:
    text = "Some words to begin with here.\n\n# A\n\n## B\n\nText of B, which is so long that it is cut. More."
    pieces = texts_of(text, 45)
    assert pieces[0] == "Some words to begin with here."
    assert pieces[1].startswith("# A\n\n## B\n\nText of B")


def test_an_underlined_heading_stays_with_the_text_that_follows() -> None:
    text = "Some words to begin with here.\n\nTitle\n=====\n\nText of the title, so long that it is cut. More."
    source = document(text, (Heading(1, "Title", text.index("Title")),))
    made = chunk(source, Letters(), ChunkingSettings(45, 0))
    assert [piece.text for piece in made][:1] == ["Some words to begin with here."]
    assert made[1].headings == ("Title",)


def test_a_short_rest_is_shared_out_instead_of_left_alone() -> None:
    text = " ".join(["Ten signs."] * 21)
    lengths = [len(piece) for piece in texts_of(text, 100)]
    assert len(lengths) == 3
    assert min(lengths) >= 25


def test_code_between_fences_stays_whole_where_it_fits() -> None:
    code = "```py\na = 1\n\nb = 2\n\nc = 3\n```"
    text = f"Some words before the code.\n\n{code}\n\nSome words after the code."
    pieces = texts_of(text, 48, 8)
    assert any(code in piece for piece in pieces)


def test_a_table_stays_whole_where_it_fits() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |"
    text = f"Some words before the table, many.\n{table}\nSome words after the table."
    assert any(table in piece for piece in texts_of(text, 50))


def test_code_too_long_for_a_chunk_is_cut_at_its_lines() -> None:
    code = "```\n" + "".join(f"line_{i} = {i}\n" for i in range(40)) + "```"
    for piece in texts_of(code, 60):
        assert re.fullmatch(r"(```\n)?(line_\d+ = \d+\n?)*(```)?", piece)


def test_fenced_code_is_found_where_markdown_has_it() -> None:
    text = "a `b` ```c```\n```py\nx\n````\ny\n```\n\nT\n~~~\n\n| a |\n| b |\n\n~~~~\n~~~\n~~~~\n``` open\n|"
    assert [text[start:end] for start, end in fenced_code(text)] == ["```py\nx\n````", "~~~~\n~~~\n~~~~"]


# --- overlap ---------------------------------------------------------------------------------------------------------


def test_a_chunk_repeats_the_last_sentences_of_the_one_before() -> None:
    text = " ".join(f"Sentence number {i}." for i in range(10, 40))
    made = chunk(document(text), Letters(), ChunkingSettings(100, 40))
    for left, right in pairwise(made):
        assert 20 <= left.end - right.start <= 60
        assert right.text.startswith("Sentence")


def test_nothing_is_repeated_across_a_heading() -> None:
    text = "First section. It has text. And more.\n\n# Second\n\nIts own text is here. And a bit more of it."
    made = chunk(markdown(text), Letters(), ChunkingSettings(50, 20))
    assert made[1].text.startswith("# Second")
    assert made[1].headings == ("Second",)


def test_without_sentences_the_overlap_begins_at_a_word() -> None:
    made = chunk(document("alpha beta gamma delta epsilon zeta eta theta"), Letters(), ChunkingSettings(24, 8))
    assert made[1].start < made[0].end
    assert all(re.match(r"\b\w+\b", piece.text) for piece in made)


# --- pages and headings ----------------------------------------------------------------------------------------------


def test_a_sentence_may_run_over_a_page() -> None:
    text = "The first page ends amid\n\na sentence. The second page goes on. And on and on."
    edge = text.index("a sentence")
    pages = (Page(1, 0, edge), Page(2, edge, len(text)))
    made = chunk(document(text, pages=pages), Letters(), ChunkingSettings(44, 0))
    assert made[0].text.endswith("a sentence.")
    assert [piece.page for piece in made] == [1, 2]


def test_a_chunk_knows_the_headings_above_its_first_character() -> None:
    source = markdown("# One\n\nText a.\n\n## Two\n\nText b.\n\n# Three\n\nText c.")
    made = chunk(source, Letters(), ChunkingSettings(20, 0))
    assert [piece.headings for piece in made] == [("One",), ("One", "Two"), ("Three",)]


# --- settings and speed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "tokens", "overlap"), [(8191, 512, 64), (512, 512, 64), (254, 240, 30), (16, 16, 2)]
)
def test_default_settings_fit_the_window_of_the_embedder(window: int, tokens: int, overlap: int) -> None:
    profile = EmbedderProfile("m", 3, "cl100k_base", EmbeddingLimits(max_input_tokens=window))
    assert default_settings(profile) == ChunkingSettings(tokens, overlap)


def test_an_embedder_that_takes_next_to_nothing_is_refused() -> None:
    profile = EmbedderProfile("tiny", 3, "cl100k_base", EmbeddingLimits(max_input_tokens=15))
    with pytest.raises(ConfigError, match=r"'tiny' takes at most 15 tokens.*Correct max_input_tokens"):
        default_settings(profile)


@pytest.mark.parametrize("unit", ["a", " x", "中", "\n\n", " ", "^", "```\n", "|\n", "😀", "word. "], ids=repr)
def test_a_megabyte_of_one_thing_takes_seconds(unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode())) + "."
    made = tokenizer("cl100k_base")
    begun = time.process_time()
    pieces = chunk(document(text), made, ChunkingSettings(512, 64))
    assert time.process_time() - begun < 10  # a second where nothing else runs
    assert all(piece.n_tokens <= 512 for piece in pieces)
    assert pieces[-1].text.endswith(".")


def test_boundaries_of_an_empty_text_are_none() -> None:
    nothing = Boundaries("", (), (), ())
    assert nothing.trimmed(0) == nothing.next_printed(0) == 0
