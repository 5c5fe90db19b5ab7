"""``rag cache``: the vectors that were paid for."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from api.cli.output import note, size
from api.footnote import Footnote
from index.cache import CacheSurvey, SpaceSurvey
from rag.errors import ConfigError
from rag.prices import Price, money
from rag.settings import Settings

__all__ = ["run"]


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what ``args.action`` says."""
    needs_file = args.action in ("export", "import")
    if needs_file != (args.file is not None):
        raise ConfigError(f"rag cache {args.action} {'needs the name of a file' if needs_file else 'takes no file'}")
    async with Footnote(settings) as footnote:
        if args.action == "export":
            n_entries = footnote.export_cache(args.file)
            _say(args, {"file": str(args.file), "n_entries": n_entries}, f"{n_entries:,} entries in {args.file}")
        elif args.action == "import":
            done = footnote.import_cache(args.file)
            _say(args, asdict(done), f"{done.n_new:,} entries added, {done.n_known:,} were there already")
        elif args.action == "prune":
            return _prune(footnote, args)
        else:
            _show(footnote, args)
    return 0


def _say(args: argparse.Namespace, values: dict[str, Any], words: str) -> None:
    print(json.dumps(values, ensure_ascii=False) if args.json else words)


def _show(footnote: Footnote, args: argparse.Namespace) -> None:
    found = footnote.cache()
    prices = [_price(footnote, space) for space in found.spaces]
    if args.json:
        print(json.dumps(_values(found, prices), ensure_ascii=False))
    else:
        print("\n".join(_lines(found, prices)))


def _price(footnote: Footnote, space: SpaceSurvey) -> Price | None:
    """Return the price of a model; None where today's settings do not say who serves it (no key is set, say)."""
    try:
        return footnote.wiring.price(space.space.model)
    except ConfigError:
        return None


def _values(found: CacheSurvey, prices: Iterable[Price | None]) -> dict[str, Any]:
    spaces = []
    for space, price in zip(found.spaces, prices, strict=True):
        values = asdict(space)
        saved = None if price is None else price.cost(space.n_tokens_reused)
        spaces.append({**values.pop("space"), **values, "saved": saved, "currency": price.currency if price else ""})
    return {"size_bytes": found.size_bytes, "n_orphans": found.n_orphans, "spaces": spaces}


def _lines(found: CacheSurvey, prices: Iterable[Price | None]) -> Iterable[str]:
    n_entries = sum(space.n_vectors + space.n_unreadable for space in found.spaces)
    yield f"{n_entries:,} texts, {size(found.size_bytes)} on disk"
    for space, price in zip(found.spaces, prices, strict=True):
        yield f"{space.space.model}, {space.space.dimensions} dimensions"
        unreadable = f", and {space.n_unreadable:,} texts that the model cannot read" if space.n_unreadable else ""
        yield f"  vectors    {space.n_vectors:,}{unreadable}"
        for name, n_used in space.used_by.items():
            yield f"  used by    {name}: {n_used:,}"
        yield f"  orphans    {space.n_orphans:,}" + ("; rag cache prune deletes them" if space.n_orphans else "")
        yield f"  not paid   {space.n_texts_reused:,} chunks, {space.n_tokens_reused:,} tokens{_saved(space, price)}"


def _saved(space: SpaceSurvey, price: Price | None) -> str:
    if price is None:
        return " (unknown price)"
    return "" if price.is_free else f": {money(price.cost(space.n_tokens_reused), price.currency)}"


def _prune(footnote: Footnote, args: argparse.Namespace) -> int:
    before = footnote.cache()
    if before.n_orphans and not args.yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"deleting {before.n_orphans:,} vectors that no collection uses needs --yes")
        note(f"delete {before.n_orphans:,} vectors that no collection uses? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("nothing deleted")
            return 1
    n_pruned = footnote.prune_cache()
    freed = max(0, before.size_bytes - footnote.cache().size_bytes)
    _say(args, {"n_pruned": n_pruned, "freed_bytes": freed}, f"{n_pruned:,} vectors deleted, {size(freed)} freed")
    return 0
