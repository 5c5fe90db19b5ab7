"""The service as a whole: its documentation, its binding, and how it starts and stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from api import schemas
from api.auth import check_binding
from api.docs_page import render_docs
from api.keys import ReaderKeys
from api.serving import listen
from rag.errors import ConfigError
from rag.settings import ServerOptions
from tests.api.conftest import Service

ROOT = Path(__file__).parents[2]


def test_health_tells_version_and_number_of_collections(reader: httpx2.Client) -> None:
    health = reader.get("/health").raise_for_status().json()
    assert health["status"] == "ok"
    assert health["n_collections"] == 1
    assert health["version"]


def test_the_documentation_page_names_every_route_and_loads_nothing(reader: httpx2.Client) -> None:
    page = reader.get("/docs").raise_for_status().text
    for path, item in reader.get("/openapi.json").json()["paths"].items():
        for method in item:
            assert f"{method.upper()} {path}" in page
    assert not re.search(r"<script|<link|src=|@import|url\(|https://", page)


def test_the_documentation_page_shows_a_schema_as_text() -> None:
    schema = {"info": {"title": "<b>", "version": "1"}, "paths": {}}
    assert "<b>" not in render_docs(schema)


def test_every_operation_tells_its_reply_its_errors_and_what_it_does(reader: httpx2.Client) -> None:
    for item in reader.get("/openapi.json").json()["paths"].values():
        for operation in item.values():
            assert operation["description"]
            assert set(operation["responses"]) - {"204"} in ({"200", "default"}, {"201", "default"}, {"202", "default"})
            assert operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/Error")


def test_the_example_of_an_answer_is_one() -> None:
    (example,) = schemas.Answer.model_json_schema()["examples"]
    (citation,) = schemas.Answer.model_validate(example).citations
    assert citation.end - citation.start == len(citation.quote)
    assert example["text"][citation.answer_start : citation.answer_end] == example["text"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.2", "example.com", "localhost.example.com"])
def test_an_address_open_to_the_network_needs_a_key(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RAG_SERVER_API_KEY"):
        check_binding(ServerOptions(host=host), ReaderKeys(tmp_path))
    check_binding(ServerOptions(host=host, api_key="k"), ReaderKeys(tmp_path))
    ReaderKeys(tmp_path).add("payroll", ["hr"])
    check_binding(ServerOptions(host=host), ReaderKeys(tmp_path))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3"])
def test_an_address_of_this_machine_needs_none(host: str, tmp_path: Path) -> None:
    check_binding(ServerOptions(host=host), ReaderKeys(tmp_path))


def test_an_address_that_is_taken_is_told_with_advice() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: .* server\.port"):
            listen("127.0.0.1", port)
    for host, port in (("no.such.host.invalid", 80), ("127.0.0.1", 70_000)):
        with pytest.raises(ConfigError, match="cannot listen"):
            listen(host, port)


_SERVE = """
import asyncio, sys
from api.footnote import Footnote
from api.serving import serve
asyncio.run(serve(Footnote.open(sys.argv[1], environ={}, server__port=0)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="stops by signal")
def test_it_says_where_it_listens_and_stops_when_told(ingested: Path) -> None:
    command = [sys.executable, "-c", _SERVE, str(ingested)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url, line + process.stderr.read()
        assert httpx2.get(f"{url[0]}/health").json()["status"] == "ok"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=10) == -signal.SIGTERM
        assert process.stderr.read() == ""


def test_a_reply_does_not_wait_for_the_client_to_acknowledge_its_first_half(service: Service) -> None:
    client = service()
    client.get("/health")
    times = [client.get("/health").elapsed.total_seconds() for _ in range(10)]
    assert min(times) < 0.03
