"""The library of the service's tests, for agents to look around in."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from api.footnote import Footnote
from tests.agent.scripts import Open
from tests.api.conftest import ingested, library
from tests.upstream import Upstream

__all__ = ["ingested", "library", "opened"]

NOTHING: Mapping[str, str] = MappingProxyType({})


@pytest.fixture
async def opened(ingested: Path, upstream: Upstream) -> AsyncIterator[Open]:
    """Open the library of tests.api with a scripted chat model."""
    async with AsyncExitStack() as stack:

        def start(library: Path = ingested, *, environ: Mapping[str, str] = NOTHING, **settings: Any) -> Footnote:
            known = {
                "RAG_CHAT_BASE_URL": upstream.base_url,
                "RAG_CHAT_API_KEY": "sk-agent",
                "RAG_CHAT_MODEL": "stub-chat",
                "RAG_CHAT_MAX_RETRIES": "0",
                **{f"RAG_AGENT_{name.upper()}": str(value) for name, value in settings.items()},
                **environ,
            }
            footnote = Footnote.open(library, environ=known)
            stack.push_async_callback(footnote.aclose)
            return footnote

        yield start
