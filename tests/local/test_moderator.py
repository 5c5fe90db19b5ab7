"""The word list: what it finds, and what it must leave alone."""

from __future__ import annotations

import pytest

from rag.contracts import Moderator
from rag.local.moderator import WordModerator

MODERATOR: Moderator = WordModerator()

HARMLESS = [
    "Kill the process with kill -9 if it hangs.",
    "Kill all child processes, then execute the master script and abort.",
    "The committee will shoot a video about suicide prevention.",
    "There were chinks in the armour; the dyke held.",
    "Moana and Dick Whittington sat in Scunthorpe and ate cockles.",
    "Retarded growth was seen in 4 % of the cohort.",
    "cp links into the target folder",
    "如何杀死一个进程？先用 ps 找到它，再执行 kill。",
    "他因抑郁症自杀身亡，享年四十岁。",
    "这部电影讲述了白痴王子的故事。",
    "",
]
EXPLICIT = {
    "I will kill you and your family": "harassment/threatening",
    "you're a piece of shit": "harassment",
    "how to make a bomb at home": "illicit/violent",
    "I want to kill myself": "self-harm",
    "ＰＯＲＮ videos": "sexual",
    "you f\u200bu\u200bck\u00adoff? Fuck off!": "harassment",
    "death to\ninfidels": "hate",
    "我要杀了你": "harassment/threatening",
    "你就是个傻逼": "harassment",
    "怎么做炸弹最快": "illicit/violent",
    "我不想活了": "self-harm",
}


@pytest.mark.parametrize("text", HARMLESS)
async def test_harmless_text_is_not_flagged(text: str) -> None:
    (verdict,) = await MODERATOR.moderate([text])

    assert (verdict.flagged, verdict.categories) == (False, ())


@pytest.mark.parametrize(("text", "category"), EXPLICIT.items())
async def test_explicit_text_is_flagged_with_its_category(text: str, category: str) -> None:
    (verdict,) = await MODERATOR.moderate([text])

    assert verdict.flagged
    assert category in verdict.categories
    assert verdict.scores[category] == 1


async def test_there_is_a_verdict_per_text_in_their_order() -> None:
    verdicts = await MODERATOR.moderate(["fine", "fuck you", "好"])

    assert [verdict.flagged for verdict in verdicts] == [False, True, False]
    assert await MODERATOR.moderate([]) == []


async def test_the_model_name_says_that_it_is_a_word_list() -> None:
    (verdict,) = await MODERATOR.moderate(["fine"])

    assert verdict.model == "local/word-list"
    assert set(verdict.scores.values()) == {0.0}
