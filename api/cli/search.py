"""``rag search``: find passages."""

from __future__ import annotations

import argparse
import json
import sys

from api.cli.output import hit_lines, note
from api.cli.seen_by import as_seen
from api.events import hit_json
from api.footnote import Footnote
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the hits, best first."""
    query = sys.stdin.read() if args.query == "-" else args.query
    async with Footnote(settings) as footnote:
        seen = as_seen(footnote, args.seen_by)
        retrieval = await seen.search(query, collections=args.collections)
        places = seen.places(retrieval.hits, collections=args.collections)
    if args.json:
        for hit, place in zip(retrieval.hits, places, strict=True):
            print(json.dumps(hit_json(hit, place), ensure_ascii=False))
    else:
        print("\n".join(hit_lines(retrieval.hits, places)), end="\n" if retrieval.hits else "")
    for said in retrieval.notes:
        note(said)
    if not retrieval.hits:
        note("nothing found")
    return 0
