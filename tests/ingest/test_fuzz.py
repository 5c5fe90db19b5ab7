"""Readers on real files with random damage: always a whole document or a refusal, never a crash, within limits.

    FUZZ_EXAMPLES=20000 pytest tests/ingest/test_fuzz.py

runs for hours instead of seconds; a failure prints the file and the damage that brought it about.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.archives.member import Member
from ingest.chunking import chunk
from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead
from rag.errors import DocumentReadError
from rag.types import ChunkingSettings, Document
from tests.fakes import WordTokenizer
from tests.ingest.archive_bytes import PACK

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
_PACKED = {path.name: path.read_bytes() for path in sorted((ROOT / "examples/docs").rglob("*.md"))[:6]}
ARCHIVES = {ending: pack({**_PACKED, f"within{ending}": pack(_PACKED)}) for ending, pack in PACK.items()}


@dataclass(frozen=True, slots=True)
class Damage:
    """One blow to a file. ``at`` is a place in millionths of it; ``number`` a bit mask, repetitions or a mark."""

    kind: Literal["flip", "cut", "drop", "repeat", "insert", "splice"]
    at: int
    length: int
    number: int
    other: Path

    def done_to(self, data: bytes) -> bytes:
        place = len(data) * self.at // 1_000_000
        before, block, after = data[:place], data[place : place + self.length], data[place + self.length :]
        match self.kind:
            case "flip":
                return before + bytes(byte ^ self.number for byte in block) + after
            case "cut":
                return before
            case "drop":
                return before + after
            case "repeat":
                return before + block * (self.number % 20) + after
            case "insert":
                return before + MARKS[self.number % len(MARKS)] + block + after
            case "splice":
                strange = self.other.read_bytes()
                start = len(strange) * self.at // 1_000_000
                return before + strange[start : start + self.length] + block + after


DAMAGE = st.builds(
    Damage,
    kind=st.sampled_from(["flip", "cut", "drop", "repeat", "insert", "splice"]),
    at=st.integers(0, 1_000_000),
    length=st.sampled_from([1, 7, 64, 1000, 20_000]),
    number=st.integers(1, 255),
    other=st.sampled_from(SEEDS),
)


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
@given(seed=st.sampled_from(SEEDS), blows=st.lists(DAMAGE, min_size=1, max_size=6))
def test_a_damaged_file_is_read_or_refused(
    readers: IsolatedReaders, scratch: Path, seed: Path, blows: list[Damage]
) -> None:
    data = reduce(lambda data, blow: blow.done_to(data), blows, seed.read_bytes())
    path = scratch / f"damaged{seed.suffix}"
    path.write_bytes(data)
    found = read_or_refusal(readers, path, len(data))
    if isinstance(found, Document):
        assert_whole(found)
    else:
        assert found.startswith(f"cannot read {path.name!r}: ")
        assert not any(word in found for word in ("the reader crashed", "killed from outside", "not read within"))


@settings(
    max_examples=N_EXAMPLES // 2,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(ending=st.sampled_from(sorted(ARCHIVES)), blows=st.lists(DAMAGE, min_size=1, max_size=4))
def test_the_files_of_a_damaged_archive_are_read_or_refused(
    readers: IsolatedReaders, scratch: Path, ending: str, blows: list[Damage]
) -> None:
    data = reduce(lambda data, blow: blow.done_to(data), blows, ARCHIVES[ending])
    path = scratch / f"damaged{ending}"
    path.write_bytes(data)
    members = members_or_refusal(readers, path, len(data))
    if isinstance(members, str):
        assert members.startswith(f"cannot read {path.name!r}: ")
        assert "the reader crashed" not in members
        return
    for member in members:
        assert member.state == "file" or member.reason
        "/".join(member.path).encode("utf-8")
    for member in [member for member in members if member.sha256][:3]:
        name = "/".join((path.name, *member.path))
        document = readers.read(ToRead(path, name, member.size, member=member.path))
        assert document.sha256 == member.sha256
        assert_whole(document)


def read_or_refusal(readers: IsolatedReaders, path: Path, size: int) -> Document | str:
    try:
        return readers.read(ToRead(path, path.name, size))
    except DocumentReadError as error:
        return str(error)


def members_or_refusal(readers: IsolatedReaders, path: Path, size: int) -> tuple[Member, ...] | str:
    try:
        return readers.members(ToRead(path, path.name, size), hashed=True, max_bytes=1_000_000)
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
