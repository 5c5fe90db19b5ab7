"""Stopping a run by wish: at once, in good order, and with a report that claims nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from api.footnote import Footnote
from ingest.report import IngestReport
from ingest.stopping import to_the_end, unless_stopped
from ingest.tally import IngestProgress
from tests.upstream import Fault, Upstream

PATIENCE_S = 30


async def test_what_writes_is_waited_for_before_its_caller_is_cancelled() -> None:
    began, finish, ended = threading.Event(), threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        finish.wait(PATIENCE_S)
        ended.set()

    task = asyncio.create_task(to_the_end(write))
    await asyncio.to_thread(began.wait, PATIENCE_S)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_ends_by_itself_or_by_wish() -> None:
    stop = asyncio.Event()
    assert await unless_stopped(asyncio.sleep(0), stop)
    assert await unless_stopped(asyncio.sleep(0), None)
    asyncio.get_running_loop().call_soon(stop.set)
    assert not await unless_stopped(asyncio.sleep(PATIENCE_S), stop)


async def fails() -> None:
    raise ValueError("as it was")


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="as it was"):
        await unless_stopped(fails(), asyncio.Event())


@pytest.fixture
async def footnote(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Footnote]:
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_EMBEDDINGS_MAX_INPUTS": "4", "RAG_CHUNKING_TOKENS": "64"}
    async with Footnote.open(tmp_path / "library", environ=environ) as opened:
        yield opened


async def stopped_when(
    footnote: Footnote, folder: Path, claim: Callable[[IngestProgress], bool]
) -> tuple[IngestReport, float, IngestProgress]:
    """Stop an ingest once something holds of its progress; return its report, the seconds it took, and what held."""
    stop, at = asyncio.Event(), [0.0]
    held: list[IngestProgress] = []

    def listen(progress: IngestProgress) -> None:
        if not held and claim(progress):
            held.append(progress)
            at[0] = time.monotonic()
            stop.set()

    async with asyncio.timeout(PATIENCE_S):
        (report,) = await footnote.ingest(folder, on_progress=listen, stop=stop)
    assert held, "the run was over before it could be stopped"
    return report, time.monotonic() - at[0], held[0]


async def test_a_run_whose_endpoint_is_silent_is_stopped_and_says_what_it_did_not_reach(
    footnote: Footnote, tmp_path: Path, upstream: Upstream
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(8):
        (folder / f"doc{n}.md").write_text(" ".join(f"Word {n} and {i}." for i in range(60)), encoding="utf-8")
    upstream.script("embeddings", None, None, None, *[Fault(hang=True)] * 50)
    report, _, _ = await stopped_when(
        footnote, folder, lambda progress: bool(progress.embedding and progress.embedding.n_under_way > 1)
    )
    assert (report.stopped, report.exit_code, len(report.files)) == ("interrupted", 1, 8)
    left = [file for file in report.files if file.state == "failed"]
    assert left
    assert {(file.reason, file.retriable) for file in left} == {("not reached: interrupted", True)}
    assert {info.id for info in footnote.documents()} == {file.path for file in report.files if file.state == "indexed"}
    upstream.reset()
    (again,) = await footnote.ingest(folder)
    assert (again.counts["failed"], len(footnote.documents())) == (0, 8)
    assert footnote.check() == []


async def test_a_run_that_waits_for_a_parser_is_stopped_within_moments(footnote: Footnote, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "slow.md").write_text("- a *b* [c](d) `e`\n" * 2_000_000, encoding="utf-8")  # minutes of parsing

    def waits_for_parser(progress: IngestProgress) -> bool:
        return any(waiting.on == "parser" and waiting.seconds > 0.2 for waiting in progress.waiting)

    report, seconds, held = await stopped_when(footnote, folder, waits_for_parser)
    assert [(waiting.on, waiting.what) for waiting in held.waiting] == [("parser", "slow.md")]
    assert (held.left_s, held.n_bytes) == (None, (folder / "slow.md").stat().st_size)
    assert seconds < PATIENCE_S / 2
    assert (report.stopped, report.files[0].reason) == ("interrupted", "not reached: interrupted")


async def test_a_run_that_is_still_looking_is_stopped_and_does_not_claim_to_have_seen_all(
    footnote: Footnote, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for n in range(300):
        (folder / f"{n}.md").touch()
    report, _, held = await stopped_when(footnote, folder, lambda progress: True)
    assert held.phase == "looking"
    assert (report.stopped, footnote.documents()) == ("interrupted", [])
