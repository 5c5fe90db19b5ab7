"""``rag doctor``: check everything a run depends on."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from api.doctor import Finding, examine
from api.footnote import Footnote
from rag.settings import Settings

__all__ = ["run"]

_MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each finding; 1 when there is a problem."""
    status = 0
    async with Footnote(settings) as footnote:
        async for finding in examine(footnote, offline=args.offline):
            print(json.dumps(asdict(finding), ensure_ascii=False) if args.json else _line(finding), flush=True)
            status = 1 if finding.level == "problem" else status
    return status


def _line(finding: Finding) -> str:
    line = f"{_MARKS[finding.level]}  {finding.subject}: {finding.found}"
    return f"{line}\n         → {finding.advice}" if finding.advice else line
