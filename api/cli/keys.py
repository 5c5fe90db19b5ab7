"""``rag keys``: readers' keys of the service."""

from __future__ import annotations

import argparse
import json
import time

from api.cli.output import note
from api.keys import ReaderKeys
from rag.errors import ConfigError
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what ``args.action`` says."""
    keys = ReaderKeys(settings.library)
    if args.action == "list":
        for key in keys.all():
            shown = {"name": key.name, "labels": list(key.labels), "created_at": key.created_at}
            made = time.strftime("%Y-%m-%d", time.localtime(key.created_at))
            print(json.dumps(shown, ensure_ascii=False) if args.json else f"{key.name}  {_labels(key.labels)}  {made}")
        if not keys.all():
            note("there are no readers' keys; make one with: rag keys add NAME --label LABEL")
        return 0
    if not args.name:
        raise ConfigError(f"rag keys {args.action} needs a name")
    if args.action == "add":
        secret = keys.add(args.name, args.label)
        shown = {"name": args.name, "labels": sorted(set(args.label)), "key": secret}
        print(json.dumps(shown, ensure_ascii=False) if args.json else secret)
        note(f"this is shown once; it opens to {args.name!r}: {_labels(sorted(set(args.label)))}")
    else:
        keys.remove(args.name)
        note(f"the key of {args.name!r} is taken back; a running service refuses it from now on")
    return 0


def _labels(labels: object) -> str:
    shown = ", ".join(map(str, labels)) if isinstance(labels, list | tuple) else ""
    return f"what has no labels, or one of: {shown}" if shown else "what has no labels"
