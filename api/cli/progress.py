"""Progress of an ingest on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.cli.output import note
from ingest.tally import IngestProgress
from rag.prices import money

__all__ = ["ingest_progress"]

PLAIN_EVERY_S = 5.0


@contextmanager
def ingest_progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[IngestProgress], None]]:
    """Yield a function that shows the progress it is given."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(label) as show:
            yield show
    else:
        yield _plain(label)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[IngestProgress], None]]:
    # Imported late: only an ingest on a terminal needs it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files · {task.fields[detail]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=8) as bar:
        task = bar.add_task(label, total=None, detail="")

        def show(progress: IngestProgress) -> None:
            bar.update(task, total=progress.n_files or None, completed=progress.n_done, detail=_detail(progress))

        yield show


def _plain(label: str) -> Callable[[IngestProgress], None]:
    last = time.monotonic()

    def show(progress: IngestProgress) -> None:
        nonlocal last
        finished = progress.n_files > 0 and progress.n_done == progress.n_files
        if time.monotonic() - last >= PLAIN_EVERY_S or finished:
            last = time.monotonic()
            files = "" if progress.fetching else f"{progress.n_done:,} of {progress.n_files:,} files, "
            note(f"{label}: {files}{_detail(progress)}")

    return show


def _detail(progress: IngestProgress) -> str:
    if fetching := progress.fetching:
        said = f"fetched {fetching.n_done:,} of {fetching.n_urls:,} pages"
        if fetching.waiting:
            said += f", waiting for {fetching.waiting.host}, which asks for {math.ceil(fetching.waiting.seconds)} s"
        return said
    said = f"{progress.n_chunks:,} chunks"
    if progress.n_texts_embedded:
        said += f", {progress.n_texts_embedded:,} embedded ({progress.n_tokens_embedded:,} tokens)"
    if progress.cost and progress.currency:
        said += f", {money(progress.cost, progress.currency)}"
    if (waiting := progress.embedding) and waiting.reason:
        said += f", waiting for the endpoint: {waiting.reason} for {math.ceil(waiting.paused_s)} s"
    return said
