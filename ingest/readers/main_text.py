"""Which part of an HTML page is its text, and what around it is navigation, notices and lists of other pages.

Subtractive on purpose: a block is left out for a reason, not kept for one, and a block that holds much of the page's
text is never left out by its name. What is lost is lost for good; what is kept too much costs a little. Measured by
``benchmarks/main_text.py`` on pages whose parts people have labelled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Choice", "choose", "is_unseen"]

_UNSEEN = frozenset(
    {
        *("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "embed", "canvas"),
        *("head", "title", "meta", "link", "select", "option", "datalist", "textarea", "audio", "video"),
    }
)
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


CORE_SHARE = 0.6
"""The core is the deepest element with this share of the text that is no link. From 0.5 to 0.9 ever more is kept."""

MIN_TEXT = 250
"""Characters that must be left: a page with less is perhaps a list of links itself."""

_ROLES = _listed("navigation banner contentinfo search complementary dialog alertdialog menu menubar")
# Words of classes and ids. The first mean the same wherever they stand; the second only outside the core, where they
# frame a page; the third say little, unless most of a block is links.
_EVERYWHERE = _listed(
    "nav navbar navigation breadcrumb breadcrumbs cookie cookies consent gdpr share sharing sharer social newsletter "
    "subscribe subscription related recommended recommendations outbrain taboola advert advertisement sponsored "
    "pagination pager comments disqus respond skip popup signup paywall addthis jetpack"
)
_AROUND = _listed(
    "menu submenu sidebar footer masthead banner widget widgets promo topbar toolbar login search copyright legal "
    "imprint impressum aside meta tags tag byline author secondary links toc comment commentlist modal overlay alert "
    "notice language lang"
)
_IF_LINKS = _listed("teaser teasers header head more recirculation promo widget ad ads")
_FRAMES = frozenset({"aside", "footer", "header"})
_NAMED = _listed(
    # elements whose names are looked at; others are words in a sentence
    "div section aside ul ol dl table form header footer p article main span li td details figure center"
)
_NOT_ENTERED = frozenset({"p", "ul", "ol", "pre", "span"})
_WORDS = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Choice:
    """The elements to read, none inside another, and the ids (``mem_id``) of those in them to leave out."""

    roots: tuple[Any, ...]
    left_out: frozenset[int] = frozenset()


def choose(tree: Any) -> Choice:
    """Return which part of a parsed page to read.

    The marked main part (main, else article) where it holds enough of the text, else the body. In it, what frames a
    page is left out: navigation, banners, footers, notices about cookies, comments, and blocks that are mostly links
    outside the core. Where names and links would leave out most of a page, or leave little, they are not believed.
    """
    body = tree.body
    if body is None:
        return Choice(())
    weights = _weights(body)
    roots = _marked(tree, body, weights)
    search = _Search(weights, roots)
    by_tag, by_name = search.framing()
    lost = sum(weights[key].plain for key in by_name)
    is_believed = lost <= 0.5 * search.total and search.total - lost >= MIN_TEXT
    return Choice(roots, frozenset(by_tag | by_name if is_believed else by_tag))


def is_unseen(node: Any) -> bool:
    """Tell whether a reader of the page sees nothing of an element."""
    if node.tag in _UNSEEN:
        return True
    attributes = node.attributes
    return bool(attributes) and (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))
    )


@dataclass(slots=True)
class _Weight:
    """Characters of an element's visible text without white space, and those of them that stand in links."""

    text: int = 0
    linked: int = 0

    @property
    def plain(self) -> int:
        return self.text - self.linked

    @property
    def link_share(self) -> float:
        return self.linked / self.text if self.text else 0.0


def _weights(body: Any) -> dict[int, _Weight]:
    """Return the weight of every visible element. Walks with a list: pages nest deeper than Python recurses."""
    found = {body.mem_id: _Weight()}
    open_elements: list[tuple[_Weight, bool]] = [(found[body.mem_id], False)]
    places = [body.child]
    while places:
        node = places[-1]
        if node is None:
            places.pop()
            weight, _ = open_elements.pop()
            if open_elements:
                open_elements[-1][0].text += weight.text
                open_elements[-1][0].linked += weight.linked
            continue
        places[-1] = node.next
        weight, in_link = open_elements[-1]
        if node.is_text_node:
            n = len("".join((node.text_content or "").split()))
            weight.text += n
            weight.linked += n if in_link else 0
        elif node.is_element_node and not is_unseen(node):
            found[node.mem_id] = _Weight()
            open_elements.append((found[node.mem_id], in_link or node.tag == "a"))
            places.append(node.child)
    return found


def _marked(tree: Any, body: Any, weights: dict[int, _Weight]) -> tuple[Any, ...]:
    """Return the elements that the page marks as its main part, or the body.

    A main element is believed if it is not nearly empty; articles only where they hold half of the text that no other
    tag frames: pages mark teasers of other articles so as well.
    """
    total = weights[body.mem_id].plain
    total -= sum(_framed(child, weights) for child in _elements(body, weights))
    for selector, share in (("main, [role=main]", 0.2), ("article", 0.5)):
        parts = [part for part in tree.css(selector) if part.mem_id in weights]
        ids = {part.mem_id for part in parts}
        outer = tuple(part for part in parts if not _has_ancestor(part, ids))
        if outer and sum(weights[part.mem_id].plain for part in outer) >= share * total:
            return outer
    return (body,)


def _framed(node: Any, weights: dict[int, _Weight]) -> int:
    """Return how much text of a child of the body its tag sets apart from an article."""
    is_apart = node.tag in ("nav", *_FRAMES) and node.css_first("article, main") is None
    return weights[node.mem_id].plain if is_apart else 0


def _elements(node: Any, weights: dict[int, _Weight]) -> list[Any]:
    """Return the visible elements right inside an element."""
    found, child = [], node.child
    while child is not None:
        if child.is_element_node and child.mem_id in weights:
            found.append(child)
        child = child.next
    return found


def _has_ancestor(node: Any, ids: set[int]) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.mem_id in ids:
            return True
        parent = parent.parent
    return False


class _Search:
    """Looks for the blocks that frame the text."""

    def __init__(self, weights: dict[int, _Weight], roots: Sequence[Any]) -> None:
        self._weights = weights
        self._roots = roots
        self.total = sum(weights[root.mem_id].plain for root in roots)
        self._core = self._core_of(roots[0]) if len(roots) == 1 else None
        self._above_core: set[int] = set()
        node = self._core
        while node is not None:
            self._above_core.add(node.mem_id)
            node = node.parent

    def framing(self) -> tuple[set[int], set[int]]:
        """Return the ids of the outermost blocks to leave out: those that tag or role, and those that names tell."""
        by_tag: set[int] = set()
        by_name: set[int] = set()
        waiting = [(root, self._core is None or root.mem_id == self._core.mem_id) for root in self._roots]
        while waiting:
            node, in_core = waiting.pop()
            for child in _elements(node, self._weights):
                if self._frames_by_tag(child, in_core=in_core):
                    by_tag.add(child.mem_id)
                elif self._frames_by_name(child, in_core=in_core):
                    by_name.add(child.mem_id)
                else:
                    is_core = self._core is not None and child.mem_id == self._core.mem_id
                    waiting.append((child, in_core or is_core))
        return by_tag, by_name

    def _core_of(self, root: Any) -> Any:
        """Return the deepest element that holds most of the text."""
        while True:
            heaviest = max(
                _elements(root, self._weights), key=lambda node: self._weights[node.mem_id].plain, default=None
            )
            if heaviest is None or heaviest.tag in _NOT_ENTERED:
                return root
            if self._weights[heaviest.mem_id].plain < CORE_SHARE * self.total:
                return root
            root = heaviest

    def _frames_by_tag(self, node: Any, *, in_core: bool) -> bool:
        if node.tag == "nav":
            return True
        if not self._is_small(node, 0.3):
            return False
        if node.attributes and node.attributes.get("role") in _ROLES:
            return True
        return node.tag in _FRAMES and not in_core and node.css_first("h1") is None

    def _frames_by_name(self, node: Any, *, in_core: bool) -> bool:
        if node.tag not in _NAMED or not self._is_small(node, 0.25):
            return False
        words = _words(node.attributes)
        weight = self._weights[node.mem_id]
        if words & _EVERYWHERE or (words & _IF_LINKS and weight.link_share > 0.5):
            return True
        if in_core:
            return False
        is_list_of_links = self._is_small(node, 0.1) and weight.link_share > 0.6
        return is_list_of_links or (bool(words & _AROUND) and node.css_first("h1") is None)

    def _is_small(self, node: Any, share: float) -> bool:
        """Tell whether a block has text, and less of the whole than ``share``: what has more frames nothing."""
        weight = self._weights[node.mem_id]
        return node.mem_id not in self._above_core and weight.text > 0 and weight.plain < share * max(self.total, 1)


def _words(attributes: Any) -> set[str]:
    """Return the words of an element's class and id: "siteNav" and "site-nav" are site and nav."""
    if not attributes:
        return set()
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return set(_WORDS.split(_CAMEL.sub(" ", names).lower()))
