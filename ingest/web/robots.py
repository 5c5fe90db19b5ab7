"""robots.txt as RFC 9309 has it: the longest rule decides, ``*`` and ``$`` have a meaning. Pure.

Our own and not a library's, for two reasons: the standard library's parser knows neither the longest match nor
wildcards, and others turn a stranger's patterns into regular expressions, which some patterns make slow without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingest.web.urls import escaped

__all__ = ["ALLOW_ALL", "MAX_BYTES", "Robots", "parse_robots"]

MAX_BYTES = 500 * 1024
"""What is read of a robots.txt; RFC 9309 asks for at least so much."""

_TOKEN = re.compile(r"[A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: str
    allows: bool


@dataclass(frozen=True, slots=True)
class Robots:
    """What one robots.txt says to one crawler. ``sitemaps`` are the addresses it names, as it spells them."""

    rules: tuple[_Rule, ...] = ()
    delay_s: float = 0.0
    sitemaps: tuple[str, ...] = ()

    def allows(self, url: str) -> bool:
        """Tell whether a canonical address may be fetched. Of equally long rules the one that allows wins."""
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if parts.path == "/robots.txt":
            return True
        fitting = [rule for rule in self.rules if _matches(rule.pattern, path)]
        best = max(fitting, key=lambda rule: (len(rule.pattern), rule.allows), default=None)
        return best is None or best.allows


ALLOW_ALL = Robots()


def parse_robots(data: bytes, *, agent: str) -> Robots:
    """Return what the first 500 KB of a robots.txt say to ``agent``: in its own groups, else in those of all.

    Lines that are no rules are ignored, as the RFC has it.

    >>> robots = parse_robots(b"User-agent: *\\nDisallow: /a\\nAllow: /a/b$", agent="footnote")
    >>> [robots.allows(f"https://example.org{path}") for path in ("/", "/a/c", "/a/b", "/a/bc")]
    [True, False, True, False]
    """
    own: list[tuple[str, str]] = []
    common: list[tuple[str, str]] = []
    has_own = False
    sitemaps: list[str] = []
    addressed: set[str] = set()
    in_rules = False
    for key, value in _lines(data):
        if key == "user-agent":
            if in_rules:
                addressed, in_rules = set(), False
            token = _TOKEN.match(value)
            addressed.add(token[0].lower() if token else value[:1])
            has_own = has_own or agent.lower() in addressed
        elif key == "sitemap":
            sitemaps.append(value)
        elif key in ("allow", "disallow", "crawl-delay"):
            in_rules = True
            if agent.lower() in addressed:
                own.append((key, value))
            if "*" in addressed:
                common.append((key, value))
    said = own if has_own else common
    rules = tuple(_Rule(escaped(value), key == "allow") for key, value in said if key != "crawl-delay" and value)
    return Robots(rules, _delay(said), tuple(sitemaps))


def _lines(data: bytes) -> Iterator[tuple[str, str]]:
    text = data[:MAX_BYTES].decode("utf-8-sig", "replace")
    for line in re.split(r"[\r\n]+", text):
        key, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _delay(said: Sequence[tuple[str, str]]) -> float:
    numbers = [value for key, value in said if key == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value)]
    return max(map(float, numbers), default=0.0)


def _matches(pattern: str, path: str) -> bool:
    """Tell whether a path begins as a pattern says: "*" is any run of characters, "$" at its end the end of the path.

    Each part between stars is sought from the left: the first place is as good as any, so nothing is tried twice.
    """
    is_whole = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    place = len(first)
    if not rest:
        return not is_whole or place == len(path)
    last = rest.pop() if is_whole else ""
    for part in rest:
        found = path.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return not is_whole or (len(path) - len(last) >= place and path.endswith(last))
