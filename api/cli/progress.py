"""Progress of an ingest on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.cli.output import duration, note, size
from ingest.tally import IngestProgress, Waiting
from ingest.web.sighting import FetchProgress
from rag.prices import money

__all__ = ["figures", "ingest_progress", "plain_progress", "waits"]

PLAIN_EVERY_S = 5.0
NOTICED_AFTER_S = 2.0
"""What takes less is not worth a word: the next file is being read by then."""


@contextmanager
def ingest_progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[IngestProgress], None]]:
    """Yield a function that shows the progress it is given."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(label) as show:
            yield show
    else:
        yield plain_progress(label)


@contextmanager
def _bar(label: str) -> Iterator[Callable[[IngestProgress], None]]:
    # Imported late: only an ingest on a terminal needs it.
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}")
    )
    task = bar.add_task(label, total=None, left="")
    said, waited = (Text("", no_wrap=True, overflow="ellipsis") for _ in range(2))
    console = Console(stderr=True)
    with Live(Group(bar, said, waited), console=console, refresh_per_second=8, transient=True):

        def show(progress: IngestProgress) -> None:
            bar.update(task, total=progress.n_files or None, completed=progress.n_done, left=_left(progress))
            said.plain = figures(progress)
            waited.plain = waits(progress)

        yield show
    console.print(said, soft_wrap=True)


def plain_progress(label: str, *, says_when_done: bool = True) -> Callable[[IngestProgress], None]:
    """Return a function that prints a line every few seconds of a run, and one when all files are done."""
    last = 0.0  # seconds of the run that it spoke of last
    phase = ""

    def show(progress: IngestProgress) -> None:
        nonlocal last, phase
        if progress.seconds < last:  # another run
            last = 0.0
        done = says_when_done and progress.phase == "finishing" and phase != "finishing"
        phase = progress.phase
        if done or progress.seconds - last >= PLAIN_EVERY_S:
            last = progress.seconds
            said = (figures(progress), "" if done else _left(progress), waits(progress))
            note(f"{label}: {', '.join(part for part in said if part)}")

    return show


def figures(progress: IngestProgress) -> str:
    """Return how far a run is: files, chunks, tokens, rate, cost. Pure."""
    if progress.fetching is not None:
        return _fetched(progress.fetching)
    if progress.phase == "looking":
        return f"looking: {progress.n_seen:,} files so far"
    if progress.phase == "comparing":
        return f"comparing with the last run: {progress.n_compared:,} of {progress.n_to_compare:,} files"
    said = [f"{progress.n_done:,} of {progress.n_files:,} files", f"{progress.n_chunks:,} chunks"]
    if progress.n_texts_embedded:
        said.append(f"{progress.n_texts_embedded:,} embedded ({progress.n_tokens_embedded:,} tokens)")
    if progress.n_media_read:
        said.append(f"{progress.n_media_read:,} pages or other media read")
    if progress.tokens_per_s:
        said.append(f"{progress.tokens_per_s:,.0f} tokens/s")
    elif progress.chunks_per_s:
        said.append(f"{progress.chunks_per_s:,.0f} chunks/s")
    if progress.cost and progress.currency:
        said.append(money(progress.cost, progress.currency))
    return ", ".join(said)


def _fetched(fetching: FetchProgress) -> str:
    said = f"fetched {fetching.n_done:,} of {fetching.n_urls:,} pages"
    if fetching.waiting:
        said += f", waiting for {fetching.waiting.host}, which asks for {math.ceil(fetching.waiting.seconds)} s"
    return said


def _left(progress: IngestProgress) -> str:
    if progress.phase == "finishing":
        return "bringing the indexes up to date"
    if progress.phase != "working":
        return ""
    if progress.left_s is None:
        return "time left unknown" if progress.seconds > PLAIN_EVERY_S else ""
    return f"about {duration(progress.left_s)} left"


def waits(progress: IngestProgress) -> str:
    """Return who is waited for, and for what; "" where that is not worth a word. Pure."""
    said = [said for waiting in progress.waiting if (said := _wait(waiting))]
    if progress.phase == "working" and progress.n_bytes > progress.n_bytes_read and said:
        said.append(f"{size(progress.n_bytes - progress.n_bytes_read)} still to read")
    return f"waiting for {'; '.join(said)}" if said else ""


def _wait(waiting: Waiting) -> str:
    if waiting.why:
        behind = f", {waiting.what} behind it" if waiting.what else ""
        return f"the {waiting.on}: {waiting.why} for {math.ceil(waiting.paused_s)} s{behind}"
    if waiting.on in ("endpoint", "embedded model"):
        requests = f"{waiting.n:,} request{'' if waiting.n == 1 else 's'} under way"
        return f"the {waiting.on}: {requests}" + (f", {waiting.what} behind" if waiting.what else "")
    if waiting.seconds < NOTICED_AFTER_S:
        return ""
    more = f" and {waiting.n - 1:,} more" if waiting.n > 1 else ""
    return f"the {waiting.on}: {waiting.what}{more}, for {duration(waiting.seconds)}"
