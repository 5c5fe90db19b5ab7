"""The terms of a text, for keyword search: the only importer of PyStemmer.

Words are stemmed (English Snowball) and none is a stop word: dropping them costs three points of hit@10. Scripts
written without spaces become overlapping pairs of characters. Identifiers (``max_tokens``, ``E-1042``, ``v1.2.3``,
``foo.bar()``, ``maxTokens``) are kept whole and in parts.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache

import Stemmer

__all__ = ["lone_characters", "terms"]

# Han, kana and Hangul; Thai, Lao, Burmese and Khmer with their vowel signs.
_UNSPACED = (
    "\u3005\u3007\u3040-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u1100-\u11ff\uac00-\ud7af\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1780-\u17d3"
)
_WORD = rf"[^\W_{_UNSPACED}]+"
_PIECES = re.compile(rf"([{_UNSPACED}]+)|({_WORD}(?:(?:[.\-'’]|_+){_WORD})*(?:\+\+|#(?!\w))?)")
_JOINTS = re.compile(r"[._\-'’+#]+")
_POSSESSIVE = re.compile(r"['’][sS]$")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
_LONGEST = 128  # characters of a term; longer runs (encoded data) are cut into pieces of this

_stemmer = Stemmer.Stemmer("english")
_stemmer_lock = threading.Lock()  # PyStemmer's objects are not made for threads


def terms(text: str) -> list[str]:
    """Return the terms of a text in order, repeats included; none for a text of symbols.

    >>> terms("The max_tokens of 价格表")
    ['the', 'max_tokens', 'max', 'token', 'of', '价格', '格表']
    """
    found: list[str] = []
    for unspaced, word in _PIECES.findall(unicodedata.normalize("NFKC", text)):
        if unspaced:
            found.extend(unspaced[at : at + 2] for at in range(len(unspaced) - 1) or (0,))
        elif len(word) <= _LONGEST:
            found.extend(_word_terms(word))
        else:
            for part in _JOINTS.split(word.casefold()):
                found.extend(part[at : at + _LONGEST] for at in range(0, len(part), _LONGEST))
    return found


def lone_characters(text: str) -> tuple[list[str], list[str]]:
    """Return the runs of one unspaced character, and the last characters of the longer runs.

    Pairs do not find a character by itself. An index that also holds the last characters can: every other character
    begins a pair.

    >>> lone_characters("猫 and 小狗")
    (['猫'], ['狗'])
    """
    runs = [unspaced for unspaced, _ in _PIECES.findall(unicodedata.normalize("NFKC", text)) if unspaced]
    return [run for run in runs if len(run) == 1], [run[-1] for run in runs if len(run) > 1]


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


def _stem(word: str) -> str:
    with _stemmer_lock:
        return str(_stemmer.stemWord(word))
