"""``rag ask``: one question, one answer with footnotes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from api.ask_options import AskOptions
from api.cli.output import answer_footnotes, note, source_lines, step_line
from api.cli.seen_by import as_seen
from api.events import event_json
from api.footnote import Footnote
from rag.settings import Settings
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
        )
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
) -> Answer:
    """Print an answer as it is written, and return it."""
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
        footnotes = list(answer_footnotes(answer))
        if footnotes:
            print()
            print("\n".join(footnotes))
    return answer
