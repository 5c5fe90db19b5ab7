"""The files a report names: all that matter, and never a thousand lines."""

from __future__ import annotations

from api.cli.listing import listed
from api.cli.output import report_lines
from ingest.report import FileResult, IngestReport


def report(*files: FileResult, removed: tuple[str, ...] = (), stopped: str = "") -> IngestReport:
    return IngestReport(
        "/docs", "work", files, removed, 0, 0, 0, 1.0, stopped, n_texts_reused=5, n_tokens_reused=400, saved=0.5,
        currency="USD",
    )  # fmt: skip


def test_files_with_the_same_reason_share_a_line() -> None:
    files = [FileResult(f"{n}.pdf", "failed", f"cannot read '{n}.pdf': it is encrypted") for n in range(30)]
    (line,) = listed(report(*files, FileResult("good.md", "indexed")))
    assert line == "  failed       30 files: it is encrypted (0.pdf, 1.pdf, 2.pdf and 27 more)"


def test_a_few_are_listed_each_with_its_own_words() -> None:
    files = [FileResult(f"{n}.pdf", "failed", f"cannot read '{n}.pdf': it is encrypted") for n in range(3)]
    assert next(iter(listed(report(*files)))) == "  failed       0.pdf: cannot read '0.pdf': it is encrypted"


def test_a_long_list_ends_with_how_to_see_the_rest() -> None:
    files = [FileResult(f"{n:03}.pdf", "failed", f"reason {n}") for n in range(100)]
    lines = list(listed(report(*files)))
    assert (len(lines), lines[-1]) == (21, "  failed       and 80 more: rag status -c work --files failed")
    assert len(list(listed(report(*files), verbose=True))) == 100
    gone = report(removed=tuple(f"{n}.md" for n in range(50)))
    assert list(listed(gone))[-1] == "  removed      and 30 more"


def test_pages_without_text_are_a_warning_that_is_counted_and_shown() -> None:
    scan = FileResult("scan.pdf", "indexed", warnings=("198 of 311 pages have no text",))
    lines = list(report_lines(report(scan, FileResult("a.md", "indexed"))))
    assert lines[1] == "2 files: 2 indexed; 1 with warnings"
    assert "  warning      scan.pdf: 198 of 311 pages have no text" in lines


def test_the_summary_says_what_was_saved_and_what_to_do_next() -> None:
    failed = [
        FileResult("late.md", "failed", "not reached: interrupted", retriable=True),
        FileResult("bad.pdf", "failed", "it is damaged"),
    ]
    lines = list(report_lines(report(*failed, stopped="interrupted")))
    assert any(line.endswith("their texts have vectors already, 0.5 USD saved") for line in lines)
    assert lines[-1].startswith(
        "next: 1 failed files may pass next time: run it again; 1 failed files need repair, or --exclude"
    )
