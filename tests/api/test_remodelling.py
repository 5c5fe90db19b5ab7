"""A change of embedding model, from stored texts."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from api.background import Change
from api.footnote import Footnote
from api.remodelling import change_model
from index.records import CollectionConfig
from rag.errors import CollectionLockedError, EmbeddingError
from rag.local.embedder import LOCAL_MODEL
from rag.types import ChunkingSettings
from tests.api.conftest import DOCUMENTS, ingest, write
from tests.fakes import LengthEmbedder

CONFIG = CollectionConfig("lengths", 8, "o200k_base", ChunkingSettings(40, 4))


@pytest.fixture
def footnote(tmp_path: Path) -> Footnote:
    documents = write(tmp_path / "documents", DOCUMENTS)
    ingest(tmp_path / "library", documents)
    shutil.rmtree(documents)  # from stored texts: no source file is there
    return Footnote.open(tmp_path / "library", environ={})


def changed(footnote: Footnote, monkeypatch: pytest.MonkeyPatch, embedder: Any, **options: Any) -> Any:
    async def config(*_: object) -> CollectionConfig:
        return CONFIG

    async def embedder_of(*_: object) -> Any:
        return embedder

    monkeypatch.setattr(footnote.wiring, "new_config", config)
    monkeypatch.setattr(footnote.wiring, "embedder", embedder_of)
    given = {"max_cost": None, "dry_run": False, "on_progress": lambda n, of: None, "stop": None, **options}
    return asyncio.run(change_model(footnote.wiring, footnote.library, footnote.collection(), **given))


def test_a_change_of_model_keeps_all_but_chunks_and_vectors(
    footnote: Footnote, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {info.id: footnote.document(info.id) for info in footnote.documents()}
    asyncio.run(footnote.take_snapshot(label="early"))
    plan = changed(footnote, monkeypatch, LengthEmbedder(), dry_run=True)
    assert (plan.n_documents, plan.is_switched, footnote.collection().config.model) == (3, False, LOCAL_MODEL)
    told: list[tuple[int, int]] = []
    report = changed(footnote, monkeypatch, LengthEmbedder(), on_progress=lambda n, of: told.append((n, of)))
    assert (report.n_texts, report.n_tokens, report.is_switched) == (plan.n_texts, plan.n_tokens, True)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert footnote.collection().config == CONFIG
    assert {info.id: footnote.document(info.id) for info in footnote.documents()} == before
    assert footnote.check() == []
    assert [kept.label for kept in footnote.snapshots()] == ["early"]
    assert footnote.collections() == ["default"]


def test_the_old_one_answers_and_is_kept_from_writers_until_the_switch(
    footnote: Footnote, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = footnote.collection()
    seen: list[int] = []

    def look(n_done: int, n_all: int) -> None:
        seen.append(len(old.search_keywords("Moon", k=10)))
        with pytest.raises(CollectionLockedError, match="change of model"), old.writer("test"):
            pass

    changed(footnote, monkeypatch, LengthEmbedder(), on_progress=look)
    assert len(seen) == 3
    assert all(seen)


def test_a_change_that_fails_or_is_stopped_leaves_the_old_one_and_is_not_paid_twice(
    footnote: Footnote, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(LengthEmbedder):
        n_left = 1

        async def embed(self, texts: Any, *, kind: Any) -> Any:
            self.n_left -= 1
            if self.n_left < 0:
                raise EmbeddingError("the model is gone")
            return await super().embed(texts, kind=kind)

    monkeypatch.setattr("ingest.reembed._TOGETHER", 1)
    with pytest.raises(EmbeddingError, match="gone"):
        changed(footnote, monkeypatch, Failing())
    assert footnote.check() == []
    stop = asyncio.Event()
    stop.set()
    assert not changed(footnote, monkeypatch, LengthEmbedder(), stop=stop).is_switched
    whole = changed(footnote, monkeypatch, LengthEmbedder(), dry_run=True)
    report = changed(footnote, monkeypatch, LengthEmbedder())
    assert report.n_texts == whole.n_texts < report.n_chunks
    assert footnote.collection().config == CONFIG


def test_a_change_in_the_background_is_watched_cancelled_and_begun_again(
    footnote: Footnote, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async def config(*_: object) -> CollectionConfig:
            return CONFIG

        gate = asyncio.Event()

        class Waiting(LengthEmbedder):
            async def embed(self, texts: Any, *, kind: Any) -> Any:
                await gate.wait()
                return await super().embed(texts, kind=kind)

        async def embedder(*_: object) -> Any:
            return Waiting()

        monkeypatch.setattr("ingest.reembed._TOGETHER", 1)
        monkeypatch.setattr(footnote.wiring, "new_config", config)
        monkeypatch.setattr(footnote.wiring, "embedder", embedder)
        change = footnote.start_change_of_model()
        with pytest.raises(CollectionLockedError, match="under way"):
            footnote.start_change_of_model()
        change.stop.set()
        gate.set()
        await ended(change)
        assert (change.state, footnote.collection().config.model) == ("cancelled", LOCAL_MODEL)
        again = footnote.start_change_of_model()
        await ended(again)
        assert (again.state, again.n_done, again.error) == ("done", 3, "")
        assert footnote.changes.get("default") is again
        assert footnote.collection().config == CONFIG

    asyncio.run(run())


async def ended(change: Change) -> None:
    async with asyncio.timeout(20):
        while change.state == "running":
            await asyncio.sleep(0.01)
