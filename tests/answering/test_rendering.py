"""An answer shown as HTML: quotes at their markers, verdicts marked, and nothing of a stranger's words is markup."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from api.sources import answer_as_page, linked
from rag.answering.answer import Answerer, AnswerSettings
from rag.answering.rendering import answer_fragment
from rag.types import Answer
from tests.fakes import CannedGenerator, CannedRetriever, Shelf, WordTokenizer, document, whole

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&amp;"
BOOK = document(f"b'<b>{EVIL}.txt", f"The pump starts at 40 bar. {EVIL} is what it says.", title=EVIL)
MARKS = frozenset("div style p b span a section pre mark br html head meta title body".split())  # noqa: SIM905


class Seen(HTMLParser):
    """Collects the tags, attributes and text of a page, styles left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.text += data


async def answered(text: str, question: str = "When?") -> Answer:
    answerer = Answerer(
        CannedRetriever(whole(BOOK)), CannedGenerator(text), Shelf(BOOK), WordTokenizer(), settings=AnswerSettings()
    )
    return await answerer.answer(question)


async def test_a_notebook_shows_the_text_with_its_quotes_and_verdicts() -> None:
    answer = await answered("The pump starts at 40 bar [1]. It starts at 99 bar [1].")
    seen = Seen(answer._repr_html_())
    kinds = [attributes.get("class") for tag, attributes in seen.tags if tag == "span"]
    assert kinds.count("fn-supported") == kinds.count("fn-unsupported") == 1
    assert "1 of 2 statements supported" in seen.text
    assert f"[1] {BOOK.id}, line 1" in seen.text
    assert answer.citations[0].quote in seen.text


async def test_nothing_that_was_written_becomes_markup() -> None:
    answer = await answered(f"It says {EVIL} [1]. {EVIL} <b>[9]</b>", question=EVIL)
    answer = linked(answer, ["default"])  # type: ignore[assignment]
    page = answer_as_page(answer, Shelf(BOOK), address="https://example.org/rag/")
    for shown in (page, answer._repr_html_()):
        seen = Seen(shown)
        assert {tag for tag, _ in seen.tags} <= MARKS
        assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
        assert EVIL in seen.text
    outside = {attributes["href"] for tag, attributes in Seen(page).tags if tag == "a"}
    assert {href for href in outside if href and not href.startswith("#quote-")} == {
        f"https://example.org/rag/{answer.citations[0].link}"
    }


async def test_a_page_marks_the_quote_in_the_text_around_it() -> None:
    answer = await answered("The pump starts at 40 bar [1].")
    page = answer_as_page(answer, Shelf(BOOK))
    assert "<mark>The pump starts at 40 bar.</mark> &lt;script&gt;" in page
    assert "href='#quote-1'" in page
    assert "id='quote-1'" in page


async def test_a_quote_of_a_document_that_is_gone_is_still_shown() -> None:
    answer = await answered("The pump starts at 40 bar [1].")
    page = answer_as_page(answer, Shelf())
    assert "the document is gone; this was cited" in page
    assert "<mark>The pump starts at 40 bar.</mark>" in page


async def test_links_name_the_collection_of_each_document() -> None:
    answer = await answered("The pump starts at 40 bar [1].")
    one = linked(answer, ["my docs"])
    assert isinstance(one, Answer)
    quoted = (
        "b%27%3Cb%3E%3Cscript%3Ealert%281%29%3C/script%3E%3Cimg%20src%3Dx%20onerror%3Dalert%282%29%3E%27%22%26amp%3B"
    )
    assert one.citations[0].link == f"collections/my%20docs/source/{quoted}.txt?highlight=0-26#quote"


@given(st.text(max_size=80))
async def test_any_text_is_shown_as_it_is(text: str) -> None:
    answer = await answered("The pump starts [1]." + text)
    shown = Seen(answer_fragment(answer)).text
    assert "".join(answer.text.split()) in _without_quotes(shown, answer)


def _without_quotes(shown: str, answer: Answer) -> str:
    """Return what is shown without white space, and without the quotes that stand behind the markers."""
    for citation in answer.citations:
        where = f"[{citation.marker}] {citation.document}, {citation.place}{citation.quote}"
        shown = shown.replace(where.rstrip(), "")
    return "".join(shown.split())
