"""``rag answers`` and ``rag feedback``: what was recorded of answers, and what people say of them."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import time

from api.cli.output import note
from api.footnote import Footnote
from api.recording import evaluation_questions
from index.answer_records import AnswerRecord
from rag.errors import ConfigError
from rag.prices import money_or_unknown
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """List, show or export recorded answers, or rate one."""
    async with Footnote(settings) as footnote:
        if args.command == "feedback":
            text = sys.stdin.read() if args.text == "-" else args.text
            await asyncio.to_thread(footnote.records.rate, args.id, args.rating, correction=text, comment=args.comment)
            note(f"stored with {args.id}")
        elif args.action == "export":
            _export(footnote)
        elif args.action == "show":
            if not args.id:
                raise ConfigError("rag answers show needs the id of an answer")
            print(json.dumps(dataclasses.asdict(footnote.records.get(args.id)), ensure_ascii=False, indent=2))
        else:
            _list(footnote, args)
    return 0


def _list(footnote: Footnote, args: argparse.Namespace) -> None:
    records = footnote.records.page(limit=args.limit, rating=args.rated)
    for record in records:
        print(json.dumps(dataclasses.asdict(record), ensure_ascii=False) if args.json else _line(record))
    if not records:
        off = "; set observe.records to on" if footnote.settings.observe.records == "off" else ""
        note(f"no answers are recorded{off}")


def _line(record: AnswerRecord) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.at))
    took = record.timings_ms.get("until_end", 0.0) / 1000
    verdicts = ", ".join(f"{n} {name}" for name, n in record.verdicts.items()) or "no statements"
    rated = f"  [{record.feedback.rating}]" if record.feedback else ""
    cost = money_or_unknown(record.cost, record.currency) if record.model else ""
    words = f"  {record.question}" if record.question is not None else ""
    return f"{record.id}  {when}  {record.outcome}  {took:.1f} s  {verdicts}  {cost}{rated}{words}"


def _export(footnote: Footnote) -> None:
    n = 0
    for question in evaluation_questions(footnote.records.rated()):
        print(json.dumps(question, ensure_ascii=False))
        n += 1
    note(f"{n} questions; read them with: rag eval FILE")
