"""``rag status``: what a collection holds, and whether it is whole; with ``--repair``, mend it."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict

from api.cli.output import ledger_lines, repair_lines, status_lines
from api.footnote import Footnote
from index.records import LedgerEntry, RepairReport
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the state; 1 when something does not agree.

    A plain status compares what is cheap to compare and changes nothing, so it works in a folder that is read-only.
    """
    async with Footnote(settings) as footnote:
        repaired = footnote.repair() if args.repair else None
        status = footnote.status()
        problems = list(repaired.problems) if repaired else footnote.check(deep=args.check)
        ledger = footnote.ledger().values() if args.files else ()  # read only where its files are asked for
        entries = [entry for entry in ledger if _is_wanted(entry, args.files)]
    commands = _next_commands(repaired, args.collection) if repaired else []
    if args.json:
        mended = {"repaired": repaired.done, "waiting": repaired.waiting, "next": commands} if repaired else {}
        print(json.dumps({**asdict(status), "problems": problems, **mended}, ensure_ascii=False))
        for entry in entries:
            print(json.dumps(asdict(entry), ensure_ascii=False))
    else:
        print("\n".join(status_lines(status, problems, deep=args.check or args.repair)))
        if repaired:
            print("\n".join(repair_lines(repaired, commands)))
        if args.files:
            print("\n".join(ledger_lines(entries)))
    return 1 if problems or (repaired and repaired.waiting) else 0


def _next_commands(repaired: RepairReport, collection: str | None) -> list[str]:
    """Return the commands that read again what waits for it."""
    option = ["-c", collection] if collection else []
    roots: Iterable[str] = sorted(repaired.waiting)
    return [shlex.join(["rag", "ingest", root, *option]) for root in roots]


def _is_wanted(entry: LedgerEntry, files: str) -> bool:
    return files in ("all", entry.state) or (files == "warnings" and bool(entry.warnings))
