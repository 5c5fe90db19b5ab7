"""What of a statement can be checked word for word: its numbers, dates, names, quoted strings and negations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answering.alignment import CJK, features
from rag.answering.dates import Date, dates_in
from rag.answering.numerals import Number, fold, numbers_in

__all__ = ["Claims", "Negation", "claims_of", "is_name_in", "negations_in", "plain", "quote_parts"]

_HAS_CJK = re.compile(f"[{CJK}]")

_QUOTED = re.compile(
    r"“(?P<curly>[^“”\n]{2,400})”|(?<![\w\"])\"(?P<straight>[^\"\n]{2,400})\"(?!\w)"
    r"|「(?P<corner>[^「」\n]{2,400})」|『(?P<white>[^『』\n]{2,400})』"
)
_TITLED = re.compile(r"《(?P<title>[^《》\n]{1,80})》")
_ELLIPSIS = re.compile(r"\s*(?:\[?(?:\.{3}|…+)\]?)\s*")

_NAME_WORD = re.compile(r"[A-Z][A-Za-z0-9À-ɏ]*(?:[-'’.&][A-Za-z0-9À-ɏ]+)*")
_LATIN_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9À-ɏ]+(?:[-'’.][A-Za-z0-9À-ɏ]+)*")
_DOTTED = re.compile(rf"[{CJK}]{{1,8}}(?:[·•‧・][{CJK}]{{1,8}})+")
_KINDS = "大学|学院|公司|集团|银行|医院|博物馆|省|市|县|州|岛|河|江|湖|山脉|王朝|帝国|共和国|队|党|教派|教堂|铁路|机场"
_SUFFIXED = re.compile(rf"(?P<last>[{CJK}]{{2}})(?P<kind>{_KINDS})")

_NO_NAMES_LISTED = (
    "i the a an this that these those it its he she they we you his her their our my your in on at by for from with "
    "as and or but not no nor if when while where what who which why how there here all some many most each every "
    "both one two first second third after before during since until between under over into about although however "
    "therefore thus according source sources document documents passage text yes also then than to of is are was "
    "were has have had do does did will would can could may might must shall should both other another such only "
    "even more mr mrs ms dr sir jan january feb february mar march apr april june july aug august sep september oct "
    "october nov november dec december"
)
_NO_NAMES = frozenset(_NO_NAMES_LISTED.split())
_VERB_AFTER = re.compile(
    r"\s+(?:is|are|was|were|has|have|had|did|does|will|would|can|could|won|made|wrote|became|said|led|began|played|"
    r"founded|discovered|invented|received|lost|moved|died|born|married|used|took|gave|released|signed|and|of|in)\b"
)
_SPEAKER = re.compile(r"[.!?:]\s*[\"“(]?$|^[\s\"“(*_#>-]*$")

_NOT_EN = re.compile(
    r"\b(?:not|never|no|none|neither|nor|without|cannot|nobody|nothing|nowhere|unable|fail(?:s|ed)? to|"
    r"(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|must|need)n['’]t|can['’]t|won['’]t)\b",
    re.I,
)
_NOT_EN_BUT = re.compile(r"\b(?:not only|no longer than|not least|no\. ?\d|no doubt)", re.I)
_NOT_CN = re.compile(
    r"(?:不(?![仅但断过同久少管论得只足妨如愧禁由幸])|没有|没(?!收|落|有)|未(?!来|必|免|知)|并非|绝非|而非|无法|无需|禁止|从未|毫无|不得(?!不))"
)
_SCOPE_WORDS, _SCOPE_CHARS = 5, 8


@dataclass(frozen=True, slots=True)
class Negation:
    """A word that denies, at ``[start, end)``, and the features of what it denies: the words that follow."""

    start: int
    end: int
    scope: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claims:
    """What of a statement must occur in the words it cites. Numbers within dates or quotes are not listed again."""

    numbers: tuple[Number, ...]
    dates: tuple[Date, ...]
    names: tuple[str, ...]
    quotes: tuple[str, ...]
    negations: tuple[Negation, ...]
    own_words: str
    """the statement without what it quotes"""
    bare_words: str
    """the statement without its dates and numbers, which may be spelled in words"""

    def __len__(self) -> int:
        return sum(map(len, (self.numbers, self.dates, self.names, self.quotes, self.negations)))


def claims_of(statement: str) -> Claims:
    """Return what of a statement can be checked.

    >>> claims = claims_of('Ada Lovelace did not write "the notes" before 1 May 1843.')
    >>> claims.names, claims.quotes, len(claims.dates), len(claims.negations)
    (('Ada', 'Lovelace'), ('the notes',), 1, 1)
    """
    quoted = [(match.span(), next(part for part in match.groups() if part)) for match in _QUOTED.finditer(statement)]
    outside = _blanked(statement, [span for span, _ in quoted])
    dates = dates_in(outside)
    rest = _blanked(outside, [(date.start, date.end) for date in dates])
    numbers = numbers_in(rest)
    edges = [(date.start, date.end) for date in dates_in(statement)]
    edges += [(number.start, number.end) for number in numbers_in(statement)]
    return Claims(
        numbers=tuple(number for number in numbers if number.is_sure),
        dates=tuple(dates),
        names=tuple(dict.fromkeys(_names(rest))),
        quotes=tuple(quote for _, quote in quoted),
        negations=tuple(negations_in(outside)),
        own_words=outside,
        bare_words=_blanked(statement, edges),
    )


def negations_in(text: str) -> list[Negation]:
    """Return the words of a text that deny something, each with what it denies."""
    spared = [match.span() for match in _NOT_EN_BUT.finditer(text)]
    found = []
    for match in _NOT_EN.finditer(text):
        if not any(low <= match.start() < high for low, high in spared):
            following = re.split(r"[.,;:!?]\s", text[match.end() : match.end() + 80])[0].split()[:_SCOPE_WORDS]
            found.append(Negation(*match.span(), features(" ".join(following))))
    for match in _NOT_CN.finditer(text):
        following = re.split(r"[，。；！？,;]", text[match.end() : match.end() + _SCOPE_CHARS])
        found.append(Negation(*match.span(), features(following[0])))
    return sorted(found, key=lambda negation: negation.start)


def plain(text: str) -> str:
    """Return a text for comparing quotes: full width folded, one kind of quote mark and dash, no white space, case."""
    folded = fold(text).replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
    return re.sub(r"\s+", "", re.sub("[‐‑–—]", "-", folded.replace("。", "."))).casefold()


def quote_parts(quote: str) -> list[str]:
    """Return what of a quoted string must stand in the source, in this order: the parts between dots of omission.

    A mark at an end that belongs to the sentence around it is left out.
    """
    parts = [plain(part).strip(".,;:!?，。；：！？、") for part in _ELLIPSIS.split(quote)]
    return [part for part in parts if part]


def is_name_in(name: str, words: frozenset[str], text: str, initials: Sequence[str]) -> bool:
    """Tell whether a name is among the ``words`` or in the ``text`` (folded, lower case), or is its ``initials``."""
    wanted = name.casefold()
    if _HAS_CJK.search(name):
        return all(part in text for part in re.split("[·•‧・]", wanted))
    if wanted in words or features(name) <= words or wanted.removesuffix("'s").removesuffix("’s") in words:
        return True
    return name.isupper() and any(name.replace(".", "") in run for run in initials)


def _names(text: str) -> list[str]:
    names = []
    chinese = len(_HAS_CJK.findall(text)) > 0.2 * len(text)
    for match in (_LATIN_WORD if chinese else _NAME_WORD).finditer(text):
        word = match[0].removesuffix("'s").removesuffix("’s").rstrip(".")
        if len(word) < 2 or word.casefold() in _NO_NAMES or text[match.start() - 1 : match.start()].isdigit():
            continue
        if not chinese and _SPEAKER.search(text[max(0, match.start() - 6) : match.start()]):
            following = re.match(r"\s+([A-Z])", text[match.end() :])
            if not (following or _VERB_AFTER.match(text, match.end()) or match[0] != word or word.isupper()):
                continue  # subtle: what begins a sentence is capitalised, name or not
        names.append(word)
    names += [match["title"] for match in _TITLED.finditer(text)]
    names += [match[0] for match in _DOTTED.finditer(text)]
    names += [match[0] for match in _SUFFIXED.finditer(text)]
    return names


def _blanked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for low, high in spans:
        text = text[:low] + "\n" * (high - low) + text[high:]
    return text
