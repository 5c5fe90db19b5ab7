"""The files that a report names: all that need a word, those with the same reason together, and never a thousand lines.

Pure. ``--json`` has every file, and ``rag status --files`` lists those of a state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ingest.report import FileResult, FileState, IngestReport

__all__ = ["file_lines", "listed"]

MAX_LINES = 20
"""Lines about files of one state, before the rest is a number."""
TOGETHER_FROM = 4
"""So many files with one reason share a line."""
NAMED = 3

_NEED_A_WORD: tuple[FileState, ...] = ("failed", "empty", "unsupported")


def listed(report: IngestReport, *, verbose: bool = False) -> Iterable[str]:
    """Yield the files with something to say, the worst first, then what was removed; ``verbose`` lists every file."""
    if verbose:
        for file in report.files:
            yield from file_lines(file)
        yield from (_line("removed", path) for path in report.removed)
        return
    for state in _NEED_A_WORD:
        of_state = [file for file in report.files if file.state == state]
        yield from _bounded(_grouped(of_state), of_state, state, more=_look_up(report, state))
    no_more = [file for file in report.files if file.state == "skipped" and file.change == "removed"]
    yield from _bounded(_grouped(no_more), no_more, "skipped", more=_look_up(report, "skipped"))
    warned = [file for file in report.files if file.warnings]
    lines = [([file], _line("warning", f"{file.path}: {words}")) for file in warned for words in file.warnings]
    yield from _bounded(lines, warned, "warning", more=_look_up(report, "warnings"))
    yield from (_line("removed", path) for path in report.removed[:MAX_LINES])
    if len(report.removed) > MAX_LINES:
        yield _line("removed", f"and {len(report.removed) - MAX_LINES:,} more")


def file_lines(file: FileResult) -> Iterable[str]:
    """Yield a file's state with its reason, and its warnings."""
    said = file.reason or (f"renamed from {file.renamed_from}" if file.renamed_from else file.change or "")
    if file.change == "removed":
        said += "; its document is removed"
    yield _line(file.state, file.path + (f": {said}" if said else ""))
    for warning in file.warnings:
        yield _line("warning", f"{file.path}: {warning}")


def _line(state: str, words: str) -> str:
    return f"  {state:<12} {words}"


def _look_up(report: IngestReport, state: str) -> str:
    return f"rag status -c {report.collection} --files {state}"


def _grouped(files: Sequence[FileResult]) -> list[tuple[list[FileResult], str]]:
    """Return lines, each with the files it speaks for: one a file, or one for many that share a reason."""
    groups: dict[str, list[FileResult]] = {}
    for file in files:
        groups.setdefault(_common(file), []).append(file)
    lines: list[tuple[list[FileResult], str]] = []
    for reason, group in groups.items():
        if len(group) >= TOGETHER_FROM:
            some = ", ".join(file.path for file in group[:NAMED])
            words = f"{len(group):,} files: {reason} ({some} and {len(group) - NAMED:,} more)"
            lines.append((group, _line(group[0].state, words)))
        else:
            lines += [([file], line) for file in group for line in file_lines(_unwarned(file))]
    return sorted(lines, key=lambda line: -len(line[0]))


def _common(file: FileResult) -> str:
    """Return a reason without the name of the file, which most readers begin with."""
    return file.reason.replace(f"cannot read {file.path!r}: ", "").replace(repr(file.path), "it")


def _unwarned(file: FileResult) -> FileResult:
    """Return the file without warnings, which are listed after all states."""
    return replace(file, warnings=())


def _bounded(
    lines: Sequence[tuple[list[FileResult], str]], files: Sequence[FileResult], state: str, *, more: str
) -> Iterable[str]:
    """Yield the first lines, and how many files the others speak of."""
    shown = lines[:MAX_LINES]
    yield from (line for _, line in shown)
    n_left = len({file.path for file in files} - {file.path for group, _ in shown for file in group})
    if n_left:
        yield _line(state, f"and {n_left:,} more: {more}")
