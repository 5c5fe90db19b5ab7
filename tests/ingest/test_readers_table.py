"""CSV, TSV, JSON and JSON Lines: every row and record is found with its names, none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.readers import read
from rag.types import Document


def _read(name: str, source: str | bytes) -> Document:
    data = source if isinstance(source, bytes) else source.encode()
    return read(Path(name), document_id=name, data=data)


def test_each_row_becomes_a_paragraph_of_names_and_values() -> None:
    document = _read("a.csv", 'name,price\nApple,"1,5"\nPear,\n')
    assert document.text == "name: Apple\nprice: 1,5\n\nname: Pear"
    assert document.metadata == {"encoding": "ascii", "rows": "2", "columns": "name, price"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    source = "\n".join(delimiter.join(row) for row in (("名称", "价格"), ("苹果", "1.5"), ("梨", "2")))
    assert _read("a.csv", source).text == "名称: 苹果\n价格: 1.5\n\n名称: 梨\n价格: 2"


def test_tsv_is_cut_at_tabs_only() -> None:
    assert _read("a.tsv", "k\tv\na,b,c\t1\n").text == "k: a,b,c\nv: 1"


def test_a_table_without_names_has_numbered_columns() -> None:
    assert _read("a.csv", "1,2\n3,4\n").text == "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4"


def test_rows_of_odd_width_are_kept_with_a_warning() -> None:
    document = _read("a.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert document.text.split("\n\n") == ["a: 1\nb: 2", "a: 3", "a: 4\nb: 5\ncolumn 3: 6", "a: 7\nb: 8"]
    assert document.warnings == ("2 of 4 rows do not have 2 columns",)


def test_a_quotation_mark_that_is_not_closed_is_a_warning() -> None:
    document = _read("a.csv", 'a,b\n"x,1\ny,2\n')
    assert "x,1" in document.text
    assert any("quotation mark" in warning for warning in document.warnings)


def test_a_cell_may_be_larger_than_the_module_allows_at_first() -> None:
    assert len(_read("a.csv", "a,b\nx," + "y" * 300_000).text) > 300_000


def test_a_cell_with_empty_lines_stays_one_paragraph() -> None:
    assert _read("a.csv", 'a,b\n"x\n\ny",1\n').text == "a: x\ny\nb: 1"


def test_json_lines_keep_numbers_as_written() -> None:
    document = _read("a.jsonl", '{"v": 1.10, "id": 12345678901234567890123}\n\n{"ok": true, "no": null}\n')
    assert document.text == "v: 1.10\nid: 12345678901234567890123\n\nok: true"


def test_inner_values_are_named_by_their_path() -> None:
    document = _read("a.json", '[{"a": {"b": [1, 2], "c": [{"d": "x\\n\\ny"}, {"d": 2}]}}, "plain", []]')
    assert document.text == "a.b: 1, 2\na.c[1].d: x\ny\na.c[2].d: 2\n\nplain"


def test_a_broken_line_is_named_and_kept() -> None:
    document = _read("a.jsonl", '{"a": 1}\n{broken\n{"a": 2}\n')
    assert document.text == "a: 1\n\n{broken\n\na: 2"
    assert document.warnings[0].startswith("line 2 is not JSON")


def test_many_broken_lines_give_few_warnings() -> None:
    document = _read("a.jsonl", "{\n" * 50)
    assert len(document.warnings) == 21
    assert document.warnings[-1] == "30 more lines are not JSON"


def test_json_lines_named_json_are_read_as_such() -> None:
    assert _read("a.json", '{"a": 1}\n{"a": 2}\n').text == "a: 1\n\na: 2"


@pytest.mark.parametrize("source", ["[" * 100_000 + "]" * 100_000, '{"a": ', "not json"], ids=["deep", "cut", "text"])
def test_what_is_not_json_is_read_as_text_with_a_warning(source: str) -> None:
    document = _read("a.json", source)
    assert document.text == source.strip()
    assert "read as plain text" in document.warnings[0]


def test_deep_json_below_the_limit_is_read() -> None:
    assert _read("a.json", '{"a":' * 200 + "1" + "}" * 200).text == ".".join("a" * 200) + ": 1"


def test_half_a_character_in_json_is_replaced_with_a_warning() -> None:
    document = _read("a.json", '{"a": "x\\ud800y"}')
    assert document.text == "a: x\ufffdy"
    assert document.warnings == ("1 halves of characters were replaced by U+FFFD",)


def test_the_title_of_a_json_document_is_its_own() -> None:
    assert _read("a.json", '{"title": "Report", "x": 1}').title == "Report"
