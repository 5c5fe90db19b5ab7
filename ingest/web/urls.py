"""Addresses of pages: which are taken, and the one spelling of each. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from rag.errors import ConfigError

__all__ = ["canonical", "escaped", "host_of", "is_url", "joined", "origin_of", "path_of", "same_site", "shown"]

MAX_CHARS = 2_000
"""Longer addresses are refused: no browser of the past bore them, and a document's name should be readable."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What RFC 3986 lets stand in a path and in a query; "%" since escapes were made whole before.
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?[]|"


def is_url(text: object) -> bool:
    """Tell whether something that was named for an ingest is an address and not a path.

    >>> [is_url(text) for text in ("https://example.org/a", "docs/a.md", "C:/docs")]
    [True, False, False]
    """
    return isinstance(text, str) and bool(_SCHEME.match(text))


def canonical(url: str) -> str:
    """Return the one spelling of an address: what documents are named by.

    Scheme and host in lower case, the host in ASCII, no default port, no fragment, dot segments resolved, escapes only
    where they are needed. Raises ConfigError for what is no http or https address, holds a user or password, is longer
    than 2,000 characters, or names a port of another protocol (below 1024, but 80 and 443).

    >>> canonical("HTTPS://Example.org:443/a/../b c?q=ä#top")
    'https://example.org/b%20c?q=%C3%A4'
    """
    url = url.strip()
    said = shown(url)
    if len(url) > MAX_CHARS:
        raise ConfigError(f"{said}: the address has {len(url):,} characters, more than {MAX_CHARS:,}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"{said} is no address: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise ConfigError(f"{said}: only http:// and https:// are fetched")
    if "@" in parts.netloc:
        raise ConfigError(
            f"{said}: an address with a user or password is not fetched, for it would be kept; leave it out"
        )
    if _FORBIDDEN.search(parts.netloc) or not host:
        raise ConfigError(f"{said} names no host")
    if port is not None and port < 1024 and port not in _DEFAULT_PORTS.values():
        raise ConfigError(f"{said}: port {port} belongs to another protocol than the web's")
    netloc = _ascii_host(host, said)
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    path = _without_dots(escaped(parts.path, _PATH_SAFE)) or "/"
    return urlunsplit((scheme, netloc, path, escaped(parts.query), ""))


def joined(base: str, reference: str) -> str:
    """Return the canonical address that a redirect or a link names. Raises ConfigError as ``canonical`` does."""
    try:
        return canonical(urljoin(base, reference.strip()))
    except ValueError as error:  # urljoin's, for brackets without an address between them
        raise ConfigError(f"{shown(reference)} is no address: {error}") from error


def host_of(url: str) -> str:
    """Return host and port of a canonical address, as it spells them."""
    return urlsplit(url).netloc


def origin_of(url: str) -> str:
    """Return scheme, host and port: what a robots.txt speaks for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def path_of(url: str) -> str:
    """Return the path of a canonical address as a person reads it, without the slash before it."""
    return unquote(urlsplit(url).path).removeprefix("/")


def same_site(one: str, other: str) -> bool:
    """Tell whether two hosts are the same but for a "www." before one of them."""
    return one.removeprefix("www.") == other.removeprefix("www.")


def shown(url: str) -> str:
    """Return an address for a message: on one line, without what stands before an @, cut where it is long."""
    scheme, mark, rest = url.partition("://")
    kept = rest.rpartition("@")[2]
    said = "".join(letter if letter.isprintable() else "?" for letter in f"{scheme}{mark}{kept}")
    return said if len(said) <= 100 else said[:100] + "…"


def _ascii_host(host: str, said: str) -> str:
    if ":" in host:
        return f"[{host}]"
    if host.isascii():
        return host.lower()
    # Imported late: its tables are only needed for names outside ASCII.
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ConfigError(f"{said}: {host!r} is no name of a host: {error}") from error


def escaped(text: str, safe: str = _QUERY_SAFE) -> str:
    """Return a text with what must be escaped in UTF-8, and nothing twice; escapes of plain letters are undone."""
    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(_ESCAPE.sub(_whole_escape, text), safe=safe, errors="replace")


def _whole_escape(match: re.Match[str]) -> str:
    letter = chr(int(match[1], 16))
    return letter if letter in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for place, segment in enumerate(segments):
        is_last = place == len(segments) - 1
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
        if is_last and segment in (".", ".."):
            kept.append("")
    return "/".join(kept)
