"""PDF: the text of each page, its place in the whole, headings from the outline. Scanned pages are read by others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import PurePosixPath

from ingest.normalise import normalise
from ingest.readers.lines import rejoined_words, running_text
from ingest.readers.media import Media
from ingest.readers.ocr import ADVICE, as_lines, coverage_of_read, read_label
from ingest.readers.pdfium import FEW_LETTERS, DrawnPages, OutlineEntry, PdfContent, PdfNotOpenedError, extract
from ingest.readers.pictures import medium_of_grey
from ingest.readers.pypdf_text import second_opinion
from ingest.readers.reading import Reading
from ingest.readers.running_lines import without_running_lines
from rag.errors import DocumentReadError
from rag.types import Heading, MediaLimits, MediaText, Medium, Page

__all__ = ["read_pdf"]

_FIELDS = {
    "Author": "author",
    "Subject": "subject",
    "Keywords": "keywords",
    "CreationDate": "created",
    "ModDate": "modified",
}
_DATE = re.compile(r"(?:D:)?(\d{4})(\d{2})?(\d{2})?")
_NO_TITLE = re.compile(r"untitled|\(?anonymous\)?|\(?unspecified\)?|.*\.(docx?|indd|tex|dvi|qxd|ppt|pdf)|[\W\d]*", re.I)
_GOES_ON = re.compile(r"[^\W\d]$|[,，、]$")
_CONTINUES = re.compile(r"[a-zß-öø-ÿ\u0430-\u044f\u4e00-\u9fff]")
# What readers without the publisher's plug-in are shown instead of the pages.
_ONLY_NOTICE = re.compile(
    r"PDF (file|document) is protected|different reader in order to view|compatible PDF reader"
    r"|If this message is not eventually replaced by the proper contents",
    re.IGNORECASE,
)
_SCAN = 0.8
"""The share of a page that a picture covers at least where the page is a scan."""
_REPLACED = b"\xef\xbf\xbd"  # U+FFFD in UTF-8: what a text conversion leaves of a byte it does not know


def read_pdf(data: bytes, name: str, media: Media) -> Reading:
    """Read a PDF. Pages are in order and cover the text; a scanned page is read by Tesseract or a vision model.

    A page that nobody has read has an empty span. Running heads, feet and page numbers are left out (see
    ``running_lines``), words parted at a line end and lines of one paragraph put together (see ``lines``). A page that
    PDFium finds empty or cannot load is tried with pypdf. Raises DocumentReadError for a file that needs a password,
    holds only the notice that it is protected, or was damaged by a text conversion.
    """
    content = _content(data, name)
    raw_pages = _with_second_opinion(content.pages, data, media)
    _refuse_notices(data, name, [page or "" for page in raw_pages])
    asked = _read_by_others(data, raw_pages, content.image_share, media)
    read = {place: text for place, text in asked.items() if _says_more(text.text, raw_pages[place] or "")}
    raw_pages = [as_lines(read[place].text) if place in read else page for place, page in enumerate(raw_pages)]
    title = _title(content.metadata.get("Title", ""), name)
    bare_pages = without_running_lines([page or "" for page in raw_pages], title=title)
    texts = [normalise(page).text for page in rejoined_words([running_text(page) for page in bare_pages])]
    if all(page is None for page in raw_pages):
        raise DocumentReadError(
            f"cannot read {name!r}: none of its {len(raw_pages)} pages can be read; "
            "open it in a viewer and save it again"
        )
    text, pages = _assembled(texts, {place: read_label(place + 1, text) for place, text in read.items()})
    return Reading(
        text,
        "application/pdf",
        title=title,
        pages=pages,
        headings=tuple(_headings(content.outline, text, pages)),
        metadata=_metadata(content.metadata) | _readers(read),
        warnings=(*coverage_of_read(asked, len(texts), media), *_coverage(raw_pages, texts, media)),
    )


def _content(data: bytes, name: str) -> PdfContent:
    try:
        return extract(data)
    except PdfNotOpenedError as error:
        if error.encrypted:
            raise DocumentReadError(
                f"cannot read {name!r}: it is encrypted with a password; save a copy without one and ingest that"
            ) from error
        if _is_mangled(data):
            raise _mangled(data, name) from error
        found = second_opinion(data, None)
        if not found:
            raise DocumentReadError(
                f"cannot read {name!r}: not a valid PDF ({_said(error)}); open it in a viewer and save it again"
            ) from error
        return PdfContent(tuple(found.get(place) for place in range(max(found) + 1)), {}, ())


def _said(error: Exception) -> str:
    """Return a foreign message as a part of ours: without its full stop."""
    return str(error).replace(".)", ")").rstrip(".")


def _with_second_opinion(pages: Sequence[str | None], data: bytes, media: Media) -> list[str | None]:
    empty = [
        place
        for place, text in enumerate(pages)
        if not (text or "").strip() and media.known(place, "page") is None  # else this was found out before
    ]
    found = second_opinion(data, empty) if empty else {}
    return [found.get(place, text) for place, text in enumerate(pages)]


def _read_by_others(
    data: bytes, pages: Sequence[str | None], image_share: Sequence[float], media: Media
) -> dict[int, MediaText]:
    """Return what others have read, as far as it is known, of pages without text and of scans with a stamp on them."""
    limits = media.limits("page")
    found: dict[int, MediaText] = {}
    with closing(DrawnPages(data)) as drawn:
        for place, page in enumerate(pages):
            share = image_share[place] if place < len(image_share) else 0.0
            if page is None or (page.strip() and (share < _SCAN or _n_letters(page) >= FEW_LETTERS)):
                continue
            text = media.text(place, "page", partial(_drawn, drawn, place, limits))
            if text is not None:
                found[place] = text
    return found


def _drawn(pages: DrawnPages, place: int, limits: MediaLimits) -> Medium | None:
    return medium_of_grey(pages.draw(place, limits), limits)


def _says_more(read: str, printed: str) -> bool:
    """Tell whether what was read off a page is more than a stamp on a scan: twice its letters at least."""
    return _n_letters(read) >= max(1, 2 * _n_letters(printed))


def _n_letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _readers(read: Mapping[int, MediaText]) -> dict[str, str]:
    names = ", ".join(sorted({text.reader for text in read.values()}))
    return {"pages_read_by": names} if names else {}


def _refuse_notices(data: bytes, name: str, pages: Sequence[str]) -> None:
    """Raise DocumentReadError where what was read is not what the file is about."""
    text = " ".join(" ".join(pages).split())
    if not text and _is_mangled(data):
        raise _mangled(data, name)
    if len(text) < 1000 and (notice := _ONLY_NOTICE.search(text)):
        raise DocumentReadError(
            f"cannot read {name!r}: its contents are protected, its only text is a notice ({notice[0]!r}); "
            "open it in the publisher's reader and print it to a new PDF"
        )


def _is_mangled(data: bytes) -> bool:
    """Tell whether the file went through a text conversion: more than one byte of 200 is part of a U+FFFD."""
    return data.count(_REPLACED) * 3 > len(data) / 200


def _mangled(data: bytes, name: str) -> DocumentReadError:
    return DocumentReadError(
        f"cannot read {name!r}: damaged by a conversion to UTF-8 ({data.count(_REPLACED):,} places were replaced); "
        "get the original file again, as binary"
    )


def _assembled(texts: Sequence[str], labels: Mapping[int, str]) -> tuple[str, tuple[Page, ...]]:
    """Return the whole text and the pages; the break between two pages belongs to the first.

    An empty line parts two pages, a mere line end where a sentence goes on from one to the next.
    """
    pieces: list[str] = []
    pages: list[Page] = []
    start = 0
    for place, text in enumerate(texts):
        following = next((other for other in texts[place + 1 :] if other), "")
        if text and following:
            text += "\n" if _GOES_ON.search(text) and _CONTINUES.match(following) else "\n\n"
        pieces.append(text)
        pages.append(Page(place + 1, start, start + len(text), labels.get(place, "")))
        start += len(text)
    return "".join(pieces), tuple(pages)


def _headings(outline: Sequence[OutlineEntry], text: str, pages: Sequence[Page]) -> Iterator[Heading]:
    """Yield the outline's entries where their titles stand on their pages, else at the page's top."""
    found: list[Heading] = []
    for entry in outline:
        title = " ".join(normalise(entry.title).text.split())
        if not title:
            continue
        page = pages[entry.page]
        words = r"\s+".join(map(re.escape, title.split()))
        line = re.compile(rf"^[ \t]*(?:[\dA-Z]+(?:\.\d+)*\.?\s+)?{words}", re.MULTILINE | re.IGNORECASE)
        # The same title can stand on a page twice: what follows the entry before comes first.
        after = found[-1].start + 1 if found and page.start <= found[-1].start < page.end else page.start
        match = line.search(text, after, page.end) or line.search(text, page.start, page.end)
        found.append(Heading(entry.level, title, match.start() if match else page.start))
    yield from sorted(found, key=lambda heading: heading.start)


def _title(title: str, name: str) -> str:
    """Return the title in the metadata, unless it is what programs put there when nobody wrote one."""
    title = " ".join(normalise(title).text.split()).removeprefix("Microsoft Word - ")
    return "" if _NO_TITLE.fullmatch(title) or title == PurePosixPath(name).stem else title


def _metadata(raw: dict[str, str]) -> dict[str, str]:
    found = {}
    for key, word in _FIELDS.items():
        value = " ".join(normalise(raw.get(key, "")).text.split())
        if word in ("created", "modified"):
            date = _DATE.match(value)
            value = "-".join(filter(None, date.groups())) if date else ""
        if value and value not in ("anonymous", "unspecified"):
            found[word] = value
    return found


def _coverage(raw_pages: Sequence[str | None], texts: Sequence[str], media: Media) -> Iterator[str]:
    """Yield what is missing: pages that could not be loaded, and pages without text."""
    broken = [place + 1 for place, page in enumerate(raw_pages) if page is None]
    if broken:
        shown = ", ".join(map(str, broken[:10])) + (" ..." if len(broken) > 10 else "")
        yield f"{len(broken)} of {len(texts)} pages cannot be read: {shown}"
    n_empty = sum(not text for text in texts) - len(broken)
    if n_empty:
        advice = "" if media.serves("page") else f" (scanned?); {ADVICE}"
        yield f"{n_empty} of {len(texts)} pages have no text{advice}"
