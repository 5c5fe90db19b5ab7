"""Pages over HTTP: fetched by the service for a client, who is not to reach what the service can reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from api import schemas
from tests.api.conftest import Service
from tests.website import Website, page

URLS = "/collections/default/urls"
PUMP = "http://93.184.216.34/pump?unit=litre"
"""A public address; the site is asked for it as a proxy, so that nothing leaves this machine."""


@pytest.fixture
def site() -> Iterator[Website]:
    with Website() as site:
        site.replies[PUMP] = page("The pump lifts forty litres a minute.", "Pumps")
        yield site


def test_a_page_is_fetched_read_and_cited_by_its_address(service: Service, library: Path, site: Website) -> None:
    client = service(library, web__proxy=site.url)
    reply = client.post(URLS, json={"urls": [PUMP, f"{PUMP}#again"]}).raise_for_status()
    shown = schemas.UrlsReply.model_validate(reply.json())
    assert [(file.path, file.state) for file in shown.files] == [(PUMP, "indexed")]
    answer = client.post("/ask", json={"question": "How many litres does the pump lift?"}).raise_for_status().json()
    assert answer["citations"][0]["document"] == PUMP


def test_a_document_with_an_address_is_shown_and_deleted_by_it(service: Service, library: Path, site: Website) -> None:
    client = service(library, web__proxy=site.url)
    client.post(URLS, json={"urls": [PUMP]}).raise_for_status()
    for path in (quote(PUMP, safe="/:"), quote(PUMP, safe="")):
        shown = client.get(f"/collections/default/documents/{path}?start=0&end=8").raise_for_status().json()
        assert (shown["id"], shown["title"], shown["text"]) == (PUMP, "Pumps", "The pump")
    assert client.delete(f"/collections/default/documents/{quote(PUMP, safe='')}").status_code == 200
    assert client.get(f"/collections/default/documents/{quote(PUMP, safe='')}").status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_private_addresses_are_refused_whatever_the_service_may_reach(
    service: Service, library: Path, site: Website, host: str
) -> None:
    client = service(library, web__private_networks=("127.0.0.0/8",))
    reply = client.post(URLS, json={"urls": [f"http://{host}:{site.port}/pump"]}).raise_for_status().json()
    assert reply["files"][0]["state"] == "failed"
    assert "a loopback address" in reply["files"][0]["reason"]
    assert site.requests == []


@pytest.mark.parametrize(
    ("urls", "param"),
    [
        (["ftp://example.org/"], "urls[0]"),
        (["https://example.org/", "docs/moon.md"], "urls[1]"),
        (["https://me:secret@example.org/"], "urls[0]"),
        ([], "urls"),
        ("https://example.org/", "urls"),
    ],
)
def test_what_is_no_address_is_refused(reader: httpx2.Client, urls: object, param: str) -> None:
    reply = reader.post(URLS, json={"urls": urls})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert "secret" not in reply.text


def test_a_collection_that_is_not_there_gets_no_pages(reader: httpx2.Client) -> None:
    reply = reader.post("/collections/none/urls", json={"urls": ["https://example.org/"]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "collection_not_found")
