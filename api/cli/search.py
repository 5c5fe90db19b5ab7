"""``rag search``: find passages."""

from __future__ import annotations

import argparse
import json
import sys

from api.cli.output import hit_lines, note
from api.events import hit_json
from api.footnote import Footnote
from index.collection import Collection
from rag.errors import DocumentNotFoundError
from rag.settings import Settings
from rag.types import Chunk

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print the hits, best first."""
    query = sys.stdin.read() if args.query == "-" else args.query
    async with Footnote(settings) as footnote:
        retrieval = await footnote.search(query)
        places = [_place(footnote.collection(), hit.chunk) for hit in retrieval.hits]
    if args.json:
        for hit in retrieval.hits:
            print(json.dumps(hit_json(hit), ensure_ascii=False))
    else:
        print("\n".join(hit_lines(retrieval.hits, places)), end="\n" if retrieval.hits else "")
    for said in retrieval.notes:
        note(said)
    if not retrieval.hits:
        note("nothing found")
    return 0


def _place(collection: Collection, chunk: Chunk) -> str:
    try:
        return collection.place_at(chunk.document_id, chunk.start)
    except DocumentNotFoundError:  # removed meanwhile
        return ""
