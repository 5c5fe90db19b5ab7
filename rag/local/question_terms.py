"""What a question asks for: its terms, its names, and the kind of thing that would answer it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag.answering.alignment import features

__all__ = ["Cue", "QuestionTerms", "read_question", "term_weights"]

_STOP = features(
    "a an the and or but if of in on at to for from by with as is are was were be been being am it its this that these "
    "those there here he she they them his her hers their theirs we our ours you your yours i me my mine us not no do "
    "does did done doing has have had having will would can could may might must shall should which who whom whose "
    "what when where why how than then so such also into about over please tell explain describe give list name know "
    "mean means kind type sort many much some any other between during most more did was whats s t"
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
# Words that ask or bind; what stands on both sides of one is no pair.
_CJK_STOP = re.compile(
    r"为什么|什么时候|什么|多少|多大|多久|多长|多远|多高|怎么样|怎么|怎样|如何|何时|何地|何人|何处"
    r"|哪里|哪儿|哪些|哪个|哪位|哪种|哪一|哪|谁|几|请问|请|是否|有没有|吗|呢|吧|啊|的|了|是|在|和|与|及|或|也|都|就|而|但|于|中|之|其|这|那|被|把|对|从|由|以|为|有|会|能|可以|一个"
)


@dataclass(frozen=True, slots=True)
class Cue:
    """A kind of answer, and how it looks in a text."""

    asks: re.Pattern[str]
    shows: re.Pattern[str]


def _cue(asks: str, shows: str, *, names: bool = False) -> Cue:
    # Capitals tell names from words, so that pattern minds them.
    return Cue(re.compile(asks, re.IGNORECASE), re.compile(shows) if names else re.compile(shows, re.IGNORECASE))


_CUES = (
    _cue(
        r"\bhow (?:many|much|long|old|far|tall|big|large|high|often|fast|deep)\b"
        r"|多少|几[个人名次年月日天种岁座条]|多[大久长远高快]",
        r"[0-9０-９]|[一二三四五六七八九十百千万亿两]+[个人名次年月日天倍种座条分米公]"
        r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred"
        r"|thousand|million|billion|half|dozen|twice|once|percent)\b",
    ),
    _cue(
        r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade)\b|何时|什么时候|哪一?[年天月]|几[年月日]",
        r"\b[12][0-9]{3}\b|[0-9]+世纪|[0-9一二三四五六七八九十]+[年月日]"
        r"|\b(?:january|february|march|april|june|july|august|september|october|november|december|century"
        r"|monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b",
    ),
    _cue(
        r"\b(?:who|whom|whose)\b|谁|哪位|何人|哪[个一]*人",
        r"(?<!^)(?<![.!?] )\b[A-Z][a-z]+|[\u4e00-\u9fff]·[\u4e00-\u9fff]|[人家者员王帝军队长《]",
        names=True,
    ),
    _cue(
        r"\bwhy\b|\bwhat (?:is|was|were|are) the (?:reason|cause)|为什么|为何|原因",
        r"\b(?:because|due to|since|so that|in order to|reason|caused?|result|led to|owing)\b"
        r"|因为|由于|因此|所以|为了|导致|原因",
    ),
)


@dataclass(frozen=True, slots=True)
class QuestionTerms:
    """A question read for matching.

    ``terms`` are as ``rag.answering.alignment.features`` makes them, without words that only ask or bind. ``names`` are
    those among them that cannot be said in other words: numbers, and what is capitalised inside the question.
    ``characters`` are its CJK characters, again without those that only ask or bind.
    """

    terms: frozenset[str]
    names: frozenset[str]
    characters: frozenset[str]
    cues: tuple[Cue, ...]

    def cue_met(self, text: str) -> float:
        """Return 1 where a text shows what the question asks for, 0 where not, and 0.5 where anything might do."""
        if not self.cues:
            return 0.5
        return float(any(cue.shows.search(text) for cue in self.cues))

    def character_share(self, text: str, *, default: float) -> float:
        """Return the share of the question's CJK characters that a text holds; ``default`` where it has none."""
        return len(self.characters.intersection(text)) / len(self.characters) if self.characters else default


def read_question(question: str) -> QuestionTerms:
    """Return the terms of a question.

    >>> sorted(read_question("How many floors has the Eiffel Tower?").terms)
    ['eiffel', 'floor', 'tower']
    >>> sorted(read_question("黑豹队的防守丢了多少分？").terms)
    ['守丢', '豹队', '防守', '黑豹']
    """
    cues = tuple(cue for cue in _CUES if cue.asks.search(question))
    bare = question
    for cue in cues:
        bare = cue.asks.sub(" ", bare)  # an answer to "how long" need not say "long"
    bare = _CJK.sub(lambda run: f" {_CJK_STOP.sub(' ', run[0])} ", bare)
    terms = features(bare) - _STOP
    pairs = frozenset(term for term in terms if len(term) > 1 or not _CJK.match(term))
    terms = pairs or terms
    names = frozenset().union(*(features(name) for name in re.findall(r"(?<!^)(?<=\s)[A-Z][\w'’-]+|[0-9]+", question)))
    characters = frozenset("".join(_CJK.findall(bare)))
    return QuestionTerms(terms, (names - _STOP) & terms, characters, cues)


def term_weights(terms: frozenset[str], texts: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """Return how much each term says: the fewer texts hold it, the more. The weights add up to 1."""
    raw = {term: math.log(1 + (len(texts) + 1) / (1 + sum(term in text for text in texts))) for term in sorted(terms)}
    total = sum(raw.values())
    return {term: weight / total for term, weight in raw.items()}
