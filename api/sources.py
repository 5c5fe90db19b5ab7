"""Where a quote stands: the page of its file with the words marked, or the stored text around it as an HTML page.

The stored text is the truth; the file may have changed or gone since. So a picture is drawn of the very bytes that were
ingested or not at all, in a process of its own (``ingest.isolation``), and the excerpt is always there.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from rag.answering.rendering import Excerpt, answer_page
from rag.contracts import DocumentStore
from rag.errors import DocumentNotFoundError, DocumentReadError
from rag.types import Answer, AnswerEvent, Citation, Document, MediaLimits

if TYPE_CHECKING:
    from api.footnote import Footnote

__all__ = ["PAGE_LIMITS", "answer_as_page", "draw_page", "excerpt_page", "linked", "page_link", "source_link"]

PAGE_LIMITS = MediaLimits(max_pixels=4_000_000, max_side=3000)
"""The largest picture of a page: A4 at some 200 dots an inch."""
DRAWING_S = 20.0
"""Seconds that drawing a page may take: somebody waits for it."""
CONTEXT_CHARS = 1500
"""What is shown of the stored text before and after the quoted words."""

_STYLE = (
    "body{font:17px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}mark{background:#ffe040;color:#000}"
)


def source_link(collection: str, document_id: str, start: int, end: int) -> str:
    """Return the address of a quote below that of the service.

    >>> source_link("default", "a b/c.md", 3, 9)
    'collections/default/source/a%20b/c.md?highlight=3-9#quote'
    """
    return f"collections/{quote(collection, safe='')}/source/{_quoted(document_id)}?highlight={start}-{end}#quote"


def linked(event: AnswerEvent, collections: Sequence[str]) -> AnswerEvent:
    """Return an event whose citations have the address of their quote; ``collections`` are those asked.

    Of several, the name of a document begins with that of its collection, which no slash is in.
    """

    def with_link(citation: Citation) -> Citation:
        name, document = collections[0], citation.document
        if len(collections) > 1:
            name, _, document = document.partition("/")
        return replace(citation, link=source_link(name, document, citation.start, citation.end))

    match event:
        case Citation():
            return with_link(event)
        case Answer():
            return replace(event, citations=tuple(map(with_link, event.citations)))
        case _:
            return event


def answer_as_page(answer: Answer, documents: DocumentStore, *, address: str = "") -> str:
    """Return an answer as one HTML page with what it cites, the quotes marked in the text around them.

    ``address`` is that of a service, whose pages the citations then lead to; without one they lead nowhere else.
    """
    excerpts: dict[Citation, Excerpt] = {}
    for citation in answer.citations:
        before, after = max(citation.start - CONTEXT_CHARS, 0), citation.end + CONTEXT_CHARS
        with suppress(DocumentNotFoundError):
            text = documents.text(citation.document, before, after)
            low, high = citation.start - before, citation.end - before
            cut = len(text) == after - before
            excerpts[citation] = (
                ("…" if before else "") + text[:low],
                text[low:high],
                text[high:] + ("…" if cut else ""),
            )
    links = {one: f"{address.rstrip('/')}/{one.link}" for one in answer.citations if address and one.link}
    return answer_page(answer, excerpts, links=links)


def page_link(collection: str, document_id: str, page: int, start: int, end: int) -> str:
    """Return the address of the picture of a page with a quote marked, below that of the service."""
    name = quote(collection, safe="")
    return f"collections/{name}/documents/{_quoted(document_id)}/pages/{page}.png?highlight={start}-{end}"


def draw_page(
    footnote: Footnote, document: Document, page: int, *, start: int = 0, end: int = 0, collection: str | None = None
) -> bytes:
    """Return page ``page`` (from 1) of a PDF as PNG, with what ``[start, end)`` of the text has on it marked.

    Raises DocumentReadError where the document is no PDF, has no such page, or the file is gone, changed or in an
    archive; where nothing of the span is on the page; where it is not certain which words of the page are meant.
    """
    from ingest.isolation import IsolatedReaders, ToRead  # late: reading is not loaded to answer
    from ingest.readers.marked import Marking

    failed = f"cannot draw page {page} of {document.id!r}"
    if document.media_type != "application/pdf":
        raise DocumentReadError(f"{failed}: pages of PDF files are drawn, this is {document.media_type}")
    here = next((each for each in document.pages if each.number == page), None)
    if here is None:
        raise DocumentReadError(f"{failed}: it has {len(document.pages)} pages")
    first, last = max(start, here.start), min(end, here.end)
    if start < end and first >= last:
        raise DocumentReadError(f"{failed}: the page holds characters {here.start}-{here.end}, not {start}-{end}")
    path = _original(footnote, document.id, collection)
    if path is None:
        raise DocumentReadError(f"{failed}: its file is gone, or lies in an archive or on the web")
    stored = document.text[here.start : here.end]
    span = (first - here.start, last - here.start) if start < end else (0, 0)
    marking = Marking(page, stored, *span, document.sha256, PAGE_LIMITS)
    limits = footnote.wiring.reading_limits()
    with IsolatedReaders(replace(limits, timeout_s=min(limits.timeout_s, DRAWING_S))) as readers:
        return readers.draw(ToRead(path, document.id, path.stat().st_size), marking).png


def excerpt_page(document: Document, *, start: int, end: int, collection: str) -> str:
    """Return an HTML page of the stored text around ``[start, end)``, these characters marked, all of it escaped.

    The page of a PDF is shown above it, where the service can draw it. No script, and nothing of the text is markup.
    """
    before = max(start - CONTEXT_CHARS, 0)
    after = min(end + CONTEXT_CHARS, len(document.text))
    text = document.text
    picture = ""
    page = document.page_at(start)
    if document.media_type == "application/pdf" and page is not None:
        up = "../" * (document.id.count("/") + 3)
        address = html.escape(up + page_link(collection, document.id, page, start, end))
        picture = f"<p><a href='{address}'>the page as it looks, with the words marked</a></p>"
    return (
        f"<!doctype html><html><meta charset=utf-8><title>{html.escape(document.title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(document.title)}</h1><p>{html.escape(document.id)}, {html.escape(document.place_at(start))}"
        f", characters {start}-{end} of {len(text)}</p>{picture}<pre>{'…' if before else ''}"
        f"{html.escape(text[before:start])}<mark id=quote>{html.escape(text[start:end])}</mark>"
        f"{html.escape(text[end:after])}{'…' if after < len(text) else ''}</pre></html>"
    )


def _original(footnote: Footnote, document_id: str, collection: str | None) -> Path | None:
    """Return the file of a document; None where there is no such file on this machine's disk."""
    from ingest.roots import folder_of

    found = footnote.collection(collection)
    entry = found.ledger(within=[document_id]).get(document_id)
    root = None if entry is None else folder_of(entry.root, library=footnote.settings.library)
    if entry is None or not isinstance(root, Path):
        return None
    prefix = found.prefixes().get(entry.root, "")
    path = root / document_id.removeprefix(f"{prefix}/" if prefix else "")
    return path if path.is_file() else None


def _quoted(document_id: str) -> str:
    return quote(document_id, safe="/", errors="surrogateescape")
