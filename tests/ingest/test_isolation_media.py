"""Media that a reader meets: it asks for their texts, and is asked to read again with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.isolation import IsolatedReaders, ReadingLimits, ToRead, Wanted
from ingest.readers.media import ServedKind
from rag.errors import DocumentReadError
from rag.types import Document, MediaLimits, MediaText, PlacedText

HOSTILE = "tests.ingest.hostile_readers:read"
LIMITS = ReadingLimits(timeout_s=2.0, memory_mb=256, chars=1000)
PAGES = ServedKind("page", "somebody", MediaLimits())


@pytest.fixture
def readers() -> Iterator[IsolatedReaders]:
    with IsolatedReaders(LIMITS, reader=HOSTILE, served=[PAGES]) as readers:
        yield readers


def order(folder: Path, text: str) -> ToRead:
    path = folder / "order.txt"
    path.write_text(text, encoding="utf-8")
    return ToRead(path, "order.txt", len(text))


def texts(wanted: Wanted, texts: Sequence[str]) -> list[PlacedText]:
    return [
        PlacedText(want.kind, want.place, wanted.reader, MediaText(text))
        for want, text in zip(wanted.wants, texts, strict=True)
    ]


def test_media_are_asked_for_and_the_file_is_read_again_with_their_texts(
    readers: IsolatedReaders, tmp_path: Path
) -> None:
    file = order(tmp_path, "want 3 5")
    wanted = readers.read(file)
    assert isinstance(wanted, Wanted)
    assert [(want.place, want.medium and want.medium.data) for want in wanted.wants] == [(0, b"xxx"), (1, b"xxxxx")]
    document = readers.read(readers.again(file, wanted, texts(wanted, ["one", "two"])))
    assert isinstance(document, Document)
    assert document.text == "one two"


def test_what_is_too_much_for_one_reply_comes_in_rounds(tmp_path: Path) -> None:
    file = order(tmp_path, "want 30000000 30000000 10")
    places = []
    patient = replace(LIMITS, timeout_s=60)  # a round ends with its time as well
    with IsolatedReaders(patient, reader=HOSTILE, served=[PAGES]) as readers:
        while isinstance(wanted := readers.read(file), Wanted):
            places.append([want.place for want in wanted.wants])
            file = readers.again(file, wanted, texts(wanted, ["read"] * len(wanted.wants)))
    assert places == [[0, 1], [2]]
    assert wanted.text == "read read read"


def test_a_file_that_was_read_ahead_takes_the_texts_that_came_since(tmp_path: Path) -> None:
    file = order(tmp_path, "want 3")
    with IsolatedReaders(LIMITS, reader=HOSTILE, served=[PAGES], n_ahead=1) as readers:
        readers.announce([file])
        known = PlacedText("page", 0, "hostile/1", MediaText("known"))
        wanted = readers.read(ToRead(file.path, file.document_id, file.size, known=(known,)))
        assert isinstance(wanted, Document | Wanted)
        assert len(readers._all) == 1


def test_texts_under_the_numbers_of_another_reader_are_not_taken(readers: IsolatedReaders, tmp_path: Path) -> None:
    file = order(tmp_path, "want 3")
    stale = PlacedText("page", 0, "hostile/0", MediaText("of another place"))
    assert isinstance(readers.read(ToRead(file.path, file.document_id, file.size, known=(stale,))), Wanted)


def test_kinds_that_nobody_reads_are_named(tmp_path: Path) -> None:
    with IsolatedReaders(LIMITS, reader=HOSTILE) as readers:
        document = readers.read(order(tmp_path, "want 3"))
    assert isinstance(document, Document)
    assert (document.text, document.unread) == ("-", ("page",))


@pytest.mark.parametrize(
    ("doing", "reason"),
    [
        ("sleep 30", "one was not ready within 2 s"),
        ("exit 7", "ended the reader .it ended with exit code 7"),
        ("eat 4000", "more than 256 MB of memory"),
    ],
)
def test_a_file_whose_media_break_the_reader_is_read_without_them(
    readers: IsolatedReaders, tmp_path: Path, doing: str, reason: str
) -> None:
    document = readers.read(order(tmp_path, f"want-{doing}"))
    assert isinstance(document, Document)
    assert document.text.startswith("None, for ")
    assert re.search(reason, document.text)


def test_a_medium_that_cannot_be_made_is_told_with_the_reason(readers: IsolatedReaders, tmp_path: Path) -> None:
    wanted = readers.read(order(tmp_path, "want-raise"))
    assert isinstance(wanted, Wanted)
    assert [(want.medium, want.problem) for want in wanted.wants] == [(None, "ValueError: not even a RagError")]


def test_what_is_no_medium_is_not_taken_from_a_reader(readers: IsolatedReaders, tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="crashed"):
        readers.read(order(tmp_path, "want-junk"))
