"""The language of filters: two ways of writing one meaning, and what is said of what means nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.attributes import checked_attributes
from rag.errors import FilterError
from rag.filter_text import parse_filter
from rag.filters import Comparison, Compound, Filter, filter_to_json


def test_the_text_and_the_json_of_openai_mean_the_same() -> None:
    text = "year >= 2020 and department in (\"hr\",'legal') and path like reports/** or 部门 = 人事"
    both = {
        "type": "or",
        "filters": [
            {
                "type": "and",
                "filters": [
                    {"type": "gte", "key": "year", "value": 2020},
                    {"type": "in", "key": "department", "value": ["hr", "legal"]},
                    {"type": "like", "key": "path", "value": "reports/**"},
                ],
            },
            {"type": "eq", "key": "部门", "value": "人事"},
        ],
    }
    assert parse_filter(text) == parse_filter(both) == parse_filter(json.dumps(both))


def test_quotes_make_a_text_of_what_is_a_sign_or_a_number_elsewhere() -> None:
    assert parse_filter(r""""due date" = "5 \"big\" > 3" and v = '1.10' and "and" is present """) == Compound(
        "and",
        (
            Comparison("eq", "due date", '5 "big" > 3'),
            Comparison("eq", "v", "1.10"),
            Comparison("exists", "and", True),
        ),
    )
    assert parse_filter("x = true and y = -1.5e3") == Compound(
        "and", (Comparison("eq", "x", True), Comparison("eq", "y", -1500.0))
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("year", "at its end must go on with a sign"),
        ("year = ", "at its end must go on with a value"),
        ("= 2024", "at character 1, '= 2024', must go on with the name of an attribute"),
        ("year = 2024 month = 3", "at character 13, 'month = 3', comes where 'and', 'or' or the end was expected"),
        ("(year = 2024", "at its end lacks a closing parenthesis"),
        ("year liek 2024", "at character 6, 'liek 2024', is no sign; use ="),
        ("tags in finance", "at character 9, 'finance', must be values in parentheses"),
        ("tags in (a b)", "at character 12, 'b)', comes where ',' or ')' was expected"),
        ('year = "2024', "at character 8, '\"2024', has a quote that is never closed"),
        ("x > true", "at character 5, 'true', must be a text or a number: true and false have no order"),
        ("x is there", "at character 6, 'there', must be 'missing' or 'present' after 'is'"),
        ("", "at its end must go on with the name of an attribute"),
        ("(" * 9 + "a = 1" + ")" * 9, "nested more than 8 deep"),
        (" or ".join(["a = 1"] * 257), "257 values; 256 are the most"),
        ("a = 99999999999999999999", "more than 64 bits"),
        ('{"type": "eq"', "begins like JSON and is none: Expecting ',' delimiter at character 14"),
        ('{"a":' * 20_000, "begins like JSON and is none"),
        (3, "filter must be an object with a 'type', got 3"),
        ({"type": "glob", "key": "a", "value": 1}, "filter.type must be one of eq, ne"),
        ({"key": "a", "value": 1}, "filter.type must be one of eq, ne"),
        ({"type": "eq", "key": "", "value": 1}, "filter.key must be the name of an attribute"),
        ({"type": "eq", "key": "a", "value": None}, "filter.value must be a text, a number, true or false, got None"),
        ({"type": "eq", "key": "a", "value": float("nan")}, "filter.value must be a text, a number"),
        ({"type": "eq", "key": "a", "value": "\ud800"}, "filter.value is no valid text"),
        ({"type": "in", "key": "a", "value": "x"}, "filter.value must be a list of at least one value for 'in'"),
        ({"type": "in", "key": "a", "value": [1, {}]}, "filter.value[1] must be a text"),
        ({"type": "like", "key": "a", "value": 1}, "filter.value must be a text such as 'reports/**' for 'like'"),
        ({"type": "and", "filters": []}, "filter.filters must be a list of at least one filter"),
        ({"type": "or", "filters": [{"type": "eq", "key": "a", "valu": 1}]}, "filter.filters[0] has an unknown 'valu'"),
    ],
)
def test_what_means_nothing_is_refused_with_the_place(written: object, said: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(written)
    assert said in str(caught.value)


def test_deep_json_is_refused() -> None:
    written: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(20):
        written = {"type": "and", "filters": [written]}
    with pytest.raises(FilterError, match="more than 8 deep"):
        parse_filter(written)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
LEAVES = st.one_of(
    st.builds(Comparison, st.sampled_from(["eq", "ne", "gt", "lte"]), WORDS, st.one_of(WORDS, st.integers(-9, 9))),
    st.builds(Comparison, st.sampled_from(["in", "nin"]), WORDS, st.lists(WORDS, min_size=1, max_size=2).map(tuple)),
    st.builds(Comparison, st.just("like"), WORDS, WORDS),
    st.builds(Comparison, st.just("exists"), WORDS, st.booleans()),
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    LEAVES,
    lambda parts: st.builds(
        Compound, st.sampled_from(["and", "or"]), st.lists(parts, min_size=2, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


def written_out(filter_: Filter) -> str:
    if isinstance(filter_, Compound):
        return f" {filter_.type} ".join(f"({written_out(part)})" for part in filter_.filters)
    quoted = [value if isinstance(value, int) else _quoted(str(value)) for value in filter_.values]
    key = _quoted(filter_.key)
    if filter_.type == "exists":
        return f"{key} is {'present' if filter_.value else 'missing'}"
    if filter_.type in ("in", "nin"):
        return f"{key} {'not ' * (filter_.type == 'nin')}in ({', '.join(map(str, quoted))})"
    sign = {"eq": "=", "ne": "!=", "gt": ">", "lte": "<=", "like": "like"}[filter_.type]
    return f"{key} {sign} {quoted[0]}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(FILTERS)
def test_both_ways_of_writing_a_filter_read_back_as_it(filter_: Filter) -> None:
    assert parse_filter(written_out(filter_)) == filter_
    assert parse_filter(filter_to_json(filter_)) == filter_


def test_what_cannot_be_an_attribute_is_named_and_the_rest_is_kept() -> None:
    usable, problems = checked_attributes(
        {"ok": "人事", "tags": ["a", 1], "none": None, "map": {}, "k" * 65: 1, "long": "x" * 513, 5: 1}, where="a.md"
    )
    assert usable == {"ok": "人事", "tags": ("a", 1)}
    assert len(problems) == 5
    assert any("'map' of a.md is left out: it must be a text, a number, true, false" in said for said in problems)
    assert any("its key has 65 characters, 64 are the most" in said for said in problems)
    usable, problems = checked_attributes({f"k{n:02}": n for n in range(17)} | {"access": "hr"}, where="a.md")
    assert usable["access"] == ("hr",), "labels are never the key too many"
    assert (len(usable), len(problems)) == (16, 2)


@pytest.mark.parametrize("labels", [3, True, ["hr", 3], [["hr"]], None, "", {"hr": 1}])
def test_labels_that_cannot_be_read_are_none(labels: object) -> None:
    usable, problems = checked_attributes({"access": labels}, where="a.md")
    assert usable == {"access": ()}
    assert "the document counts as one without any label" in problems[0]
