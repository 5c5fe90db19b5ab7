"""``rag status``: what a collection holds, and whether it is whole."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from api.cli.output import ledger_lines, status_lines
from api.footnote import Footnote
from index.records import LedgerEntry
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the state; 1 when a check finds a problem."""
    async with Footnote(settings) as footnote:
        status = footnote.status()
        problems = footnote.check() if args.check else None
        ledger = footnote.ledger().values() if args.files else ()  # read only where its files are asked for
        entries = [entry for entry in ledger if _is_wanted(entry, args.files)]
    if args.json:
        print(json.dumps({**asdict(status), "problems": problems}, ensure_ascii=False))
        for entry in entries:
            print(json.dumps(asdict(entry), ensure_ascii=False))
    else:
        print("\n".join(status_lines(status, problems)))
        if args.files:
            print("\n".join(ledger_lines(entries)))
    return 1 if problems else 0


def _is_wanted(entry: LedgerEntry, files: str) -> bool:
    return files in ("all", entry.state) or (files == "warnings" and bool(entry.warnings))
