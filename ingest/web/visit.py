"""One look at an address: the page it is, or the pages of the sitemap it is, each fetched, unchanged or in a state.

What comes out is what a walk through a folder gives: files to read, which lie in the mirror, and paths whose state is
known. Nothing is lost: every address that was seen is among them once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal
from urllib.parse import urlsplit

from ingest.ignoring import IgnoreRules
from ingest.sources import Found, Settled, WalkRules
from ingest.web.addresses import Network
from ingest.web.bodies import TooLargeError, unfolded
from ingest.web.client import PageClient, Resolver, resolve
from ingest.web.fetching import Fetched, Fetcher, FetchLimits, Validators
from ingest.web.media import ending_of, recoded
from ingest.web.mirror import Mirror
from ingest.web.pace import Pace
from ingest.web.robots import ALLOW_ALL, Robots, parse_robots
from ingest.web.sighting import FetchProgress, Sighting
from ingest.web.sitemaps import MAX_BYTES, Sitemap, is_named_sitemap, looks_like_sitemap, parse_sitemap
from ingest.web.urls import host_of, joined, origin_of, path_of, same_site, shown
from rag.errors import ConfigError, DocumentReadError, RagError, UnsupportedFormatError

__all__ = ["AGENT", "WebRules", "WebSource", "look"]

AGENT = "Footnote"
"""The name under which we are known to robots.txt."""

MAX_DEPTH = 3
MAX_SITEMAPS = 1_000
"""How deep and how many sitemaps may name each other; the protocol knows one level and 50,000."""

TELL_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class WebRules:
    """What may be fetched, and how fast.

    ``private`` are the networks that may be fetched beside the public one; ``hosts`` those whose pages a sitemap of
    another host may list. ``resolver`` is replaced in tests.
    """

    private: Sequence[Network] = ()
    hosts: tuple[str, ...] = ()
    limits: FetchLimits = field(default_factory=FetchLimits)
    max_urls: int = 10_000
    per_host: int = 2
    concurrency: int = 8
    proxy: str = field(default="", repr=False)
    user_agent: str = AGENT
    resolver: Resolver = resolve


@dataclass(frozen=True, slots=True)
class WebSource:
    """A ``Looker``. ``from_mirror``: what is kept is not asked for again."""

    rules: WebRules
    mirror: Mirror
    from_mirror: bool = False

    async def look(
        self, root: str, part: str, walk: WalkRules, on_progress: Callable[[FetchProgress], None]
    ) -> Sighting:
        """Return what a root, or one page of it, leads to now."""
        return await look(
            root,
            rules=self.rules,
            walk=walk,
            mirror=self.mirror,
            part=part,
            from_mirror=self.from_mirror,
            on_progress=on_progress,
        )


async def look(
    root: str,
    *,
    rules: WebRules,
    walk: WalkRules,
    mirror: Mirror,
    part: str = "",
    from_mirror: bool = False,
    on_progress: Callable[[FetchProgress], None] = lambda progress: None,
) -> Sighting:
    """Fetch what an address leads to, at the pace of its hosts, and keep it in the mirror.

    ``root`` and ``part`` are canonical; with a part, only that page of the root is looked at. ``walk`` says which
    paths are taken. ``from_mirror``: what the mirror has is taken from there, and only the rest is fetched.
    """
    client = PageClient(allowed=rules.private, resolver=rules.resolver, proxy=rules.proxy)
    pace = Pace(per_host=rules.per_host, concurrency=rules.concurrency)
    fetcher = Fetcher(client, pace, user_agent=rules.user_agent, limits=rules.limits)
    visit = _Visit(root, part, rules, _Selection(root, rules, walk), mirror, fetcher, pace, on_progress)
    telling = asyncio.create_task(visit.tell_now_and_then())
    try:
        return await visit.sighting(from_mirror=from_mirror)
    except* RagError as errors:
        raise errors.exceptions[0] from None
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        await client.aclose()
        mirror.close()


class _DisallowedError(DocumentReadError):
    """A robots.txt does not want a page to be fetched."""


class _Selection:
    """Says which of the addresses that a sitemap lists are taken."""

    def __init__(self, root: str, rules: WebRules, walk: WalkRules) -> None:
        self._root = root
        self._hosts = (host_of(root), *rules.hosts)
        self._include = IgnoreRules(walk.include, where="include") if walk.include else None
        self._exclude = IgnoreRules(walk.exclude, where="exclude") if walk.exclude else None

    def reason_to_skip(self, url: str) -> str:
        """Return the rule that leaves a page out, or nothing."""
        path = path_of(url) or "/"
        if reason := self.reason_not_to_enter(url):
            return reason
        if self._exclude and (found := self._exclude.verdict(path, is_folder=False)) and found[0]:
            return f"excluded by {found[1]!r}"
        if self._include:
            found = self._include.verdict(path, is_folder=False)
            if found is None or not found[0]:
                return "not among the paths to include"
        return ""

    def reason_not_to_enter(self, url: str) -> str:
        """Return why an address that a sitemap names is of another host than it may be, or nothing."""
        host = host_of(url)
        if any(same_site(host, allowed) for allowed in self._hosts):
            return ""
        return f"on another host than the sitemap {self._root}; allow it with web.hosts"


class _Visit:
    """One look, with what it has found so far."""

    def __init__(
        self,
        root: str,
        part: str,
        rules: WebRules,
        selection: _Selection,
        mirror: Mirror,
        fetcher: Fetcher,
        pace: Pace,
        on_progress: Callable[[FetchProgress], None],
    ) -> None:
        self._root = root
        self._part = part
        self._named = part or root
        self._rules = rules
        self._selection = selection
        self._mirror = mirror
        self._fetcher = fetcher
        self._pace = pace
        self._on_progress = on_progress
        self._pages: dict[str, None] = {}  # to fetch, in order
        self._items: dict[str, Found | Settled] = {}
        self._is_complete = True
        self._robots: dict[str, Robots | DocumentReadError] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def sighting(self, *, from_mirror: bool) -> Sighting:
        known = await asyncio.to_thread(self._mirror.listing, self._root)
        if self._part:
            self._pages[self._part] = None
            await asyncio.to_thread(
                self._mirror.keep_listing, self._root, self._pages, is_sitemap=True, is_complete=False
            )
        elif from_mirror and known is not None:
            self._pages |= dict.fromkeys(known.urls)
        else:
            await self._look_at_root(was_sitemap=known is not None and known.is_sitemap)
        async with asyncio.TaskGroup() as group:
            for url in self._pages:
                group.create_task(self._see(url, from_mirror=from_mirror))
        await asyncio.to_thread(self._leave_out_redirects)
        return Sighting(tuple(self._items[url] for url in sorted(self._items)), self._is_complete, self._notes())

    async def tell_now_and_then(self) -> None:
        """Tell how far the look is, also while nothing happens but waiting. Ends when it is cancelled."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._tell()

    def _tell(self) -> None:
        n_done = len(self._items)
        self._on_progress(FetchProgress(max(len(self._items | self._pages), 1), n_done, self._pace.waiting()))

    # --- what there is

    async def _look_at_root(self, *, was_sitemap: bool) -> None:
        """Find out whether the root is a page or a sitemap, and which pages belong to it."""
        expected = was_sitemap or is_named_sitemap(path_of(self._root))
        reply = await self._ask(self._root, max_bytes=MAX_BYTES if expected else None)
        sitemap = await asyncio.to_thread(_sitemap_in, self._root, reply, expected=expected)
        if isinstance(sitemap, Sitemap):
            await self._expand(sitemap)
            if not self._pages and not self._items:
                sitemap = Settled(self._root, "failed", "the sitemap lists no pages")
        if isinstance(sitemap, Settled):
            self._close_incomplete(sitemap)
            return
        await asyncio.to_thread(
            self._mirror.keep_listing,
            self._root,
            [self._root] if sitemap is None else list(self._pages),
            is_sitemap=sitemap is not None,
            is_complete=self._is_complete,
        )
        if sitemap is None:
            self._items[self._root] = await self._outcome(self._root, reply)

    async def _expand(self, first: Sitemap) -> None:
        """Collect the pages of a sitemap and of those that it names; each is looked at once."""
        seen = {self._root}
        waiting = [(self._root, first, 1)]
        while waiting:
            url, sitemap, depth = waiting.pop(0)
            if sitemap.lists == "pages":
                self._collect(url, sitemap.locations)
                continue
            for named in self._addresses(url, sitemap.locations):
                if named in seen:
                    continue
                seen.add(named)
                if reason := self._selection.reason_not_to_enter(named):
                    self._items[named] = Settled(named, "skipped", reason)
                elif depth >= MAX_DEPTH or len(seen) > MAX_SITEMAPS:
                    limit = f"{MAX_DEPTH} deep" if depth >= MAX_DEPTH else f"{MAX_SITEMAPS:,} in number"
                    reason = f"sitemaps that name each other are followed up to {limit}"
                    self._close_incomplete(Settled(named, "failed", reason))
                else:
                    reply = await self._ask(named, max_bytes=MAX_BYTES)
                    found = await asyncio.to_thread(_sitemap_in, named, reply, expected=True)
                    if isinstance(found, Sitemap):
                        waiting.append((named, found, depth + 1))
                    elif found is not None:
                        self._close_incomplete(found)

    def _collect(self, sitemap: str, locations: Sequence[str]) -> None:
        for url in self._addresses(sitemap, locations):
            if url in self._pages or url in self._items:
                continue
            if reason := self._selection.reason_to_skip(url):
                self._items[url] = Settled(url, "skipped", reason, is_gone=True)
            elif len(self._pages) < self._rules.max_urls:
                self._pages[url] = None
            else:
                reason = (
                    f"lists more than {self._rules.max_urls:,} pages; the first ones are read: narrow them with "
                    "--include or --exclude, or raise web.max_urls"
                )
                self._close_incomplete(Settled(sitemap, "failed", reason))
                return

    def _addresses(self, sitemap: str, locations: Iterable[str]) -> Iterable[str]:
        """Yield the canonical addresses of a sitemap's entries; one that is none ends as skipped."""
        for location in locations:
            try:
                yield joined(sitemap, location)
            except ConfigError as error:
                named = shown(location)
                self._items[named] = Settled(named, "skipped", f"listed in {sitemap}, but {error}")

    def _close_incomplete(self, item: Settled) -> None:
        self._items[item.id] = item
        self._is_complete = False

    # --- what becomes of each

    async def _see(self, url: str, *, from_mirror: bool) -> None:
        page = await asyncio.to_thread(self._mirror.page, url) if from_mirror else None
        if page is not None:
            self._items[url] = self._mirror.found(page)
        elif url not in self._items:
            self._items[url] = await self._outcome(url, await self._ask(url))
        self._tell()

    async def _ask(self, url: str, *, max_bytes: int | None = None) -> Fetched | Settled:
        """Fetch an address, on condition that it differs from what the mirror has."""
        page = await asyncio.to_thread(self._mirror.page, url)
        validators = Validators(page.final_url, page.etag, page.last_modified) if page is not None else None
        try:
            return await self._fetcher.fetch(url, permission=self._permit, validators=validators, max_bytes=max_bytes)
        except (TooLargeError, _DisallowedError) as error:
            return Settled(url, "skipped", str(error), is_gone=True)
        except DocumentReadError as error:
            return Settled(url, "failed", str(error), error.retriable)

    async def _outcome(self, url: str, reply: Fetched | Settled) -> Found | Settled:
        """Return what a reply makes of a page, and keep it in the mirror, or drop what is there."""
        item = await asyncio.to_thread(self._kept, url, reply) if isinstance(reply, Fetched) else reply
        if isinstance(item, Settled) and item.drops_document:
            await asyncio.to_thread(self._mirror.drop, [url])
        return item

    def _kept(self, url: str, reply: Fetched) -> Found | Settled:
        if reply.status == 304 and (known := self._mirror.page(url)) is not None:
            return self._mirror.found(known)
        if reply.status in (404, 410):
            # A page that a person named should be there; one that a sitemap names may have gone since.
            state: Literal["failed", "skipped"] = "failed" if url == self._named else "skipped"
            return Settled(url, state, f"the page is gone: {_said(reply.status)}", is_gone=True)
        if reply.status != 200:
            said = f"the server answered {_said(reply.status)}{_wish(reply)}"
            return Settled(url, "failed", said, _may_pass(reply.status))
        content_type = reply.headers.get("content-type", "")
        try:
            ending = ending_of(content_type, reply.url, reply.body)
        except UnsupportedFormatError as error:
            return Settled(url, "unsupported", str(error), is_gone=True)
        page = self._mirror.store(
            url,
            recoded(reply.body, content_type),
            ending=ending,
            content_type=content_type,
            final_url=reply.url,
            etag=reply.headers.get("etag", ""),
            last_modified=reply.headers.get("last-modified", ""),
        )
        return self._mirror.found(page)

    def _leave_out_redirects(self) -> None:
        """Skip pages that only lead to another page of this look: the same words twice would be two hits."""
        read = {url for url, item in self._items.items() if isinstance(item, Found)}
        for url in sorted(read):
            page = self._mirror.page(url)
            if page is not None and page.final_url != url and page.final_url in read:
                reason = f"leads to {page.final_url}, which is read under its own address"
                self._items[url] = Settled(url, "skipped", reason, is_gone=True)

    # --- what hosts wish

    async def _permit(self, url: str) -> None:
        robots = await self._robots_of(origin_of(url))
        if not robots.allows(url):
            raise _DisallowedError(f"robots.txt of {host_of(url)} disallows {urlsplit(url).path}")

    async def _robots_of(self, origin: str) -> Robots:
        async with self._asking[origin]:
            if origin not in self._robots:
                self._robots[origin] = await self._fetched_robots(origin)
        found = self._robots[origin]
        if isinstance(found, DocumentReadError):
            raise DocumentReadError(str(found), retriable=found.retriable)
        return found

    async def _fetched_robots(self, origin: str) -> Robots | DocumentReadError:
        """Return what a host wishes: nothing where it has no robots.txt, an error where that cannot be known."""
        url = f"{origin}/robots.txt"
        try:
            reply = await self._fetcher.fetch(url, max_redirects=5)
        except DocumentReadError as error:
            return error
        if reply.status >= 500 or reply.status == 429:
            said = f"{url} cannot be had ({_said(reply.status)}), so nothing of the host is fetched for now"
            return DocumentReadError(said, retriable=True)
        robots = parse_robots(reply.body, agent=AGENT) if reply.status == 200 else ALLOW_ALL
        if robots.delay_s:
            self._pace.slow_down(host_of(url), robots.delay_s)
        return robots

    def _notes(self) -> tuple[str, ...]:
        """Return that the site has sitemaps, where only its first page was asked for."""
        robots = self._robots.get(origin_of(self._root))
        if urlsplit(self._root).path != "/" or not isinstance(robots, Robots) or not robots.sitemaps:
            return ()
        named = ", ".join(shown(sitemap) for sitemap in robots.sitemaps[:3])
        return (f"only this page was read; robots.txt of {host_of(self._root)} names sitemaps of the site: {named}",)


def _sitemap_in(url: str, reply: Fetched | Settled, *, expected: bool) -> Sitemap | Settled | None:
    """Return the sitemap that a reply is; None for a page, Settled for a sitemap that cannot be had or is none."""
    if isinstance(reply, Settled):
        found = f"the sitemap cannot be had: {reply.reason}"
        return Settled(url, "failed", found, reply.retriable) if expected else None
    if reply.status != 200:
        found = f"the sitemap cannot be had: the server answered {_said(reply.status)}{_wish(reply)}"
        return Settled(url, "failed", found, _may_pass(reply.status)) if expected else None
    try:
        body = reply.body
        if body.startswith(b"\x1f\x8b") and (expected or path_of(reply.url).endswith(".gz")):
            body = unfolded(body, max_bytes=MAX_BYTES, host=host_of(reply.url))
        return parse_sitemap(body, url) if expected or looks_like_sitemap(body) else None
    except DocumentReadError as error:
        return Settled(url, "failed", str(error))


def _may_pass(status: int) -> bool:
    return status >= 500 or status in (408, 425, 429)


def _said(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _wish(reply: Fetched) -> str:
    wish = reply.headers.get("retry-after", "")
    return f" and wishes for another try after {wish[:40]!r}" if wish else ""
