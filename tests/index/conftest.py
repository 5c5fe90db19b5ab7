"""An empty library with one empty collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from index.collection import Collection
from index.library import Library
from tests.index.shelving import CONFIG


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as opened:
        yield opened


@pytest.fixture
def collection(library: Library) -> Collection:
    return library.create("main", CONFIG)
