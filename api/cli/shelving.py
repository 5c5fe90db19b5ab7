"""``rag collections``: copy, rename, export, import; take, list, restore and delete snapshots."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

from api.cli.output import note, size
from api.footnote import Footnote
from index.collection_file import Exported
from index.points import Snapshot
from rag.errors import ConfigError
from rag.prices import money_or_unknown

__all__ = ["shelve"]

_TELL_EVERY = 100
_TARGETS = {
    "copy": "the name of the copy",
    "rename": "the new name",
    "export": "the file to write",
    "restore": "the label of a snapshot; `rag collections snapshots NAME` lists them",
    "delete-snapshot": "the label of a snapshot; `rag collections snapshots NAME` lists them",
}


async def shelve(footnote: Footnote, args: argparse.Namespace) -> None:
    """Do what ``args.action`` says."""
    name, target = args.name, args.target
    if not target and args.action in _TARGETS:
        raise ConfigError(f"rag collections {args.action} {name} needs {_TARGETS[args.action]}")
    if args.action == "copy":
        await footnote.copy_collection(name, target)
        note(f"copied collection '{name}' to '{target}'; their vectors are shared")
    elif args.action == "rename":
        await footnote.rename_collection(name, target)
        note(f"collection '{name}' is now '{target}'")
    elif args.action == "export":
        _say(await footnote.export_collection(name, target), f"to {target}", as_json=args.json)
    elif args.action == "import":
        imported = await footnote.import_collection(name, target or "", replace=args.replace)
        _say(imported, f"from {name}", as_json=args.json)
    elif args.action == "snapshot":
        _print(await footnote.take_snapshot(name, target or ""), as_json=args.json)
    elif args.action == "snapshots":
        _list(footnote, args)
    elif args.action == "restore":
        await _restore(footnote, args)
    elif args.action == "delete-snapshot":
        footnote.delete_snapshot(name, target)
        note(f"deleted snapshot '{target}' of '{name}'")
    elif args.action == "change-model":
        await _change_model(footnote, args)
    else:
        _prune(footnote, args)


async def _change_model(footnote: Footnote, args: argparse.Namespace) -> None:
    def told(n_done: int, n_all: int) -> None:
        if n_done % _TELL_EVERY == 0 or n_done == n_all:
            note(f"{n_done:,} of {n_all:,} documents")

    report = await footnote.change_model(args.name, dry_run=args.dry_run, on_progress=told)
    if args.json:
        print(json.dumps(asdict(report), ensure_ascii=False))
        return
    price = money_or_unknown(report.cost, report.currency)
    held = f"{report.n_documents:,} documents, {report.n_chunks:,} chunks for {report.model}"
    print(f"collection '{report.collection}': {held}; {report.n_texts:,} texts, {report.n_tokens:,} tokens, {price}")
    note("a dry run: nothing was changed" if args.dry_run else f"'{report.collection}' answers with {report.model} now")


def _say(what: Exported, where: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(what), ensure_ascii=False))
    else:
        held = f"{what.n_documents:,} documents, {what.n_chunks:,} chunks, {what.n_vectors:,} vectors of {what.model}"
        print(f"collection '{what.collection}' {where}: {held}")


def _list(footnote: Footnote, args: argparse.Namespace) -> None:
    found = footnote.snapshots(args.name)
    for kept in found:
        _print(kept, as_json=args.json)
    if not found:
        note(f"no snapshots of '{args.name}'; make one with: rag collections snapshot {args.name}")


def _print(kept: Snapshot, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(kept), ensure_ascii=False))
    else:
        made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept.made_at))
        held = f"{kept.n_documents:,} documents, {kept.n_chunks:,} chunks, {size(kept.size_bytes)}, {kept.model}"
        print(f"{kept.label}  {made}, {held} ({kept.why})")


async def _restore(footnote: Footnote, args: argparse.Namespace) -> None:
    replaced = await footnote.restore_snapshot(args.name, args.target, keep=not args.no_keep)
    note(f"collection '{args.name}' is what it was at '{args.target}'")
    if replaced is not None:
        note(f"what it was just now is kept: rag collections restore {args.name} {replaced.label}")


def _prune(footnote: Footnote, args: argparse.Namespace) -> None:
    if args.keep is None or args.keep < 0:
        raise ConfigError("rag collections prune needs --keep N: how many of the newest snapshots stay, 0 or more")
    labels = footnote.prune_snapshots(args.name, keep=args.keep)
    note(f"deleted {len(labels):,} snapshots of '{args.name}'{': ' if labels else ''}{', '.join(labels)}")
