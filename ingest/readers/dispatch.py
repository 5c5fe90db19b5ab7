"""Which reader reads a file: by the end of its name, unless its bytes say otherwise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ingest.readers.audio import read_audio
from ingest.readers.docx import read_docx
from ingest.readers.encoding import looks_binary
from ingest.readers.epub import read_epub
from ingest.readers.html import read_html
from ingest.readers.image import read_image
from ingest.readers.mail import read_eml, read_mbox
from ingest.readers.markdown import read_markdown
from ingest.readers.markup import read_asciidoc, read_latex, read_org, read_rst
from ingest.readers.media import Media
from ingest.readers.msg import read_msg
from ingest.readers.notebook import read_ipynb
from ingest.readers.odt import read_odt
from ingest.readers.pdf import read_pdf
from ingest.readers.pptx import read_pptx
from ingest.readers.reading import Reading
from ingest.readers.records import read_json, read_jsonl
from ingest.readers.rtf import read_rtf
from ingest.readers.sound_kinds import ENDINGS as SOUND_ENDINGS
from ingest.readers.sound_kinds import kind_of
from ingest.readers.source_code import read_code, read_python
from ingest.readers.subtitles import read_srt, read_vtt
from ingest.readers.table import read_csv, read_tsv
from ingest.readers.text import read_text
from ingest.readers.xlsx import read_xlsx
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from rag.types import Document

__all__ = ["READERS", "Reader", "is_light", "read", "reader_name", "supported"]


@dataclass(frozen=True, slots=True)
class Reader:
    """A format family: its name, its version (raised when the same bytes would give another document), its function.

    ``mark`` is what the bytes of its files begin with, for formats that are not text. ``takes_media`` says that the
    function takes the file's ``Media`` too: it meets pages, pictures or speech that somebody else has to read.
    """

    name: str
    version: int
    read: Callable[..., Reading]
    mark: bytes = b""
    takes_media: bool = False

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


_TEXT = Reader("text", 2, read_text)
_MARKDOWN = Reader("markdown", 2, read_markdown)
_HTML = Reader("html", 3, read_html)
_PDF = Reader("pdf", 2, read_pdf, takes_media=True)
_IMAGE = Reader("image", 1, read_image, takes_media=True)
_AUDIO = Reader("audio", 1, read_audio, takes_media=True)

_ZIP, _OLE, _RTF = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf"

READERS: dict[str, Reader] = {
    **dict.fromkeys((".txt", ".text", ".log"), _TEXT),
    **dict.fromkeys((".md", ".markdown", ".mdx", ".mdown", ".mkd"), _MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), _HTML),
    ".pdf": _PDF,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"), _IMAGE),
    **dict.fromkeys(SOUND_ENDINGS, _AUDIO),
    ".csv": Reader("csv", 1, read_csv),
    **dict.fromkeys((".tsv", ".tab"), Reader("tsv", 1, read_tsv)),
    ".json": Reader("json", 1, read_json),
    **dict.fromkeys((".jsonl", ".ndjson"), Reader("jsonl", 1, read_jsonl)),
    ".docx": Reader("docx", 2, read_docx, _ZIP),
    **dict.fromkeys((".pptx", ".pptm"), Reader("pptx", 2, read_pptx, _ZIP)),
    **dict.fromkeys((".xlsx", ".xlsm"), Reader("xlsx", 1, read_xlsx, _ZIP)),
    **dict.fromkeys((".odt", ".ott"), Reader("odt", 2, read_odt, _ZIP)),
    ".rtf": Reader("rtf", 1, read_rtf, _RTF),
    ".epub": Reader("epub", 2, read_epub, _ZIP),
    ".eml": Reader("eml", 2, read_eml),
    ".mbox": Reader("mbox", 2, read_mbox),
    ".msg": Reader("msg", 2, read_msg, _OLE),
    ".ipynb": Reader("ipynb", 2, read_ipynb),
    ".srt": Reader("srt", 1, read_srt),
    ".vtt": Reader("vtt", 1, read_vtt),
    ".rst": Reader("rst", 2, read_rst),
    **dict.fromkeys((".adoc", ".asciidoc"), Reader("asciidoc", 2, read_asciidoc)),
    ".org": Reader("org", 2, read_org),
    ".tex": Reader("latex", 2, read_latex),
    **dict.fromkeys((".py", ".pyi"), Reader("python", 1, read_python)),
    **dict.fromkeys(
        (
            *(
                ".c",
                ".h",
                ".cc",
                ".cpp",
                ".hpp",
                ".cs",
                ".java",
                ".kt",
                ".scala",
                ".swift",
                ".go",
                ".rs",
                ".php",
                ".rb",
            ),
            *(".js", ".mjs", ".jsx", ".ts", ".tsx"),
        ),
        Reader("code", 1, read_code),
    ),
}
"""The reader of each ending, in lower case. A file of any other ending is read as text where it is text."""

# Formats that are text to a machine and noise to a reader: refused by name until they have a reader.
_REFUSED = {
    ".svg": "a drawing",
    ".ps": "PostScript",
}
_SIGNATURES = (
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document of the old format"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
_PICTURE = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|....ftypavi[fs]", re.DOTALL
)
_HEIC = re.compile(rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)", re.DOTALL)
_PDF_MARK_WITHIN = 1024  # bytes of junk that viewers tolerate before "%PDF-"
_ADVICE = "convert it to PDF, Markdown, HTML or text"


def supported(path: PurePath) -> bool:
    """Tell whether a reader is made for this ending. Other files may still be read, as text."""
    return path.suffix.lower() in READERS


def reader_name(name: str) -> str:
    """Return the name and version of the reader that the ending of a file's name asks for, "pdf/1" say."""
    return str(READERS.get(PurePath(name).suffix.lower(), _TEXT))


def is_light(name: str) -> bool:
    """Tell whether a file of this name is text by its ending: a small one is read in no time, by our own code."""
    reader = READERS.get(PurePath(name).suffix.lower(), _TEXT)
    return not reader.mark and not reader.takes_media


def read(
    path: Path, *, document_id: str, name: str = "", data: bytes | None = None, media: Media | None = None
) -> Document:
    """Read a file into a document; ``data`` are its bytes where the caller has them, from an archive say.

    The ending of ``name`` ("": that of the id) says what it is. ``media`` has the texts of what is no text in it; where
    it has noted wants, the document is without them.

    The title is the file's own, else the stem of its name. A document without text is a document, with a warning.
    Raises UnsupportedFormatError for what no reader reads, DocumentReadError for what cannot be read.
    """
    if data is None:
        data = _bytes(path, document_id)
    reader = _reader(document_id, name or document_id, data)
    media = media or Media()
    media.read_by(str(reader))
    try:
        reading = reader.read(data, document_id, media) if reader.takes_media else reader.read(data, document_id)
    except RagError:
        raise
    except Exception as error:  # a parser of strangers' files may raise anything
        raise DocumentReadError(
            f"cannot read {document_id!r}: the {reader.name} reader failed with {type(error).__name__}: {error}; "
            "the file is probably damaged, open it and save it again"
        ) from error
    warnings = reading.warnings
    if not reading.text and not any("no text" in warning for warning in warnings):
        warnings = (*warnings, "the file has no text")
    return Document(
        id=document_id,
        title=reading.title or PurePosixPath(document_id).stem,
        text=reading.text,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=reading.media_type,
        reader=str(reader),
        pages=reading.pages,
        headings=reading.headings,
        metadata=reading.metadata,
        warnings=warnings,
        tables=reading.tables,
        unread=media.unread,
    )


def _bytes(path: Path, document_id: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentReadError(
            f"cannot read {document_id!r}: {error.strerror or error}; check that the file is there and readable",
            retriable=True,
        ) from error


def _reader(document_id: str, name: str, data: bytes) -> Reader:
    """Choose by content first: a PDF is one whatever its name, and what is not text is not read as such."""
    suffix = PurePosixPath(name).suffix.lower()
    if b"%PDF-" in data[:_PDF_MARK_WITHIN] and (suffix == ".pdf" or data.startswith(b"%PDF-")):
        return _PDF
    if _PICTURE.match(data):
        return _IMAGE
    if _HEIC.match(data):
        raise UnsupportedFormatError(
            f"cannot read {document_id!r}: it is a HEIC picture, which has no reader; save it as JPEG or PNG"
        )
    if kind_of(data, suffix) is not None:
        return _AUDIO
    reader = READERS.get(suffix, _TEXT)
    if reader in (_IMAGE, _AUDIO):
        raise DocumentReadError(
            f"cannot read {document_id!r}: it is named {suffix} but is {_found_instead(data)}; give it the ending of "
            "what it is, or get it again"
        )
    if reader.mark and data.startswith(reader.mark):
        return reader
    if reader.mark:
        raise DocumentReadError(
            f"cannot read {document_id!r}: it is named {suffix} but is {_found_instead(data)}; give it the ending of "
            "what it is, or get it again"
        )
    if kind := next((kind for mark, kind in _SIGNATURES if data.startswith(mark)), None) or _REFUSED.get(suffix):
        raise UnsupportedFormatError(f"cannot read {document_id!r}: it is {kind}, which has no reader; {_ADVICE}")
    if looks_binary(data):
        raise UnsupportedFormatError(f"cannot read {document_id!r}: its bytes are not text; {_ADVICE}")
    if suffix == ".pdf" and data:
        raise DocumentReadError(
            f"cannot read {document_id!r}: it is named .pdf but holds no PDF; "
            "give it the ending of what it is, or get it again"
        )
    return reader


def _found_instead(data: bytes) -> str:
    if not data:
        return "empty"
    if data.startswith(_OLE):
        return "encrypted with a password, or an Office document of the old format"
    return "something else"
