"""Pages and sitemaps as sources of an ingest, end to end: a real site, a real library, a scripted endpoint."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from ingest.report import IngestReport
from ingest.tally import IngestProgress
from rag.errors import ConfigError
from tests.ingest.one_path import ingest
from tests.upstream import Fault, Upstream
from tests.website import Reply, Website, page

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = {"web__private_networks": ("127.0.0.0/8",), "web__max_retries": 0}

Open = Callable[..., Footnote]


@pytest.fixture
def site() -> Iterator[Website]:
    with Website() as site:
        site.replies["/pump"] = page("The pump lifts forty litres a minute.", "Pumps")
        site.replies["/valve.md"] = Reply(b"# Valves\n\nThe valve closes at nine bar.\n", "text/markdown")
        yield site


@pytest.fixture
async def footnotes(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Open]:
    """Open the test's library with settings of its own."""
    opened: list[Footnote] = []

    def start(**settings: Any) -> Footnote:
        environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_EMBEDDINGS_MAX_RETRIES": "0"}
        opened.append(Footnote.open(tmp_path / "library", environ=environ, **{**SETTINGS, **settings}))
        return opened[-1]

    yield start
    for footnote in opened:
        await footnote.aclose()


@pytest.fixture
def footnote(footnotes: Open) -> Footnote:
    return footnotes()


def states(report: IngestReport, site: Website) -> Mapping[str, str]:
    return {file.path.removeprefix(site.url): file.change or file.state for file in report.files}


def reasons(report: IngestReport) -> str:
    return "; ".join(f"{file.path}: {file.reason}" for file in report.files if file.reason)


def held(footnote: Footnote, site: Website) -> set[str]:
    return {info.id.removeprefix(site.url) for info in footnote.documents()}


# --- a page


async def test_a_page_is_cited_by_its_address(footnote: Footnote, site: Website) -> None:
    report = await ingest(footnote, f"{site.url}/pump#top")
    assert (report.exit_code, states(report, site)) == (0, {"/pump": "new"})
    hit = (await footnote.search("How much does the pump lift?")).hits[0]
    assert hit.chunk.document_id == f"{site.url}/pump"
    document = footnote.document(f"{site.url}/pump")
    assert (document.title, document.text) == ("Pumps", "The pump lifts forty litres a minute.")
    assert footnote.check() == []
    assert "Footnote/" in site.requests[0].headers["user-agent"]


async def test_a_second_run_asks_whether_a_page_changed_and_reads_nothing(
    footnote: Footnote, site: Website, upstream: Upstream
) -> None:
    await ingest(footnote, f"{site.url}/pump")
    (kept,) = [path for path in (footnote.library.folder / "web").rglob("*.html")]
    before, n_calls = kept.stat(), len(upstream.calls("embeddings"))
    for validates in (True, False):  # 304, then the same bytes once more
        site.replies["/pump"] = Reply(page("The pump lifts forty litres a minute.", "Pumps").body, validates=validates)
        report = await ingest(footnote, f"{site.url}/pump")
        assert states(report, site) == {"/pump": "unchanged"}
    assert site.requests[-1].headers["if-none-match"]
    assert (kept.stat(), len(upstream.calls("embeddings"))) == (before, n_calls)


async def test_a_page_that_changed_replaces_its_former_version(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, f"{site.url}/pump")
    site.replies["/pump"] = page("The pump now lifts fifty litres.")
    assert states(await ingest(footnote, f"{site.url}/pump"), site) == {"/pump": "changed"}
    assert "fifty" in footnote.document(f"{site.url}/pump").text
    assert len(list((footnote.library.folder / "web").rglob("*.html"))) == 1


async def test_the_former_version_answers_until_the_new_one_is_whole(
    footnote: Footnote, site: Website, upstream: Upstream
) -> None:
    await ingest(footnote, f"{site.url}/pump")
    site.replies["/pump"] = page("The pump now lifts fifty litres.")
    upstream.script("embeddings", *[Fault(status=400)] * 9)
    assert states(await ingest(footnote, f"{site.url}/pump"), site) == {"/pump": "failed"}
    assert "forty" in footnote.document(f"{site.url}/pump").text
    upstream.reset()
    assert states(await ingest(footnote, f"{site.url}/pump"), site) == {"/pump": "changed"}
    assert "fifty" in footnote.document(f"{site.url}/pump").text


async def test_a_page_that_cannot_be_had_fails_and_keeps_its_former_version(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, f"{site.url}/pump")
    for status in (401, 403, 418, 500, 503):
        site.replies["/pump"] = Reply(status=status)
        report = await ingest(footnote, f"{site.url}/pump")
        (file,) = report.files
        assert (file.state, file.retriable, report.exit_code) == ("failed", status >= 500, 1)
        assert f"the server answered {status}" in file.reason
    assert held(footnote, site) == {"/pump"}
    assert footnote.ledger()[f"{site.url}/pump"].state == "failed"


async def test_a_page_that_is_gone_is_removed_and_said_to_be(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, f"{site.url}/pump")
    site.replies["/pump"] = Reply(status=410)
    report = await ingest(footnote, f"{site.url}/pump")
    assert (report.files[0].change, held(footnote, site)) == ("removed", set())
    assert (report.files[0].state, report.exit_code) == ("failed", 1), "who names a page expects it"
    assert "the page is gone: 410 Gone" in reasons(report)
    assert list((footnote.library.folder / "web").rglob("*.html")) == []


async def test_a_dead_host_fails_and_loses_nothing(footnote: Footnote, site: Website) -> None:
    with Website() as other:
        other.replies["/a"] = page("Here today.")
        await ingest(footnote, f"{other.url}/a")
    report = await ingest(footnote, f"{other.url}/a")
    assert (report.files[0].state, report.files[0].retriable) == ("failed", True)
    assert held(footnote, other) == {"/a"}


ENDS = {
    "/type": (Reply(b"\x89PNG\r\n\x1a\n" + bytes(99), "font/woff2"), "unsupported", "served as font/woff2"),
    "/app": (Reply(b"<html><body><div id=app></div><script>go()</script></body></html>"), "empty", "by a script"),
    "/empty": (Reply(b"", "text/html"), "empty", "no text"),
    "/large": (Reply(bytes(3_000_000), "text/plain"), "skipped", "more than the limit of 1 MB (web.max_page_mb)"),
    "/bomb": (Reply(gzip.compress(bytes(9_000_000)), headers={"content-encoding": "gzip"}), "skipped", "1 MB"),
    "/inside": (Reply(status=302, headers={"location": "http://10.0.0.1/"}), "failed", "a private address"),
    "/damaged": (Reply(b"not a pdf", "application/pdf"), "failed", "holds no PDF"),
}


async def test_each_page_ends_in_one_state_with_its_reason(footnotes: Open, site: Website) -> None:
    for path, (reply, _, _) in ENDS.items():
        site.replies[path] = reply
    report = await ingest(footnotes(web__max_page_mb=1), site.sitemap(*ENDS))
    found = {file.path.removeprefix(site.url): file for file in report.files}
    assert {path: file.state for path, file in found.items()} == {path: state for path, (_, state, _) in ENDS.items()}
    assert [path for path, (_, _, reason) in ENDS.items() if reason not in found[path].reason] == []


async def test_what_a_page_is_follows_from_its_type_and_its_encoding_from_the_server(
    footnote: Footnote, site: Website
) -> None:
    site.replies["/a"] = Reply(b"name,bar\nseal,9\n", "text/csv")
    site.replies["/b"] = Reply("<p>检索增强生成系统的中文文档</p>".encode("big5", "replace"), "text/html; charset=big5")
    site.replies["/c.pdf"] = Reply((ROOT / "examples/docs/python/regex-howto.pdf").read_bytes(), "application/pdf")
    await footnote.ingest(*(f"{site.url}/{name}" for name in ("a", "b", "c.pdf")))
    readers = {info.id[-1]: info.reader.partition("/")[0] for info in footnote.documents()}
    assert readers == {"a": "csv", "b": "html", "f": "pdf"}
    assert "文" in footnote.document(f"{site.url}/b").text
    assert footnote.document(f"{site.url}/c.pdf").pages


async def test_private_addresses_need_a_setting(footnotes: Open, site: Website) -> None:
    report = await ingest(footnotes(web__private_networks=()), f"{site.url}/pump")
    assert "a loopback address" in reasons(report)
    assert site.requests == []


async def test_what_is_no_address_stops_before_anything_is_made(footnote: Footnote) -> None:
    for url in ("ftp://example.org/a", "https://user:s3cret@example.org/", "https://"):
        with pytest.raises(ConfigError) as caught:
            await footnote.ingest(url)
        assert "s3cret" not in str(caught.value)
    assert footnote.collections() == []


# --- robots.txt


async def test_what_robots_txt_disallows_is_skipped_and_goes(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, f"{site.url}/pump")
    site.replies["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /p", "text/plain")
    report = await ingest(footnote, f"{site.url}/pump")
    assert (report.files[0].state, report.files[0].change) == ("skipped", "removed")
    assert f"robots.txt of 127.0.0.1:{site.port} disallows /pump" in reasons(report)
    assert held(footnote, site) == set()


async def test_a_robots_txt_that_cannot_be_had_stops_the_host_and_loses_nothing(
    footnote: Footnote, site: Website
) -> None:
    await ingest(footnote, f"{site.url}/pump")
    site.replies["/robots.txt"] = Reply(status=503)
    report = await ingest(footnote, f"{site.url}/pump")
    assert (report.files[0].state, report.files[0].retriable) == ("failed", True)
    assert "robots.txt cannot be had (503 Service Unavailable)" in reasons(report)
    assert held(footnote, site) == {"/pump"}


async def test_robots_txt_is_asked_for_once_and_a_redirect_asks_that_of_its_target(
    footnote: Footnote, site: Website
) -> None:
    with Website(host="127.0.0.2") as other:
        other.replies["/robots.txt"] = Reply(b"User-agent: footnote\nDisallow: /", "text/plain")
        other.replies["/there"] = page("Not for you.")
        site.replies["/away"] = Reply(status=302, headers={"location": f"{other.url}/there"})
        report = await ingest(footnote, site.sitemap("/pump", "/valve.md", "/away"))
        assert states(report, site) == {"/pump": "new", "/valve.md": "new", "/away": "skipped"}
        assert [request.path for request in site.requests].count("/robots.txt") == 1
        assert other.paths() == []


async def test_a_first_page_tells_of_the_sitemaps_and_nothing_is_crawled(footnote: Footnote, site: Website) -> None:
    site.replies["/"] = page("Welcome. <a href=/pump>Pumps</a>")
    site.replies["/robots.txt"] = Reply(f"Sitemap: {site.url}/sitemap.xml".encode(), "text/plain")
    report = await ingest(footnote, site.url)
    assert (states(report, site), site.paths()) == ({"/": "new"}, ["/"])
    assert f"{site.url}/sitemap.xml" in report.notes[0]


# --- sitemaps


async def test_a_sitemap_is_its_pages_and_every_address_ends_in_one_state(footnote: Footnote, site: Website) -> None:
    site.replies["/img"] = Reply(bytes(9), "font/woff2")
    url = site.sitemap("/pump", "/valve.md", "/gone", "/img", "https://other.example/x", "/pump", "/pump#again")
    report = await ingest(footnote, url)
    assert states(report, site) == {
        "/pump": "new",
        "/valve.md": "new",
        "/gone": "skipped",
        "/img": "unsupported",
        "https://other.example/x": "skipped",
    }
    assert sum(report.counts.values()) == len(report.files) == 5
    assert report.exit_code == 0
    assert "on another host" in reasons(report)


async def test_a_page_that_left_the_sitemap_is_removed(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, site.sitemap("/pump", "/valve.md"))
    report = await ingest(footnote, site.sitemap("/pump"))
    assert (report.removed, held(footnote, site)) == ((f"{site.url}/valve.md",), {"/pump"})
    assert len([path for path in (footnote.library.folder / "web").rglob("*.md")]) == 0


BROKEN = {
    "500": Reply(status=500),
    "404": Reply(status=404),
    "torn": Reply(b"<urlset><url>", "application/xml"),
    "empty": Reply(b"", "application/xml"),
    "no pages": Reply(b"<urlset></urlset>", "application/xml"),
    "a page": page("Please log in."),
    "entities": Reply(b"<!DOCTYPE x [<!ENTITY a 'b'>]><urlset/>", "application/xml"),
    "login": Reply(status=302, headers={"location": "/login"}),
}


async def test_a_sitemap_that_cannot_be_read_fails_and_nothing_is_removed(footnote: Footnote, site: Website) -> None:
    url = site.sitemap("/pump", "/valve.md", at="/pages")
    await ingest(footnote, url)
    site.replies["/login"] = page("Please log in.")
    for name, broken in BROKEN.items():
        site.replies["/pages"] = broken
        report = await ingest(footnote, url)
        assert (states(report, site), report.exit_code) == ({"/pages": "failed"}, 1), name
        assert (report.removed, held(footnote, site)) == ((), {"/pump", "/valve.md"}), name
    site.sitemap("/pump", "/valve.md", at="/pages")
    report = await ingest(footnote, url)
    assert (set(states(report, site).values()), report.exit_code) == ({"unchanged"}, 0)
    assert footnote.ledger().keys() == {f"{site.url}/pump", f"{site.url}/valve.md"}


async def test_sitemaps_name_each_other_and_come_compressed_or_as_text(footnote: Footnote, site: Website) -> None:
    site.sitemap("/pump", at="/one.xml")
    site.replies["/two.xml.gz"] = Reply(gzip.compress(f"{site.url}/valve.md\n".encode()), "application/x-gzip")
    site.sitemap("/one.xml", "/two.xml.gz", "/index.xml", "/one.xml", at="/index.xml", of="sitemapindex")
    report = await ingest(footnote, f"{site.url}/index.xml")
    assert states(report, site) == {"/pump": "new", "/valve.md": "new"}
    assert site.paths().count("/one.xml") == 1


async def test_one_broken_sitemap_of_an_index_removes_nothing(footnote: Footnote, site: Website) -> None:
    site.sitemap("/pump", at="/one.xml")
    site.sitemap("/valve.md", at="/two.xml")
    site.sitemap("/one.xml", "/two.xml", at="/index.xml", of="sitemapindex")
    await ingest(footnote, f"{site.url}/index.xml")
    site.replies["/two.xml"] = Reply(status=500)
    report = await ingest(footnote, f"{site.url}/index.xml")
    assert states(report, site) == {"/pump": "unchanged", "/two.xml": "failed"}
    assert held(footnote, site) == {"/pump", "/valve.md"}


async def test_sitemaps_without_end_are_bounded(footnotes: Open, site: Website) -> None:
    for n in range(9):
        site.sitemap(f"/{n + 1}.xml", at=f"/{n}.xml", of="sitemapindex")
    report = await ingest(footnotes(), f"{site.url}/0.xml")
    assert "followed up to 3 deep" in reasons(report)
    for n in range(6):
        site.replies[f"/p{n}"] = page(f"Page {n} tells of well number {n}.")
    report = await ingest(footnotes(web__max_urls=4), site.sitemap(*(f"/p{n}" for n in range(6))))
    assert list(report.counts.values()) == [4, 0, 0, 1, 0, 0]
    assert "lists more than 4 pages" in reasons(report)


async def test_globs_choose_among_the_pages_of_a_sitemap(footnotes: Open, site: Website) -> None:
    for path in ("/guide/a", "/guide/draft/b", "/blog/c"):
        site.replies[path] = page(f"This is {path}.")
    url = site.sitemap("/guide/a", "/guide/draft/b", "/blog/c")
    report = await ingest(footnotes(ingest__include=("guide/**",), ingest__exclude=("draft/",)), url)
    assert states(report, site) == {"/guide/a": "new", "/guide/draft/b": "skipped", "/blog/c": "skipped"}
    assert site.paths() == ["/sitemap.xml", "/guide/a"]


async def test_other_hosts_are_read_where_they_are_named(footnotes: Open, site: Website) -> None:
    with Website(host="127.0.0.2") as other:
        other.replies["/x"] = page("On the other host.")
        url = site.sitemap("/pump", f"{other.url}/x")
        report = await ingest(footnotes(web__hosts=(f"127.0.0.2:{other.port}",)), url)
    assert set(states(report, site).values()) == {"new"}


async def test_a_page_that_leads_to_another_one_of_the_sitemap_is_not_read_twice(
    footnote: Footnote, site: Website
) -> None:
    site.replies["/old"] = Reply(status=301, headers={"location": "/pump"})
    report = await ingest(footnote, site.sitemap("/old", "/pump"))
    assert states(report, site) == {"/old": "skipped", "/pump": "new"}


async def test_a_page_of_a_sitemap_is_brought_up_to_date_alone(footnote: Footnote, site: Website) -> None:
    await ingest(footnote, site.sitemap("/pump", "/valve.md"))
    site.replies["/pump"] = page("The pump now lifts fifty litres.")
    report = await ingest(footnote, f"{site.url}/pump")
    assert (states(report, site), report.removed) == ({"/pump": "changed"}, ())
    assert held(footnote, site) == {"/pump", "/valve.md"}


async def test_a_page_read_before_becomes_one_of_the_sitemap_that_lists_it(footnote: Footnote, site: Website) -> None:
    await footnote.ingest(f"{site.url}/pump", f"{site.url}/valve.md")
    url = site.sitemap("/pump")
    assert states(await ingest(footnote, url), site) == {"/pump": "unchanged"}
    assert {entry.root for entry in footnote.ledger().values()} == {url, f"{site.url}/valve.md"}
    second = site.sitemap("/pump", at="/second.xml")
    assert states(await ingest(footnote, second), site) == {"/pump": "skipped"}
    assert held(footnote, site) == {"/pump", "/valve.md"}


# --- beside folders, without a network, without traces


async def test_pages_and_folders_share_a_collection(footnote: Footnote, site: Website, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "seal.md").write_text("The seal is made of rubber.\n", encoding="utf-8")
    await footnote.ingest(f"{site.url}/pump", folder)
    assert held(footnote, site) == {"/pump", "seal.md"}, "a page takes no folder's place"
    (folder / "seal.md").unlink()
    await footnote.ingest(folder, f"{site.url}/pump")
    assert held(footnote, site) == {"/pump"}


async def test_a_rebuild_reads_what_is_kept_and_fetches_nothing(footnotes: Open, tmp_path: Path) -> None:
    footnote = footnotes()
    with Website() as site:
        site.replies["/pump"] = page("The pump lifts forty litres a minute.")
        site.replies["/valve"] = page("The valve closes at nine bar.")
        await footnote.ingest(f"{site.url}/pump", site.sitemap("/valve"))
    (tmp_path / "empty").mkdir()
    reports = await footnote.ingest(tmp_path / "empty", rebuild=True)
    assert [report.exit_code for report in reports] == [0, 0, 0]
    assert held(footnote, site) == {"/pump", "/valve"}


async def test_a_lost_mirror_is_fetched_anew_and_nothing_is_read_again(
    footnote: Footnote, site: Website, upstream: Upstream
) -> None:
    url = site.sitemap("/pump", "/valve.md")
    await ingest(footnote, url)
    n_calls = len(upstream.calls("embeddings"))
    shutil.rmtree(footnote.library.folder / "web")
    assert set(states(await ingest(footnote, url), site).values()) == {"unchanged"}
    assert len(upstream.calls("embeddings")) == n_calls


async def test_a_dry_run_fetches_and_writes_nothing(footnotes: Open, site: Website, tmp_path: Path) -> None:
    footnote = footnotes()
    url = site.sitemap("/pump", "/valve.md")
    (estimate,) = await footnote.plan_ingest(url)
    assert (estimate.report.counts["indexed"], estimate.n_texts) == (2, 2)
    assert not (tmp_path / "library").exists()
    await ingest(footnote, url)
    site.replies["/pump"] = page("The pump now lifts fifty litres.")
    site.replies["/valve.md"] = Reply(status=404)
    before = {path: path.read_bytes() for path in (tmp_path / "library" / "web").rglob("*") if path.is_file()}
    (estimate,) = await footnote.plan_ingest(url)
    assert states(estimate.report, site) == {"/pump": "changed", "/valve.md": "removed"}
    bodies = {path: data for path, data in before.items() if not path.name.startswith("pages.db")}
    assert {path: path.read_bytes() for path in bodies} == bodies
    assert states(await ingest(footnote, url), site) == {"/pump": "changed", "/valve.md": "removed"}


async def test_two_collections_share_what_was_fetched(footnote: Footnote, site: Website) -> None:
    url = f"{site.url}/pump"
    await footnote.ingest(url, collection="one")
    await footnote.ingest(url, collection="two")
    assert site.requests[-1].headers["if-none-match"]
    site.replies["/pump"] = page("The pump now lifts fifty litres.")
    for name in ("one", "two"):
        (report,) = await footnote.ingest(url, collection=name)
        assert states(report, site) == {"/pump": "changed"}


# --- while it goes on


async def test_progress_tells_how_many_pages_are_fetched(footnote: Footnote, site: Website) -> None:
    told: list[IngestProgress] = []
    await ingest(footnote, site.sitemap("/pump", "/valve.md"), on_progress=told.append)
    fetching = [progress.fetching for progress in told if progress.fetching]
    assert (fetching[-1].n_done, fetching[-1].n_urls) == (2, 2)
    assert told[-1].fetching is None


async def test_a_cancelled_fetch_leaves_a_library_that_goes_on(footnote: Footnote, site: Website) -> None:
    site.replies["/slow"] = Reply(pieces=[b"x"] * 100, pause_s=0.05)
    running = asyncio.create_task(ingest(footnote, site.sitemap("/pump", "/slow")))
    while not {"/pump", "/slow"} <= set(site.paths()):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    site.replies["/slow"] = page("Fast now.")
    assert set(states(await ingest(footnote, site.sitemap("/pump", "/slow")), site).values()) == {"new"}
    assert footnote.check() == []


async def test_a_process_killed_while_it_fetches_leaves_whole_pages(
    footnotes: Open, site: Website, tmp_path: Path
) -> None:
    site.replies["/slow"] = Reply(b"", pieces=[b"<p>half"] + [b" " * 1000] * 200, pause_s=0.05)
    url = site.sitemap("/pump", "/slow")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RAG_", "OPENAI_"))}
    rag = [sys.executable, "-m", "api.cli.main", "ingest", url, "--library", str(tmp_path / "library"), "-q"]
    process = subprocess.Popen([*rag, "--set", "web.private_networks=127.0.0.1"], env=environ, cwd=ROOT)
    while "/slow" not in site.paths() or not list((tmp_path / "library").rglob("*.html")):
        await asyncio.sleep(0.02)
        assert process.poll() is None
    await asyncio.sleep(0.5)  # what is known of a page is committed just after its file; the slow page takes 10 s
    process.send_signal(signal.SIGKILL)
    process.wait()
    site.replies["/slow"] = page("Fast now.")
    footnote = Footnote.open(tmp_path / "library", environ={}, **SETTINGS)
    async with footnote:
        report = await ingest(footnote, url)
    assert set(states(report, site).values()) == {"new"}
    assert any("if-none-match" in request.headers for request in site.requests if request.path == "/pump")
