"""What some access labels open, against a slow evaluator: the same documents, whichever way one looks."""

from __future__ import annotations

import random

import numpy as np
import pytest

from index.collection import Collection
from index.library import Library
from index.restricted import RestrictedCollection
from rag.attributes import Attribute
from rag.errors import DocumentNotFoundError
from rag.filter_text import parse_filter
from tests.index.test_filtering import fill

LABELS = ("hr", "board", "法务", "all")
N = 40


def is_open(access: Attribute | None, labels: set[str]) -> bool:
    return access is None or (isinstance(access, tuple) and bool(set(access) & labels))


@pytest.fixture
def given(library: Library, collection: Collection) -> dict[str, dict[str, Attribute]]:
    """Forty documents with none, no, one or several labels, and a year."""
    chance = random.Random(5)
    attributes: dict[str, dict[str, Attribute]] = {}
    for n in range(N):
        attributes[f"d{n:02}"] = {"year": 2000 + n % 3}
        if n % 4:
            attributes[f"d{n:02}"]["access"] = tuple(chance.sample(LABELS, chance.randrange(4)))
    fill(library, collection, attributes)
    return attributes


@pytest.mark.parametrize("labels", [(), ("hr",), ("board", "法务"), LABELS, ("nobody has this",)])
def test_every_look_shows_what_is_open_and_no_more(
    collection: Collection, given: dict[str, dict[str, Attribute]], labels: tuple[str, ...]
) -> None:
    expected = {name for name, found in given.items() if is_open(found.get("access"), set(labels))}
    later = {name for name in expected if given[name]["year"] == 2001}
    seen = RestrictedCollection(collection, frozenset(labels))
    unit = np.eye(8, dtype=np.float32)[0]
    for filter_, opened in ((None, expected), (parse_filter("year = 2001"), later)):
        for hits in (
            seen.search_keywords("apples", k=1000, filter_=filter_),
            seen.search_vectors(unit, k=1000, filter_=filter_),
        ):
            rows = [row for row, _ in hits]
            assert {chunk.document_id for chunk in seen.chunks(rows).values()} == opened
            assert set(seen.chunk_ids(rows)) == set(rows)
    assert {info.id for info in seen.documents()} == seen.document_ids() == set(seen.ledger()) == expected
    assert set(seen.attributes()) == expected
    assert {chunk.document_id for _, chunk, _ in seen.iter_chunks()} == expected
    assert seen.status().n_documents == len(expected)
    assert seen.status().n_chunks == seen.n_chunks() == len(seen.rows())
    assert seen.status().n_unreadable == 0
    everything = collection.rows()
    assert set(seen.chunks(everything)) == set(seen.chunk_ids(everything)) == set(seen.rows())
    shown = seen.vectors_of(everything)
    assert {row for row, vector in zip(everything, shown, strict=True) if vector.any()} == set(seen.rows())
    for name in given:
        reads = (
            lambda name=name: seen.document(name),
            lambda name=name: seen.document_chunks(name),
            lambda name=name: seen.text(name, 0, 3),
            lambda name=name: seen.title(name),
            lambda name=name: seen.page_at(name, 0),
            lambda name=name: seen.place_at(name, 0),
        )
        for read in reads:
            if name in expected:
                read()
            else:
                with pytest.raises(DocumentNotFoundError):
                    read()


def test_labels_that_change_are_obeyed_by_the_next_look(library: Library, collection: Collection) -> None:
    fill(library, collection, {"a": {"access": ("hr",)}, "b": {}})
    seen = RestrictedCollection(collection, frozenset({"hr"}))
    assert seen.document_ids() == {"a", "b"}
    rows = seen.rows()
    with library.open_collection("main").writer("test") as writer:
        writer.set_attributes({"a": {"api": {"access": ("board",)}}})
    assert {chunk.document_id for chunk in seen.chunks(rows).values()} == {"b"}
    assert {row for row, _ in seen.search_keywords("apples", k=100)} <= set(seen.rows())
