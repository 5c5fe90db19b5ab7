"""What is decided about the web without asking it: addresses, networks, robots.txt, sitemaps, kinds of content."""

import gzip
import re

import pytest

from ingest.web.addresses import networks, refusal
from ingest.web.bodies import TooLargeError, unfolded
from ingest.web.media import ending_of, recoded
from ingest.web.robots import MAX_BYTES, parse_robots
from ingest.web.sitemaps import parse_sitemap
from ingest.web.urls import canonical, is_url, joined, same_site
from rag.errors import ConfigError, DocumentReadError, UnsupportedFormatError

URL = "https://example.org/sitemap.xml"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("HTTP://Example.ORG:80", "http://example.org/"),
        ("https://example.org/a/./b/../c/#part", "https://example.org/a/c/"),
        ("https://example.org/%7Euser/%e4%b8%ad文?q=a b", "https://example.org/~user/%E4%B8%AD%E6%96%87?q=a%20b"),
        ("https://example.org/100%", "https://example.org/100%25"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:8080/x", "http://[2001:db8::1]:8080/x"),
        ("https://example.org/../../etc", "https://example.org/etc"),
    ],
)
def test_an_address_has_one_spelling(given: str, wanted: str) -> None:
    assert canonical(given) == wanted
    assert canonical(wanted) == wanted


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org/", "file:///etc/passwd", "https://", "https:///path", "https://exa mple.org/"),
        *("https://example.org:22/", "https://example.org:99999/", "http://[::1/", "https://" + "a" * 3000),
    ],
)
def test_what_is_no_address_of_a_page_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        canonical(url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for url in ("https://user:s3cret@example.org/", "https://user:s3/cret@example.org/"):
        with pytest.raises(ConfigError) as caught:
            canonical(url)
        assert "cret" not in str(caught.value).replace("is not sent", "")
    with pytest.raises(ConfigError):
        joined("https://example.org/", "//user:s3cret@example.org/")


def test_paths_are_no_addresses() -> None:
    assert not any(map(is_url, ("docs", "./docs/a.md", "C:/docs", "C:\\docs", "docs/http.md")))


def test_www_is_no_other_site() -> None:
    assert same_site("www.example.org", "example.org")
    assert not same_site("docs.example.org", "example.org")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1"),
        *("192.0.0.8", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1"),
        *("fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:a00:1"),
        *("::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::5db8:d822", "2002:a00:1::", "2001:0:1::3fff:fdd2"),
        *("169.254.169.254", "168.63.129.16", "fd00:ec2::254", "not an address", ""),
    ],
)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not_refused(address: str) -> None:
    assert refusal(address) == ""


def test_a_named_network_is_allowed_and_no_other() -> None:
    allowed = networks(["10.0.0.0/8", "127.0.0.1"])
    assert [refusal(address, allowed=allowed) for address in ("10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3")] == [""] * 3
    assert refusal("127.0.0.2", allowed=allowed)
    assert refusal("169.254.169.254", allowed=networks(["0.0.0.0/0"])), "keys of the machine are no documents"
    with pytest.raises(ConfigError, match="'intranet'"):
        networks(["intranet"])


@pytest.mark.parametrize(
    ("rules", "allowed", "forbidden"),
    [
        ("Disallow: /a\nAllow: /a/b", ["/", "/a/b/c"], ["/a", "/a/c", "/ab"]),
        ("Disallow: /\nAllow: /$", ["/"], ["/x"]),
        ("Disallow: /*.pdf$", ["/a.pdf?x=1", "/a.html"], ["/a.pdf", "/b/c.pdf"]),
        ("Disallow: /a*b*c", ["/ab", "/acb"], ["/abc", "/axxbyyc/z"]),
        ("Disallow: /x\nAllow: /x", ["/x"], []),
        ("Disallow: /%7euser\nDisallow: /中", ["/user"], ["/~user", "/%E4%B8%AD%E6%96%87"]),
        ("Disallow:", ["/", "/a"], []),
        ("Disallow: /search?q=", ["/search"], ["/search?q=1"]),
        ("Disallow: /robots.txt\nDisallow: /", ["/robots.txt"], ["/a"]),
    ],
)
def test_the_longest_rule_decides(rules: str, allowed: list[str], forbidden: list[str]) -> None:
    robots = parse_robots(f"User-agent: *\n{rules}".encode(), agent="Footnote")
    assert [path for path in allowed + forbidden if robots.allows(canonical(f"https://example.org{path}"))] == allowed


def test_a_group_of_our_own_replaces_the_common_one() -> None:
    text = b"""\xef\xbb\xbf# comment
    User-Agent: *
    Disallow: /
    Crawl-delay: 5

    user-agent: OtherBot
    User-agent: footnote/2.0
    Disallow: /private # not this
    Sitemap: https://example.org/sitemap.xml
    Crawl-delay: 2
    """
    robots = parse_robots(text, agent="Footnote")
    assert robots.allows("https://example.org/a")
    assert not robots.allows("https://example.org/private/b")
    assert (robots.delay_s, robots.sitemaps) == (2.0, ("https://example.org/sitemap.xml",))
    assert not parse_robots(text, agent="Somebody").allows("https://example.org/a")


def test_a_hostile_robots_txt_is_read_in_no_time() -> None:
    lines = b"User-agent: *\n" + b"Disallow: /" + b"*a" * 200 + b"$b\n" + b"junk\x00\xff\n" * 100_000
    robots = parse_robots(lines, agent="Footnote")
    assert robots.allows("https://example.org/" + "a" * 1900)
    late = b"User-agent: *\nAllow: /\n" + b"#" * MAX_BYTES + b"\nDisallow: /"
    assert parse_robots(late, agent="Footnote").allows("https://example.org/x"), "only the first 500 KB are read"


def test_a_sitemap_lists_pages_and_nothing_else() -> None:
    xml = b"""<?xml version="1.0" encoding="UTF-8"?>
    <s:urlset xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:image="http://example.org/image">
      <s:url><s:loc> https://example.org/a?x=1&amp;y=2 </s:loc><s:lastmod>2026-01-01</s:lastmod>
        <image:image><image:loc>https://example.org/a.png</image:loc></image:image></s:url>
      <s:url><s:loc><![CDATA[https://example.org/b]]></s:loc></s:url><s:url/>
    </s:urlset>"""
    sitemap = parse_sitemap(xml, URL)
    assert (sitemap.lists, sitemap.locations) == ("pages", ("https://example.org/a?x=1&y=2", "https://example.org/b"))
    assert parse_sitemap(xml.decode().replace("UTF-8", "UTF-16").encode("utf-16"), URL) == sitemap
    index = b"<sitemapindex><sitemap><loc>https://example.org/1.xml</loc></sitemap></sitemapindex>"
    assert parse_sitemap(index, URL).lists == "sitemaps"
    text = "\ufeffhttps://example.org/a\r\n\r\nhttps://example.org/中\n".encode()
    assert parse_sitemap(text, URL).locations == ("https://example.org/a", "https://example.org/中")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (b"<urlset><url>", "not valid XML"),
        (b"<html><body>Not found</body></html>", "outermost element is 'html'"),
        (b"hello\n", "'hello' is no address"),
        (b"\xff\x00\x01", "neither XML nor text"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><urlset><url><loc>&a;</loc></url></urlset>", "document type"),
        (b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><urlset/>", "document type"),
        (b"<urlset>" + b"<url><loc>https://e.org/</loc></url>" * 50_001 + b"</urlset>", "more than 50,000"),
    ],
)
def test_what_is_no_sitemap_says_why(body: bytes, reason: str) -> None:
    with pytest.raises(DocumentReadError, match=reason):
        parse_sitemap(body, URL)


def test_a_bomb_is_not_unfolded() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(TooLargeError):
        unfolded(bomb, max_bytes=1_000_000, host="example.org")
    assert unfolded(gzip.compress(b"a") + gzip.compress(b"b") + bytes(9), max_bytes=9, host="example.org") == b"ab"
    with pytest.raises(DocumentReadError, match="breaks off"):
        unfolded(gzip.compress(b"abc" * 99)[:-9], max_bytes=999, host="example.org")


@pytest.mark.parametrize(
    ("content_type", "url", "body", "ending"),
    [
        ("text/html; charset=utf-8", "https://e.org/a.pdf", b"", ".html"),
        ("application/pdf", "https://e.org/a", b"", ".pdf"),
        ("text/plain", "https://e.org/README.md", b"", ".md"),
        ("text/plain", "https://e.org/notes", b"", ".txt"),
        ("application/octet-stream", "https://e.org/a.docx?x=1", b"", ".docx"),
        ("", "https://e.org/a", b"%PDF-1.7", ".pdf"),
        ("", "https://e.org/a", b"  <!DOCTYPE html>", ".html"),
        ("text/x-python", "https://e.org/a.py", b"", ".py"),
        ("text/x-unheard-of", "https://e.org/a", b"", ".txt"),
    ],
)
def test_the_server_says_what_a_page_is(content_type: str, url: str, body: bytes, ending: str) -> None:
    assert ending_of(content_type, url, body) == ending


@pytest.mark.parametrize("content_type", ["font/woff2", "application/zip", "application/rss+xml", "text/css", ""])
def test_what_is_no_document_is_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=re.escape(content_type) or "does not say"):
        ending_of(content_type, "https://e.org/a", b"\x00\x01")


def test_the_encoding_a_server_names_is_kept_with_the_text() -> None:
    assert recoded("é中".encode("gbk"), "text/html; charset=GBK").decode("utf-8-sig") == "é中"
    assert recoded(b"caf\xe9", "text/plain;charset='iso-8859-1'").decode("utf-8-sig") == "café"
    for content_type in ("text/html; charset=utf-8", "text/html", "text/html; charset=klingon", "application/pdf"):
        assert recoded(b"caf\xe9", content_type) == b"caf\xe9"
