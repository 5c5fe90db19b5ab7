"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings

from ingest import reading_process
from tests.reading import IS_SUPPORTED, at_hand
from tests.tesseract import Tesseract
from tests.upstream import Upstream

# A property is no benchmark: on a busy machine any example may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def readers_at_hand() -> Iterator[None]:
    """Reading processes that are forked, for ingests of this process: hundreds are started in a run of the tests."""
    with at_hand() if IS_SUPPORTED else nullcontext():
        yield


@pytest.fixture
def started_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading processes that are started as those of users are."""
    monkeypatch.setattr(reading_process, "subprocess", subprocess)


@pytest.fixture(scope="session")
def running_upstream() -> Iterator[Upstream]:
    """One scripted endpoint for the whole run; tests ask for ``upstream`` instead."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(running_upstream: Upstream) -> Upstream:
    """A scripted OpenAI-compatible endpoint over real HTTP, with nothing recorded and no faults."""
    running_upstream.reset()
    return running_upstream


@pytest.fixture
def tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tesseract:
    """A program on the PATH that answers as Tesseract does."""
    standin = Tesseract(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(standin.folder), prepend=os.pathsep)
    return standin


@pytest.fixture
def no_tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH without Tesseract, whatever this machine has."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
