"""``rag chat``: a conversation; each question is answered with the turns before it in mind."""

from __future__ import annotations

import argparse
import asyncio
import sys

from api.cli.ask import ask
from api.cli.output import note
from api.footnote import Footnote
from rag.errors import RagError
from rag.settings import Settings
from rag.types import Turn

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Answer line after line until /quit or the end of input; an error ends the answer, not the conversation."""
    history: list[Turn] = []
    status = 0
    if sys.stdin.isatty():
        note("Ask a question. /new starts over, /quit or Ctrl-D ends.")
    async with Footnote(settings) as footnote:
        while (line := await asyncio.to_thread(_read_line)) is not None:
            question = line.strip()
            if question == "/quit":
                break
            if question == "/new":
                history.clear()
            elif question:
                try:
                    answer = await ask(
                        footnote,
                        question,
                        collections=args.collections,
                        history=history,
                        instructions=args.instructions,
                        as_json=args.json,
                    )
                except RagError as error:
                    note(f"rag chat: {error}")
                    status = 1
                    continue
                status = 0
                history += [Turn("user", question), Turn("assistant", answer.text)]
    return status


def _read_line() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("\n> ")
        sys.stderr.flush()
    return sys.stdin.readline() or None
