"""The terms of a text, for keyword search: the only importer of PyStemmer.

Words are stemmed (English Snowball) and none is a stop word: dropping them costs three points of hit@10. Scripts
written without spaces become overlapping pairs of characters. Identifiers (``max_tokens``, ``E-1042``, ``v1.2.3``,
``foo.bar()``, ``maxTokens``) are kept whole and in parts.
"""

from __future__ import annotations

import operator
import re
import threading
import unicodedata
from collections.abc import Callable
from functools import lru_cache

import Stemmer

__all__ = ["UNSPACED", "IndexedTerms", "characters", "terms"]

UNSPACED = (
    "\u3005\u3007\u3040-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u1100-\u11ff\uac00-\ud7af\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1780-\u17d3"
)
"""What is written without spaces, for a set of a regular expression: Han, kana and Hangul; Thai, Lao, Burmese and Khmer
with their vowel signs."""
_WORD = rf"[^\W_{UNSPACED}]+"
_PIECES = re.compile(rf"([{UNSPACED}]+)|({_WORD}(?:(?:[.\-'’]|_+){_WORD})*(?:\+\+|#(?!\w))?)")
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")
_JOINTS = re.compile(r"[._\-'’+#]+")
_POSSESSIVE = re.compile(r"['’][sS]$")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
_LONGEST = 128  # characters of a term; longer runs (encoded data) are cut into pieces of this
_AROUND = (
    ".,;:!?()[]{}<>\"'`*_-/|=~^$%&@\\"  # what is no part of a word at its ends; "+" and "#" are, in "c++" and "c#"
)
_PLAIN = re.compile(r"[A-Za-z0-9]+(?:[.\-][A-Za-z0-9]+)*").fullmatch
_KEPT = 200_000  # pieces between blanks whose terms are remembered, of so many characters at most: about 40 MB
_KEPT_LENGTH = 32

_stemmer = Stemmer.Stemmer("english", 0)  # without its own cache, which is slower than none
_stemmer_lock = threading.Lock()  # PyStemmer's objects are not made for threads


def terms(text: str) -> list[str]:
    """Return the terms of a text in order, repeats included; none for a text of symbols.

    >>> terms("The max_tokens of 价格表")
    ['the', 'max_tokens', 'max', 'token', 'of', '价格', '格表']
    """
    return _terms(unicodedata.normalize("NFKC", text))


class IndexedTerms:
    """What an index holds of a text: its terms, and the characters of its longer unspaced runs, between blanks.

    As ``terms`` and ``characters`` say, in any order, several times faster: no term holds a blank, so a text can
    be taken apart there first, and most of what lies between has been seen before. Made for one update of an index.

    >>> IndexedTerms()("the max_tokens 价格").split()
    ['the', 'max_tokens', 'max', 'token', '价格', '价', '格']
    """

    def __init__(self) -> None:
        self._of = _TermsOfPieces().__getitem__

    def __call__(self, text: str) -> str:
        normal = text if text.isascii() else unicodedata.normalize("NFKC", text)
        return " ".join(map(self._of, normal.split()))


class _TermsOfPieces(dict[str, str]):
    """The terms of pieces of text without blanks, joined. Forgets them all when they are many, so as not to grow."""

    def __init__(self) -> None:
        self._stem: Callable[[str], str] = Stemmer.Stemmer("english", 0).stemWord  # its own, which needs no lock
        super().__init__()

    def __missing__(self, piece: str) -> str:
        core = piece.strip(_AROUND)
        if _PLAIN(core) and len(core) <= _LONGEST and _has_no_humps(core, lower := core.lower()):
            if lower.isalnum():
                found = self._stem(lower)  # as nearly all are
            else:
                found = " ".join([lower, *map(self._stem, lower.replace(".", "-").split("-"))])
        else:
            found = " ".join(_terms(piece) if piece.isascii() else _terms(piece, with_characters=True))
        if len(piece) <= _KEPT_LENGTH:
            if len(self) >= _KEPT:
                self.clear()
            self[piece] = found
        return found


def _has_no_humps(word: str, lower: str) -> bool:
    """Tell whether no part of a word is written like ``maxTokens``, for a word of ASCII and its small letters."""
    return word[1:] == lower[1:] or word.isupper()


def _terms(text: str, *, with_characters: bool = False) -> list[str]:
    found: list[str] = []
    for unspaced, word in _PIECES.findall(text):
        if len(unspaced) == 1:
            found.append(unspaced)
        elif unspaced:
            found.extend(map(operator.add, unspaced, unspaced[1:]))
            if with_characters:
                found.extend(unspaced)
        elif len(word) <= _LONGEST:
            found.extend(_word_terms(word))
        else:
            for part in _JOINTS.split(word.casefold()):
                found.extend(part[at : at + _LONGEST] for at in range(0, len(part), _LONGEST))
    return found


def characters(text: str) -> list[str]:
    """Return the characters of the runs written without spaces, repeats included; runs of one are terms already.

    >>> characters("猫 and 小狗")
    ['小', '狗']
    """
    return _characters(unicodedata.normalize("NFKC", text))


def _characters(text: str) -> list[str]:
    return [character for run in _UNSPACED_RUN.findall(text) if len(run) > 1 for character in run]


@lru_cache(maxsize=100_000)
def _word_terms(word: str) -> tuple[str, ...]:
    word = _POSSESSIVE.sub("", word)
    parts = [part for part in _JOINTS.split(word) if part]
    found = []
    if word != parts[0] and "'" not in word and "’" not in word:
        found.append(word.casefold())
    for part in parts:
        found.append(_stem(part.casefold()))
        humps = _HUMPS.findall(part) if part.isascii() and not (part.islower() or part.isupper()) else []
        if len(humps) > 1 and part.isalpha():
            found.extend(_stem(hump.lower()) for hump in humps)
    return tuple(found)


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    with _stemmer_lock:
        return str(_stemmer.stemWord(word))
