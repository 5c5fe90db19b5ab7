"""The words of ``rag chat`` and ``rag threads``; like all words of the command line it imports argparse alone."""

from __future__ import annotations

import argparse

__all__ = ["CHAT_EXAMPLES", "THREADS_EXAMPLES", "add_chat_options", "add_threads_options", "threads_problem"]

CHAT_EXAMPLES = (
    "  rag chat\n"
    "  rag chat --collection manuals\n"
    "  rag chat --thread last                     # go on with the conversation changed last\n"
    "  rag chat --no-store\n"
    "In the conversation: /new starts over, /threads lists conversations, /open ID goes on with one, /sources shows\n"
    "what the last answer was written from, /export [FILE] writes it all down, /quit or Ctrl-D ends, /help says this."
)
THREADS_EXAMPLES = (
    "  rag threads\n"
    "  rag threads show last\n"
    "  rag threads export 6f1c8e0b conversation.md\n"
    "  rag threads export 6f1c8e0b --format json | jq .turns\n"
    "  rag threads import conversation.jsonl\n"
    "  rag threads rename 6f1c8e0b 'Warranty questions'\n"
    "  rag threads delete 6f1c8e0b --yes"
)
_ACTIONS = ("list", "show", "export", "import", "rename", "delete")


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    """Add what says in which conversation is asked."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--thread", metavar="ID", help="go on with this stored conversation: its id, the beginning of it, or last"
    )
    which.add_argument("--new", action="store_true", help="begin a new conversation (which it does anyway)")
    which.add_argument("--no-store", action="store_true", help="keep the conversation until the end of it only")


def add_threads_options(parser: argparse.ArgumentParser) -> None:
    """Add what is to be done, and with which conversation."""
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="what to do (list)")
    parser.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="the conversation: its id, the beginning of it, or last; with import: the file",
    )
    parser.add_argument("target", nargs="?", help="the file to export to (standard output), or the new title")
    parser.add_argument("--format", choices=("markdown", "json", "jsonl"), help="what to export (as the file is named)")
    parser.add_argument("--yes", action="store_true", help="delete without asking")


def threads_problem(args: argparse.Namespace) -> str | None:
    """Return what is wrong with arguments that do not go together; None when they do."""
    if args.action != "list" and not args.id:
        return f"{args.action} needs {'a file' if args.action == 'import' else 'the id of a conversation; last is one'}"
    if args.action == "rename" and not args.target:
        return "rename needs the new title"
    if args.target and args.action not in ("export", "rename"):
        return f"{args.action} takes one argument, found {args.target!r} too"
    return None
