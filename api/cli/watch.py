"""``rag ingest --watch``: a run, and then another for each burst of changes."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace

from api.cli.listing import listed
from api.cli.output import note, report_lines
from api.cli.progress import ingest_progress, plain_progress
from api.cli.stopping import Stop
from api.footnote import Footnote
from ingest.report import FileResult, IngestReport
from ingest.tally import IngestProgress
from rag.prices import money_or_unknown
from rag.settings import Settings

__all__ = ["run", "run_lines"]


async def run(args: argparse.Namespace, settings: Settings, stop: Stop) -> int:
    """Print the report of the first run over each path, then of each run that did something, until it is stopped."""
    progress, news, status = _Progress(), _News(), 0
    async with Footnote(settings) as footnote:
        runs = footnote.watch(*args.paths, on_progress=progress, on_notice=_notice, stop=stop.event)
        async with aclosing(runs):
            with ingest_progress("ingest", quiet=args.quiet) as progress.show:
                first = [report for _ in args.paths if (report := await anext(runs, None)) is not None]
            for report in first:
                news.of(report)
                _print(args, report, report_lines(report, verbose=args.verbose))
                status = max(status, report.exit_code)
            if not stop and len(first) == len(args.paths):
                _notice(f"watching {', '.join(map(str, args.paths))}; Ctrl-C ends it")
            if not args.quiet:
                progress.show = plain_progress("ingest", says_when_done=False)
            async for report in runs:
                status = report.exit_code
                if (new := news.of(report)) is not None:
                    _print(args, report, run_lines(new, verbose=args.verbose))
    if stop:
        note(f"rag ingest: stopped watching; what is stored is kept; go on with: {args.typed}")
    return stop.exit_code or status


class _Progress:
    """Shows progress in one way first, and in another later."""

    def __init__(self) -> None:
        self.show: Callable[[IngestProgress], None] = lambda progress: None

    def __call__(self, progress: IngestProgress) -> None:
        self.show(progress)


class _News:
    """Remembers what was said of files, so that a file that fails every quarter of an hour is told of once."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str]] = {}

    def of(self, report: IngestReport) -> IngestReport | None:
        """Return the report with the files that there is something new to say of; None where there is nothing."""
        new = tuple(file for file in report.files if self._is_new(file))
        for path in report.removed:
            self._told.pop(path, None)
        if not (new or report.removed or report.stopped):
            return None
        return replace(report, files=new)

    def _is_new(self, file: FileResult) -> bool:
        if file.state in ("indexed", "unchanged"):
            self._told.pop(file.path, None)
            return file.state == "indexed"
        if file.state == "skipped":
            return file.change == "removed"
        said = (file.state, file.reason)
        is_new = self._told.get(file.path) != said
        self._told[file.path] = said
        return is_new


def _notice(words: str) -> None:
    note(f"{time.strftime('%H:%M:%S')} {words}")


def _print(args: argparse.Namespace, report: IngestReport, lines: Iterable[str]) -> None:
    print(json.dumps(report.to_json(), ensure_ascii=False) if args.json else "\n".join(lines), flush=True)


def run_lines(report: IngestReport, *, verbose: bool = False) -> Iterable[str]:
    """Yield what a run did: one line, what was indexed, and every file that needs a word."""
    counted = Counter(file.change if file.state == "indexed" else file.state for file in report.files)
    counts = [f"{n:,} {what}" for what, n in counted.items()]
    counts += [f"{len(report.removed):,} removed"] if report.removed else []
    cost = money_or_unknown(report.cost, report.currency) if report.n_tokens_embedded else ""
    embedded = f"{report.n_texts_embedded:,} chunks embedded" + (f" ({cost})" if cost else "")
    yield f"{time.strftime('%H:%M:%S')} {report.root}: {', '.join(counts) or 'nothing new'}; {embedded}"
    indexed = [file for file in report.files if file.state == "indexed"]
    few = len(indexed) <= _FEW or verbose
    yield from listed(replace(report, files=tuple(indexed)), verbose=True) if few else ()
    others = tuple(file for file in report.files if not few or file.state != "indexed")
    yield from listed(replace(report, files=others, removed=() if few else report.removed), verbose=verbose)
    if report.stopped:
        yield f"stopped: {report.stopped}"


_FEW = 10
"""So many files that were indexed are named one by one."""
