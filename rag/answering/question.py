"""The question: whether it can be asked, what to retrieve for it, and in which language to speak of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from rag.errors import QuestionError
from rag.types import Turn

__all__ = ["Notice", "checked_question", "notice", "reads_chinese", "retrieval_query"]

Notice = Literal["not_in_documents", "nothing_allowed", "question_blocked", "answer_blocked"]

_NOTICES: dict[tuple[Notice, bool], str] = {
    ("not_in_documents", False): "The documents do not answer this question.",
    ("not_in_documents", True): "文档中没有能回答这个问题的内容。",
    ("nothing_allowed", False): "No document matches the filter, so nothing was searched.",
    ("nothing_allowed", True): "没有文档符合筛选条件，因此没有进行检索。",
    ("question_blocked", False): "This question was stopped by moderation and was not answered.",
    ("question_blocked", True): "该问题未通过内容审核，因此没有作答。",
    ("answer_blocked", False): "The answer was stopped here by moderation.",
    ("answer_blocked", True): "回答未通过内容审核，已在此停止。",
}

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


def notice(which: Notice, question: str) -> str:
    """Return what the reader is told instead of an answer, in Chinese to a Chinese question, else in English."""
    return _NOTICES[which, reads_chinese(question)]


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
