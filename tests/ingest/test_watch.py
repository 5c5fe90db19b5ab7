"""Following folders: real files, real events, a real library; the endpoint is the scripted one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from ingest import followed as followed_module
from ingest import survey as survey_module
from ingest import watch as watch_module
from ingest.followed import Followed
from ingest.report import FileResult, IngestReport
from ingest.sources import WalkRules, walk
from rag.errors import CollectionNotFoundError, DocumentReadError
from tests.upstream import Fault, Upstream

PATIENCE_S = 30


def text(name: str) -> str:
    return f"# {name}\n\nThe word of {name} is {name[::-1]}, and nobody else has it.\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    for name in ("alpha", "beta", "gamma"):
        (docs / f"{name}.md").write_text(text(name), encoding="utf-8")
    return docs


@pytest.fixture
def environ(upstream: Upstream) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_EMBEDDINGS_MAX_RETRIES": "0",
        "RAG_INGEST_WATCH_QUIET_S": "0.15",
    }


@pytest.fixture
async def footnote(tmp_path: Path, environ: dict[str, str]) -> AsyncIterator[Footnote]:
    async with Footnote.open(tmp_path / "library", environ=environ) as opened:
        yield opened


@dataclass
class Watching:
    """A watch that goes on in the background: what it reported and said so far."""

    task: asyncio.Task[None]
    reports: list[IngestReport] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait until something holds of the reports and notices; fail with them where it never does."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not claim():
                    if self.task.done():
                        await self.task
                        assert claim(), f"the watch ended; {self}"
                        return
                    await self.changed.wait()
                    self.changed.clear()
        except TimeoutError:
            pytest.fail(f"not in {PATIENCE_S} s: {self.notices}, {[told(report) for report in self.reports]}")

    async def file(self, path: str, state: str) -> FileResult:
        """Return the first result of a path that is in a state (or a change), once there is one."""

        def found() -> list[FileResult]:
            files = [file for report in self.reports for file in report.files]
            return [file for file in files if file.path == path and state in (file.state, file.change)]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def removed(self, path: str) -> None:
        await self.until(lambda: any(path in report.removed for report in self.reports))

    async def said(self, words: str) -> None:
        await self.until(lambda: any(words in notice for notice in self.notices))


def told(report: IngestReport) -> dict[str, str]:
    return {file.path: file.change or file.state for file in report.files} | dict.fromkeys(report.removed, "removed")


@asynccontextmanager
async def watching(footnote: Footnote, *paths: Path, n_first: int | None = None) -> AsyncIterator[Watching]:
    """Watch paths from when their first runs are over."""
    stop = asyncio.Event()

    async def follow() -> None:
        def notice(words: str) -> None:
            seen.notices.append(words)
            seen.changed.set()

        try:
            async for report in footnote.watch(*paths, on_notice=notice, stop=stop):
                seen.reports.append(report)
                seen.changed.set()
        finally:
            seen.changed.set()

    seen = Watching(asyncio.ensure_future(follow()))
    await seen.until(lambda: len(seen.reports) >= (len(paths) if n_first is None else n_first))
    yield seen
    stop.set()
    async with asyncio.timeout(PATIENCE_S):
        await seen.task


async def test_new_changed_and_deleted_files_are_followed(footnote: Footnote, docs: Path) -> None:
    async with watching(footnote, docs) as seen:
        assert told(seen.reports[0]) == {f"{name}.md": "new" for name in ("alpha", "beta", "gamma")}
        (docs / "sub" / "delta.md").write_text(text("delta"), encoding="utf-8")
        await seen.file("sub/delta.md", "new")
        # As editors save: beside it, under another name, with a copy of the former version.
        (docs / "beta.md").rename(docs / "beta.md~")
        (docs / ".beta.md.swp").write_text(text("beta") + "\nIt has grown.\n", encoding="utf-8")
        (docs / ".beta.md.swp").rename(docs / "beta.md")
        (docs / "beta.md~").unlink()
        await seen.file("beta.md", "changed")
        (docs / "alpha.md").unlink()
        await seen.removed("alpha.md")
    assert all(len(report.files) <= 1 for report in seen.reports[1:]), "each run looks at what changed, and no more"
    assert {info.id for info in footnote.documents()} == {"beta.md", "gamma.md", "sub/delta.md"}
    assert footnote.check() == []


async def test_a_move_between_folders_is_seen_as_one_and_costs_nothing(
    footnote: Footnote, docs: Path, upstream: Upstream
) -> None:
    async with watching(footnote, docs) as seen:
        n_calls = len(upstream.calls("embeddings"))
        (docs / "alpha.md").rename(docs / "sub" / "moved.md")
        moved = await seen.file("sub/moved.md", "renamed")
        (docs / "sub").rename(docs / "elsewhere")
        again = await seen.file("elsewhere/moved.md", "renamed")
    assert (moved.renamed_from, again.renamed_from) == ("alpha.md", "sub/moved.md")
    assert len(upstream.calls("embeddings")) == n_calls
    assert {info.id for info in footnote.documents()} == {"beta.md", "gamma.md", "elsewhere/moved.md"}


async def test_a_whole_tree_comes_and_goes(footnote: Footnote, docs: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for n in range(12):
        path = tree / f"part{n % 3}" / "deep" / f"page{n}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(f"page{n}"), encoding="utf-8")
    async with watching(footnote, docs) as seen:
        shutil.copytree(tree, docs / "tree")
        await seen.until(lambda: len(footnote.documents()) == 15)
        shutil.rmtree(docs / "tree")
        await seen.until(lambda: len(footnote.documents()) == 3)
    assert footnote.check() == []


async def test_ignored_files_and_the_library_call_for_no_run_and_an_ignore_file_does(
    docs: Path, environ: dict[str, str]
) -> None:
    async with Footnote.open(docs / "library", environ=environ) as footnote, watching(footnote, docs) as seen:
        (docs / "node_modules").mkdir()
        (docs / "node_modules" / "package.md").write_text(text("package"), encoding="utf-8")
        (docs / "notes.tmp").write_text("half", encoding="utf-8")
        (docs / ".git").mkdir()
        (docs / ".git" / "index.md").write_text("x", encoding="utf-8")
        (docs / "delta.md").write_text(text("delta"), encoding="utf-8")
        await seen.file("delta.md", "new")
        assert [told(report) for report in seen.reports[1:]] == [{"delta.md": "new"}]
        (docs / ".ragignore").write_text("beta.md\n", encoding="utf-8")
        dropped = await seen.file("beta.md", "skipped")
        assert dropped.change == "removed"
        (docs / ".ragignore").unlink()
        await seen.until(lambda: told(seen.reports[-1]).get("beta.md") == "new")


async def test_a_half_written_file_is_not_read(footnote: Footnote, docs: Path) -> None:
    async with watching(footnote, docs) as seen:
        with (docs / "big.md").open("w", encoding="utf-8") as stream:
            for n in range(20):
                stream.write(f"Sentence {n} of a file that is being written. ")
                stream.flush()
                await asyncio.sleep(0.05)  # within the quiet time: it never stands still
            stream.write("The end.")
        await seen.file("big.md", "new")
    assert [told(report) for report in seen.reports[1:]] == [{"big.md": "new"}]
    assert footnote.document("big.md").text.endswith("The end.")


async def test_a_file_and_a_folder_are_followed_at_once_without_the_neighbours_of_the_file(
    footnote: Footnote, docs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with watching(footnote, docs / "alpha.md", other) as seen:
        (docs / "beta.md").write_text("Nobody asked.", encoding="utf-8")
        (docs / "new.md").write_text(text("alpha") + "\nSaved anew.\n", encoding="utf-8")
        (docs / "new.md").replace(docs / "alpha.md")
        (other / "two.md").write_text(text("two"), encoding="utf-8")
        await seen.file("alpha.md", "changed")
        await seen.file("other/two.md", "new")
    assert {info.id for info in footnote.documents()} == {"alpha.md", "other/two.md"}


async def test_a_folder_that_went_away_keeps_its_documents_until_it_is_back(footnote: Footnote, docs: Path) -> None:
    away = docs.with_name("away")
    async with watching(footnote, docs) as seen:
        docs.rename(away)
        await seen.said("is not there any more: its documents are kept")
        assert len(footnote.documents()) == 3
        (away / "beta.md").unlink()
        (away / "delta.md").write_text(text("delta"), encoding="utf-8")
        away.rename(docs)
        await seen.said("is there again")
        await seen.removed("beta.md")
        await seen.file("delta.md", "new")
        (docs / "epsilon.md").write_text(text("epsilon"), encoding="utf-8")
        await seen.file("epsilon.md", "new")


async def test_what_failed_is_tried_again_when_it_may_pass(
    footnote: Footnote, docs: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_module, "RETRY_FIRST_S", 0.5)
    async with watching(footnote, docs) as seen:
        upstream.always("embeddings", Fault(status=401))
        (docs / "delta.md").write_text(text("delta"), encoding="utf-8")
        failed = await seen.file("delta.md", "failed")
        assert failed.retriable
        upstream.always("embeddings", Fault())
        await seen.file("delta.md", "new")


async def test_a_collection_that_others_write_is_waited_for(
    footnote: Footnote, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "LOCKED_S", 0.1)
    async with watching(footnote, docs) as seen:
        with footnote.collection().writer("somebody else"):
            (docs / "delta.md").write_text(text("delta"), encoding="utf-8")
            await seen.said("is being written by 'somebody else'")
        await seen.file("delta.md", "new")
        await seen.said("free again")


async def test_a_rebuilt_collection_is_followed_and_a_deleted_one_ends_the_watch(
    footnote: Footnote, docs: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    async with Footnote.open(tmp_path / "library", environ=environ) as other:
        async with watching(footnote, docs) as seen:
            await other.ingest(docs, rebuild=True)
            (docs / "delta.md").write_text(text("delta"), encoding="utf-8")
            await seen.file("delta.md", "new")
            assert len(seen.reports[-1].files) == 4, "another collection is looked at as a whole"
            other.delete_collection("default")
            (docs / "epsilon.md").write_text(text("epsilon"), encoding="utf-8")
            with pytest.raises(CollectionNotFoundError, match="no collection 'default'"):
                await seen.until(lambda: False)
            seen.task = asyncio.ensure_future(asyncio.sleep(0))
        assert other.collections() == []


async def test_everything_is_looked_at_now_and_then_whatever_events_say(
    footnote: Footnote, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_module, "ALL_EVERY_S", 0.3)
    monkeypatch.setattr(followed_module, "ALL_SHARE", 0)
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    async with watching(footnote, docs) as seen:
        await seen.until(lambda: len(seen.reports) >= 2)
    assert seen.reports[0].counts["failed"] == 1
    assert told(seen.reports[1]) == {f"{name}.md": "unchanged" for name in ("alpha", "beta", "gamma")}, (
        "what failed for good and has not changed is left alone"
    )


async def test_a_folder_that_is_not_there_is_an_error_at_once(footnote: Footnote, tmp_path: Path) -> None:
    with pytest.raises(DocumentReadError, match="check the path"):
        await anext(footnote.watch(tmp_path / "nowhere"))


async def test_a_broken_ignore_file_is_told_and_the_watch_goes_on(footnote: Footnote, docs: Path) -> None:
    async with watching(footnote, docs) as seen:
        (docs / ".ragignore").write_bytes(b"\xff\xfe\xfa")
        await seen.said("cannot read .ragignore")
        (docs / ".ragignore").write_text("beta.md\n", encoding="utf-8")
        await seen.file("beta.md", "skipped")


async def test_a_limit_on_the_cost_is_for_all_runs_and_ends_the_watch(
    docs: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    limits = {"RAG_EMBEDDINGS_PRICE_PER_MILLION": "1", "RAG_INGEST_MAX_COST": "0.0002"}
    async with Footnote.open(tmp_path / "library", environ=environ | limits) as footnote:
        async with watching(footnote, docs) as seen:
            long = "\n\n".join(text(f"delta{n}") for n in range(20))
            (docs / "delta.md").write_text(long, encoding="utf-8")
            failed = await seen.file("delta.md", "failed")
        assert "the limit of" in failed.reason
        assert seen.reports[-1].stopped


def test_what_a_lost_mount_leaves_behind_is_not_taken_for_the_folder(tmp_path: Path) -> None:
    root = Followed(tmp_path, WalkRules(), tmp_path / "library", quiet_s=1.0, poll_s=None, arrived=asyncio.Event())
    there = root.identify()
    assert there is not None
    root.identity = (there[0] + 1, there[1])  # it was on another device
    assert root.identify() is None, "an empty folder"
    (tmp_path / "a.md").touch()
    assert root.identify() == there


async def test_a_folder_that_is_swapped_during_the_walk_loses_no_document(
    footnote: Footnote, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await footnote.ingest(docs)

    def walk_and_lose(root: Path, **options: Any) -> Iterator[Any]:
        root.rename(root.with_name("unmounted"))
        root.mkdir()
        yield from walk(root, **options)

    monkeypatch.setattr(survey_module, "walk", walk_and_lose)
    with pytest.raises(DocumentReadError, match="replaced or unmounted"):
        await footnote.ingest(docs)
    assert len(footnote.documents()) == 3
