"""Places where a text may be cut without changing its tokens on either side.

A byte-pair or WordPiece tokenizer first splits a text into pre-tokens (words, runs of punctuation, runs of white space)
and never merges across them. Where a pre-token must end whatever surrounds it, the tokens of a text are the tokens of
its two halves. Such a place is called a seam here, and three kinds hold for every tokenizer in ``rag.tokens``:

- before a blank or tab that follows something printed: ``word| next``
- after a line break that something printed follows, other than a slash (o200k joins ``.\\n/``): ``\\n|Next``
- between a letter or digit and a punctuation mark: ``word|.`` and ``你好|，`` (apostrophes excluded: ``don't``)

Both neighbours of a seam decide it, nothing else: a seam of a text is a seam of every slice that holds both.
"""

from __future__ import annotations

import re

__all__ = ["MAX_RUN", "hard_cuts", "late_seam", "next_seam"]

# Letters and digits that every version of Unicode agrees on; the fewer, the safer: a seam not seen costs microseconds.
_WORD = "0-9A-Za-z\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_MARK = ",.;:!?()，。、；：！？（）「」《》“”"
_BEFORE_SEAM = re.compile(rf"\S(?=[ \t])|\n(?=[^\s/])|[{_WORD}](?=[{_MARK}])")

MAX_RUN = 65_536
"""Characters without a seam after which a text is cut anyway.

tiktoken 0.14 panics (stack overflow) on a million blanks; measured: 250,000 of anything are fine.
"""


def next_seam(text: str, start: int, end: int) -> int:
    """Return the first seam in [start, end], or ``end`` where there is none. The start of the text is a seam."""
    if start == 0:
        return 0
    match = _BEFORE_SEAM.search(text, start - 1, end)
    return match.end() if match else end


def late_seam(text: str, start: int, end: int) -> int:
    """Return one of the last seams in [start, end], or ``start`` where there is none. The end of the text is a seam."""
    if end == len(text) or _BEFORE_SEAM.match(text, end - 1):
        return end
    # The usual ends first, by means faster than the pattern: a stop after a word, a word after a blank.
    if text[end - 1] in _MARK and end - 1 > start and _BEFORE_SEAM.match(text, end - 2):
        return end - 1
    blank = text.rfind(" ", max(start, end - 24), end)
    if blank > start and not text[blank - 1].isspace():
        return blank
    width = 24
    while True:
        begin = max(start - 1, end - width, 0)
        seam = -1
        for match in _BEFORE_SEAM.finditer(text, begin, end):
            seam = match.end()
        if seam >= start:
            return seam
        if begin <= start:
            return start
        width *= 4


def hard_cuts(text: str) -> list[int]:
    """Return where to cut runs without a seam so that none is longer than 65,536 characters; usually nowhere.

    Counted from the seam before the run, so that a slice made at seams is cut at the same places as the whole.
    """
    cuts: list[int] = []
    seam, half = 0, MAX_RUN // 2
    while len(text) - seam > MAX_RUN:
        ahead = _BEFORE_SEAM.search(text, seam + half, seam + MAX_RUN)
        if ahead:
            seam = ahead.end()
            continue
        first = seam
        for match in _BEFORE_SEAM.finditer(text, seam, seam + half + 1):
            first = match.end()
        after = _BEFORE_SEAM.search(text, seam + MAX_RUN - 1)
        seam = after.end() if after else len(text)
        cuts.extend(range(first + MAX_RUN, seam, MAX_RUN))
    return cuts
