"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.upstream import Upstream


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
