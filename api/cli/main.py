"""The ``rag`` command: parse, call one function, print.

Results go to standard output, progress and warnings to standard error. Exit status: 0 done, 1 something failed (one
line says what), 2 wrong usage, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from api.cli.parser import build_parser, usage_problem
from rag.errors import ConfigError, RagError
from rag.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Command = Callable[[argparse.Namespace, Settings], Awaitable[int]]

__all__ = ["main"]

COLLECT_AFTER = 50_000, 20, 20
"""Objects made before the collector looks for circles, and how often it looks further: what a run makes has few, and
looking through what waits in it took a twentieth of its processor time."""

# Each command's module is imported when it is called, so that `rag --help` loads no model library.
MODULES = {
    "ingest": "api.cli.ingest",
    "answers": "api.cli.answers",
    "ask": "api.cli.ask",
    "chat": "api.cli.chat",
    "threads": "api.cli.threads",
    "search": "api.cli.search",
    "status": "api.cli.status",
    "collections": "api.cli.collections",
    "cache": "api.cli.cache",
    "eval": "api.cli.eval",
    "feedback": "api.cli.answers",
    "keys": "api.cli.keys",
    "serve": "api.cli.serve",
    "doctor": "api.cli.doctor",
    "demo": "api.cli.demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from importlib.metadata import version  # slow to import, and needed here only

        print(f"rag {version('footnote-rag')}")
        return 0
    if args.command is None:
        parser.print_help()
        return 0
    if problem := usage_problem(args):
        parser.error(f"{args.command}: {problem}")
    args.typed = _typed(sys.argv[1:] if argv is None else argv)
    try:
        with asyncio.Runner() as runner:
            status = runner.run(_run(args))
            if status > 128:  # a signal: threads may be busy with what nobody waits for any more
                _leave(status)
            return status
    except RagError as error:
        print(f"rag {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; what was stored stays, the same command goes on from there" if args.command == "ingest" else ""
        print(f"rag {args.command}: stopped{again}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): not an error, and nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _typed(argv: Sequence[str]) -> str:
    """Return the command as it was typed, for the user to type again; without keys, which may end up in a log."""
    words = [f"{word.partition('=')[0]}=..." if "api_key=" in word else word for word in argv]
    return shlex.join(["rag", *words])


async def _run(args: argparse.Namespace) -> int:
    command: Command = importlib.import_module(MODULES[args.command]).run
    gc.freeze()  # what was imported stays
    gc.set_threshold(*COLLECT_AFTER)
    return await command(args, _settings(args))


def _settings(args: argparse.Namespace) -> Settings:
    overrides: dict[str, object] = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set takes NAME=VALUE, got {item!r}")
        overrides[name.strip()] = value.strip()
    flags = {
        "library": args.library,
        "collection": getattr(args, "collection", None),
        "retrieval.k": getattr(args, "k", None),
        "retrieval.filter": getattr(args, "filter", None),
        "retrieval.min_score": getattr(args, "min_score", None),
        "query.rewrite": getattr(args, "rewrite", None),
        "query.alternatives": getattr(args, "alternatives", None),
        "query.hyde": "on" if getattr(args, "hyde", False) else None,
        "query.translate": getattr(args, "translate", None),
        "answer.temperature": getattr(args, "temperature", None),
        "answer.unsupported": getattr(args, "unsupported", None),
        "answer.top_p": getattr(args, "top_p", None),
        "answer.max_tokens": getattr(args, "max_tokens", None),
        "answer.frequency_penalty": getattr(args, "frequency_penalty", None),
        "answer.presence_penalty": getattr(args, "presence_penalty", None),
        "answer.seed": getattr(args, "seed", None),
        "answer.language": getattr(args, "language", None),
        "answer.reasoning_effort": getattr(args, "reasoning_effort", None),
        "answer.verbosity": getattr(args, "verbosity", None),
        "answer.stop": getattr(args, "stop", None),
        "chunking.tokens": getattr(args, "chunk_tokens", None),
        "chunking.overlap": getattr(args, "chunk_overlap", None),
        "ingest.max_cost": getattr(args, "max_cost", None),
        "ingest.include": getattr(args, "include", None),
        "ingest.exclude": getattr(args, "exclude", None),
        "server.host": getattr(args, "host", None),
        "server.port": getattr(args, "port", None),
    }
    overrides.update({name: value for name, value in flags.items() if value is not None})
    return load_settings(os.environ, file=args.config, overrides=overrides)


if __name__ == "__main__":
    raise SystemExit(main())
