"""``rag cache``: the vectors that were paid for, and what was read of pages, pictures and recordings."""

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
from index.cache_readings import ReadingsSurvey
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
    readings = asdict(found.readings)
    return {"size_bytes": found.size_bytes, "n_orphans": found.n_orphans, "spaces": spaces, "readings": readings}


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
    yield from _reading_lines(found.readings)


def _reading_lines(found: ReadingsSurvey) -> Iterable[str]:
    if not found.readers:
        return
    n_readings = sum(reader.n_readings + reader.n_refused for reader in found.readers)
    yield f"{n_readings:,} readings of pages, pictures and recordings, {size(found.size_bytes)} on disk"
    for reader in found.readers:
        refused = f", and {reader.n_refused:,} that it refused" if reader.n_refused else ""
        yield f"  {reader.kind:<10} {reader.n_readings:,} by {reader.title}{refused}"
    yield f"  orphans    {found.n_orphans:,}" + ("; rag cache prune deletes them" if found.n_orphans else "")
    saved = ", ".join(money(amount, currency) for currency, amount in found.saved.items())
    yield f"  not read   {found.n_reused:,} again{f': {saved}' if saved else ''}"


def _saved(space: SpaceSurvey, price: Price | None) -> str:
    if price is None:
        return " (unknown price)"
    return "" if price.is_free else f": {money(price.cost(space.n_tokens_reused), price.currency)}"


def _prune(footnote: Footnote, args: argparse.Namespace) -> int:
    before = footnote.cache()
    if (before.n_orphans or before.readings.n_orphans) and not args.yes:
        doomed = _counted(before.n_orphans, before.readings.n_orphans)
        if not sys.stdin.isatty():
            raise ConfigError(f"deleting {doomed} that no collection uses needs --yes")
        note(f"delete {doomed} that no collection uses? [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            note("nothing deleted")
            return 1
    n_pruned = footnote.prune_cache()
    n_readings = min(n_pruned, before.readings.n_orphans)
    after = footnote.cache()
    freed = max(0, before.size_bytes + before.readings.size_bytes - after.size_bytes - after.readings.size_bytes)
    said = f"{_counted(n_pruned - n_readings, n_readings)} deleted, {size(freed)} freed"
    _say(args, {"n_pruned": n_pruned, "freed_bytes": freed}, said)
    return 0


def _counted(n_vectors: int, n_readings: int) -> str:
    return f"{n_vectors:,} vectors" + (f" and {n_readings:,} readings" if n_readings else "")
