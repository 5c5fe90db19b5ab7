"""HTML: what a reader sees, in order, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.readers import read
from rag.types import Document


def _read(source: str | bytes) -> Document:
    data = source if isinstance(source, bytes) else source.encode()
    return read(Path("page.html"), document_id="site/page.html", data=data)


def test_blocks_become_paragraphs_and_inline_stays_together() -> None:
    source = "<p>Hello&nbsp;world &amp; <b>bold</b>text.\n <i>x</i> y<br>next</p><div>a<p>b</p>c</div>"
    assert _read(source).text == "Hello world & boldtext. x y\nnext\n\na\n\nb\n\nc"


def test_lists_and_tables_are_written_as_lines() -> None:
    lists = "<ul><li>one<li>two<ul><li>inner</ul></ul><ol><li><p>a</p><li>b</ol>"
    assert _read(lists).text == "- one\n- two\n  - inner\n\n1. a\n2. b"
    table = "<table> <tr><th>k</th> <th>v</th></tr> <tr><td><p>x</p><p>z</p></td><td>1</td></tr></table>after"
    assert _read(table).text == "k | v\nx z | 1\n\nafter"


def test_a_table_that_only_places_things_is_not_written_as_one() -> None:
    source = "<table><tr><td>menu</td><td><table><tr><td>k<td>v</table></td></tr></table>"
    assert _read(source).text == "menu\n\nk | v"


def test_preformatted_text_keeps_its_lines() -> None:
    assert _read("<p>a</p><pre>def f():\n    return 1\n\nx</pre>").text == "a\n\ndef f():\n    return 1\n\nx"


def test_what_is_not_seen_is_not_read() -> None:
    source = (
        "<style>.a{}</style><script>var secret='NOT'</script>visible<!-- NOT --><span style='display: none'>NOT</span>"
        "<p hidden>NOT</p><p aria-hidden=true>NOT</p><template>NOT</template><noscript>NOT</noscript>"
    )
    assert _read(source).text == "visible"


def test_only_the_main_part_is_read_where_the_page_marks_one() -> None:
    around = "<nav>menu</nav><header>top</header>{}<aside>ad</aside><footer>foot</footer>"
    assert _read(around.format("<main><nav>toc</nav><header><h1>T</h1></header>body</main>")).text == "T\n\nbody"
    assert _read(around.format("<article>one</article><article>two</article>")).text == "one\n\ntwo"
    assert _read(around.format("body")).text == "top\n\nbody\n\nad\n\nfoot", "what is no menu could be the text"


def test_an_empty_main_part_does_not_hide_the_page() -> None:
    assert _read("<main><script>x</script></main><div>content</div>").text == "content"


def test_headings_have_levels_and_places() -> None:
    document = _read("<p>intro</p><h1>The <em>ﬁrst</em> one</h1><p>x</p><h3> Third </h3>y")
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "The first one"), (3, "Third")]
    assert [document.text[heading.start :][:5] for heading in document.headings] == ["The f", "Third"]


@pytest.mark.parametrize(
    ("source", "title"),
    [("<title> A\n page </title><h1>H</h1>", "A page"), ("<h1>H</h1>", "H"), ("<p>x</p>", "page")],
)
def test_the_title_is_the_pages_else_its_first_heading_else_its_name(source: str, title: str) -> None:
    assert _read(source).title == title


def test_language_and_description_are_metadata() -> None:
    document = _read('<html lang="zh"><meta name="description" content="about  it"><body>x')
    assert (document.metadata["language"], document.metadata["description"]) == ("zh", "about it")


@pytest.mark.parametrize("label", ["gb2312", "GBK", "gb18030"])
def test_the_declared_encoding_is_honoured(label: str) -> None:
    source = f'<html><head><meta charset="{label}"><title>标题</title></head><body><p>正文</p></body></html>'
    document = _read(source.encode("gb18030"))
    assert (document.title, document.text, document.warnings) == ("标题", "正文", ())


def test_an_encoding_that_is_declared_wrongly_does_no_harm() -> None:
    assert _read('<meta charset="iso-8859-1"><p>中文'.encode()).text == "中文"
    document = _read('<meta charset="no-such"><p>检索增强生成系统的中文文档'.encode("gbk"))
    assert document.text == "检索增强生成系统的中文文档"
    assert "no-such" in document.warnings[0]


def test_deep_nesting_is_no_trouble() -> None:
    assert _read(b"<div>" * 5000 + b"deep text" + b"</div>" * 5000).text == "deep text"


def test_unclosed_elements_are_read() -> None:
    assert _read("<p>a<p>b<table><tr><td>c").text == "a\n\nb\n\nc"
