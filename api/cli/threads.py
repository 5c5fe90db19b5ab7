"""``rag threads``: the stored conversations."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from api.cli.conversation_lines import export_format, message_lines, short_id, thread_line, write_new
from api.cli.output import note
from api.conversing import Threads
from api.footnote import Footnote
from api.thread_views import Message, message_json, thread_json
from index.thread_records import Thread
from rag.errors import ConfigError, ThreadError
from rag.settings import Settings

__all__ = ["all_messages", "run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what ``args.action`` says."""
    async with Footnote(settings) as footnote:
        threads = footnote.threads
        if args.action == "list":
            _list(footnote, args)
        elif args.action == "import":
            _import(threads, args.id)
        elif args.action == "show":
            _show(threads, threads.find(args.id), args)
        elif args.action == "export":
            _export(threads, threads.find(args.id), args)
        elif args.action == "rename":
            renamed = threads.rename(threads.find(args.id).id, args.target)
            note(f"{short_id(renamed)} is called {renamed.title!r} now")
        else:
            return _delete(threads, threads.find(args.id), args)
    return 0


def all_messages(threads: Threads, thread_id: str) -> Iterator[Message]:
    """Yield the messages of a conversation, oldest first."""
    after: int | None = 0
    while after is not None:
        page = threads.messages(thread_id, after=after)
        yield from page.messages
        after = page.next_after


def _list(footnote: Footnote, args: argparse.Namespace) -> None:
    after: str | None = ""
    n_listed = 0
    while after is not None:
        page = footnote.threads.list(after=after)
        for thread in page.threads:
            print(json.dumps(thread_json(thread)) if args.json else thread_line(thread))
        n_listed += len(page.threads)
        after = page.next_after
    if not n_listed:
        note(f"no conversations in {footnote.settings.library}; `rag chat` begins one")


def _show(threads: Threads, thread: Thread, args: argparse.Namespace) -> None:
    if not args.json:
        print(f"{thread_line(thread)}\n")
    for message in all_messages(threads, thread.id):
        print(json.dumps(message_json(message)) if args.json else "\n".join(message_lines(message)))


def _export(threads: Threads, thread: Thread, args: argparse.Namespace) -> None:
    path = Path(args.target) if args.target else None
    text = threads.export(thread.id, format=args.format or (export_format(path) if path else "markdown"))
    if path is None:
        sys.stdout.write(text)
    else:
        write_new(path, text)
        note(f"{short_id(thread)} is in {path}")


def _import(threads: Threads, file: str) -> None:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThreadError(f"cannot read {file}: {error}; import what `rag threads export` wrote as JSON") from error
    for thread in threads.import_(text):
        print(thread_line(thread))


def _delete(threads: Threads, thread: Thread, args: argparse.Namespace) -> int:
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"deleting conversation {short_id(thread)} ({thread.title!r}) needs --yes")
        note(f"delete conversation {short_id(thread)} ({thread.title!r}, {thread.n_turns} questions)? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("nothing deleted")
            return 1
    threads.delete(thread.id)
    note(f"deleted conversation {short_id(thread)}")
    return 0
