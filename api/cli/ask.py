"""``rag ask``: one question, one answer with footnotes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from api.ask_options import AskOptions
from api.cli.output import answer_footnotes, note, source_lines, step_line
from api.cli.seen_by import as_seen
from api.events import event_json
from api.footnote import Footnote
from rag.settings import ServerOptions, Settings
from rag.types import Answer, Moderated, Step, TextDelta, Turn

__all__ = ["ask", "run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Answer the question; 0 also when the documents do not say, for that is an answer."""
    question = sys.stdin.read() if args.question == "-" else args.question
    async with Footnote(settings) as footnote:
        seen = as_seen(footnote, args.seen_by)
        answer = await ask(
            seen,
            question,
            collections=args.collections,
            instructions=args.instructions,
            as_json=args.json,
            events=args.events,
            agent=args.agent,
            address=_address(settings.server, always=args.links),
        )
        if args.open:
            _open(seen.page(answer, collections=args.collections))
    if args.sources and not args.json:
        print("\nanswered from:")
        print("\n".join(source_lines(answer.sources)))
    return 0


async def ask(
    footnote: Footnote,
    question: str,
    *,
    collection: str | None = None,
    collections: Sequence[str] = (),
    history: Sequence[Turn] = (),
    instructions: str | None = None,
    thread: str | None = None,
    as_json: bool = False,
    events: bool = False,
    agent: bool = False,
    address: str = "",
) -> Answer:
    """Print an answer as it is written, and return it; with ``address``, links to its quotes there."""
    answer: Answer | None = None
    options = AskOptions(
        collection=collection,
        collections=collections,
        history=history,
        thread=thread,
        instructions=instructions,
        agent=agent,
    )
    async for event in footnote.stream(question, **options):
        if as_json:
            if events or isinstance(event, Answer):
                print(json.dumps(event_json(event), ensure_ascii=False), flush=True)
        elif isinstance(event, Step):
            note(step_line(event))
        elif isinstance(event, TextDelta):
            print(event.text, end="", flush=True)
        elif isinstance(event, Moderated) and not event.blocked:
            note(f"moderation flagged the {event.target}: {', '.join(event.verdict.categories)}")
        if isinstance(event, Answer):
            answer = event
    assert answer is not None, "the last event of a stream is the answer"
    for said in answer.notes:
        note(said)
    if not as_json:
        print()
        footnotes = list(answer_footnotes(answer, address=address))
        if footnotes:
            print()
            print("\n".join(footnotes))
    return answer


def _address(options: ServerOptions, *, always: bool) -> str:
    """Return where the service is reached; "" where nobody said, unless it is wanted ``always``."""
    return options.address or (f"http://{options.host}:{options.port}" if always else "")


def _open(page: str) -> None:
    """Show a page in a browser. It stays in the temporary folder: browsers read it when they like."""
    handle, path = tempfile.mkstemp(prefix="rag-answer-", suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(page)
    shown = webbrowser.open(Path(path).as_uri())
    note(f"opened {path}" if shown else f"no browser could be started; the answer is in {path}")
