"""The main part of a page: layouts as they are found, each with words that must stay and words that must go."""

import pytest

from ingest.readers.html import read_html

PROSE = " ".join(f"Sentence {n} tells how the pump lifts water out of the deep well." for n in range(12))
LINKS = "".join(f"<li><a href=/p{n}>Other page {n}</a></li>" for n in range(8))
MENU = f"<div class='top-menu'><ul>{LINKS}</ul></div>"
NOTICE = "<div id='cookieConsent'><p>We value your privacy. Accept all?</p><button>Accept</button></div>"
RELATED = f"<div class='related-posts'><h3>You may also like</h3><ul>{LINKS}</ul></div>"
FOOT = "<div id=footer><p>© 2026 Pump Works. All rights reserved.</p></div>"
TITLE = "<h1>Wells</h1>"

LAYOUTS = {
    "divs named by their part": f"{MENU}<div id=content>{TITLE}<p>{PROSE}</p></div>{FOOT}{NOTICE}",
    "a wrapper whose classes speak of its neighbours": (
        f"<div class='page has-sidebar menu-open'>{MENU}<div>{TITLE}<p>{PROSE}</p></div><div class=sidebar>"
        f"<p>Subscribe now</p><ul>{LINKS}</ul></div></div>{FOOT}"
    ),
    "tables that place things": (
        f"<table><tr><td><ul>{LINKS}</ul></td><td>{TITLE}<p>{PROSE}</p></td></tr></table>{FOOT}"
    ),
    "no names at all": f"<div><ul>{LINKS}</ul></div><div>{TITLE}<p>{PROSE}</p></div>",
    "a main part with other things in it": f"<main>{TITLE}<p>{PROSE}</p>{RELATED}{NOTICE}</main>{FOOT}",
    "an article among teasers of others": (
        f"{MENU}<div class=story>{TITLE}<p>{PROSE}</p></div><article class=teaser><a href=/x>Other page 9</a></article>"
    ),
    "elements with roles": (
        f"<div role=banner>Pump Works</div><div role=navigation>{LINKS}</div><div>{TITLE}<p>{PROSE}</p></div>"
        "<div role=contentinfo>All rights reserved</div>"
    ),
}


def text_of(body: str) -> str:
    return read_html(f"<html><body>{body}</body></html>".encode(), "page.html").text


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_text_stays_and_what_frames_it_goes(layout: str) -> None:
    text = text_of(layout)
    assert "Wells" in text
    assert PROSE in text
    for gone in ("Other page", "privacy", "All rights reserved", "Subscribe", "You may also like"):
        assert gone not in text


def test_lists_of_links_tables_and_code_in_the_text_stay() -> None:
    inside = (
        "<p>See also:</p><ul class=list><li><a href=/a>Valve catalogue</a></li><li><a href=/b>Seal catalogue</a></li>"
        "</ul><table class=data><tr><th>bar</th><th>litres</th></tr><tr><td>9</td><td>40</td></tr></table>"
        "<pre class=code>pump.start(rate=40)</pre>"
    )
    text = text_of(f"{MENU}<div class=content>{TITLE}<p>{PROSE}</p>{inside}</div>{FOOT}")
    for kept in ("- Valve catalogue", "- Seal catalogue", "bar | litres", "9 | 40", "pump.start(rate=40)"):
        assert kept in text


def test_a_page_that_is_only_a_list_of_links_keeps_it() -> None:
    assert text_of(f"<h1>Index</h1><ul>{LINKS}</ul>").count("Other page") == 8


def test_a_block_with_much_of_the_text_is_kept_whatever_it_is_called() -> None:
    text = text_of(f"<div class=sidebar><p>{PROSE}</p></div><div class=comments><p>{PROSE[::-1]}</p></div>")
    assert PROSE in text
    assert PROSE[::-1] in text


def test_names_that_would_leave_out_most_of_a_page_are_not_believed() -> None:
    pieces = "".join(f"<div class='widget text'><p>{n} {PROSE}</p></div>" for n in range(8))
    assert text_of(pieces).count(PROSE) == 8


def test_an_article_that_is_not_the_text_does_not_hide_it() -> None:
    text = text_of(f"<article><h2>Latest news</h2></article><div><p>{PROSE}</p></div>")
    assert PROSE in text


def test_a_page_that_a_script_writes_says_so() -> None:
    reading = read_html(b"<html><body><div id=root></div><script src=app.js></script></body></html>", "app.html")
    assert (reading.text, reading.warnings) == (
        "",
        ("no text: the page is written by a script in the browser, and scripts are not run",),
    )


def test_the_page_tells_its_address_and_its_date() -> None:
    head = (
        "<base href='https://example.org/docs/'><link rel=canonical href='wells.html'>"
        '<script type="application/ld+json">{"@type": "Article", "datePublished": "2026-03-01"}</script>'
    )
    reading = read_html(f"<html lang=en><head>{head}</head><body>{PROSE}</body></html>".encode(), "page.html")
    assert dict(reading.metadata) == {
        "encoding": "ascii",
        "language": "en",
        "published": "2026-03-01",
        "canonical": "https://example.org/docs/wells.html",
    }


def test_deep_nesting_is_walked_without_recursion() -> None:
    assert PROSE in text_of("<div class=menu>" * 3000 + PROSE + "</div>" * 3000)
