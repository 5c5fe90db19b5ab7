"""``rag collections``: list, create, show, delete; the rest is in ``api.cli.shelving``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from api.cli.output import document_lines, note, size
from api.cli.own_settings import show_or_change
from api.cli.shelving import shelve
from api.footnote import Footnote
from rag.errors import ConfigError
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what ``args.action`` says."""
    if args.action != "list" and not args.name:
        raise ConfigError(f"rag collections {args.action} needs the name of a collection")
    async with Footnote(settings) as footnote:
        if args.action == "create":
            await footnote.create_collection(args.name)
            note(f"created collection '{args.name}'")
        elif args.action == "delete":
            return _delete(footnote, args)
        elif args.action == "show":
            _show(footnote, args)
        elif args.action in ("settings", "set", "unset"):
            show_or_change(footnote, args)
        elif args.action != "list":
            await shelve(footnote, args)
        else:
            _list(footnote, args)
    return 0


def _list(footnote: Footnote, args: argparse.Namespace) -> None:
    names = footnote.collections()
    for name in names:
        status = footnote.status(name)
        if args.json:
            print(json.dumps(asdict(status), ensure_ascii=False))
        else:
            held = f"{status.n_documents:,} documents, {status.n_chunks:,} chunks"
            print(f"{name}  {held}, {size(sum(status.size_bytes.values()))}, {status.config.model}")
    if not names:
        note(f"no collections in {footnote.settings.library}; make one with: rag ingest FOLDER")


def _show(footnote: Footnote, args: argparse.Namespace) -> None:
    documents = footnote.documents(args.name)
    if args.json:
        for document in documents:
            print(json.dumps({**asdict(document), "metadata": dict(document.metadata)}, ensure_ascii=False))
    else:
        print("\n".join(document_lines(documents)))


def _delete(footnote: Footnote, args: argparse.Namespace) -> int:
    status = footnote.status(args.name)
    if not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"deleting '{args.name}' ({status.n_documents:,} documents) needs --yes")
        note(f"delete collection '{args.name}' with {status.n_documents:,} documents? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("nothing deleted")
            return 1
    footnote.delete_collection(args.name)
    note(f"deleted collection '{args.name}'; its vectors stay in the library and cost nothing to use again")
    return 0
