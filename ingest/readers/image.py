"""Pictures: the text in them, as read by Tesseract or a vision model, and what they show, as a vision model says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ingest.readers.draft import Draft
from ingest.readers.lines import rejoined_words, running_text
from ingest.readers.media import Media
from ingest.readers.ocr import ADVICE, as_lines, coverage_of_read, read_label
from ingest.readers.pictures import PictureFile, PictureTooLargeError, opened
from ingest.readers.reading import Reading
from rag.errors import DocumentReadError
from rag.types import MediaKind, MediaText, Medium

__all__ = ["read_image"]


def read_image(data: bytes, name: str, media: Media) -> Reading:
    """Read a picture: the text in it, and what a vision model says it shows; the pages of a TIFF are pages.

    Of an animated picture the first frame is read. Raises DocumentReadError for one that is damaged, or that unfolds
    to more than can be held in memory.
    """
    with _named(name), opened(data) as picture:
        return _pages(picture, media) if picture.n_pages > 1 else _picture(picture, name, media)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what Pillow says of a file into what a user can act on."""
    try:
        yield
    except PictureTooLargeError as error:
        raise DocumentReadError(
            f"cannot read {name!r}: it is too large a picture ({error}); make it smaller"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DocumentReadError(
            f"cannot read {name!r}: the picture is damaged ({error}); open it in a viewer and save it again"
        ) from error


def _pages(picture: PictureFile, media: Media) -> Reading:
    """Read the pages of a TIFF, as those of a scanned PDF are read."""
    limits = media.limits("page")
    texts: dict[int, MediaText] = {}
    for place in range(picture.n_pages):
        text = media.text(place, "page", partial(picture.medium, place, "page", limits))
        if text is not None:
            texts[place] = text
    draft = Draft()
    pages = rejoined_words(
        [running_text(as_lines(texts[n].text)) if n in texts else "" for n in range(picture.n_pages)]
    )
    for place, page in enumerate(pages):
        draft.page(read_label(place + 1, texts[place]) if page else "")
        draft.add(page)
    warnings = [*coverage_of_read(texts, picture.n_pages, media)]
    n_empty = sum(not page for page in pages)
    if n_empty:
        advice = "" if media.serves("page") else f"; {ADVICE}"
        warnings.append(f"{n_empty} of {picture.n_pages} pages have no text{advice}")
    readers = ", ".join(sorted({text.reader for text in texts.values() if text.text}))
    return draft.reading(picture.media_type, metadata={"pages_read_by": readers}, warnings=tuple(warnings))


def _picture(picture: PictureFile, name: str, media: Media) -> Reading:
    """Read one picture: its text first, then its description, each as a page that says whose words they are.

    A model that describes also transcribes: it is not asked for the text too where it would be who reads pages.
    """
    is_described = media.serves("picture")
    shown = media.text(0, "picture", partial(_drawn, picture, name, "picture", media))
    read = None
    if not is_described or media.serves("page") not in ("", is_described):
        read = media.text(0, "page", partial(_drawn, picture, name, "page", media))
    draft = Draft()
    if read is not None and read.text:
        draft.page(f"text in the picture (read by {read.reader.split(' ')[0]})")
        draft.add(rejoined_words([running_text(as_lines(read.text))])[0])
    if shown is not None and shown.text:
        draft.page(f"description by {shown.reader}")
        draft.add(shown.text)
    metadata = {
        "text_read_by": read.reader if read and read.text else "",
        "described_by": shown.reader if shown else "",
    }
    warnings = tuple(_said(read, shown, media, has_text=draft.has_text))
    return draft.reading(picture.media_type, metadata=metadata, warnings=warnings)


def _drawn(picture: PictureFile, name: str, kind: MediaKind, media: Media) -> Medium | None:
    with _named(name):
        return picture.medium(0, kind, media.limits(kind))


def _said(read: MediaText | None, shown: MediaText | None, media: Media, *, has_text: bool) -> Iterator[str]:
    for text in (read, shown):
        if text is not None and (text.refusal or text.note):
            yield f"it was not read: {text.refusal}" if text.refusal else text.note
    if media.given_up:
        yield f"it was not read: {media.given_up}"
    if has_text or (read and read.refusal) or (shown and shown.refusal):
        return
    if not media.serves("page") and not media.serves("picture"):
        yield f"a picture has no text of its own; {ADVICE}"
    elif not media.serves("picture"):
        yield f"no text was found in it by {media.serves('page')}; a vision model could describe it (vision.model)"
    else:
        yield "nothing was found in it that could be read or described"
