"""Takes links out of an answer whose targets stand in no source, while it is written.

A model that follows an instruction in a document can be made to write a link or an image whose address carries what it
was told in confidence; an image is fetched without a click. So only addresses that a source holds, or is, pass: in
Markdown links, images and definitions, HTML tags, and bare. Others leave their words and lose their target.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from urllib.parse import unquote

from rag.types import Source

__all__ = ["REMOVED", "LinkGuard"]

REMOVED = "(link removed)"
MAX_HELD = 2000
"""Characters held back at most while a link may be open; what is longer is let go with its opening made harmless."""

_URL_TEXT = r"(?:(?:https?|ftp):/{1,3}|www\.)[^\s<>\"'`，。；、）】」』》”’]+"
_URL = re.compile(_URL_TEXT, re.I)
_INLINE = re.compile(
    r"!?\[(?P<words>[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(\s*(?P<target><[^<>\n]*>|[^\s()]*(?:\([^\s()]*\)[^\s()]*)*)"
    r"(?:\s[^()]*)?\)"
)
_DEFINITION = re.compile(r"(?m)^(?P<head>[ \t>]{0,8}\[[^\]\n]+\]:)[ \t]*(?P<target>\S+)")
_LOOSE = re.compile(r"\]\(\s*(?P<target>[^\s)]+)[^)]*\)")
_TAG = re.compile(r"<[A-Za-z/!][^<>]*[=/:][^<>]*>")
_OPEN_TAG = re.compile(r"<(?:[A-Za-z/!][^<>]*)?$")
_MARKER = re.compile(r"\[[\d\s,、，;–-]{1,40}\]")
_NEXT = re.compile(r"\[[\d\s,、，;–-]{1,40}\](?!\()")  # "[1][2]": markers in a row
_BEGUN = re.compile(r"https?://|ftp://|www\.|(?:h(?:t(?:t(?:ps?(?::/?)?)?)?)?|f(?:t(?:p(?::/?)?)?)?|w{1,3})$", re.I)
_TRAILING = ".,;:!?*_~)]}"


class LinkGuard:
    """Passes the text of one answer through. ``n_removed`` counts the targets that were taken out."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.n_removed = 0
        self._texts = [part for source in sources for part in (source.text, source.context, source.document_id)]
        self._allowed = {_normal(url) for text in self._texts for url in _URL.findall(text)}
        self._allowed |= {_normal(match["target"]) for text in self._texts for match in _INLINE.finditer(text)}
        self._allowed |= {_normal(source.document_id) for source in sources}
        self._held = ""
        self._ends_in_marker = False

    def feed(self, text: str) -> str:
        """Take the next piece of text; return what can be shown, which no further text can make a link."""
        self._held += text
        cut = _settled(self._held)
        if len(self._held) - cut > MAX_HELD:
            self._held = self._held[:cut] + self._held[cut:].replace("<", "< ", 1).replace("[", "[ ", 1)
            cut = len(self._held)
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._apart(self._clean(ready))

    def finish(self) -> str:
        """Return what was held back."""
        ready, self._held = self._held, ""
        if _OPEN_TAG.search(ready) and "=" in ready[ready.rfind("<") :]:
            self.n_removed += 1
            ready = ready[: ready.rfind("<")]
        return self._apart(self._clean(ready))

    def _apart(self, text: str) -> str:
        """Return text that does not make a link of the marker that was shown before it."""
        if self._ends_in_marker and text.startswith(("(", ":", "[")) and _NEXT.match(text) is None:
            text = " " + text
        if text:
            self._ends_in_marker = text.endswith("]")
        return text

    def _clean(self, text: str) -> str:
        if not any(mark in text for mark in ("](", "://", ":/", "]:", "<")) and "www." not in text.casefold():
            return text
        text = _INLINE.sub(self._inline, text)
        text = _DEFINITION.sub(lambda match: self._target(match, match["head"] + " " + REMOVED), text)
        text = _TAG.sub(self._tag, text)
        text = _LOOSE.sub(lambda match: self._target(match, "]"), text)
        return _URL.sub(self._bare, text)

    def _passes(self, target: str) -> bool:
        return target.startswith("#") or _normal(target.strip("<>")) in self._allowed

    def _target(self, match: re.Match[str], instead: str) -> str:
        if self._passes(match["target"]):
            return match[0]
        self.n_removed += 1
        return instead

    def _inline(self, match: re.Match[str]) -> str:
        # subtle: the words may hold a link of their own, as an image in a link does
        words = _INLINE.sub(self._inline, match["words"])
        return self._target(match, words or REMOVED)

    def _tag(self, match: re.Match[str]) -> str:
        tag = match[0]
        if tag.startswith("</") or any(tag in text for text in self._texts):
            return tag
        if (bare := _URL.fullmatch(tag[1:-1])) is not None and self._passes(bare[0]):
            return tag
        self.n_removed += 1
        return REMOVED if bare else ""

    def _bare(self, match: re.Match[str]) -> str:
        url = match[0]
        if self._passes(url):
            return url
        body = url.rstrip(_TRAILING)
        if self._passes(body):
            return url
        self.n_removed += 1
        return REMOVED + url[len(body) :]


def _normal(url: str) -> str:
    """Return an address as it is compared: entities and percent signs read, closing marks and the case of it gone."""
    return unquote(html.unescape(url)).rstrip(_TRAILING + "/").casefold()


def _settled(text: str) -> int:
    """Return how much of a text can no longer become part of a link by what follows."""
    cut = len(text)
    if (tag := _OPEN_TAG.search(text)) is not None:
        cut = tag.start()
    cut = min(cut, _open_bracket(text))
    word = re.search(r"\S*$", text)
    start = word.start() if word else len(text)
    if (begun := _BEGUN.search(text, start)) is not None:
        cut = min(cut, begun.start())
    if text.endswith("!"):
        cut = min(cut, len(text) - 1)
    return cut


def _open_bracket(text: str) -> int:
    """Return where the first bracket begins that may still become a link; the length of the text where none may."""
    depth: list[int] = []
    for match in re.finditer(r"[\[\]]|\n[ \t]*\n", text):
        if match[0] == "[":
            depth.append(match.start())
        elif match[0] == "]" and depth:
            first = depth.pop()
            after = text[match.end() :]
            is_marker = _MARKER.match(text, first) is not None
            is_open = (
                (not after and not is_marker)
                or (after.startswith("(") and ")" not in after)
                or bool(re.match(r":[ \t]*\S*$", after))
            )
            if is_open:
                outer = depth[0] if depth else first
                return outer - 1 if outer and text[outer - 1] == "!" else outer
        elif match[0] not in "[]":
            depth = []
    if depth:
        return depth[0] - 1 if depth[0] and text[depth[0] - 1] == "!" else depth[0]
    return len(text)
