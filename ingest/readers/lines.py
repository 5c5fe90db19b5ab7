"""Printed lines of a page back to running text.

A page's text has a line end where the paper had one. Inside a paragraph that is noise: it parts words that belong
together, in Chinese even inside a word. Lines are joined only where the line was full, so that the next word would not
have fitted; headings, lists, tables and verse keep their lines. Characters are never changed or moved otherwise, so
that the words of a quote stand on the page in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["rejoined_words", "running_text"]

LINE_END_HYPHEN = "\ufffe"
"""What PDFium puts in the place of a hyphen at a line end and the line end itself."""

_WIDE = re.compile("[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003ffff]")
_HAN = re.compile("[\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003ffff]")
_OPENS_LINE = re.compile(
    r"\d{1,4}$|>>>|\.\.\.|[#$>|+<{}]|//|/\*|"  # page numbers, code
    r"[*·★☆◆]\s|[-–—•●▪■◦‣]|[(（\[]?(\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)）\]、]|\d+(\.\d+)+\s|\d{1,2}\s+[A-Z]|"
    r"[（(]?[一二三四五六七八九十]{1,3}[）)、.]|第[\d一二三四五六七八九十百]{1,5}[章节節条條款篇部]"
)
_ENDS_SENTENCE = re.compile(r"[.!?:;。！？：；…][\"'”’」』)）\]]*$")
_MIN_MEASURE = 40
"""The narrowest column that is taken for running text, in columns of a Latin letter; below are tables and labels."""
_MIN_LINES = 5
_FULL = 0.92
"""The share of the measure a line reaches with the next word when that did not fit: letters differ in width."""
_LETTERS = r"[^\W\d_\u2e80-\u9fff]+"
_WORD_PARTS = re.compile(rf"((?:{_LETTERS}-)*{_LETTERS}){LINE_END_HYPHEN}(\w+)")
_WORD = re.compile(rf"{_LETTERS}(?:-{_LETTERS})*")


def rejoined_words(pages: Sequence[str]) -> list[str]:
    """Return the pages with every word that a line-end hyphen parted put together.

    Whether the hyphen belongs to the word is not on the page. The rest of the document decides where it has the word
    with or without the hyphen; else it goes, unless a capital or a digit follows, the part before it is one letter, or
    the word has other hyphens.
    """
    if not any(LINE_END_HYPHEN in page for page in pages):
        return list(pages)
    words = {word.lower() for page in pages for word in _WORD.findall(page)}

    def whole(parts: re.Match[str]) -> str:
        left, right = parts[1], parts[2]
        hyphenated, plain = f"{left}-{right}", left + right
        if not right[0].islower() or len(left) == 1 or "-" in left:
            return hyphenated
        if hyphenated.lower() in words and plain.lower() not in words:
            return hyphenated
        return plain

    return [_WORD_PARTS.sub(whole, page).replace(LINE_END_HYPHEN, "-") for page in pages]


def running_text(page: str) -> str:
    """Return the page with the lines of each paragraph joined: by a space, between Chinese or Japanese by nothing.

    A line-end hyphen stays for ``rejoined_words``, which needs the whole document.
    """
    page = page.replace("\r\n", "\n").replace("\r", "\n").replace(LINE_END_HYPHEN, LINE_END_HYPHEN + "\n")
    lines = [line.strip() for line in page.split("\n")]
    widths = [_width(line) for line in lines]
    measure = _measure(widths)
    pieces = [lines[0]]
    for place in range(1, len(lines)):
        before, line = lines[place - 1], lines[place]
        if before.endswith(LINE_END_HYPHEN):
            pieces.append("")
        elif _continues(before, widths[place - 1], line, measure):
            pieces.append("" if _HAN.match(before[-1]) and _HAN.match(line[0]) else " ")
        else:
            pieces.append("\n")
        pieces.append(line)
    return "".join(pieces)


def _measure(widths: Sequence[int]) -> int:
    """Return the width of a full line: what the ninth of ten lines reaches; 0 for too few lines to tell."""
    widest = sorted(width for width in widths if width)
    return widest[int(len(widest) * 0.9)] if len(widest) >= _MIN_LINES else 0


def _continues(before: str, width: int, line: str, measure: int) -> bool:
    if measure < _MIN_MEASURE or not before or not line or _OPENS_LINE.match(line) or _ENDS_SENTENCE.search(before):
        return False
    first_word = 2 if _HAN.match(line) else len(line.split(maxsplit=1)[0]) + 1
    return width + first_word >= _FULL * measure


def _width(line: str) -> int:
    return len(line) + (0 if line.isascii() else len(_WIDE.findall(line)))
