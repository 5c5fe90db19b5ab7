"""What a filter allows, against a slow evaluator; searches under a filter, against brute force over what it allows."""

from __future__ import annotations

import datetime
import re
import sqlite3
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.attributes import put_attributes, set_source
from index.collection import Collection
from index.exact import ExactIndex
from index.filtering import AllowedRows, allowed_rows
from index.globs import glob_matches
from index.keywords import KeywordIndex
from index.library import Library
from index.migrations import COLLECTION_STEPS, migrate
from index.records import Position
from rag.attributes import Attribute, Scalar
from rag.filter_text import parse_filter
from rag.filters import Comparison, Compound, Filter
from tests.index.shelving import embed, make_chunks, make_document, make_entry
from tests.index.test_vector_indexes import ShelvedFaiss

# --- the slow evaluator: one document, one comparison at a time


def day(text: str) -> tuple[float, float] | None:
    """The span in seconds of a date or a year, by the calendar of the standard library."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        first = datetime.datetime.fromisoformat(text + "T00:00:00+00:00")
        return first.timestamp(), (first + datetime.timedelta(days=1)).timestamp()
    if re.fullmatch(r"\d{4}", text):
        first = datetime.datetime(int(text), 1, 1, tzinfo=datetime.UTC)
        return first.timestamp(), first.replace(year=int(text) + 1).timestamp()
    return None


def item_holds(operator: str, item: Scalar, value: Scalar) -> bool:
    if isinstance(item, bool) or isinstance(value, bool):
        return operator == "eq" and isinstance(item, bool) and isinstance(value, bool) and item == value
    moment = day(item) if isinstance(item, str) and len(item) == 10 else None
    span = day(value) if isinstance(value, str) else None
    if isinstance(value, str) and span and (moment or (not isinstance(item, str) and len(value) == 10)):
        at = moment[0] if moment else item
        assert not isinstance(at, str)
        first, last = span
        return {
            "eq": first <= at < last,
            "lt": at < first,
            "lte": at < last,
            "gt": at >= last,
            "gte": at >= first,
        }[operator]
    left = moment[0] if moment and not isinstance(value, str) else item
    if isinstance(left, str) != isinstance(value, str):
        return False
    if operator == "eq":
        return left == value
    less, equal = left < value, left == value  # type: ignore[operator]
    return {"lt": less, "lte": less or equal, "gt": not (less or equal), "gte": not less}[operator]


def fits(filter_: Filter, attributes: Mapping[str, Attribute]) -> bool:
    if isinstance(filter_, Compound):
        parts = [fits(part, attributes) for part in filter_.filters]
        return all(parts) if filter_.type == "and" else any(parts)
    found = attributes.get(filter_.key)
    if filter_.type == "exists":
        return (found is not None) is filter_.value
    if found is None:
        return False
    items = found if isinstance(found, tuple) else (found,)
    operator = {"ne": "eq", "nin": "eq", "in": "eq"}.get(filter_.type, filter_.type)
    holds = any(item_holds(operator, item, value) for item in items for value in filter_.values)
    return not holds if filter_.type in ("ne", "nin") else holds


KEYS = st.sampled_from(["a", "b", "部门"])
SCALARS: st.SearchStrategy[Scalar] = st.one_of(
    st.sampled_from(["", "x", "人事", "2024", "2024-03-05", "2023-12-31", "Z"]),
    st.sampled_from([0, 1, -3, 2024, 2**62, 1709596800, 0.5, 1.0]),
    st.booleans(),
)
VALUES: st.SearchStrategy[Attribute] = st.one_of(SCALARS, st.lists(SCALARS, max_size=3).map(tuple))
ORDERED = SCALARS.filter(lambda value: not isinstance(value, bool))
COMPARISONS = st.one_of(
    st.builds(Comparison, st.sampled_from(["eq", "ne"]), KEYS, SCALARS),
    st.builds(Comparison, st.sampled_from(["gt", "gte", "lt", "lte"]), KEYS, ORDERED),
    st.builds(Comparison, st.sampled_from(["in", "nin"]), KEYS, st.lists(SCALARS, min_size=1, max_size=3).map(tuple)),
    st.builds(Comparison, st.just("exists"), KEYS, st.booleans()),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    COMPARISONS,
    lambda parts: st.builds(Compound, st.sampled_from(["and", "or"]), st.lists(parts, max_size=3).map(tuple)),
    max_leaves=5,
)


def database_of(documents: list[dict[str, Attribute]]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, COLLECTION_STEPS, path="memory")
    for number, attributes in enumerate(documents, 1):
        connection.execute(
            "INSERT INTO documents (number, id, title, sha256, media_type, reader, n_characters, n_pages, n_chunks,"
            " n_tokens, metadata, warnings, changed_at) VALUES (?, ?, '', '', '', '', 0, 0, 1, 0, '{}', '[]', 0)",
            (number, f"d{number}"),
        )
        connection.execute(
            'INSERT INTO chunks ("row", document, id, start, "end", n_tokens, headings, address, readable)'
            " VALUES (?, ?, '', 0, 1, 1, '[]', x'', 1)",
            (number, number),
        )
        set_source(connection, f"d{number}", "sidecar", attributes)
        put_attributes(connection, f"d{number}", log=False)
    return connection


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=5), FILTERS)
def test_sql_allows_what_the_slow_evaluator_does(documents: list[dict[str, Attribute]], filter_: Filter) -> None:
    connection = database_of(documents)
    expected = [number for number, attributes in enumerate(documents, 1) if fits(filter_, attributes)]
    found = allowed_rows(connection, filter_)
    assert found.rows.tolist() == expected
    assert (found.n_documents, found.n_all_documents) == (len(expected), len(documents))
    connection.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year = 2024", {1}),
        ("year != 2024", {2}),  # 3 has no year: a missing key matches no sign
        ("year is missing", {3}),
        ("not_there != 1", set()),
        ("tags = hr", {1, 2}),
        ("tags != hr", set()),
        ("due < 2024-02", {1}),
        ('due = "2024-01-31" or due = 1706832000', {1, 2}),  # the second as epoch seconds
        ("signed >= 2024-01-01", {3}),  # an attribute in epoch seconds, compared with a date
        ("部门 in (人事, 法务) and year >= 2023", {1, 2}),
        ("flag = true", {3}),
        ("year = '2024'", set()),  # a text is no number
        ("path like 'd*' and not_there is missing", {1, 2, 3}),
        ("attributes.year >= 2024", {1}),
        ("title = d1", set()),
        ("attributes.title = 自己的", {2}),
    ],
)
def test_comparisons_by_hand(text: str, expected: set[int]) -> None:
    connection = database_of(
        [
            {"year": 2024, "tags": ("hr", "board"), "due": "2024-01-31", "部门": "人事"},
            {"year": 2023, "tags": "hr", "due": "2024-02-02T00:00:00Z", "部门": "法务", "title": "自己的"},
            {"flag": True, "signed": 1_710_000_000},
        ]
    )
    assert set(allowed_rows(connection, parse_filter(text)).rows.tolist()) == expected
    connection.close()


@given(st.text("ab/", max_size=8), st.text("ab/*?", max_size=8))
def test_globs_mean_what_a_regular_expression_would(text: str, glob: str) -> None:
    pieces = re.findall(r"\*\*/|\*\*|\*|\?|.", glob)
    shapes = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(shapes.get(piece) or re.escape(piece) for piece in pieces)
    assert glob_matches(text, glob) is (re.fullmatch(pattern, text) is not None)


def test_a_glob_made_to_take_for_ever_does_not() -> None:
    assert glob_matches("a" * 512, "*a" * 100 + "b") is False


# --- searches, against brute force

N = 3000
SHARES = {"none": 0, "one row": 1, "1 %": N // 100, "50 %": N // 2, "all": N}


def some_rows(n: int) -> AllowedRows:
    rows = np.sort(np.random.default_rng(n).permutation(N)[:n]).astype(np.int64)
    return AllowedRows(rows, n, N)


@pytest.mark.parametrize("n", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("exact_limit", [10**6, 0], ids=["flat", "codes"])
def test_vectors_are_the_best_of_what_is_allowed(n: int, exact_limit: int) -> None:
    random = np.random.default_rng(7)
    vectors = random.standard_normal((N, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index, oracle = ShelvedFaiss(32, exact_limit=exact_limit), ExactIndex(32)
    for one in (index, oracle):
        one.add(np.arange(N), vectors)
    allowed = some_rows(n)
    for query in vectors[:5]:
        found = index.search(query, k=10, allowed=allowed)
        expected = oracle.search(query, k=10, allowed=allowed)
        assert [row for row, _ in found] == [row for row, _ in expected]
        assert len(found) == min(10, n)
        np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)


@pytest.fixture(scope="module")
def words() -> KeywordIndex:
    """Every chunk says "common"; the even ones that would rank best say it alone."""
    index = KeywordIndex.create(None)
    texts = [(row, "common" if row % 2 == 0 else "common " + "filler " * (1 + row % 7)) for row in range(N)]
    index.update(remove=(), add=texts, position=Position(1, "m"))
    return index


@pytest.mark.parametrize("n", [*SHARES.values(), N - 300], ids=[*SHARES, "90 %"])
def test_keywords_are_the_best_of_what_is_allowed(words: KeywordIndex, n: int) -> None:
    everything = words.search("common filler", k=N)
    allowed = some_rows(n)
    expected = [hit for hit in everything if hit[0] in set(allowed.rows.tolist())][:10]
    found = words.search("common filler", k=10, allowed=allowed)
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])
    assert {row for row, _ in found} <= set(allowed.rows.tolist())


def test_keywords_find_what_ranks_below_everything_that_is_not_allowed(words: KeywordIndex) -> None:
    odd = AllowedRows(np.arange(1, N, 2), N // 2, N)
    many = AllowedRows(np.concatenate([odd.rows, np.arange(N, N + 2000)]), N, N)  # too many to be named
    for allowed in (odd, many):
        found = words.search("common", k=5, allowed=allowed)
        assert len(found) == 5
        assert all(row % 2 for row, _ in found)


# --- through a collection


def fill(library: Library, collection: Collection, attributes: Mapping[str, Mapping[str, Attribute]]) -> None:
    with collection.writer("test") as writer:
        writer.set_attributes({document_id: {"api": dict(given)} for document_id, given in attributes.items()})
        for document_id in attributes:
            document = make_document(document_id, f"{document_id} " + "apples and pears " * 5)
            chunks = make_chunks(document)
            embed(library, collection, chunks)
            writer.replace(document, chunks, entry=make_entry(document, chunks))


def found_by(collection: Collection, text: str) -> set[str]:
    rows = [row for row, _ in collection.search_keywords("apples", k=100, filter_=parse_filter(text))]
    unit = np.eye(8, dtype=np.float32)[0]
    by_vector = [row for row, _ in collection.search_vectors(unit, k=100, filter_=parse_filter(text))]
    documents = {chunk.document_id for chunk in collection.chunks(by_vector).values()}
    assert documents == {chunk.document_id for chunk in collection.chunks(rows).values()}
    return documents


def test_a_change_of_attributes_is_seen_by_the_next_search_of_another_reader(
    library: Library, collection: Collection
) -> None:
    fill(library, collection, {"a": {"year": 1}, "b": {"year": 2}})
    reader = library.open_collection("main")
    assert found_by(reader, "year = 1") == {"a"}
    with collection.writer("test") as writer:
        assert writer.set_attributes({"b": {"api": {"year": 1}}}) == ["b"]
        assert writer.set_attributes({"b": {"api": {"year": 1}}}) == []
    assert found_by(reader, "year = 1") == {"a", "b"}
    assert reader.status().agrees
    assert reader.check() == []


def test_true_and_one_are_two_filters(library: Library, collection: Collection) -> None:
    fill(library, collection, {"a": {"x": 1}, "b": {"x": True}})
    assert found_by(collection, "x = 1") == {"a"}
    assert found_by(collection, "x = true") == {"b"}
    with collection.writer("test") as writer:
        assert writer.set_attributes({"a": {"api": {"x": True}}}) == ["a"]
    assert found_by(collection, "x = true") == {"a", "b"}


def test_attributes_outlive_a_version_and_follow_a_rename_and_go_with_the_document(
    library: Library, collection: Collection
) -> None:
    fill(library, collection, {"a": {"year": 1}})
    with collection.writer("test") as writer:
        document = make_document("b", "apples and pears")
        chunks = make_chunks(document)
        embed(library, collection, chunks)
        writer.replace(document, chunks, entry=make_entry(document, chunks), replaces="a")
    assert found_by(collection, "year = 1") == {"b"}
    with collection.writer("test") as writer:
        writer.remove("b")
        writer.replace(document, chunks, entry=make_entry(document, chunks))
    assert found_by(collection, "year = 1") == set()
