"""``rag serve``: the HTTP service."""

from __future__ import annotations

import argparse

from api.footnote import Footnote
from api.serving import serve
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Serve until interrupted."""
    await serve(Footnote(settings))
    return 0
