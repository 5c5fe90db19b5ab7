"""Stored words found again among the characters of a page, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.readers.marked import found_again, marked


@pytest.mark.parametrize(
    ("stored", "words", "page", "there"),
    [
        ("an effect", "effect", "an e\ufb00ect", "e\ufb00ect"),  # a ligature
        ("a warranty ends", "warranty", "a war-\r\nranty ends", "warranty"),  # parted at a line's end
        ("保修期为24个月", "24个月", "保修期为\r\n24个月", "24个月"),
        ("café noir", "café", "Head\r\ncafe\u0301 noir", "cafe"),  # composed; a running head before it
    ],
)
def test_words_are_found_again(stored: str, words: str, page: str, there: str) -> None:
    start = stored.index(words)
    found = found_again(stored, start, start + len(words), page)
    assert found is not None
    assert "".join(page[place] for place in found) == there


def test_nothing_is_marked_where_it_is_not_certain() -> None:
    assert found_again("the end", 4, 7, "end the end") is None  # a running head says it, too
    assert found_again("the end", 4, 7, "another text") is None
    assert found_again("a - b", 2, 3, "a - b") is None  # no letter to go by


def test_black_stays_black_and_boxes_that_overlap_are_marked_once() -> None:
    pixels = np.full((20, 20, 3), 255, dtype=np.uint8)
    pixels[10, 10] = 0
    boxes = np.array([[8, 8, 12, 12], [9, 8, 13, 12]], dtype=np.float32)
    out = marked(pixels, boxes)
    assert out[10, 10].tolist() == [0, 0, 0]
    assert out[8, 8].tolist() == [255, 224, 64]
    assert out[2, 2].tolist() == [255, 255, 255]
