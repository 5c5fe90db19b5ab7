"""Minimal PDFs written by hand: pages of Helvetica lines, an outline, metadata; and scans, whose pages are pictures."""

from __future__ import annotations

from collections.abc import Sequence


def pdf_bytes(
    pages: Sequence[Sequence[str]], *, outline: Sequence[tuple[str, int]] = (), title: str = "", font: bool = True
) -> bytes:
    """Return a PDF whose pages hold these lines; ``outline`` are (title, page counted from 0)."""
    n_pages = len(pages)
    first_page, first_entry = 5, 5 + 2 * n_pages
    kids = " ".join(f"{first_page + 2 * place} 0 R" for place in range(n_pages))
    outlines = "/Outlines 4 0 R" if outline else ""
    objects = [
        f"<</Type/Catalog/Pages 2 0 R{outlines}>>".encode(),
        f"<</Type/Pages/Kids[{kids}]/Count {n_pages}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        f"<</Type/Outlines/First {first_entry} 0 R/Last {first_entry + len(outline) - 1} 0 R"
        f"/Count {len(outline)}>>".encode(),
    ]
    for place, lines in enumerate(pages):
        stream = b"BT /F1 11 Tf 14 TL 60 760 Td " + b" ".join(b"(%s) Tj T*" % _escaped(line) for line in lines) + b" ET"
        resources = "<</Font<</F1 3 0 R>>>>" if font else "<<>>"
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {first_page + 2 * place + 1} 0 R"
            f"/Resources{resources}>>".encode()
        )
        objects.append(b"<</Length %d>>stream\n" % len(stream) + stream + b"\nendstream")
    for place, (name, page) in enumerate(outline):
        following = f"/Next {first_entry + place + 1} 0 R" if place + 1 < len(outline) else ""
        objects.append(
            b"<</Title(%s)/Parent 4 0 R/Dest[%d 0 R/Fit]%s>>"
            % (_escaped(name), first_page + 2 * page, following.encode())
        )
    objects.append(b"<</Title(%s)/Author(A. Writer)/CreationDate(D:20240506120000Z)>>" % _escaped(title))
    return _file(objects)


def scan_bytes(pages: Sequence[bytes | str | None], *, size: tuple[int, int] = (612, 792), stamp: str = "") -> bytes:
    """Return a PDF whose pages are JPEG pictures that fill them; text is a page of text, None an empty page.

    ``stamp`` is text on each picture.
    """
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    kids = []
    for page in pages:
        kids.append(len(objects) + 1)
        number = len(objects) + 2
        if isinstance(page, bytes):
            stream = b"q %d 0 0 %d 0 0 cm /Im Do Q" % size
            stream += b" BT /F1 9 Tf 20 20 Td (%s) Tj ET" % _escaped(stamp) if stamp else b""
            resources = b"<</Font<</F1 3 0 R>>/XObject<</Im %d 0 R>>>>" % (number + 1)
        else:
            lines = (page or "").split("\n") if page else []
            stream = b"BT /F1 11 Tf 14 TL 60 700 Td " + b" ".join(b"(%s) Tj T*" % _escaped(x) for x in lines) + b" ET"
            resources = b"<</Font<</F1 3 0 R>>>>"
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents %d 0 R/Resources%s>>" % (*size, number, resources)
        )
        objects.append(b"<</Length %d>>stream\n" % len(stream) + stream + b"\nendstream")
        if isinstance(page, bytes):
            objects.append(_jpeg_object(page))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(b"%d 0 R" % kid for kid in kids), len(kids))
    objects.append(b"<</Title()>>")
    return _file(objects)


def _jpeg_object(jpeg: bytes) -> bytes:
    """Return a grey JPEG as the object of a picture; its size stands in its first frame header."""
    place = jpeg.index(b"\xff\xc0")
    height, width = int.from_bytes(jpeg[place + 5 : place + 7]), int.from_bytes(jpeg[place + 7 : place + 9])
    head = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8" % (width, height)
    return b"<<%s/Filter/DCTDecode/Length %d>>stream\n" % (head, len(jpeg)) + jpeg + b"\nendstream"


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _file(objects: Sequence[bytes]) -> bytes:
    """Return the objects as a file: the first is the catalog, the last the information dictionary."""
    out, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R/Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n"
        % (
            size,
            table,
            size,
            len(objects),
            len(out),
        )
    )
