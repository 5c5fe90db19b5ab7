"""Where a text may be cut well: sections, paragraphs, sentences and list items, lines, clauses, words, characters.

Everything is looked for near a wanted place, never in the whole text: a document of any length costs one look per cut.
An end is the offset after the last printed character of what ends there; 0 says that there is none.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from rag.types import Heading, Page

__all__ = ["Boundaries"]

_STOPS = "。！？；…"
_CLOSERS = "\"'”’»」』）》】〕\\])"
# A sentence ends at a Western stop before white space, or at a Chinese one; closing quotes and brackets belong to it.
# So does what comes before a blank line, or before the line of a list item.
# subtle: the set comes first so that ``re`` skips to the next of its characters at once.
_STATEMENT = re.compile(
    rf"[.!?{_STOPS}\n](?:"
    rf"(?<=[.!?])[{_CLOSERS}]*(?=\s)"
    rf"|(?<=[{_STOPS}])[{_STOPS}{_CLOSERS}]*"
    r"|(?<=\n)(?=\n|[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]))"
)
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])")
_LINE = re.compile(r"\n")
_CLAUSE = re.compile(r"[,;:](?=\s)|[，、：]")
_BLANK = re.compile(r"[ \t\u3000]")
_PRINTED = re.compile(r"\S")

# What ends with a full stop and ends no sentence: initials and letters (e.g., U.S.), titles, abbreviations, the number
# of a list item. A wrong entry costs a boundary, never a character.
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Mrs?|Ms|Dr|Prof|Rev|Gen|Sen|Rep|St|Jr|Sr|vs|cf|al|approx|ca|Fig|fig|Eq|eq|No|no|Nos|Vol|vol|pp|ed"
    r"|eds|Inc|Ltd|Co|Corp|Dept|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)|(?:^|\n)[ \t]*\d{1,3})\.$"
)

_UNDERLINE = re.compile(r"\n[=\-~^\"'#*+]{3,}(?=\n|$)")
_UNDERLINES = tuple("\n" + sign for sign in "=-~^\"'#*+")


class Boundaries:
    """The boundaries of one text.

    ``blocks`` are spans (code, tables) that are not to be cut, in order and apart. A heading belongs to what follows:
    no end lies between them.
    """

    def __init__(
        self, text: str, headings: Sequence[Heading], pages: Sequence[Page], blocks: Sequence[tuple[int, int]]
    ) -> None:
        self._text = text
        self._sections, self._heading_ends = _heading_spans(text, headings)
        self._pages = [page.start for page in pages]
        self._block_starts = [self.with_heading(start) for start, _ in blocks]
        self._block_ends = [end for _, end in blocks]

    def best_end(self, start: int, floor: int, high: int) -> int:
        """Return the best place in (floor, high] to end what begins at ``start``; 0 where nothing is printed there.

        A section or a paragraph may leave a third of the span unused, the items of a list before the last a half, a
        sentence or a line three quarters.
        Measured with benchmarks/chunk_quality.py: filling more or less changes recall by 0.004 at most.
        """
        half = max(floor, (start + high) // 2)
        two_thirds = max(floor, (start + 2 * high) // 3)
        quarter = max(floor, (3 * start + high) // 4)
        return (
            self._section_end(two_thirds, high)
            or self._paragraph_end(two_thirds, high)
            or self._last(_ITEM, max(half, self._text.rfind("\n\n", half, high)), high)
            or self._last(_STATEMENT, quarter, high)
            or self._line_end(quarter, high)
            or self._last(_CLAUSE, half, high)
            or self._word_end(half, high)
            or self._character_end(floor, high)
        )

    def best_start(self, low: int, wanted: int, end: int) -> int:
        """Return the start of a sentence, line, clause or word in [low, end), the one nearest to ``wanted``."""
        section = self.section_before(end)
        if section >= low:
            low = section
            if wanted <= section:
                return section
        near = max(low, wanted - (end - wanted) // 4)
        for pattern in (_STATEMENT, _LINE, _CLAUSE, _BLANK):
            start = next(self._starts(pattern, near, end), end)
            if start - wanted > (end - wanted) // 2:
                nearest = sorted(self._starts(pattern, low, end), key=lambda start: abs(start - wanted))
                start = nearest[0] if nearest else end
            if start < end:
                return start
        return self.next_printed(_character_floor(self._text, low, max(wanted, low)))

    def section_before(self, end: int) -> int:
        """Return the start of the last heading before ``end``, or 0."""
        place = bisect_left(self._sections, end) - 1
        return self._sections[place] if place >= 0 else 0

    def is_section(self, start: int) -> bool:
        """Tell whether a heading begins here."""
        place = bisect_left(self._sections, start)
        return place < len(self._sections) and self._sections[place] == start

    def block_at(self, offset: int) -> tuple[int, int] | None:
        """Return the block that has ``offset`` inside, past its first character and before its end."""
        if not self._block_starts:
            return None
        place = bisect_left(self._block_starts, offset) - 1
        if place >= 0 and offset < self._block_ends[place]:
            return self._block_starts[place], self._block_ends[place]
        return None

    def with_heading(self, start: int) -> int:
        """Return the start of the heading right above ``start``, else ``start``: a block begins with its heading."""
        place = bisect_left(self._sections, start) - 1
        if place >= 0 and self.trimmed(start) <= self._heading_ends[place]:
            return self._sections[place]
        return start

    def trimmed(self, end: int) -> int:
        """Return the end of the last printed character before ``end``, or 0."""
        text = self._text
        while end > 0 and text[end - 1].isspace():
            end -= 1
        return end

    def next_printed(self, start: int) -> int:
        """Return the offset of the first printed character at or after ``start``, or the length of the text."""
        match = _PRINTED.search(self._text, start)
        return match.start() if match else len(self._text)

    def _section_end(self, low: int, high: int) -> int:
        end = self.trimmed(self.section_before(high + 1))
        return end if end > low else 0

    def _paragraph_end(self, low: int, high: int) -> int:
        stop = high + 2
        while (place := self._text.rfind("\n\n", low, stop)) > low:
            end = self.trimmed(place)
            if end > low and self._is_end(end):
                return end
            stop = place + 1
        return 0

    def _line_end(self, low: int, high: int) -> int:
        """The last line end: also at the foot of a page, and in a block that must be cut, but not under a heading."""
        stop = high + 1
        while (place := self._text.rfind("\n", low, stop)) > low:
            end = self.trimmed(place)
            if end > low and not self._is_under_heading(end):
                return end
            stop = place
        return 0

    def _last(self, pattern: re.Pattern[str], low: int, high: int) -> int:
        """The last end of a match in (low, high], looked for in windows from the back."""
        stop, width = high, 256
        while stop > low:
            begin = max(low, stop - width)
            # Past the window by some characters: for closing quotes, and for what must follow.
            ends = [match.end() for match in pattern.finditer(self._text, begin, stop + 8)]
            for end in reversed(ends):
                end = self.trimmed(end)
                if low < end <= high and self._is_end(end) and not self._is_false_end(end, self.next_printed(end)):
                    return end
            stop, width = begin, 4 * width
        return 0

    def _word_end(self, low: int, high: int) -> int:
        text = self._text
        if high == len(text) or text[high].isspace():
            end = self.trimmed(high)
        else:
            end = self.trimmed(max(text.rfind(" ", low, high), text.rfind("\n", low, high), 0))
        return end if end > low else 0

    def _character_end(self, low: int, high: int) -> int:
        end = self.trimmed(_character_floor(self._text, low, high))
        return end if end > low else 0

    def _is_end(self, end: int) -> bool:
        """Whether to end here: not inside a block, under a heading, or at the foot of a page amid a sentence."""
        if self.block_at(end) is not None:
            return False
        return not self._is_under_heading(end) and not (self._pages and self._is_split_by_page(end))

    def _starts(self, pattern: re.Pattern[str], low: int, end: int) -> Iterator[int]:
        """Yield the starts in [low, end) of what follows a match, where a chunk may begin."""
        for match in pattern.finditer(self._text, low, end):
            start = self.next_printed(match.end())
            if start >= end:
                return
            if self.block_at(start) is not None:
                continue
            if pattern is not _STATEMENT or not self._is_false_end(self.trimmed(start), start):
                yield start

    def _is_under_heading(self, end: int) -> bool:
        place = bisect_left(self._sections, end) - 1
        return place >= 0 and end <= self._heading_ends[place]

    def _is_split_by_page(self, end: int) -> bool:
        page = self._pages[bisect_right(self._pages, self.next_printed(end)) - 1]
        return page >= end and _STATEMENT.search(self._text, max(end - 3, 0), end + 1) is None

    def _is_false_end(self, end: int, following: int) -> bool:
        """Whether a stop before ``end`` ends no sentence: an abbreviation, or a small letter follows."""
        text = self._text
        stop = text[end - 1]
        if following < len(text) and text[following].islower() and text.find("\n\n", end, following) < 0:
            return stop not in ",;:"
        return stop == "." and _ABBREVIATION.search(text, max(end - 8, 0), end) is not None


def _heading_spans(text: str, headings: Sequence[Heading]) -> tuple[list[int], list[int]]:
    """Starts and ends of the headings, underlines included; headings with nothing between them are one."""
    starts: list[int] = []
    ends: list[int] = []
    for heading in headings:
        end = text.find("\n", heading.start)
        end = len(text) if end < 0 else end
        if text.startswith(_UNDERLINES, end) and (underline := _UNDERLINE.match(text, end)):
            end = underline.end()
        if starts and not _PRINTED.search(text, ends[-1], heading.start):
            ends[-1] = end
        else:
            starts.append(heading.start)
            ends.append(end)
    return starts, ends


def _character_floor(text: str, low: int, at: int) -> int:
    """Return ``at`` or the nearest place before it, above ``low``, that is not inside what is read as one character."""
    place = at
    while place > low + 1 and at - place < 64:
        if not _joins(text, place):
            return place
        place -= 1
    return at


def _joins(text: str, at: int) -> bool:
    """Whether the characters on both sides of ``at`` are one to the reader (the common cases of Unicode's UAX 29)."""
    if at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    if before == "\u200d" or after == "\u200d" or unicodedata.category(after) in ("Mn", "Mc", "Me"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True  # skin tones; the letters of regional flags
    if "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff":
        return True
    return _is_flag_letter(before) and _is_flag_letter(after) and _flag_letters_before(text, at) % 2 == 1


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_letters_before(text: str, at: int) -> int:
    place = at
    while place > 0 and at - place < 64 and _is_flag_letter(text[place - 1]):
        place -= 1
    return at - place
