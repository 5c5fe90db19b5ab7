"""Raw text to the text that is stored, with a map back to where each character came from.

Three passes, each skipped when a quick look finds nothing to do: characters (compatibility forms, line ends, invisible
ones), composition (NFC), blanks. The rule for compatibility forms: what a reader sees as the same letters and digits
becomes those letters and digits (ligatures, full-width and half-width forms, presentation forms, Kangxi radicals,
mathematical alphabets, square abbreviations such as ㎏); what would lose meaning or change the visible words stays. So
10² does not become 102, ½ and ① stay, ™, № and ℃ stay, and Chinese full-width punctuation stays full-width.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Normalised", "normalise"]

Offsets = NDArray[np.int32]
_Edit = tuple[int, int, str]  # [start, end) of the text is replaced by this


@dataclass(frozen=True)
class Normalised:
    """A normalised text and its map to the raw one.

    ``offsets`` is int32, len(text) + 1, never decreasing: ``offsets[i]`` is where character i stands in the raw text,
    and the last item is the raw length. It is made when it is first asked for, which most readers never do.
    ``n_surrogates`` counts the lone surrogates that became U+FFFD.
    """

    text: str
    n_surrogates: int = 0
    _passes: tuple[_Pass, ...] = ()

    @functools.cached_property
    def offsets(self) -> Offsets:
        offsets: Offsets | None = None
        for each in self._passes:
            mine = each.offsets()
            offsets = mine if offsets is None else offsets[mine]
        return np.arange(len(self.text) + 1, dtype=np.int32) if offsets is None else offsets

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """Return the raw [start, end) of a span of the text; both halves of a ligature have the ligature's span."""
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"span must lie in [0, {len(self.text)}], got [{start}, {end})")
        first = int(self.offsets[start])
        if start == end:
            return first, first
        return first, max(int(self.offsets[end]), int(self.offsets[end - 1]) + 1)


def normalise(raw: str) -> Normalised:
    """Return the text as it is stored, searched and quoted.

    - Compatibility forms: see the module's first words. Combining sequences are composed (NFC).
    - CRLF, CR, VT, FF, FS, GS, RS, NEL, LS, PS become a line feed, as ``str.splitlines`` sees lines.
    - Other control characters, zero-width ones, bidirectional marks, soft hyphens, tag characters and ideographic
      variation selectors are removed (they are invisible, and carriers of hidden instructions); the joiners stay where
      they shape the word: between emoji, and in Arabic and Indic scripts.
    - A lone surrogate becomes U+FFFD.
    - Runs of blanks inside a line become one space; the indentation of a line stays, for code and lists; blanks before
      a line end, empty lines at both ends of the text, and all but one of adjacent empty lines go.

    Normalising a normalised text changes nothing.
    """
    text: str = raw
    passes: list[_Pass] = []
    if special := _special_characters(text):
        text = _apply(text, _character_edits(text, special), passes)
    if _MAY_COMPOSE.search(text) and not unicodedata.is_normalized("NFC", text):
        text = _apply(text, _composition_edits(text), passes)
    if _has_loose_blanks(text):
        text = _apply(text, _blank_edits(text), passes)
    n_surrogates = len(_SURROGATE.findall(raw)) if special and special[-1] >= "\ud800" else 0
    return Normalised(text, n_surrogates, tuple(passes))


@dataclass(frozen=True, slots=True)
class _Pass:
    """What a pass has edited: (start, end, length of the replacement), in order and apart, in a text of a length."""

    edits: Sequence[tuple[int, int, int]]
    length: int

    def offsets(self) -> Offsets:
        """Return where each character of the edited text stands in the text before.

        The j-th character of a replacement maps to the j-th of what it replaces, or to the last of it where there are
        fewer.
        """
        lengths: list[int] = []
        shifts: list[int] = []
        limits: list[int] = []
        place = made = 0
        for start, end, n in self.edits:
            lengths += start - place, n
            shifts += place - made, start - (made + start - place)
            limits += self.length, max(start, end - 1)
            made += start - place + n
            place = end
        lengths.append(self.length - place + 1)
        shifts.append(place - made)
        limits.append(self.length)
        mine = np.arange(made + lengths[-1], dtype=np.int32)
        mine += np.repeat(np.array(shifts, dtype=np.int32), lengths)
        np.minimum(mine, np.repeat(np.array(limits, dtype=np.int32), lengths), out=mine)
        return mine


def _apply(text: str, edits: Iterator[_Edit], passes: list[_Pass]) -> str:
    """Return the edited text, and note the pass where it has changed something."""
    pieces: list[str] = []
    made: list[tuple[int, int, int]] = []
    place = 0
    for start, end, replacement in edits:
        pieces += text[place:start], replacement
        made.append((start, end, len(replacement)))
        place = end
    if not made:
        return text
    passes.append(_Pass(made, len(text)))
    pieces.append(text[place:])
    return "".join(pieces)


# --- characters ------------------------------------------------------------------------------------------------------

# The blocks where a compatibility form may be the same letters to a reader. Left out on purpose: letterlike symbols
# (2100-214F: ℝ, ℓ, №), Thai and Lao vowels and Hangul jamo, whose NFKC form breaks ordinary words apart.
_COMPATIBILITY_BLOCKS = (
    *((0xB5, 0xB5), (0x132, 0x133), (0x17F, 0x17F), (0x1C4, 0x1CC), (0x1F1, 0x1F3)),  # µ ĳ ſ ǆ ǳ
    *((0x3D0, 0x3F9), (0x2011, 0x2011), (0x2160, 0x217F)),  # Greek variants, no-break hyphen, Roman numerals
    *((0x2E80, 0x2FDF), (0x32C0, 0x32CB), (0x3300, 0x33FF)),  # radicals, months, square abbreviations
    *((0xFB00, 0xFDFF), (0xFE70, 0xFEFC)),  # ligatures, Arabic and Hebrew presentation forms
    *((0xFF01, 0xFF9F), (0x1D400, 0x1D7FF)),  # full and half width, mathematical alphabets
)
# Radicals that fonts of PDFs put in the place of the character; Unicode (EquivalentUnifiedIdeograph) knows them as
# equivalent, its decompositions do not.
_RADICALS = dict(
    zip(
        "⺠⻁⻄⻅⻆⻉⻋⻓⻔⻘⻚⻛⻜⻝⻢⻣⻤⻥⻦⻧⻨⻩⻬⻮⻰",
        "民虎西见角贝车长门青页风飞食马骨鬼鱼鸟卤麦黄齐齿龙",
        strict=True,
    )
)
_MEANINGFUL_TAGS = ("<super>", "<sub>", "<fraction>", "<circle>")


def _visible_form(char: str) -> str:
    """Return the letters and digits a reader sees in a compatibility form; the character itself where there are none.

    Unfolds one step at a time, so that ㎡ gives m² and not m2.
    """
    tag, _, codes = unicodedata.decomposition(char).partition(" ")
    if not tag.startswith("<") or tag in _MEANINGFUL_TAGS or unicodedata.category(char) == "No":
        return char
    form = "".join(_visible_form(chr(int(code, 16))) for code in codes.split())
    same_words = tag == "<narrow>" or form == "\u2010" or all(unicodedata.category(c)[0] in "LMN" for c in form)
    return form if same_words else char


def _span(first: int, last: int) -> list[str]:
    return [chr(code) for code in range(first, last + 1)]


_INVISIBLE = (
    *((0x00, 0x08), (0x0E, 0x1B), (0x1F, 0x1F), (0x7F, 0x84), (0x86, 0x9F)),  # controls
    *((0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E)),  # soft hyphen, marks, bidi
    *((0x2060, 0x206F), (0xFDD0, 0xFDEF), (0xFE00, 0xFE0D), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xFFFE, 0xFFFF)),
    (0xE0000, 0xE0FFF),  # tags, ideographic variation selectors
)
_REPLACEMENTS: dict[str, str] = {
    **{char: _visible_form(char) for block in _COMPATIBILITY_BLOCKS for char in _span(*block)},
    **_RADICALS,
    **{char: "" for block in _INVISIBLE for char in _span(*block)},
    **dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n"),
    **dict.fromkeys(["\xa0", "\u1680", *_span(0x2000, 0x200A), "\u202f", "\u205f", "\u3000"], " "),
    **dict.fromkeys(_span(0xD800, 0xDFFF), "\ufffd"),
}
_SPECIAL = frozenset(char for char, replacement in _REPLACEMENTS.items() if char != replacement)
_ASCII_SPECIAL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_JOINERS = "\u200c\u200d"
# What joiners shape: Hebrew and Arabic, Indic to Myanmar, Khmer and Mongolian, presentation forms, emoji and selectors.
_SHAPED = re.compile(
    "[\u0590-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ua8e0-\uaaff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\ufe0f"
    "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U00011000-\U000114ff\U0001f000-\U0001faff]"
)


def _special_characters(text: str) -> str:
    """Return the distinct characters of ``text`` that have a replacement, in order."""
    if text.isascii():
        return "".join(sorted(set(_ASCII_SPECIAL.findall(text))))
    return "".join(sorted(_SPECIAL & set(text)))


def _character_edits(text: str, special: str) -> Iterator[_Edit]:
    """Yield the edits of single characters: compatibility forms, line ends, spaces, invisible ones."""
    # subtle: a class of the few characters that occur is searched many times faster than one of all that could
    for match in re.finditer(f"\r\n|[{re.escape(special)}]", text):
        start, end = match.span()
        char = match[0][0]
        if char in _JOINERS and _SHAPED.match(text[start - 1 : start]) and _SHAPED.match(text[end : end + 1]):
            continue
        yield start, end, _REPLACEMENTS[char]


# --- composition -----------------------------------------------------------------------------------------------------

# All but blocks that hold no combining character and nothing that NFC changes; finding none of these is several times
# faster than asking unicodedata.
_MAY_COMPOSE = re.compile(
    "[^\x00-\u02ff\u2002-\u20cf\u2190-\u2328\u232b-\u2adb\u2ade-\u2bff\u3000-\u3029\u3030-\u3098\u309b-\u9fff\uac00-\ud7a3"
    "\ufe30-\ufe6f\uff00-\uffef]"
)
_WORD = re.compile(r"[^\s\x00-\x7f]+")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _composition_edits(text: str) -> Iterator[_Edit]:
    """Yield the edits that bring ``text`` to NFC, one per sequence that composes.

    Looks only into runs that are not plain: a run is taken with the character before it, because a mark composes
    with an ASCII letter too.
    """
    for word in _WORD.finditer(text):
        first = max(word.start() - 1, 0)
        part = text[first : word.end()]
        if unicodedata.is_normalized("NFC", part):
            continue
        start = 0
        for end in range(1, len(part) + 1):
            cluster = part[start:end]
            # subtle: a sequence ends where adding the next character changes nothing of what came before it
            if end < len(part) and (
                unicodedata.combining(part[end]) or _nfc(cluster + part[end]) != _nfc(cluster) + _nfc(part[end])
            ):
                continue
            if (composed := _nfc(cluster)) != cluster:
                yield first + start, first + end, composed
            start = end


# --- blanks ----------------------------------------------------------------------------------------------------------

_LOOSE = ("  ", "\t", " \n", "\n\n\n")
# A run that is not tidy, from its first character on; tidy are one space, and one or two line feeds with indentation.
_BLANKS = re.compile(
    r"[ \t\n](?<![ \t\n][ \t\n])(?:(?<=\n)(?!\n?[ \t]*[^ \t\n])[ \t\n]+|(?<= )[ \t\n]+|(?<=\t)[ \t\n]*)"
)


def _has_loose_blanks(text: str) -> bool:
    """Tell whether the text may hold blanks to tidy: substring searches, many times faster than a pattern."""
    return text[:1] == "\n" or text[-1:] in (" ", "\n") or any(sign in text for sign in _LOOSE)


def _blank_edits(text: str) -> Iterator[_Edit]:
    """Yield the edits that tidy the runs of spaces, tabs and line feeds."""
    last = len(text.rstrip(" \t\n"))
    first = text.rfind("\n", 0, len(text) - len(text.lstrip(" \t\n"))) + 1
    if first:
        yield 0, first, ""
    inside = any(text.find(sign, first, last) >= 0 for sign in _LOOSE)
    for match in _BLANKS.finditer(text, first, last) if inside else ():
        run, start, end = match[0], *match.span()
        if "\n" in run:
            tidy = "\n\n"[: run.count("\n")] + run[run.rfind("\n") + 1 :]
        elif start == first:
            continue
        else:
            tidy = " "
        if tidy != run:
            yield start, end, tidy
    if max(first, last) < len(text):
        yield max(first, last), len(text), ""
