"""Headings found by a look at the lines are those that the parser finds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ingest.normalise import normalise
from ingest.readers.markdown_headings import headings_of

LINES = [
    *(
        "# a",
        "## b #",
        "####### c",
        "#",
        "# ",
        "#x",
        "# `a` *b*",
        "# a {#x}",
        "   # three",
        "\\# no",
        "# a \\#",
        "#\ta",
    ),
    *(
        "```",
        "~~~",
        "````",
        "``` py",
        "``` a`b",
        "text",
        "- item",
        "  more",
        "    code",
        "\tcode",
        "- # in a list",
        "+ ```",
    ),
    *("> quote", "> # in a quotation", "---", "===", "1. one", "", "", "***", "* * *", "-", "| a | b |", "|---|---|"),
    *("<div>", "<!-- x", "-->", "a <b>", "[x]: /y", "[x]:", "'t", "# a #b ##", "## &amp; x"),
]


def parsed(text: str) -> list[tuple[int, int]]:
    """Level and line of each heading that CommonMark has in a text."""
    tokens = MarkdownIt("commonmark").parse(text)
    opened = pairwise(tokens)
    return [
        (int(token.tag[1:]), token.map[0])
        for token, _ in opened
        if token.type == "heading_open" and token.map is not None
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_headings_are_those_of_the_parser(lines: list[str]) -> None:
    text = normalise("\n".join(lines)).text
    found = [(heading.level, text.count("\n", 0, heading.start)) for heading in headings_of(text)]
    assert [place for place in parsed(text) if place in found] == found
    missed = [line for _, line in parsed(text) if line not in [line for _, line in found]]
    assert all(not text.split("\n")[line].strip("# \t") or "{#" in text.split("\n")[line] for line in missed)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("# One\n\n```\n# not\n```\n\n## Two #", ["One", "Two"]),
        ("<pre>\n# not\n</pre>\n\n# One", ["One"]),
        ("One\n===\n\n# Two", ["One", "Two"]),
        ("- # One\n\n# Two", ["One", "Two"]),
        ("# *One* `two`", ["One two"]),
    ],
)
def test_what_misleads_a_look_at_the_lines_is_parsed(text: str, titles: list[str]) -> None:
    assert [heading.title for heading in headings_of(text)] == titles
