"""Folders of hostile and of damaged files, ingested as a user would: each ends as it must, and alone."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from api.footnote import Footnote
from ingest.report import FileResult
from scripts.build_hostile_table import BAD_INPUTS, MAKER, ingested, make_hostile, owner, said, shown, table
from tests.upstream import Upstream

pytestmark = [
    pytest.mark.skipif(not MAKER.exists(), reason="needs ../shared/data of the project"),
    pytest.mark.usefixtures("started_readers"),
]

ANY_END = {"indexed", "empty", "failed", "unsupported"}
REFUSED = {"failed", "unsupported"}
# The longest beginning of a path that is listed decides. Formats that have no reader are unsupported.
ALLOWED: Mapping[str, set[str]] = {
    "archives/": {"failed"},
    "archives/links.tgz": {"skipped"},
    "archives/links.tgz/a.txt": {"indexed"},
    "archives/name_gbk.zip/合同/会议纪要.txt": {"indexed"},
    "archives/nested.zip": {"failed", "skipped", "unsupported", "indexed"},
    "archives/without_end.zip": {"unsupported", "indexed"},
    "eml/": {"indexed", "unsupported"},
    "enc/": {"indexed"},
    "html/": {"indexed"},
    "loop/": {"skipped"},
    "names/": {"indexed"},
    "names/.hidden.txt": {"skipped"},
    "names/pdf_named.txt": {"failed"},
    "names/text_named.pdf": {"failed"},
    "office/": REFUSED,
    "office/ok_zh.docx": {"indexed", "unsupported"},
    "office/xxe.docx": ANY_END,
    "office/docx_deep_table.docx": ANY_END,
    "office/truncated.docx": ANY_END,
    "pdf/": {"indexed"},
    "pdf/flate_bomb": {"empty", "failed"},
    "pdf/fuzz_": ANY_END,
    "pdf/kids_loop.pdf": {"empty", "failed"},
    "pdf/no_pages.pdf": {"empty", "failed"},
    "pdf/truncated.pdf": {"indexed", "failed"},
    "text/": {"indexed"},
    "text/empty.txt": {"empty"},
    "text/whitespace.txt": {"empty"},
    "xml/": {"indexed", "failed", "unsupported"},
    "zip/": REFUSED,
    "zip/slip.zip/..": {"skipped"},
    "zip/slip.zip/abs.txt": {"indexed"},
}


def allowed(path: str) -> set[str]:
    return ALLOWED[max((known for known in ALLOWED if path.startswith(known)), key=len)]


async def test_the_hostile_folder_ends_as_it_must(tmp_path: Path, upstream: Upstream) -> None:
    folder, library = tmp_path / "hostile", tmp_path / "library"
    expected = make_hostile(folder)
    started = time.monotonic()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    outcome = await ingested(folder, library=library, endpoint=upstream.base_url)
    assert time.monotonic() - started < 120
    states = {file.path.rstrip("/"): file.state for file in outcome.report.files}
    assert {owner(path, expected) for path in states} == set(expected)
    assert {path: state for path, state in states.items() if state not in allowed(path)} == {}
    assert all(file.reason for file in outcome.report.files if file.state != "indexed")
    # A forked process begins as large as what forked it, which has run other tests: then that is the bound.
    assert outcome.child_mb < max(1500, before_mb + 100)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 < max(2048, before_mb + 1024)

    async with Footnote.open(
        library, environ={"OPENAI_BASE_URL": upstream.base_url, "RAG_OCR_PROVIDER": "off"}
    ) as footnote:
        texts = {info.id: footnote.document(info.id).text for info in footnote.documents()}
    all_text = "\n".join(texts.values())
    for hidden in ("NOT_TEXT", "HIDDEN_COMMENT", "HIDDEN_SPAN", "root:x:0", Path("/etc/hostname").read_text().strip()):
        assert hidden not in all_text
    assert "\0" not in all_text
    assert all(len(text) < 6_000_000 for text in texts.values())
    assert {texts[f"enc/zh_{name}.txt"] for name in ("utf-8", "utf-16-le", "gbk", "hz")} == {texts["enc/zh_utf-8.txt"]}
    assert "“quotes”" in texts["enc/en_cp1252.txt"]
    assert texts["zip/slip.zip/abs.txt"] == "y"
    assert sum(path.startswith("archives/without_end.zip") for path in states) == 4
    assert not Path("/tmp/pwned.txt").exists()
    assert not Path("/abs.txt").exists()


@pytest.mark.skipif(not BAD_INPUTS.exists(), reason="needs ../shared/data of the project")
async def test_damaged_files_of_the_wild_end_in_one_state_each(tmp_path: Path, upstream: Upstream) -> None:
    started = time.monotonic()
    outcome = await ingested(BAD_INPUTS, library=tmp_path / "library", endpoint=upstream.base_url)
    assert time.monotonic() - started < 120
    files = {file.path: file for file in outcome.report.files}
    counts = Counter(file.state for file in files.values())
    assert counts["indexed"] >= 70
    assert counts["failed"] <= 12
    assert all(file.state == "failed" for path, file in files.items() if path.startswith("protected-pdf/"))
    assert sum("conversion to UTF-8" in file.reason for file in files.values()) == 3
    assert sum("encrypted with a password" in file.reason for file in files.values()) == 1
    assert not [file.reason for file in files.values() if "crashed" in file.reason or "within" in file.reason]


async def test_the_table_shows_what_is_in_a_name_without_obeying_it(tmp_path: Path, upstream: Upstream) -> None:
    assert shown("a|b<c\n`d`" + "x" * 200).startswith(r"a&#124;b&lt;c\u000a&#96;d&#96;xxx")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a|b.txt").write_bytes(b"")
    outcome = await ingested(folder, library=tmp_path / "library", endpoint=upstream.base_url)
    (file,) = outcome.report.files
    assert said(file) == "the file has no text"
    assert table([file], {}).splitlines()[2] == "| a&#124;b.txt |  | empty | the file has no text |"


def test_the_table_does_not_list_the_many_files_of_an_archive_that_end_alike() -> None:
    files = [FileResult(f"box.zip/{i}.zip", "unsupported", f"cannot read 'box.zip/{i}.zip': deep") for i in range(9)]
    rows = table([*files, FileResult("c.txt", "indexed")], {"box.zip": "no recursion"}).splitlines()[2:]
    assert rows == [
        "| box.zip/0.zip, and 8 more | no recursion | unsupported | deep |",
        "| c.txt |  | indexed |  |",
    ]
