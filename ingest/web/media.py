"""What a reply is: the ending under which a reader knows its format, and its text in an encoding to rely on. Pure."""

from __future__ import annotations

import codecs
from mimetypes import MimeTypes
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ingest.readers import supported
from ingest.readers.html import LABELS
from rag.errors import UnsupportedFormatError

__all__ = ["ending_of", "recoded"]

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ENDINGS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "application/x-pdf": ".pdf",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/x-rst": ".rst",
    "text/asciidoc": ".adoc",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/rtf": ".rtf",
    "text/rtf": ".rtf",
    "application/epub+zip": ".epub",
    f"{_OFFICE}wordprocessingml.document": ".docx",
    f"{_OFFICE}presentationml.presentation": ".pptx",
    f"{_OFFICE}spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.ms-outlook": ".msg",
    "application/x-ipynb+json": ".ipynb",
    "application/x-subrip": ".srt",
    "text/vtt": ".vtt",
    "application/x-tex": ".tex",
    "text/x-tex": ".tex",
}
_VAGUE = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream", "application/x-download"})
"""What servers say of a file they do not know: its name then tells more."""
_NO_DOCUMENTS = frozenset({"text/css", "text/xml", "application/xml", "application/rss+xml", "application/atom+xml"})
_TYPES = MimeTypes()  # the table that comes with Python: this machine's own files are not asked


def ending_of(content_type: str, url: str, body: bytes) -> str:
    """Return the ending of a name that a reader takes for this kind of content, as in ".html".

    What the server says decides; where it says nothing definite, the end of the address, then how the bytes begin.
    Raises UnsupportedFormatError for what no reader reads.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    named = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    named = named if supported(PurePosixPath(f"page{named}")) else ""
    if media_type in _VAGUE:
        ending = named or (".txt" if media_type == "text/plain" else "") or _by_beginning(body)
    elif media_type in _NO_DOCUMENTS:
        ending = ""
    else:
        ending = (
            _ENDINGS.get(media_type)
            or _known(media_type)
            or (named or ".txt" if media_type.startswith("text/") else "")
        )
    if not ending:
        said = f"it is served as {media_type}" if media_type else "the server does not say what it is"
        raise UnsupportedFormatError(f"{said}, which no reader reads")
    return ending


def _known(media_type: str) -> str:
    endings = sorted(_TYPES.guess_all_extensions(media_type))
    return next((ending for ending in endings if supported(PurePosixPath(f"page{ending}"))), "")


def _by_beginning(body: bytes) -> str:
    head = body[:1024].lstrip(codecs.BOM_UTF8 + b" \t\r\n").lower()
    if head.startswith(b"%pdf-"):
        return ".pdf"
    return ".html" if head.startswith((b"<!doctype html", b"<html")) else ""


def recoded(body: bytes, content_type: str) -> bytes:
    """Return a text in UTF-8 with a mark where the server names its encoding: a file alone could not say it.

    Where that encoding is unknown or does not hold, or is UTF-8 anyhow, the bytes are returned as they are.
    """
    media_type, _, parameters = content_type.partition(";")
    name = parameters.lower().partition("charset=")[2].partition(";")[0].strip("\"' ")
    if not name or not media_type.strip().lower().startswith(("text/", "application/xhtml")):
        return body
    try:
        if codecs.lookup(name).name in ("utf-8", "ascii") or body.startswith(
            (codecs.BOM_UTF8, b"\xff\xfe", b"\xfe\xff")
        ):
            return body
        return codecs.BOM_UTF8 + body.decode(LABELS.get(name, name)).encode("utf-8")
    except (LookupError, UnicodeDecodeError):
        return body
