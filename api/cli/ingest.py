"""``rag ingest``: bring a collection in step with folders, files or pages of the web."""

from __future__ import annotations

import argparse
import json

from api.cli import batch
from api.cli.estimate import estimate_lines
from api.cli.output import note, report_lines
from api.cli.progress import ingest_progress
from api.footnote import Footnote
from ingest.batch_orders import OrderBook
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ingest each path and print its report; 1 when a file failed or the run was stopped."""
    if args.dry_run:
        return await _dry_run(args, settings)
    if args.batch_cancel:
        return await batch.cancel(args, settings)
    if args.batch:
        return await batch.run(args, settings)
    if n_on_order := OrderBook(settings.library).count():
        note(f"batches on order: {n_on_order:,}; this run pays for their texts again, --batch collects them")
    async with Footnote(settings) as footnote:
        with ingest_progress("ingest", quiet=args.quiet) as show:
            reports = await footnote.ingest(*args.paths, on_progress=show, rebuild=args.rebuild)
    for report in reports:
        if args.json:
            print(json.dumps(report.to_json(), ensure_ascii=False))
        else:
            print("\n".join(report_lines(report, verbose=args.verbose)))
    return max(report.exit_code for report in reports)


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
