"""Pictures and scanned pages as their readers see them: what is asked for, and what is made of the texts."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
from PIL import Image

from ingest.readers import read
from ingest.readers.media import Media, ServedKind
from rag.errors import DocumentReadError, UnsupportedFormatError
from rag.types import Document, MediaKind, MediaLimits, MediaText, PlacedText
from tests.ingest.pdf_bytes import scan_bytes
from tests.tesseract import picture, picture_bytes, words_in

WORDS = "the harbour was built in 1870"
OCR, EYE = ServedKind("page", "tesseract 5 (eng)", MediaLimits()), ServedKind("picture", "eye", MediaLimits())
NUMBERED_BY = {".pdf": "pdf/2"}


def read_with(
    name: str, data: bytes, *served: ServedKind, known: dict[tuple[MediaKind, int], MediaText] | None = None
) -> tuple[Document, Media]:
    """Read a file for whose media these kinds are served, and these texts known."""
    numbered_by = NUMBERED_BY.get(Path(name).suffix, "image/1")
    placed = [PlacedText(kind, place, numbered_by, text) for (kind, place), text in (known or {}).items()]
    media = Media(served, placed)
    return read(Path(name), document_id=name, data=data, media=media), media


def asked(name: str, data: bytes, *served: ServedKind) -> list[tuple[str, int, str | None]]:
    """Return what is asked for: kind, place, and what a reader would see in it."""
    _, media = read_with(name, data, *served)
    return [(want.kind, want.place, want.medium and words_in(want.medium.data)) for want in media.wants]


def by(reader: ServedKind, text: str, **options: str) -> MediaText:
    return MediaText(text, reader=reader.title, **options)


# --- pictures


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.png", "PNG"),
        ("a.JPG", "JPEG"),
        ("a.webp", "WEBP"),
        ("a.bmp", "BMP"),
        ("a.tif", "TIFF"),
        ("a.gif", "GIF"),
        ("a.txt", "PNG"),
    ],
)
def test_a_picture_of_any_kind_and_name_is_asked_about(name: str, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    assert asked(name, picture_bytes(WORDS, format=format, **options), OCR) == [("page", 0, WORDS)]


def test_a_picture_is_turned_upright_and_made_no_larger_than_need_be() -> None:
    out = io.BytesIO()
    turned = picture(WORDS, width=6400, height=2000).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    turned.save(out, "JPEG", quality=95, exif=exif)
    _, media = read_with("a.jpg", out.getvalue(), OCR, EYE)
    for want in media.wants:
        assert want.medium is not None
        assert words_in(want.medium.data) == WORDS
        assert want.medium.width * want.medium.height <= 6_000_000
    assert {want.kind: want.medium and max(want.medium.width, want.medium.height) for want in media.wants} == {
        "picture": 2048,
        "page": max(Image.open(io.BytesIO(media.wants[1].medium.data)).size),  # type: ignore[union-attr]
    }


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "I;16", "I", "F"])
def test_pixels_of_every_kind_become_a_plain_picture(mode: str) -> None:
    out = io.BytesIO()
    image = Image.linear_gradient("L").convert("I" if mode == "I;16" else mode)
    (image.convert(mode) if mode == "I;16" else image).save(out, "TIFF" if mode in ("CMYK", "F", "I") else "PNG")
    _, media = read_with("a.tif" if mode in ("CMYK", "F", "I") else "a.png", out.getvalue(), OCR)
    (want,) = media.wants
    assert want.medium is not None
    assert Image.open(io.BytesIO(want.medium.data)).mode == "L"


def test_pictures_with_nothing_in_them_are_shown_to_nobody() -> None:
    for image in (Image.new("RGB", (800, 600), "white"), picture(WORDS).resize((64, 8))):
        out = io.BytesIO()
        image.save(out, "PNG")
        _, media = read_with("a.png", out.getvalue(), OCR)
        assert [want.medium for want in media.wants] == [None]


def test_each_text_says_whose_words_it_is() -> None:
    known = {("page", 0): by(OCR, WORDS), ("picture", 0): by(EYE, "A harbour with ships.")}
    document, media = read_with("a.png", picture_bytes(WORDS, format="PNG"), OCR, EYE, known=known)
    assert not media.wants
    assert document.text == f"{WORDS}\n\nA harbour with ships."
    assert document.place_at(0) == "text in the picture (read by tesseract)"
    assert document.place_at(len(document.text) - 1) == "description by eye"
    assert dict(document.metadata) == {"text_read_by": "tesseract 5 (eng)", "described_by": "eye"}


def test_a_model_that_describes_is_not_asked_for_the_text_as_well() -> None:
    reads_both = (ServedKind("page", "eye", MediaLimits()), EYE)
    assert [kind for kind, _, _ in asked("a.png", picture_bytes(WORDS, format="PNG"), *reads_both)] == ["picture"]


def test_the_pages_of_a_tiff_are_pages() -> None:
    out = io.BytesIO()
    picture("page one").save(
        out, "TIFF", save_all=True, append_images=[picture("page two"), Image.new("L", (900, 900))]
    )
    assert asked("fax.tiff", out.getvalue(), OCR) == [
        ("page", 0, "page one"),
        ("page", 1, "page two"),
        ("page", 2, None),
    ]
    known = {("page", 0): by(OCR, "one"), ("page", 1): by(OCR, "two"), ("page", 2): MediaText("")}
    document, _ = read_with("fax.tiff", out.getvalue(), OCR, known=known)
    assert document.text == "one\n\ntwo"
    assert document.place_at(6) == "page 2 (read by tesseract)"
    assert document.warnings == (
        "2 of 3 pages were read by OCR (tesseract 5 (eng))",
        "1 of 3 pages have no text",
    )


@pytest.mark.parametrize(
    ("served", "text", "said"),
    [
        ((), None, "a picture has no text of its own; install Tesseract, or name a vision model (vision.model)"),
        ((OCR,), by(OCR, ""), "no text was found in it by tesseract 5 (eng); a vision model could describe it"),
        ((OCR,), by(OCR, "", refusal="it is too dark"), "it was not read: it is too dark"),
    ],
)
def test_a_picture_of_which_nothing_is_known_says_why(
    served: tuple[ServedKind, ...], text: MediaText | None, said: str
) -> None:
    known: dict[tuple[MediaKind, int], MediaText] = {("page", 0): text} if text else {}
    document, _ = read_with("a.png", picture_bytes(WORDS, format="PNG"), *served, known=known)
    assert document.text == ""
    assert any(warning.startswith(said) for warning in document.warnings)
    assert document.unread == (("picture",) if served else ("page", "picture"))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.png", picture_bytes(WORDS, format="PNG")[:400], "the picture is damaged"),
        ("text.png", b"no picture at all", "it is named .png but is something else"),
        ("empty.jpg", b"", "it is named .jpg but is empty"),
        ("marked.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "the picture is damaged"),
    ],
)
def test_a_damaged_picture_fails_with_the_reason(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(DocumentReadError, match=reason):
        read_with(name, data, OCR)


def test_a_picture_that_would_fill_the_memory_is_not_unfolded() -> None:
    data = picture_bytes(WORDS, format="PNG")
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + data[24:29]
    bomb = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    with pytest.raises(DocumentReadError, match="too large a picture"):
        read_with("bomb.png", bomb, OCR)


def test_a_heic_picture_is_unsupported_with_advice() -> None:
    with pytest.raises(UnsupportedFormatError, match="HEIC picture, which has no reader; save it as JPEG or PNG"):
        read_with("photo.heic", b"\0\0\0\x18ftypheic" + bytes(100), OCR)


# --- scanned pages


def test_only_pages_without_text_are_asked_about_and_empty_ones_are_not_shown() -> None:
    data = scan_bytes(["A typed page.", picture_bytes("page two"), None, picture_bytes("page four")])
    assert asked("a.pdf", data, OCR) == [("page", 1, "page two"), ("page", 2, None), ("page", 3, "page four")]


def test_a_stamp_on_a_scan_does_not_hide_what_was_scanned() -> None:
    data = scan_bytes([picture_bytes(WORDS)], stamp="No 7")
    assert asked("a.pdf", data, OCR) == [("page", 0, WORDS)]
    assert read_with("a.pdf", data, OCR, known={("page", 0): by(OCR, WORDS)})[0].text == WORDS
    assert read_with("a.pdf", data, OCR, known={("page", 0): by(OCR, "No 7")})[0].text == "No 7"
    assert read_with("a.pdf", data)[0].text == "No 7"


def test_what_was_read_of_pages_is_told_page_by_page() -> None:
    data = scan_bytes(["A typed page.", *(picture_bytes(f"page {n}") for n in range(3))])
    known = {
        ("page", 1): by(OCR, "A long line of the second page is joined with the next, where a word is par-\nted."),
        ("page", 2): by(OCR, "", refusal="it was not read within 120 s"),
        ("page", 3): by(OCR, "Read.", note="2 illegible paragraphs were left out"),
    }
    document, media = read_with("a.pdf", data, OCR, known=known)
    assert not media.wants
    assert "a word is parted." in document.text
    assert document.place_at(document.text.index("Read.")) == "page 4 (read by tesseract)"
    assert document.warnings == (
        "2 of 4 pages were read by OCR (tesseract 5 (eng))",
        "page 3 was not read: it was not read within 120 s",
        "page 4: 2 illegible paragraphs were left out",
        "1 of 4 pages have no text",
    )


def test_drawing_a_page_of_any_size_stays_within_the_limits() -> None:
    for size in ((20, 20), (612, 792), (14_400, 14_400), (14_400, 3)):
        _, media = read_with("a.pdf", scan_bytes([picture_bytes(WORDS)], size=size), OCR)
        for want in media.wants:
            if want.medium is not None:
                assert want.medium.width * want.medium.height <= 6_100_000
                assert max(want.medium.width, want.medium.height) <= 6_000
