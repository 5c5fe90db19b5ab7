"""Page numbers, running heads and feet: what is printed on every page and belongs to none.

They stand in the middle of sentences that go on over the page, and match every question about the title.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["without_running_lines"]

_MIN_PAGES = 3
"""On how many pages a line must stand at the same edge before it counts as printed on every page."""
_MAX_LINES = 3
"""How many lines at each edge of a page are looked at."""
_MAX_CHARS = 120
_MIN_LINES = 8
"""Pages of fewer lines (slides, forms) stay whole: there, what repeats may be all there is."""
_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)")
_NO_WORDS = re.compile(r"(?:page|p|第|页|頁|of|共|[\W\d_])*", re.IGNORECASE)


def without_running_lines(pages: Sequence[str], *, title: str = "") -> list[str]:
    """Return the pages without the lines that repeat at their top or bottom.

    A line repeats when three pages have it at the same edge: the same words, or words with a number that counts the
    pages, or the document's ``title`` with anything after it. The first appearance of a head or foot stays, so that no
    words are lost, page numbers apart. Short pages stay whole.
    """
    all_lines = [[line.strip() for line in page.replace("\r\n", "\n").strip().split("\n")] for page in pages]
    lines = [page for page in all_lines if len(page) >= _MIN_LINES]
    places = [place for place, page in enumerate(all_lines) if len(page) >= _MIN_LINES]
    for edge in (0, -1):
        kept: list[list[str]] = [[] for _ in lines]
        seen: set[str] = set()
        for _ in range(_MAX_LINES):
            keys = [_keys(page[edge], place, title) for place, page in zip(places, lines, strict=True)]
            counts = Counter(key for found in keys for key in found)
            repeated = [next((key for key in found if counts[key] >= _MIN_PAGES), "") for found in keys]
            if not any(repeated):
                break
            for page, key, first in zip(lines, repeated, kept, strict=True):
                if key:
                    line = page.pop(edge)
                    if key not in seen and not _NO_WORDS.fullmatch(line):
                        first.append(line)
                    seen.add(key)
        for page, first in zip(lines, kept, strict=True):
            page[:] = [*first, *page] if edge == 0 else [*page, *reversed(first)]
    return ["\n".join(page) for page in all_lines]


def _keys(line: str, place: int, title: str) -> list[str]:
    """Return what a line may have in common with those of other pages; nothing for one too long to be a running line.

    A number is written as its distance from the page's place, which is the same on all pages when it counts them.
    """
    if not line or len(line) > _MAX_CHARS:
        return []
    keys = [title] if len(title) >= 4 and line.startswith(title) else []
    keys.append(line)
    numbers = list(_NUMBER.finditer(line))
    for number in numbers[:1] + numbers[1:][-1:]:
        keys.append(f"{line[: number.start()]}\0{int(number[0]) - place}\0{line[number.end() :]}")
    return keys
