"""Fetching one page from a real server that misbehaves, and from names that lead where they should not."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.web.addresses import networks
from ingest.web.bodies import TooLargeError
from ingest.web.client import PageClient, resolve
from ingest.web.fetching import Fetched, Fetcher, FetchLimits, Validators
from ingest.web.pace import FAILURES_IN_A_ROW, Pace
from rag.errors import DocumentReadError
from tests.website import Reply, Website, page

LIMITS = FetchLimits(max_bytes=100_000, total_s=5.0, max_retries=2, retry_s=0.01)


@pytest.fixture
def site() -> Iterator[Website]:
    with Website() as site:
        yield site


@asynccontextmanager
async def fetching(
    limits: FetchLimits = LIMITS, *, allowed: str = "127.0.0.1", **client: Any
) -> AsyncIterator[Fetcher]:
    opened = PageClient(allowed=networks([allowed] if allowed else []), **client)
    try:
        yield Fetcher(opened, Pace(), user_agent="Footnote/test", limits=limits)
    finally:
        await opened.aclose()


async def fetch(url: str, limits: FetchLimits = LIMITS, **options: Any) -> Fetched:
    async with fetching(limits) as fetcher:
        return await fetcher.fetch(url, **options)


def always(*addresses: str) -> Callable[[str, int], Any]:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolver


# --- redirects


async def test_redirects_are_followed_and_the_last_address_is_told(site: Website) -> None:
    site.replies["/a"] = Reply(status=301, headers={"location": "b?x=1"})
    site.replies["/b?x=1"] = Reply(status=307, headers={"location": f"{site.url}/c#part"})
    site.replies["/c"] = page("here")
    found = await fetch(f"{site.url}/a")
    assert (found.url, found.status) == (f"{site.url}/c", 200)


async def test_a_circle_and_a_long_chain_of_redirects_end(site: Website) -> None:
    site.replies["/a"] = Reply(status=302, headers={"location": "/b"})
    site.replies["/b"] = Reply(status=302, headers={"location": "/a"})
    with pytest.raises(DocumentReadError, match="in a circle"):
        await fetch(f"{site.url}/a")
    for n in range(20):
        site.replies[f"/{n}"] = Reply(status=302, headers={"location": f"/{n + 1}"})
    with pytest.raises(DocumentReadError, match="more than 10 redirects"):
        await fetch(f"{site.url}/0")
    assert site.paths()[-1] == "/10"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "only http:// and https://"),
        ("http://169.254.169.254/latest/meta-data/", "cloud metadata"),
        ("http://10.0.0.1/", "a private address"),
        ("http://[::1]/", "a loopback address"),
        ("http://2130706434/", "a loopback address"),
        ("http://0x7f.0.0.2/", "a loopback address"),
        ("http://user:secret@example.org/", "user or password"),
        ("http://example.org:22/", "another protocol"),
    ],
)
async def test_a_redirect_leads_nowhere_it_should_not(site: Website, location: str, reason: str) -> None:
    site.replies["/"] = Reply(status=302, headers={"location": location})
    with pytest.raises(DocumentReadError, match=reason) as caught:
        await fetch(f"{site.url}/")
    assert "secret" not in str(caught.value)


async def test_every_address_on_the_way_needs_permission(site: Website) -> None:
    site.replies["/a"] = Reply(status=302, headers={"location": "/b"})
    asked = []

    async def permission(url: str) -> None:
        asked.append(url.removeprefix(site.url))
        if url.endswith("/b"):
            raise DocumentReadError("not that one")

    with pytest.raises(DocumentReadError, match="not that one"):
        await fetch(f"{site.url}/a", permission=permission)
    assert (asked, site.paths()) == (["/a", "/b"], ["/a"])


# --- where names lead


async def test_private_addresses_are_refused_before_anything_is_sent(site: Website) -> None:
    async with fetching(allowed="") as fetcher:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(DocumentReadError, match="a loopback address"):
                await fetcher.fetch(f"http://{host}:{site.port}/")
    assert site.requests == []


async def test_a_name_that_leads_to_a_private_address_is_refused(site: Website) -> None:
    for addresses in (("10.0.0.1",), ("93.184.216.34", "192.168.0.1"), ("::ffff:169.254.169.254",)):
        async with fetching(resolver=always(*addresses)) as fetcher:
            with pytest.raises(DocumentReadError, match="docs\\.example is a"):
                await fetcher.fetch("http://docs.example/")


async def test_the_connection_goes_to_the_address_that_was_judged(site: Website) -> None:
    """The name means a public address when it is judged, and this machine ever after: it is asked for once."""
    site.replies["/"] = page("secret of this machine")
    answers = iter([["127.0.0.1"], ["10.0.0.1"], ["10.0.0.1"]])
    n_asked = 0

    async def rebinding(host: str, port: int) -> Sequence[str]:
        nonlocal n_asked
        n_asked += 1
        return next(answers)

    async with fetching(resolver=rebinding) as fetcher:
        found = await fetcher.fetch(f"http://docs.example:{site.port}/")
    assert (found.status, n_asked) == (200, 1)
    assert site.requests[0].headers["host"] == f"docs.example:{site.port}"


async def test_a_name_that_changes_its_meaning_is_judged_again(site: Website) -> None:
    site.replies["/"] = Reply(status=302, headers={"location": "/next", "connection": "close"})
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async with fetching(resolver=rebinding) as fetcher:
        with pytest.raises(DocumentReadError, match="a private address"):
            await fetcher.fetch(f"http://docs.example:{site.port}/")
    assert site.paths() == ["/"]


async def test_a_second_address_is_tried_where_the_first_does_not_answer(site: Website) -> None:
    site.replies["/"] = page("here")
    async with fetching(allowed="127.0.0.0/8", resolver=always("127.0.0.9", "127.0.0.1")) as fetcher:
        assert (await fetcher.fetch(f"http://docs.example:{site.port}/")).status == 200


async def test_a_name_without_an_address_may_have_one_later() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    async with fetching(resolver=nowhere) as fetcher:
        with pytest.raises(DocumentReadError, match="cannot be resolved") as caught:
            await fetcher.fetch("http://nowhere.example/")
    assert caught.value.retriable


async def test_the_system_resolves_names() -> None:
    assert set(await resolve("localhost", 80)) <= {"127.0.0.1", "::1"}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "site.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=docs.example "
        f"-addext subjectAltName=DNS:docs.example -keyout {path} -out {tmp_path / 'cert.pem'}",
        shell=True,
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


async def test_the_certificate_is_checked_for_the_name(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Website(trust=trust) as site:
        site.replies["/"] = page("here")
        async with fetching(resolver=always("127.0.0.1")) as fetcher:
            assert (await fetcher.fetch(f"https://docs.example:{site.port}/")).status == 200
            with pytest.raises(DocumentReadError, match="certificate is not trusted") as caught:
                await fetcher.fetch(f"https://other.example:{site.port}/")
            assert not caught.value.retriable
            site.replies["/down"] = Reply(status=302, headers={"location": "http://docs.example/"})
            with pytest.raises(DocumentReadError, match="redirects from https"):
                await fetcher.fetch(f"https://docs.example:{site.port}/down")


async def test_a_proxy_gets_the_request_and_names_that_are_private_here_do_not_reach_it(site: Website) -> None:
    site.replies["http://docs.example/a"] = page("by proxy")

    async def resolver(host: str, port: int) -> Sequence[str]:
        if host == "inside.example":
            return ["10.0.0.1"]
        raise OSError("only the proxy knows names")

    async with fetching(allowed="", proxy=site.url, resolver=resolver) as fetcher:
        assert (await fetcher.fetch("http://docs.example/a")).status == 200
        for url in ("http://inside.example/", "http://10.0.0.1/"):
            with pytest.raises(DocumentReadError, match="a private address"):
                await fetcher.fetch(url)


# --- sizes and times


async def test_a_body_over_the_limit_is_not_read_to_its_end(site: Website) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 100_000
            yield bytes(100_000)

    site.replies["/endless"] = Reply(pieces=endless())
    site.replies["/declared"] = Reply(headers={"x": "y"}, body=bytes(100_001))
    for path in ("/endless", "/declared"):
        with pytest.raises(TooLargeError, match="limit"):
            await fetch(site.url + path)
    assert sent < 100_000_000


async def test_what_unfolds_beyond_the_limit_is_refused(site: Website) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    site.replies["/bomb"] = Reply(bomb, headers={"content-encoding": "gzip"})
    site.replies["/small"] = Reply(gzip.compress(b"text"), headers={"content-encoding": "gzip"})
    site.replies["/odd"] = Reply(b"text", headers={"content-encoding": "br"})
    with pytest.raises(TooLargeError):
        await fetch(f"{site.url}/bomb")
    assert (await fetch(f"{site.url}/small")).body == b"text"
    assert site.requests[-1].headers["accept-encoding"] == "gzip"
    with pytest.raises(DocumentReadError, match="'br', which was not asked for"):
        await fetch(f"{site.url}/odd")


async def test_a_body_that_trickles_ends_at_the_time_limit(site: Website) -> None:
    site.replies["/"] = Reply(pieces=[b"x"] * 1000, pause_s=0.05)
    with pytest.raises(DocumentReadError, match=r"not whole within 0\.3 s") as caught:
        await fetch(f"{site.url}/", FetchLimits(total_s=0.3, max_retries=0))
    assert caught.value.retriable


async def test_a_body_that_breaks_off_is_no_page(site: Website) -> None:
    site.replies["/"] = Reply(headers={"content-length": "1000"}, pieces=[b"half"])
    site.replies["/gzip"] = Reply(gzip.compress(b"text" * 100)[:-8], headers={"content-encoding": "gzip"})
    for path in ("/", "/gzip"):
        with pytest.raises(DocumentReadError) as caught:
            await fetch(site.url + path)
        assert caught.value.retriable
    assert site.paths() == ["/"] * 3 + ["/gzip"] * 3


# --- second tries


async def test_a_refusal_is_waited_out_as_the_host_wishes(site: Website) -> None:
    replies = iter([Reply(status=429, headers={"retry-after": "0"}), Reply(status=503), page("at last")])
    site.replies["/"] = lambda: next(replies)
    assert (await fetch(f"{site.url}/")).status == 200


async def test_a_host_that_wishes_for_an_hour_is_left_to_the_next_run(site: Website) -> None:
    site.replies["/"] = Reply(status=503, headers={"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"})
    assert (await fetch(f"{site.url}/")).status == 503
    assert len(site.requests) == 1


async def test_what_is_not_there_is_not_asked_for_twice(site: Website) -> None:
    assert (await fetch(f"{site.url}/none")).status == 404
    assert len(site.requests) == 1


async def test_a_host_that_does_not_answer_is_given_up() -> None:
    async with fetching(FetchLimits(max_retries=0, retry_s=0)) as fetcher:
        for n in range(FAILURES_IN_A_ROW + 3):
            with pytest.raises(DocumentReadError) as caught:
                await fetcher.fetch(f"http://127.0.0.1:9/{n}")
    assert str(caught.value).startswith("not tried: 5 requests to 127.0.0.1:9 failed in a row")


async def test_validators_go_only_where_they_came_from(site: Website) -> None:
    site.replies["/old"] = Reply(status=302, headers={"location": "/new"})
    site.replies["/new"] = page("text")
    etag = page("text").etag
    assert (await fetch(f"{site.url}/old", validators=Validators(f"{site.url}/new", etag, "yesterday"))).status == 304
    old, new = site.requests
    assert "if-none-match" not in old.headers
    assert (new.headers["if-none-match"], new.headers["if-modified-since"]) == (etag, "yesterday")
    assert (await fetch(f"{site.url}/old", validators=Validators(f"{site.url}/elsewhere", etag))).status == 200


# --- the pace


async def test_a_host_is_asked_a_few_things_at_once_and_a_slow_one_holds_nobody_up() -> None:
    pace = Pace(per_host=2, concurrency=4)
    inside: list[str] = []
    most = {"slow": 0, "fast": 0}
    release = asyncio.Event()

    async def ask(host: str) -> None:
        async with pace.turn(host):
            inside.append(host)
            most[host] = max(most[host], inside.count(host))
            await (release.wait() if host == "slow" else asyncio.sleep(0))
            inside.remove(host)

    slow = [asyncio.create_task(ask("slow")) for _ in range(10)]
    await asyncio.gather(*(ask("fast") for _ in range(10)))
    release.set()
    await asyncio.gather(*slow)
    assert most == {"slow": 2, "fast": 2}


async def test_a_delay_that_a_host_wishes_for_is_kept_within_bounds() -> None:
    pace = Pace()
    pace.slow_down("host", 0.05)
    loop = asyncio.get_running_loop()
    starts: list[float] = []

    async def ask() -> None:
        async with pace.turn("host"):
            starts.append(loop.time())

    began = loop.time()
    await asyncio.gather(*(ask() for _ in range(4)))
    assert starts[-1] - began >= 0.14
    pace.slow_down("host", 86_400)
    waiting = [asyncio.create_task(ask()) for _ in range(2)]
    await asyncio.sleep(0.01)
    told = pace.waiting()
    for task in waiting:
        task.cancel()
    assert told is not None
    assert (told.host, told.seconds <= 10.5) == ("host", True)
