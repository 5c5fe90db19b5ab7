"""``rag collections settings|set|unset``: the settings that a collection has of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from api.cli.output import note
from api.footnote import Footnote
from rag.errors import OwnSettingError

__all__ = ["show_or_change"]


def show_or_change(footnote: Footnote, args: argparse.Namespace) -> None:
    """Do what ``args.action`` says, and print the settings that hold then."""
    words = [word for word in (args.target, *args.more) if word]
    own = footnote.own_settings(args.name)
    if args.action != "settings":
        if not words:
            form = "NAME=VALUE" if args.action == "set" else "NAME"
            raise OwnSettingError(f"rag collections {args.action} {args.name} needs settings, each as answer.{form}")
        for word in words:
            _change(own, word, takes_back=args.action == "unset")
        own = footnote.set_own_settings(own, args.name)
    lines = list(_lines(own))
    if args.json:
        print(json.dumps({"collection": args.name, "settings": own}, ensure_ascii=False))
    elif lines:
        print("\n".join(lines))
    else:
        note(f"collection '{args.name}' has no settings of its own")


def _change(own: dict[str, dict[str, Any]], word: str, *, takes_back: bool) -> None:
    dotted, equals, value = word.partition("=")
    section, dot, name = dotted.strip().partition(".")
    if not dot or bool(equals) == takes_back:
        form = "answer.NAME" if takes_back else "answer.NAME=VALUE"
        raise OwnSettingError(f"a setting of a collection is written as {form}, got {word!r}")
    if takes_back:
        if name not in own.get(section, {}):
            raise OwnSettingError(f"the collection has no {dotted!r} of its own; `rag collections settings` lists them")
        del own[section][name]
    else:
        own.setdefault(section, {})[name] = value.strip()


def _lines(own: dict[str, dict[str, Any]]) -> Iterator[str]:
    for section, values in sorted(own.items()):
        for name, value in sorted(values.items()):
            yield f"{section}.{name} = {json.dumps(value, ensure_ascii=False)}"
