"""What a person sees in a real browser: quotes on hover, links that lead to the marked words, nothing that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from api.footnote import Footnote
from tests.api.conftest import Service, ingest
from tests.chromium import Chromium

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
NAME = "handbuch #1/100% ü?.md"
TEXT = f"# Pumps\n\nThe {EVIL} pump of the harbour starts at 40 bar.\n"
FILLER = "".join(f"Line {number} is about nothing at all.\n\n" for number in range(200))
QUESTION = "At how many bar does the pump of the harbour start?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def library(tmp_path: Path) -> Path:
    file = tmp_path / "files" / NAME
    file.parent.mkdir(parents=True)
    file.write_text(FILLER + TEXT + FILLER, encoding="utf-8")
    ingest(tmp_path / "library", tmp_path / "files")
    return tmp_path / "library"


async def page_of(library: Path, address: str) -> str:
    async with Footnote.open(library, environ={}, server__address=address) as footnote:
        return footnote.page(await footnote.ask(QUESTION))


def test_the_page_of_an_answer_shows_quotes_on_hover_and_leads_to_the_marked_words(
    browser: Chromium, library: Path, service: Service, tmp_path: Path
) -> None:
    client: httpx2.Client = service(library)
    file = tmp_path / "answer.html"
    file.write_text(asyncio.run(page_of(library, str(client.base_url))), encoding="utf-8")
    browser.open(file)
    shown = "getComputedStyle(document.querySelector('.fn-quote')).display"
    assert browser.ask(shown) == "none"
    browser.point_at(".fn-cite")
    assert browser.ask(shown) == "block"
    assert "starts at 40 bar" in browser.ask("document.querySelector('.fn-quote').innerText")
    assert EVIL in browser.ask("document.querySelector('.fn-quote').innerText")
    browser.ask("document.querySelector('.fn-cite').click()")
    assert browser.ask("document.querySelector(':target mark').innerText.includes('starts at 40 bar')")
    browser.open(browser.ask("document.querySelector('section a').href"))
    assert "starts at 40 bar" in browser.ask("document.querySelector('#quote').innerText")
    assert browser.ask("document.querySelector('#quote').getBoundingClientRect().top < innerHeight")
    assert browser.ask("document.querySelectorAll('script, img').length") == 0
    assert browser.alerts == 0
    assert all(address.startswith(("file:", str(client.base_url))) for address in browser.requests)
