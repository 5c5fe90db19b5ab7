"""The service on a real port, over a small library that was ingested with the embedded model."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from api.app import create_app
from api.footnote import Footnote
from api.serving import listen

MOON = """# The Moon

## Landings

Apollo 11 landed on the Moon on 20 July 1969. Neil Armstrong was the first person to walk on its surface.

## Orbit

The Moon goes around the Earth in 27.3 days. Its mean distance is 384,400 kilometres.
"""
TOWER = """The Eiffel Tower was built between 1887 and 1889 by the company of Gustave Eiffel.
It is 330 metres tall and stands in Paris.
"""
YUAN = "元朝由忽必烈于1271年建立。其首都是大都,即今天的北京。\n"
DOCUMENTS = {"moon.md": MOON, "places/tower.txt": TOWER, "元朝.txt": YUAN}


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port from a thread; yield its base URL."""
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(app, loop="asyncio", ws="none", log_level="critical", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def ingest(library: Path, folder: Path, *, rebuild: bool = False) -> None:
    """Ingest a folder as another process would: with a Footnote of its own."""

    async def run() -> None:
        async with Footnote.open(library, environ={}) as footnote:
            reports = await footnote.ingest(folder, rebuild=rebuild)
            assert [report.exit_code for report in reports] == [0] * len(reports), reports

    asyncio.run(run())


def write(folder: Path, documents: dict[str, str]) -> Path:
    for name, text in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that holds DOCUMENTS; tests copy it, or only read."""
    home = tmp_path_factory.mktemp("library")
    ingest(home / "library", write(home / "documents", DOCUMENTS))
    return home / "library"


@pytest.fixture
def library(ingested: Path, tmp_path: Path) -> Path:
    """A copy of the library that the test may change."""
    return shutil.copytree(ingested, tmp_path / "library")


Service = Callable[..., httpx2.Client]


@pytest.fixture
def service(ingested: Path) -> Iterator[Service]:
    """Start a service over a library (the shared one unless named) and return a client of it."""
    with ExitStack() as stack:

        def start(library: Path = ingested, *, heartbeat_s: float = 10.0, **settings: Any) -> httpx2.Client:
            footnote = Footnote.open(library, environ={}, **settings)
            url = stack.enter_context(serving(create_app(footnote, heartbeat_s=heartbeat_s)))
            return stack.enter_context(httpx2.Client(base_url=url, timeout=20))

        yield start


@pytest.fixture(scope="session")
def reader(ingested: Path) -> Iterator[httpx2.Client]:
    """A client of a service with the embedded models, for tests that only read."""
    app = create_app(Footnote.open(ingested, environ={}))
    with serving(app) as url, httpx2.Client(base_url=url, timeout=20) as client:
        yield client
