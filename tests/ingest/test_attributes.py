"""Where attributes come from, through real ingests: paths, front matter, sidecars, and what was given over the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from ingest.attributes import PathRules, front_matter
from rag.errors import ConfigError, DocumentNotFoundError, FilterError

RULES = ("{department}/{year:int}/**", 'hr/** => {"access": ["hr"]}')


def run(library: Path, use: Callable[[Footnote], Awaitable[Any]], **settings: Any) -> Any:
    async def inside() -> Any:
        async with Footnote.open(library, environ={}, **settings) as footnote:
            return await use(footnote)

    return asyncio.run(inside())


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_each_key_comes_from_its_strongest_source_and_a_change_reads_nothing(tmp_path: Path) -> None:
    folder, library = tmp_path / "docs", tmp_path / "library"
    write(folder, "hr/2023/pay.md", "---\nyear: 2024\ntags: [pay, 工资]\nstatus: draft\n---\nApples are paid in May.\n")
    write(folder, "hr/2023/pay.md.meta.json", json.dumps({"status": "final"}))
    write(folder, "legal/2020/law.txt", "Apples are law.\n")
    write(folder, "notes.meta.json", '{"a file": "of its own"}')

    async def first(footnote: Footnote) -> None:
        (report,) = await footnote.ingest(folder)
        states = {file.path: (file.state, file.reason) for file in report.files}
        assert states["hr/2023/pay.md.meta.json"] == ("skipped", "sidecar: it gives the attributes of 'pay.md'")
        assert states["notes.meta.json"][0] == "indexed", "there is no file that it describes"
        assert footnote.ledger()["hr/2023/pay.md.meta.json"].state == "skipped"
        assert footnote.attributes()["hr/2023/pay.md"] == {
            "department": "hr",
            "year": 2024,
            "tags": ("pay", "工资"),
            "status": "final",
            "access": ("hr",),
        }
        assert footnote.attributes(["legal/2020/law.txt"]) == {
            "legal/2020/law.txt": {"department": "legal", "year": 2020}
        }
        assert "status: draft" in footnote.document("hr/2023/pay.md").text
        given = await footnote.set_attributes("hr/2023/pay.md", {"status": "signed", "n": 1})
        assert (given["status"], given["n"]) == ("signed", 1)
        hits = (await footnote.search("apples", filter="tags = 工资 and status = signed")).hits
        assert [hit.chunk.document_id for hit in hits] == ["hr/2023/pay.md"]

    run(library, first, ingest__attributes=RULES)
    write(folder, "hr/2023/pay.md.meta.json", json.dumps({"status": "final", "owner": "Ada"}))

    async def again(footnote: Footnote) -> None:
        (report,) = await footnote.ingest(folder)
        assert {file.state for file in report.files} == {"unchanged", "skipped"}
        assert report.n_texts_embedded == 0
        assert report.notes == ("the attributes of 2 documents changed; nothing was read for it",)
        found = footnote.attributes()
        assert found["hr/2023/pay.md"]["owner"] == "Ada"
        assert found["hr/2023/pay.md"]["status"] == "signed", "given over the API"
        assert found["legal/2020/law.txt"] == {"area": "legal"}, "the rules are others"
        assert await footnote.set_attributes("hr/2023/pay.md", {"status": None}) == {
            **found["hr/2023/pay.md"],
            "status": "final",
        }
        (folder / "hr/2023/pay.md.meta.json").unlink()
        (report,) = await footnote.ingest(folder)
        assert "owner" not in footnote.attributes()["hr/2023/pay.md"]
        (report,) = await footnote.ingest(folder)
        assert report.notes == ()
        await footnote.ingest(folder, rebuild=True)
        assert footnote.attributes()["hr/2023/pay.md"]["n"] == 1, "a rebuild keeps what was given"

    run(library, again, ingest__attributes=("{area}/**",))


def test_a_look_at_a_sidecar_alone_changes_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    write(folder, "a.txt", "Apples.\n")
    write(folder, "b.txt", "Pears.\n")

    async def use(footnote: Footnote) -> None:
        await footnote.ingest(folder)
        write(folder, "a.txt.meta.json", '{"x": 1}')
        await footnote.ingest(folder / "a.txt.meta.json")
        assert footnote.attributes() == {"a.txt": {"x": 1}}

    run(tmp_path / "library", use)


def test_what_cannot_be_read_is_a_warning_loses_no_text_and_leaves_no_label(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    write(folder, "bad.md", "---\naccess: [hr\nyear: : 3\n---\nApples stay.\n")
    write(folder, "side.txt", "Pears stay.\n")
    write(folder, "side.txt.meta.json", "{no json")

    async def use(footnote: Footnote) -> None:
        (report,) = await footnote.ingest(folder)
        warnings = {file.path: file.warnings for file in report.files if file.warnings}
        assert "the front matter of 'bad.md' is no YAML and gives no attributes" in warnings["bad.md"][0]
        assert "the sidecar 'side.txt.meta.json' is no JSON and gives no attributes" in warnings["side.txt"][0]
        assert footnote.attributes() == {"bad.md": {"access": ()}, "side.txt": {"access": ()}}
        assert "Apples stay." in footnote.document("bad.md").text
        with pytest.raises(FilterError, match="must be a text, a number, true, false or a list"):
            await footnote.set_attributes("side.txt", {"x": {}})
        with pytest.raises(DocumentNotFoundError):
            await footnote.set_attributes("none.txt", {"x": 1})

    run(tmp_path / "library", use)


def test_nothing_that_matches_is_said_so_with_counts(tmp_path: Path) -> None:
    write(tmp_path / "docs", "a.txt", "Apples are red.\n")

    async def use(footnote: Footnote) -> None:
        await footnote.ingest(tmp_path / "docs")
        answer = await footnote.ask("Which apples are red?", filter={"type": "eq", "key": "year", "value": 1})
        assert not answer.answered
        assert answer.text == "No document matches the filter, so nothing was searched."
        assert answer.notes == ("no document matches the filter: 0 of 1",)
        assert (await footnote.ask("Which apples are red?", filter="extension = txt")).answered

    run(tmp_path / "library", use)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: no\nb: 'true'\nc: true\nd: 1_0\ne: 010\nf: 1.5\ng: 2024-03-05", "no|'true'|True|1_0|10|1.5|2024-03-05"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_does(text: str, expected: str) -> None:
    found, problems = front_matter(f"---\n{text}\n---\nx", path="a.md")
    assert problems == []
    assert list(found.values()) == ["no", "true", True, "1_0", 10, 1.5, "2024-03-05"], expected


def test_front_matter_that_is_too_deep_is_named_and_the_rest_kept() -> None:
    found, problems = front_matter("---\na: {b: 1}\nc: [[1]]\nd: 1\ne:\n---\n", path="a.md")
    assert found == {"d": 1}
    assert [said.split(" of ")[0] for said in problems] == ["attribute 'a'", "attribute 'c'", "attribute 'e'"]
    assert front_matter("no front matter\n---\n", path="a.md") == ({}, [])
    assert front_matter("---\n" + "[" * 5000 + "\n---\n", path="a.md")[0] == {"access": ()}


@pytest.mark.parametrize("rule", ["{a", "{a}/{a}", "plain/**", "x => {", "x => 3", "{a:year}", 'x => {"a": null}'])
def test_a_rule_that_means_nothing_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.attributes"):
        PathRules((rule,))


def test_rules_by_hand() -> None:
    rules = PathRules(("{area}/{due:date}-*.{kind}", "**/{n:int}.txt", '** => {"area": "all"}'))
    assert rules.attributes("hr/2024-03-05-x.pdf") == ({"area": "hr", "due": "2024-03-05", "kind": "pdf"}, [])
    assert rules.attributes("a/b/7.txt") == ({"n": 7, "area": "all"}, [])
