"""``rag chat``: a conversation; each question is answered with the turns before it in mind."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from api.cli.ask import ask
from api.cli.conversation_lines import (
    export_format,
    message_lines,
    short_id,
    stored_source_lines,
    thread_line,
    write_new,
)
from api.cli.output import note, source_lines
from api.cli.threads import all_messages
from api.footnote import Footnote
from api.thread_views import message_json, thread_json
from index.thread_records import Thread
from rag.errors import RagError, ThreadError
from rag.settings import Settings
from rag.types import Answer, Turn

__all__ = ["run"]

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
_HELP = """\
/new           start over
/threads       list the stored conversations
/open ID       go on with one: its id, the beginning of it, or last
/sources       show the passages the last answer was written from
/export [FILE] write the conversation as Markdown; a FILE of the name .json or .jsonl can be imported
/quit          end, as Ctrl-D does"""


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Answer line after line until /quit or the end of input; an error ends the answer, not the conversation."""
    async with Footnote(settings) as footnote:
        chat = _Chat(footnote, args)
        if args.thread is not None:
            chat.open(args.thread)
        if sys.stdin.isatty():
            note("Ask a question. /help lists the commands, /quit or Ctrl-D ends.")
        status = 0
        while not chat.ended and (line := await asyncio.to_thread(_read_line)) is not None:
            try:
                status = await chat.take(line.strip(), status)
            except RagError as error:
                note(f"rag chat: {error}")
                status = 1
        if chat.thread is not None:
            note(f"this conversation goes on with: rag chat --thread {short_id(chat.thread)}")
    return status


class _Chat:
    """One conversation at a time: the stored one that is open, or what is remembered with ``--no-store``."""

    def __init__(self, footnote: Footnote, args: argparse.Namespace) -> None:
        self.ended = False
        self.thread: Thread | None = None
        self._footnote = footnote
        self._args = args
        self._history: list[Turn] = []
        self._last: Answer | None = None
        self._commands: Mapping[str, Callable[[str], None]] = {
            "new": self._new,
            "threads": self._list,
            "open": self.open,
            "sources": self._sources,
            "export": self._export,
            "quit": self._quit,
            "help": lambda words: print(_HELP),
        }

    async def take(self, line: str, status: int) -> int:
        """Do a command or answer a question; return the exit status so far: that of the last question."""
        if not line:
            return status
        if (command := _COMMAND.fullmatch(line)) is None:
            await self._answer(line)
            return 0
        if (do := self._commands.get(command[1])) is None:
            raise ThreadError(f"there is no command /{command[1]}; /help lists them")
        do((command[2] or "").strip())
        return status

    async def _answer(self, question: str) -> None:
        args = self._args
        if not args.no_store and self.thread is None:
            for name in args.collections or [None]:
                self._footnote.collection(name)  # no conversation about what is not there
            self.thread = self._footnote.threads.create(collections=args.collections)
        answer = await ask(
            self._footnote,
            question,
            collections=args.collections,
            history=self._history,
            thread=None if self.thread is None else self.thread.id,
            instructions=args.instructions,
            as_json=args.json,
            agent=args.agent,
        )
        if args.no_store and answer.refusal != "moderation":  # what was stopped is not sent again
            self._history += [Turn("user", question), Turn("assistant", answer.text)]
        self._last = answer

    # --- commands

    def open(self, words: str) -> None:
        """Go on with a stored conversation, and show it."""
        if self._args.no_store:
            raise ThreadError("with --no-store no stored conversation is opened; start again without it")
        if not words:
            raise ThreadError("/open needs the id of a conversation, the beginning of it, or last; /threads lists them")
        threads = self._footnote.threads
        self.thread, self._last = threads.find(words), None
        for message in all_messages(threads, self.thread.id):
            print(json.dumps(message_json(message)) if self._args.json else "\n".join(message_lines(message)))
        note(f"opened {thread_line(self.thread)}")

    def _new(self, words: str) -> None:
        self.thread, self._last = None, None
        self._history.clear()

    def _quit(self, words: str) -> None:
        self.ended = True

    def _list(self, words: str) -> None:
        threads = self._footnote.threads.list(limit=1000)
        for thread in threads.threads:
            print(json.dumps(thread_json(thread)) if self._args.json else thread_line(thread))
        if not threads.threads:
            note("no conversation is stored yet")
        if threads.next_after is not None:
            note("these are the thousand changed last; `rag threads` lists all")

    def _sources(self, words: str) -> None:
        if self._last is not None:
            print("\n".join(source_lines(self._last.sources)))
            return
        answers = [] if self.thread is None else [*all_messages(self._footnote.threads, self.thread.id)]
        stored = next((one.answer for one in reversed(answers) if one.answer is not None), None)
        if stored is None:
            raise ThreadError("there is no answer yet, so there are no sources; ask a question")
        print("\n".join(stored_source_lines(stored)))

    def _export(self, words: str) -> None:
        if self._args.no_store:
            raise ThreadError("with --no-store nothing is stored that could be exported; start again without it")
        if self.thread is None:
            raise ThreadError("there is nothing to export yet; ask a question")
        path = Path(words) if words else None
        text = self._footnote.threads.export(self.thread.id, format=export_format(path) if path else "markdown")
        if path is None:
            sys.stdout.write(text)
        else:
            write_new(path, text)
            note(f"written to {path}")


def _read_line() -> str | None:
    if sys.stdin.isatty():
        sys.stderr.write("\n> ")
        sys.stderr.flush()
    return sys.stdin.readline() or None
