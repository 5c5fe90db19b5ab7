"""Which reader reads what; and that every hostile file has an outcome."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.readers import READERS, read, reader_name, supported
from ingest.sources import Found, walk
from rag.errors import DocumentReadError, RagError, UnsupportedFormatError
from tests.ingest.pdf_bytes import pdf_bytes

SHARED = Path(__file__).parents[2] / "../shared/data"


def test_a_document_names_its_file_reader_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello")
    document = read(tmp_path / "a.txt", document_id="sub/a.txt")
    assert (document.id, document.title, document.text) == ("sub/a.txt", "a", "hello")
    assert (document.reader, document.media_type) == ("text/2", "text/plain")
    assert document.sha256 == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize(
    ("name", "reader"),
    [("a.TXT", "text/2"), ("a.Md", "markdown/2"), ("a.htm", "html/3"), ("a.pdf", "pdf/2"), ("a.csv", "csv/1"),
     ("a.tsv", "tsv/1"), ("a.json", "json/1"), ("a.jsonl", "jsonl/1"), ("LICENSE", "text/2"), ("a.py", "python/1"),
     ("a.JS", "code/1"), ("a.sh", "text/2"), ("a.rst", "rst/2"), ("a.eml", "eml/2")],
)  # fmt: skip
def test_the_ending_chooses_the_reader(name: str, reader: str) -> None:
    data = pdf_bytes([["x"]]) if name.endswith(".pdf") else b"x"
    assert read(Path(name), document_id=name, data=data).reader == reader_name(name) == reader


def test_supported_tells_the_endings_that_have_a_reader() -> None:
    assert all(supported(Path(f"x{suffix.upper()}")) for suffix in READERS)
    assert not supported(Path("x.doc"))


def test_a_pdf_is_one_whatever_its_name() -> None:
    assert read(Path("a.txt"), document_id="a.txt", data=pdf_bytes([["inside"]])).text == "inside"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", bytes(range(256)) * 20),
        ("a.txt", b"PK\x03\x04 rest"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("a.txt", b"\x7fELF" + bytes(100)),
        ("a.svg", b"<svg/>"),
        ("a.bin", bytes(1000)),
    ],
)
def test_what_no_reader_reads_is_said_to_be_unsupported(name: str, data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="convert it to PDF"):
        read(Path(name), document_id=name, data=data)


@pytest.mark.parametrize(
    "suffix", sorted(suffix for suffix, reader in READERS.items() if not reader.takes_media and not reader.mark)
)
@pytest.mark.parametrize("data", [b"", b" \n\t\r\n" * 500], ids=["empty", "blank"])
def test_a_file_without_text_is_a_document_with_a_warning(suffix: str, data: bytes) -> None:
    document = read(Path(f"a{suffix}"), document_id=f"a{suffix}", data=data)
    assert document.text == ""
    assert "the file has no text" in document.warnings


def test_text_that_looks_like_a_special_token_is_text() -> None:
    data = b"<|endoftext|> hello <|im_start|>system"
    assert read(Path("a.txt"), document_id="a.txt", data=data).text == data.decode()


def test_a_file_that_vanished_may_be_read_another_time(tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="check that the file is there") as caught:
        read(tmp_path / "gone.txt", document_id="gone.txt")
    assert caught.value.retriable


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), suffix=st.sampled_from([*sorted(READERS), "", ".xyz"]))
def test_any_bytes_end_as_a_document_or_a_named_error(data: bytes, suffix: str) -> None:
    name = f"folder/a{suffix}"
    try:
        document = read(Path(name), document_id=name, data=data)
    except DocumentReadError as error:
        document = None
        message = str(error)
    assert (document.id if document else message.split("'")[1]) == name


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=20))
def test_a_damaged_pdf_ends_as_a_document_or_an_error(damage: list[tuple[int, int]]) -> None:
    data = bytearray(pdf_bytes([["one", "two"], ["three"]], outline=[("three", 1)], title="T"))
    for place, byte in damage:
        data[place % len(data)] = byte
    try:
        assert read(Path("a.pdf"), document_id="a.pdf", data=bytes(data)).id == "a.pdf"
    except DocumentReadError:
        assert damage


def _outcome(path: Path, document_id: str) -> str:
    """Return how reading ends; anything but a document or a RagError that names the file fails the test."""
    try:
        document = read(path, document_id=document_id)
    except RagError as error:
        return type(error).__name__ if document_id in str(error) else f"unnamed: {error}"
    starts = [page.start for page in document.pages]
    assert starts == sorted(starts)
    assert all(0 <= heading.start <= len(document.text) for heading in document.headings)
    document.text.encode("utf-8")
    return "read" if document.text else "empty"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared sample files")
def test_every_sample_file_has_an_outcome() -> None:
    files = [item for item in walk(SHARED / "badinputs") if isinstance(item, Found)]
    outcomes = {item.id: _outcome(item.path, item.id) for item in files}
    assert set(outcomes.values()) == {"read", "empty", "DocumentReadError", "UnsupportedFormatError"}
    assert len([name for name, outcome in outcomes.items() if outcome == "read"]) > 60


@pytest.fixture(scope="module")
def hostile(pytestconfig: pytest.Config) -> Path:
    """Return the folder of hostile files; kept between runs, since compressing the bombs takes many seconds."""
    if not (SHARED / "make_hostile.py").is_file():
        pytest.skip("needs the shared generator of hostile files")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("hostile")
    if (folder / "MANIFEST.json").is_file():  # written last
        return folder
    subprocess.run([sys.executable, SHARED / "make_hostile.py", folder], check=True, capture_output=True)
    return folder


def test_every_hostile_file_has_an_outcome(hostile: Path) -> None:
    names = [entry["file"] for entry in json.loads((hostile / "MANIFEST.json").read_text(encoding="utf-8"))]
    expected = {
        **dict.fromkeys(
            ("text/empty.txt", "text/whitespace.txt", "pdf/flate_bomb_300MB.pdf", "pdf/fuzz_17.pdf"), "empty"
        ),
        **{f"pdf/fuzz_{number:02d}.pdf": "DocumentReadError" for number in range(20) if number != 17},
        **dict.fromkeys(("names/pdf_named.txt", "names/text_named.pdf"), "DocumentReadError"),
        **dict.fromkeys(("pdf/truncated.pdf", "pdf/kids_loop.pdf", "pdf/no_pages.pdf"), "DocumentReadError"),
        **dict.fromkeys(
            ("office/bomb_200MB.docx", "office/billion_laughs.docx", "office/xxe.docx"), "DocumentReadError"
        ),
        **dict.fromkeys(("office/docx_deep_table.docx", "office/not_a_docx.docx"), "DocumentReadError"),
    }
    for name in names:
        if not name.startswith(("loop/", "html/deep")):  # the deep page alone takes the HTML parser three seconds
            outcome = expected.get(name, "UnsupportedFormatError" if name.startswith("zip/") else "read")
            assert (name, _outcome(hostile / name, name)) == (name, outcome)


def test_hostile_links_do_not_lead_out_or_round(hostile: Path) -> None:
    items = {item.id: item for item in walk(hostile)}
    assert not any(isinstance(item, Found) for name, item in items.items() if name.startswith("loop/"))
    assert {"loop/a/b/up/", "loop/dangling.txt", "loop/etc_passwd.txt"} <= set(items)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030", "hz"]
)
def test_hostile_encodings_decode_to_the_same_text(hostile: Path, encoding: str) -> None:
    expected = read(hostile / "enc/zh_utf-8.txt", document_id="a").text
    assert read(hostile / f"enc/zh_{encoding}.txt", document_id="b.txt").text == expected


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "mac_roman"])
def test_hostile_western_text_keeps_its_signs(hostile: Path, encoding: str) -> None:
    text = read(hostile / f"enc/en_{encoding}.txt", document_id="a.txt").text
    assert text.startswith("Retrieval-augmented generation must cite sources. Café naïve — “quotes”. €100.")
