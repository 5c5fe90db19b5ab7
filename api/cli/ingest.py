"""``rag ingest``: bring a collection in step with folders, files or pages of the web."""

from __future__ import annotations

import argparse
import json
from collections.abc import Coroutine, Sequence
from typing import Any

from api.cli import batch, watch
from api.cli.estimate import estimate_lines
from api.cli.output import note, report_lines
from api.cli.progress import ingest_progress
from api.cli.stopping import Stop, stop_on_signal
from api.footnote import Footnote
from ingest.batch_orders import OrderBook
from ingest.report import IngestReport
from ingest.stopping import unless_stopped
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ingest each path and print its report; 1 when a file failed or the run was stopped, 128 and more by a signal."""
    with stop_on_signal() as stop:
        if args.watch:
            return await watch.run(args, settings, stop)
        if args.dry_run:
            return await _or_stopped(args, stop, _dry_run(args, settings), "nothing was embedded or written")
        if args.batch_cancel:
            return await _or_stopped(args, stop, batch.cancel(args, settings), _GOES_ON)
        if args.batch:
            return await _or_stopped(args, stop, batch.run(args, settings), _GOES_ON)
        return await _ingest(args, settings, stop)


_GOES_ON = "what was stored stays, the same command goes on from there"


async def _ingest(args: argparse.Namespace, settings: Settings, stop: Stop) -> int:
    if n_on_order := OrderBook(settings.library).count():
        note(f"batches on order: {n_on_order:,}; this run pays for their texts again, --batch collects them")
    async with Footnote(settings) as footnote:
        with ingest_progress("ingest", quiet=args.quiet) as show:
            reports = await footnote.ingest(*args.paths, on_progress=show, rebuild=args.rebuild, stop=stop.event)
    for report in reports:
        if args.json:
            print(json.dumps(report.to_json(), ensure_ascii=False))
        else:
            print("\n".join(report_lines(report, verbose=args.verbose)))
    if stop and (len(reports) < len(args.paths) or any(report.stopped for report in reports)):
        note(f"rag ingest: {_what_stands(reports)}; go on with: {args.typed}")
        return stop.exit_code
    return max(report.exit_code for report in reports)


def _what_stands(reports: Sequence[IngestReport]) -> str:
    n_stored = sum(report.counts["indexed"] for report in reports)
    n_left = sum(file.reason.startswith("not reached") for report in reports for file in report.files)
    left = f"{n_left:,} files were not reached" if n_left else "not all files were looked at"
    return f"stopped; {n_stored:,} documents were stored and {left}; what is stored or paid for is kept"


async def _or_stopped(args: argparse.Namespace, stop: Stop, work: Coroutine[Any, Any, int], stands: str) -> int:
    """Return the exit code of a command that has no report to give where it is stopped."""
    statuses: list[int] = []

    async def keep() -> None:
        statuses.append(await work)

    if await unless_stopped(keep(), stop.event):
        return statuses[0]
    note(f"rag ingest: stopped; {stands}: {args.typed}")
    return stop.exit_code


async def _dry_run(args: argparse.Namespace, settings: Settings) -> int:
    """Print what an ingest of each path would do and cost; 1 when a file could not be read or the limit is too low."""
    async with Footnote(settings) as footnote:
        with ingest_progress("dry run", quiet=args.quiet) as show:
            estimates = await footnote.plan_ingest(*args.paths, rebuild=args.rebuild, on_progress=show)
    for estimate in estimates:
        if args.json:
            print(json.dumps(estimate.to_json(), ensure_ascii=False))
        else:
            print("\n".join(estimate_lines(estimate, verbose=args.verbose)))
    return max(estimate.exit_code for estimate in estimates)
