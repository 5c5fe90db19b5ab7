"""Lays the example documents out: books as PDF, single chapters as pages of a documentation site.

Imported by ``build_examples.py`` alone; the only module here that imports WeasyPrint.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import weasyprint

__all__ = ["Book", "Chapter", "Site", "typeset", "web_page"]

_STYLE = Path(__file__).resolve().parents[1] / "examples" / "style" / "print.css"
_CONTENTS = {"en": "Contents", "zh": "目录"}
_NAVIGATION = {"en": ("Navigation", "On this page"), "zh": ("导航", "本页目录")}
_SECTION = re.compile(
    r'<section id="(?P<outer>[^"]+)">(?:\s*<span id="[^"]*"></span>)*\s*<h2>(?P<title>.*?)</h2>'
    r'|<h2 id="(?P<own>[^"]+)">(?P<own_title>.*?)</h2>',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One source page: its title, its body as HTML with headings from level 2 on, and its anchor."""

    title: str
    body: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Book:
    """What is printed on the cover and written into the metadata."""

    title: str
    authors: str
    language: str
    notice: str
    subject: str


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages of one site share: its name, language, navigation and footer."""

    name: str
    language: str
    navigation: tuple[str, ...]
    notice: str


def typeset(book: Book, chapters: Sequence[Chapter]) -> bytes:
    """Return the book as PDF: cover, contents with page numbers, a chapter per source, outline and metadata."""
    contents = "".join(_contents_entries(chapter) for chapter in chapters)
    body = "".join(
        f'<section class="chapter"><h1 id="{chapter.anchor}">{html.escape(chapter.title)}</h1>{chapter.body}</section>'
        for chapter in chapters
    )
    page = f"""<!DOCTYPE html><html lang="{book.language}"><head><meta charset="utf-8"><title>{book.title}</title>
<meta name="author" content="{html.escape(book.authors)}">
<meta name="description" content="{html.escape(book.subject)}">
<meta name="license" content="{html.escape(book.notice)}"></head><body>
<section class="cover"><p class="book">{book.title}</p><p class="authors">{html.escape(book.authors)}</p>
<p class="colophon">{html.escape(book.notice)}</p></section>
<section class="contents"><h1>{_CONTENTS[book.language]}</h1><ol>{contents}</ol></section>{body}</body></html>"""
    document = weasyprint.HTML(string=page, base_url=str(_STYLE.parent))
    pdf: bytes = document.write_pdf(stylesheets=[weasyprint.CSS(_STYLE)], custom_metadata=True)
    return pdf


def web_page(chapter: Chapter, *, site: Site, address: str) -> str:
    """Return the chapter as a page of a documentation site, with the navigation and footer that real pages have."""
    menu, here = _NAVIGATION[site.language]
    links = "".join(f'<li><a href="#">{html.escape(title)}</a></li>' for title in site.navigation)
    sections = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title in _sections(chapter))
    return f"""<!DOCTYPE html>
<html lang="{site.language}">
<head>
<meta charset="utf-8">
<title>{html.escape(chapter.title)} | {site.name}</title>
<link rel="canonical" href="{address}">
<style>body {{ font-family: sans-serif; max-width: 60rem; margin: auto }} nav ul {{ columns: 3 }}</style>
<script>document.documentElement.dataset.theme = "light";</script>
</head>
<body>
<header><a href="{address}">{site.name}</a></header>
<nav aria-label="{menu}"><ul>{links}</ul></nav>
<main>
<article>
<h1>{html.escape(chapter.title)}</h1>
<nav class="toc" aria-label="{here}"><ul>{sections}</ul></nav>
{chapter.body.strip()}
</article>
</main>
<footer><p>{html.escape(site.notice)}</p></footer>
</body>
</html>
"""


def _sections(chapter: Chapter) -> list[tuple[str, str]]:
    """Return (anchor, title without markup) of the chapter's sections of level 2."""
    return [
        (match["outer"] or match["own"], re.sub(r"<[^>]+>", "", match["title"] or match["own_title"]))
        for match in _SECTION.finditer(chapter.body)
    ]


def _contents_entries(chapter: Chapter) -> str:
    entries = [f'<li class="part"><a href="#{chapter.anchor}">{html.escape(chapter.title)}</a></li>']
    entries += [f'<li class="section"><a href="#{anchor}">{title}</a></li>' for anchor, title in _sections(chapter)]
    return "".join(entries)
