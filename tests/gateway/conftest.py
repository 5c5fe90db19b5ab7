"""A client of the scripted upstream that does not wait between its tries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.providers import provider_named
from tests.upstream import Upstream

MakeClient = Callable[..., EndpointClient]


@pytest.fixture
async def connect(upstream: Upstream) -> AsyncIterator[MakeClient]:
    """Make clients: ``connect("deepseek", max_retries=0)``. What they would have slept is in ``connect.slept``."""
    transport = HttpxTransport(n_pools=2)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def connect(provider: str = "openai-compatible", **settings) -> EndpointClient:
        settings = {"base_url": upstream.base_url, "timeout_s": 5.0, **settings}
        endpoint = Endpoint(provider_named(provider), **settings)
        return EndpointClient(endpoint, transport, sleep=sleep, uniform=lambda: 0.5, clock=lambda: 0.0)

    connect.slept = slept
    yield connect
    await transport.aclose()
