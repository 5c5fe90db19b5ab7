"""What was heard in the parts of a recording, put together: paragraphs, and a place for each thing said."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.readers.clock import clock
from ingest.readers.draft import Draft, one_line
from rag.types import MediaText

__all__ = ["Heard", "transcript", "without_repeat"]

_PAUSE_S = 1.5
"""A pause after which a new paragraph begins."""
_PARAGRAPH_S = 60.0
"""How long a paragraph lasts, about, where nobody pauses; it ends with a sentence."""
_ENDS_SENTENCE = re.compile(r"[.!?。！？…][\"'”’」』)）]*$")
_WIDE = "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
_WORD = re.compile(rf"[{_WIDE}]|[^\W_{_WIDE}]+(?:['’][^\W_{_WIDE}]+)*")
_IS_WIDE = re.compile(f"[{_WIDE}]")
_MAX_REPEATED = 16
"""Words that two seconds hold, at most."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A part of a recording with its text, None where it is not known; its first ``shared_s`` end the part before."""

    start_s: float
    end_s: float
    text: MediaText | None
    shared_s: float = 0.0

    @property
    def clocks(self) -> str:
        return f"{clock(self.start_s)} to {clock(self.end_s)}"


@dataclass(frozen=True, slots=True)
class _Utterance:
    start_s: float
    end_s: float
    text: str
    speaker: str = ""


def transcript(parts: Iterable[Heard]) -> Draft:
    """Return the text of a recording: a page for each segment, named by its time; paragraphs end at pauses."""
    draft = Draft()
    before: _Utterance | None = None
    paragraph_s = 0.0
    for said in _utterances(parts):
        gap = "\n\n" if before is None or _ends_paragraph(before, said, paragraph_s) else _joint(before.text, said.text)
        is_new = gap == "\n\n"
        if is_new:
            paragraph_s = said.start_s
        is_named = said.speaker and (before is None or said.speaker != before.speaker)
        draft.page(clock(said.start_s))
        draft.add(f"{said.speaker}: {said.text}" if is_named else said.text, gap=gap)
        before = said
    return draft


def _ends_paragraph(before: _Utterance, said: _Utterance, paragraph_s: float) -> bool:
    if said.start_s - before.end_s >= _PAUSE_S or said.speaker != before.speaker:
        return True
    return before.end_s - paragraph_s >= _PARAGRAPH_S and bool(_ENDS_SENTENCE.search(before.text))


def _joint(before: str, after: str) -> str:
    """Return what stands between two segments of a paragraph: nothing between Chinese or Japanese characters."""
    return "" if _IS_WIDE.match(before[-1]) and _IS_WIDE.match(after[0]) else " "


def _utterances(parts: Iterable[Heard]) -> Iterator[_Utterance]:
    """Yield what is said, in time of the whole recording; what two parts share, once."""
    before = ""
    for part in parts:
        told = list(_of_part(part)) if part.text is not None else []
        if part.shared_s and before:
            told = list(_unshared(told, before, part.start_s + part.shared_s))
        yield from told
        before = told[-1].text if told else ""


def _of_part(part: Heard) -> Iterator[_Utterance]:
    assert part.text is not None
    whole = one_line(part.text.text)
    if not part.text.segments and whole:
        yield _Utterance(part.start_s, part.end_s, whole)
    for segment in part.text.segments:
        if text := one_line(segment.text):  # models tell times beyond the end, now and then
            start_s, end_s = (
                min(part.start_s + time_s, part.end_s or math.inf) for time_s in (segment.start_s, segment.end_s)
            )
            yield _Utterance(start_s, end_s, text, segment.speaker)


def _unshared(told: Iterable[_Utterance], before: str, until_s: float) -> Iterator[_Utterance]:
    """Yield what was not heard in the part before as well, whose text ends with ``before``."""
    is_first = True
    for said in told:
        if said.end_s <= until_s:
            continue
        text = without_repeat(before, said.text) if is_first and said.start_s < until_s else said.text
        is_first = False
        if text:
            yield _Utterance(said.start_s, said.end_s, text, said.speaker)


def without_repeat(before: str, after: str) -> str:
    """Return ``after`` without the words at its beginning with which ``before`` ends.

    >>> without_repeat("and then we went home", "We went home, and slept.")
    'and slept.'
    """
    ends = [match[0].casefold() for match in _WORD.finditer(before)][-_MAX_REPEATED:]
    begins = list(_WORD.finditer(after))[:_MAX_REPEATED]
    words = [match[0].casefold() for match in begins]
    for n in range(min(len(ends), len(words)), 0, -1):
        if ends[-n:] == words[:n]:
            return after[begins[n - 1].end() :].lstrip(" ,.;:!?，。；：！？、…")
    return after
