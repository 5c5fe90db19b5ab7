"""A word list as moderator: it sees words, not meaning.

It finds explicit words and phrases in English and Chinese, and nothing that is said in other words; it cannot tell a
quotation, a report or a cry for help from an attack. ``benchmarks/moderation.py`` measures how little that is. Whoever
needs moderation should name an endpoint that has it.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rag.types import ModerationVerdict

__all__ = ["LOCAL_MODERATOR", "WordModerator"]

LOCAL_MODERATOR = "local/word-list"
TERMS = Path(__file__).parent / "data" / "moderation.json"

_GAP = r"[\W_]+"


class WordModerator:
    """Flags texts that contain a listed word or phrase. Satisfies ``rag.contracts.Moderator``.

    Width, case and accents are ignored. A score is 1 for a category with a find and 0 for any other.
    """

    def __init__(self) -> None:
        listed = json.loads(TERMS.read_text(encoding="utf-8"))
        del listed["about"]
        self._patterns: Mapping[str, re.Pattern[str]] = MappingProxyType(
            {category: _pattern(terms["en"], terms["zh"]) for category, terms in listed.items()}
        )

    async def moderate(self, texts: Sequence[str]) -> list[ModerationVerdict]:
        """Return one verdict per text, in their order."""
        return await asyncio.to_thread(lambda: [self._verdict(text) for text in texts])

    def _verdict(self, text: str) -> ModerationVerdict:
        plain = _plain(text)
        scores = {category: float(bool(pattern.search(plain))) for category, pattern in self._patterns.items()}
        categories = tuple(category for category, score in scores.items() if score)
        return ModerationVerdict(bool(categories), categories, MappingProxyType(scores), LOCAL_MODERATOR)


def _pattern(english: Sequence[str], chinese: Sequence[str]) -> re.Pattern[str]:
    """Return one pattern for all terms of a category; see "about" in the list for what its signs mean."""
    phrases = [_GAP.join(_word(word) for word in term.split()) for term in english]
    found = [re.escape(_plain(term)) for term in chinese]
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b|{'|'.join(found)}")


def _word(word: str) -> str:
    """Return the pattern of a word or its alternatives: ``kill*|murder`` gives ``(?:kill\\w*|murder)``."""
    choices = (
        re.escape(choice.removesuffix("*")) + (r"\w*" if choice.endswith("*") else "") for choice in word.split("|")
    )
    return f"(?:{'|'.join(choices)})"


def _plain(text: str) -> str:
    """Return a text in one width and case, without accents and invisible characters."""
    spread = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in spread if unicodedata.category(character) not in ("Mn", "Cf"))
