"""An answer as HTML: what is cited shows on hover or focus, and what is not borne out is marked.

No script and no address outside: styles, and links within the page. Everything that a model or a document wrote is
escaped, so that it is read and never run.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rag.answering.markers import find_markers

if TYPE_CHECKING:  # answers render themselves, so their module imports this one
    from rag.types.answers import Answer, Citation, Statement

__all__ = ["Excerpt", "answer_fragment", "answer_page"]

Excerpt = tuple[str, str, str]
"""What of a document's stored text stands before a quote, the quote, and what stands after it."""

_SECURITY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
.fn-answer{font:16px/1.6 system-ui,sans-serif;max-width:46rem}
.fn-text{white-space:pre-wrap;overflow-wrap:anywhere}
.fn-cite{position:relative;cursor:help;color:#0b57d0;text-decoration:none}
.fn-quote{display:none;position:absolute;z-index:9;left:0;top:1.4em;width:22rem;max-width:80vw;padding:.6em .8em;
 background:#fffdf2;color:#111;border:1px solid #bbb;border-radius:4px;box-shadow:0 2px 8px #0003;font-size:.9em;
 white-space:pre-wrap;cursor:auto}
.fn-cite:hover .fn-quote,.fn-cite:focus .fn-quote,.fn-cite:focus-within .fn-quote{display:block}
.fn-where{display:block;color:#555;font-size:.9em;margin-bottom:.3em}
.fn-partly{text-decoration:underline dotted #b06000}
.fn-unsupported,.fn-unknown-marker{text-decoration:underline wavy #c5221f}
.fn-uncited{text-decoration:underline dotted #888}
.fn-note{color:#555;font-size:.9em}
"""
_PAGE_STYLE = """
body{margin:2rem auto;max-width:46rem;padding:0 1rem;font:16px/1.6 system-ui,sans-serif}
.fn-excerpt{border-top:1px solid #ccc;margin-top:1.5em}
.fn-excerpt pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}
mark{background:#ffe040;color:#000}
.fn-excerpt:target{background:#f5f8ff}
"""


def answer_fragment(answer: Answer, *, anchors: Mapping[Citation, str] | None = None) -> str:
    """Return an answer as one HTML element with its style, to stand in another page.

    ``anchors`` names the element that a citation leads to; without one a marker leads nowhere.
    """
    support = _support(answer.statements)
    notes = [*answer.notes, *(f"left out ({one.verdict}): {one.text}: {one.reason}" for one in answer.removed)]
    notes += [f"not in the documents: {part}" for part in answer.unanswered]
    notes += [
        "the sources contradict each other: "
        + ", ".join(f"[{marker}] says {value}" for marker, value in zip(one.markers, one.values, strict=True))
        for one in answer.contradictions
    ]
    below = "".join(f"<div class='fn-note'>{html.escape(line)}</div>" for line in [*support, *notes])
    return (
        f"<div class='fn-answer'><style>{_STYLE}</style><p><b>{html.escape(answer.question)}</b></p>"
        f"<div class='fn-text'>{_text(answer, anchors or {})}</div>{below}</div>"
    )


def answer_page(answer: Answer, excerpts: Mapping[Citation, Excerpt], *, links: Mapping[Citation, str]) -> str:
    """Return an answer as a page of its own: below the text stands what it cites, the quotes marked.

    ``excerpts`` are of those citations whose document is still there. ``links`` are addresses that show a quote in its
    source; a citation without one has none. The page loads nothing and runs nothing.
    """
    anchors = {citation: f"quote-{number}" for number, citation in enumerate(dict.fromkeys(answer.citations), 1)}
    sections = [
        _section(citation, anchor, excerpts.get(citation), links.get(citation, ""))
        for citation, anchor in anchors.items()
    ]
    return (
        "<!doctype html><html><head><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{_SECURITY}">'
        f"<meta name=viewport content='width=device-width'><title>{html.escape(answer.question)}</title>"
        f"<style>{_PAGE_STYLE}</style></head><body>{answer_fragment(answer, anchors=anchors)}{''.join(sections)}"
        "</body></html>"
    )


def _text(answer: Answer, anchors: Mapping[Citation, str]) -> str:
    """Return the text with each statement in an element of its verdict."""
    parts, place = [], 0
    for statement in answer.statements:
        parts.append(_plain(answer.text[place : statement.start]))
        parts.append(_statement(answer, statement, anchors))
        place = statement.end
    return "".join([*parts, _plain(answer.text[place:])])


def _statement(answer: Answer, statement: Statement, anchors: Mapping[Citation, str]) -> str:
    cited: dict[int, Citation] = {}
    for citation in answer.citations:
        if (citation.answer_start, citation.answer_end) == (statement.start, statement.end):
            cited.setdefault(citation.marker, citation)
    kind = statement.verdict.replace(" ", "-")
    said = f"{statement.verdict}: {statement.reason}" if statement.reason else statement.verdict
    parts, place = [], statement.start
    for marker in find_markers(answer.text, statement.start, statement.end):
        parts.append(_plain(answer.text[place : marker.start]))
        words = answer.text[marker.start : marker.end]
        found = [cited[number] for number in marker.numbers if number in cited]
        parts.append(_marker(words, found, anchors) if found else _plain(words))
        place = marker.end
    parts.append(_plain(answer.text[place : statement.end]))
    return f"<span class='fn-{kind}' title='{html.escape(said)}'>{''.join(parts)}</span>"


def _marker(words: str, citations: Sequence[Citation], anchors: Mapping[Citation, str]) -> str:
    """Return a marker that shows what it cites; it leads to the first of it."""
    quotes = "".join(
        f"<span class='fn-where'>[{one.marker}] {html.escape(_where(one))}</span>{html.escape(one.quote)}\n"
        for one in citations
    )
    anchor = anchors.get(citations[0])
    leads = f" href='#{anchor}'" if anchor else ""
    return f"<a class='fn-cite' tabindex=0{leads}>{_plain(words)}<span class='fn-quote'>{quotes.rstrip()}</span></a>"


def _section(citation: Citation, anchor: str, excerpt: Excerpt | None, link: str) -> str:
    before, quoted, after = excerpt or ("", citation.quote, "")
    verdict = f"{citation.verdict}: {citation.reason}" if citation.reason else citation.verdict
    source = f" · <a href='{html.escape(link)}'>in the document</a>" if link else ""
    gone = "" if excerpt else " · the document is gone; this was cited"
    return (
        f"<section class='fn-excerpt' id='{anchor}'><p><b>[{citation.marker}] {html.escape(_where(citation))}</b>"
        f"<br><span class='fn-note'>{html.escape(verdict)}{source}{gone}</span></p>"
        f"<pre>{html.escape(before)}<mark>{html.escape(quoted)}</mark>{html.escape(after)}</pre></section>"
    )


def _support(statements: Sequence[Statement]) -> list[str]:
    if not statements:
        return []
    n_supported = sum(statement.verdict == "supported" for statement in statements)
    return [f"{n_supported} of {len(statements)} statements supported by the words they cite"]


def _where(citation: Citation) -> str:
    return f"{citation.document}, {citation.place}" if citation.place else citation.document


def _plain(text: str) -> str:
    return html.escape(text)
