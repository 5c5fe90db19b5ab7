"""Readers on real files with random damage: always a whole document or a refusal, never a crash, within limits.

    FUZZ_EXAMPLES=20000 pytest tests/ingest/test_fuzz.py

runs for hours instead of seconds; a failure prints the file and the damage that brought it about.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.chunking import chunk
from ingest.isolation import IsolatedReaders, ReadingLimits
from rag.errors import DocumentReadError
from rag.types import ChunkingSettings, Document
from tests.fakes import WordTokenizer

ROOT = Path(__file__).parents[2]
BAD_INPUTS = ROOT.parent / "shared" / "data" / "badinputs"
N_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
MAX_SEED_BYTES = 300_000
LIMITS = ReadingLimits(timeout_s=20, memory_mb=1024)
MARKS = (
    b"\0",
    b"\xff",
    b"<",
    b"(" * 500,
    b"[" * 500,
    b"\x1b$B",
    b"%PDF-1.7\n",
    b"/Kids[2 0 R]",
    b"\r\n\r\n",
    b"9" * 30,
)


def seeds() -> list[Path]:
    """Return the real files: small enough to read many times, of every ending, in a fixed order."""
    folders = [ROOT / "examples/docs", *([BAD_INPUTS] if BAD_INPUTS.exists() else [])]
    paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in paths if 0 < path.stat().st_size <= MAX_SEED_BYTES]


SEEDS = seeds()


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a name and bytes: a real file with one to six kinds of damage."""
    seed = draw(st.sampled_from(SEEDS))
    data = reduce(lambda data, _: damaged(draw, data), range(draw(st.integers(1, 6))), seed.read_bytes())
    return seed.name, data


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    kind = draw(st.sampled_from(["flip", "cut", "drop", "repeat", "splice", "insert"]))
    at = draw(st.integers(0, len(data)))
    length = draw(st.sampled_from([1, 7, 64, 1000, 20_000]))
    if kind == "flip":
        places = draw(st.lists(st.integers(0, max(len(data) - 1, 0)), min_size=1, max_size=20))
        return flipped(data, places, draw(st.integers(1, 255)))
    if kind == "cut":
        return data[:at]
    if kind == "drop":
        return data[:at] + data[at + length :]
    if kind == "repeat":
        return (data[:at] + data[at : at + length] * draw(st.integers(2, 20)))[:2_000_000] + data[at + length :]
    if kind == "insert":
        return data[:at] + draw(st.sampled_from(MARKS)) + data[at:]
    other = draw(st.sampled_from(SEEDS)).read_bytes()
    start = draw(st.integers(0, len(other)))
    return data[:at] + other[start : start + length] + data[at:]


def flipped(data: bytes, places: Sequence[int], mask: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        if place < len(changed):
            changed[place] ^= mask
    return bytes(changed)


@pytest.fixture(scope="module")
def readers() -> Iterator[IsolatedReaders]:
    with IsolatedReaders(LIMITS) as readers:
        yield readers


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(file=damaged_files())
def test_a_damaged_file_is_read_or_refused(readers: IsolatedReaders, scratch: Path, file: tuple[str, bytes]) -> None:
    name, data = file
    path = scratch / f"damaged{Path(name).suffix}"
    path.write_bytes(data)
    found = read_or_refusal(readers, path, len(data))
    if isinstance(found, Document):
        assert_whole(found)
    else:
        assert found.startswith(f"cannot read {path.name!r}: ")
        assert not any(word in found for word in ("the reader crashed", "killed from outside", "not read within"))


def read_or_refusal(readers: IsolatedReaders, path: Path, size: int) -> Document | str:
    try:
        return readers.read(path, document_id=path.name, size=size)
    except DocumentReadError as error:
        return str(error)


def assert_whole(document: Document) -> None:
    """Check what all that comes after a reader relies on."""
    text = document.text
    for words in (text, document.title, *document.metadata.values(), *document.warnings):
        words.encode("utf-8")
    assert [page.start for page in document.pages] == [0, *(page.end for page in document.pages)][: len(document.pages)]
    assert not document.pages or document.pages[-1].end == len(text)
    starts = [heading.start for heading in document.headings]
    assert starts == sorted(starts)
    assert all(0 <= start <= len(text) for start in starts)
    for piece in chunk(document, WordTokenizer(), ChunkingSettings(tokens=256, overlap=32)):
        assert piece.text == text[piece.start : piece.end]
