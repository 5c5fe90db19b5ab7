"""``rag ingest --batch`` and ``--batch-cancel``: embeddings at half the price, within a day."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from api.cli.output import note, report_lines
from api.cli.progress import ingest_progress
from api.footnote import Footnote
from ingest.batch_replies import EndedBatch
from ingest.batch_report import ON_ORDER, BatchProgress, BatchReport
from rag.prices import money_or_unknown
from rag.settings import Settings

__all__ = ["cancel", "run"]

TOLD_EVERY_S = 10.0
"""How often the wait says how far the batches are, unless one ends."""


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Ingest by batches and print what came of batches and files; 1 when a file failed or a batch was of no use."""
    async with Footnote(settings) as footnote:
        with ingest_progress("ingest", quiet=args.quiet) as show:
            done = await footnote.ingest_by_batch(
                *args.paths, wait=not args.no_wait, on_progress=show, on_batch=_progress(quiet=args.quiet)
            )
        price = footnote.wiring.price(footnote.collection().config.model)
    n_tokens = sum(batch.n_tokens for batch in done.batch.ended)
    cost = price.batch_cost(n_tokens) if price else None
    if args.json:
        spent = {"cost": cost, "currency": price.currency if price else ""}
        print(json.dumps({"batch": {**done.batch.to_json(), **spent}}, ensure_ascii=False))
        for report in done.reports:
            print(json.dumps(report.to_json(), ensure_ascii=False))
        return done.exit_code
    print("\n".join(batch_lines(done.batch)))
    if n_tokens:
        print(f"batches: {n_tokens:,} tokens, {money_or_unknown(cost, price.currency if price else '')}")
    for report in done.reports:
        files = tuple(file for file in report.files if file.reason != ON_ORDER)
        if files or report.removed or not done.n_files_waiting:
            print("\n".join(report_lines(replace(report, files=files), verbose=args.verbose)))
    if done.n_files_waiting:
        print(f"{done.n_files_waiting:,} files wait for their vectors; run the same command again to collect them")
    return done.exit_code


async def cancel(args: argparse.Namespace, settings: Settings) -> int:
    """Cancel the batches of the library and print what they had finished."""
    async with Footnote(settings) as footnote:
        report = await footnote.cancel_batches(wait=not args.no_wait, on_batch=_progress(quiet=args.quiet))
    print(json.dumps({"batch": report.to_json()}) if args.json else "\n".join(batch_lines(report)))
    return 0


def batch_lines(report: BatchReport) -> Iterable[str]:
    """Yield what came of the batches."""
    if not report.ended and not report.under_way:
        yield "no batches: nothing was on order" if not report.n_texts_ordered else "no batch was begun"
    for batch in report.ended:
        yield from _ended_lines(batch)
    if report.under_way:
        named = ", ".join(batch_id or "not begun" for batch_id in report.under_way)
        yield f"batches under way: {len(report.under_way):,} with {report.n_texts_under_way:,} chunks ({named})"
    yield from report.notes


def _ended_lines(batch: EndedBatch) -> Iterable[str]:
    stored = f"{batch.n_stored:,} of {batch.n_texts:,} chunks stored ({batch.n_tokens:,} tokens)"
    yield f"{batch.id or 'batch'} {batch.status}: {stored}"
    yield from (f"  {problem}" for problem in batch.problems)


def _progress(*, quiet: bool) -> Callable[[BatchProgress], None]:
    told = ""
    told_at = 0.0
    n_ended = 0

    def show(progress: BatchProgress) -> None:
        nonlocal told, told_at, n_ended
        if quiet:
            return
        if not told and progress.statuses:
            note(
                "batches go on at the endpoint whatever happens here: Ctrl-C and the same command again collects them,"
            )
            note("rag ingest --batch-cancel cancels them")
        now = time.monotonic()
        statuses = ", ".join(sorted(set(progress.statuses)))
        said = f"batches: {progress.n_ended:,} of {progress.n_batches:,} ended" + (
            f", {progress.n_answered:,} of {progress.n_requests:,} requests answered ({statuses})" if statuses else ""
        )
        if said != told and (not told or progress.n_ended != n_ended or now - told_at >= TOLD_EVERY_S):
            note(said)
            told, told_at, n_ended = said, now, progress.n_ended

    return show
