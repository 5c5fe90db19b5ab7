"""A change of embedding model: the collection is made anew from its stored texts, and the old one answers meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from api.shelf import REBUILDING
from api.wiring import Wiring
from index.collection import Collection
from index.identity import copy_database, set_config
from index.library import Library
from ingest.cost import Spending
from ingest.reembed import ReembedReport, plan_reembedding, reembed

__all__ = ["change_model"]


async def change_model(
    wiring: Wiring,
    library: Library,
    old: Collection,
    *,
    max_cost: float | None,
    dry_run: bool,
    on_progress: Callable[[int, int], None],
    stop: asyncio.Event | None,
) -> ReembedReport:
    """See ``Footnote.change_model``. Holds the right to write to the old collection until the switch."""
    config = await wiring.new_config(library.vectors.spaces())
    spending = Spending(wiring.price(config.model), limit=max_cost)
    tokenizer = wiring.tokenizer(config.tokenizer)
    if dry_run:
        return await asyncio.to_thread(plan_reembedding, old, config, library.vectors, tokenizer, spending)
    name, beside = old.name, f"{old.name}{REBUILDING}"

    def fill(folder: Path) -> None:
        copy_database(library.database_of(name), folder / "collection.db")
        set_config(folder, config)

    with ExitStack() as holding:
        holding.enter_context(old.writer(f"change of model of {name}"))
        if beside in library.collections():  # what an interrupted run left; its vectors are kept
            await asyncio.to_thread(library.delete, beside)
        await asyncio.to_thread(library.place, beside, fill)
        new = library.open_collection(beside)
        report = await reembed(
            new,
            vectors=library.vectors,
            embedder=await wiring.embedder(),
            tokenizer=tokenizer,
            spending=spending,
            name=name,
            on_progress=on_progress,
            stop=stop,
        )
        seq = old.status().seq
    if report.is_switched:
        await asyncio.to_thread(library.supersede, name, by=beside, unchanged_since=seq)
    return report
