"""The question: whether it can be asked, what to retrieve for it, and in which language to speak of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rag.answering.languages import Notice, notice_in
from rag.errors import QuestionError
from rag.types import Turn

__all__ = ["Notice", "checked_question", "notice", "reads_chinese", "retrieval_query"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_OTHER_CJK = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
_BACK_REFERENCE = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|hers|this|these|those|former|latter|same|above|previous)\b"
    r"|它|她|(?<!其)他|这|那|(?<!应)该|其(?![他中实余])|(?<![因如])此|上述|前者|后者|呢",
    re.IGNORECASE,
)
_MAX_ELLIPTIC_WORDS = 4
_MAX_ELLIPTIC_HAN = 6


def checked_question(question: str) -> str:
    """Return the question without white space around it; raises QuestionError when nothing is left."""
    if not (stripped := question.strip()):
        raise QuestionError("the question is empty; write one")
    return stripped


def reads_chinese(text: str) -> bool:
    """Tell whether a text is Chinese: Han characters, no kana or hangul, and not just a few among Latin words."""
    n_han = len(_HAN.findall(text))
    return n_han > 0 and not _OTHER_CJK.search(text) and n_han * 2 > len(re.findall(r"[A-Za-z]+", text))


def notice(which: Notice, question: str, language: str = "") -> str:
    """Return what the reader is told instead of an answer: in a ``language``, by its English name, where one is named.

    Else in Chinese to a Chinese question, and in English to any other.
    """
    return notice_in(language or ("Chinese" if reads_chinese(question) else "English"), which)


def retrieval_query(question: str, history: Sequence[Turn]) -> str:
    """Return what to retrieve with: the question, with the user's last question before it where it leans on that.

    It leans on it when it refers back ("How old is it?", "那它呢？") or is too short to stand alone (at most 4 words or
    6 Chinese characters). A question that stands alone is taken as it is: an old topic would only blur it.
    """
    earlier = next((turn.text.strip() for turn in reversed(history) if turn.role == "user" and turn.text.strip()), "")
    if not earlier:
        return question
    n_han = len(_HAN.findall(question))
    is_short = n_han <= _MAX_ELLIPTIC_HAN if n_han else len(question.split()) <= _MAX_ELLIPTIC_WORDS
    return f"{earlier}\n{question}" if is_short or _BACK_REFERENCE.search(question) else question
