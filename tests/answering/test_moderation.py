"""The policy decides alone; the gate keeps order, waits for verdicts and leaves nothing running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.answering.moderation import ModerationPolicy, by_policy, gated, whole_sentences
from rag.errors import ConfigError, GenerationError, ModerationError
from rag.types import ModerationVerdict

FLAGGED = ModerationVerdict(True, ("violence",), {"violence": 0.8, "hate": 0.3}, "m")
CLEAN = ModerationVerdict(False, (), {"violence": 0.1, "hate": 0.3}, "m")


async def said(*texts: str, error: Exception | None = None) -> AsyncGenerator[str, None]:
    for text in texts:
        yield text
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("thresholds", "verdict", "categories"),
    [
        ({}, FLAGGED, ("violence",)),
        ({}, CLEAN, ()),
        ({"violence": 0.9}, FLAGGED, ()),
        ({"hate": 0.2}, FLAGGED, ("violence", "hate")),
        ({"hate": 0.3}, CLEAN, ("hate",)),
        ({"unheard-of": 0.1}, CLEAN, ()),
    ],
)
def test_thresholds_overrule_the_moderator_in_their_own_categories(
    thresholds: dict[str, float], verdict: ModerationVerdict, categories: tuple[str, ...]
) -> None:
    judged = by_policy(ModerationPolicy(thresholds=thresholds), verdict)
    assert (judged.categories, judged.flagged) == (categories, bool(categories))
    assert judged.scores == verdict.scores


def test_a_flag_without_categories_stays_a_flag() -> None:
    assert by_policy(ModerationPolicy(), ModerationVerdict(True, (), {}, "m")).flagged


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="violence"):
        ModerationPolicy(thresholds={"violence": threshold})


def test_a_policy_covers_what_it_is_told_to() -> None:
    assert ModerationPolicy(answer=False).covers("question")
    assert not ModerationPolicy(answer=False).covers("answer")
    assert not ModerationPolicy(action="off").covers("question")


@given(st.lists(st.sampled_from(["It is. ", "So", " what? ", "蓝色。", "\n", "[1]", " ", "Dr. Li"]), max_size=15))
def test_whole_sentences_are_the_same_text(texts: list[str]) -> None:
    async def collect() -> list[str]:
        return [piece async for piece in whole_sentences(said(*texts))]

    pieces = asyncio.run(collect())
    assert "".join(pieces) == "".join(texts)


async def test_pieces_come_in_order_though_later_verdicts_come_first() -> None:
    async def check(text: str) -> ModerationVerdict:
        await asyncio.sleep(0.03 if text == "slow" else 0)
        return CLEAN

    pieces = [piece async for piece, _ in gated(said("slow", "quick", "quicker"), check)]
    assert pieces == ["slow", "quick", "quicker"]


async def test_errors_come_in_their_place() -> None:
    async def check(text: str) -> ModerationVerdict:
        if text == "bad":
            raise ModerationError("unreachable")
        return CLEAN

    seen: list[str] = []

    async def read(pieces: AsyncGenerator[str, None]) -> None:
        async for piece, _ in gated(pieces, check):
            seen.append(piece)

    with pytest.raises(GenerationError):
        await read(said("one", "two", error=GenerationError("broken")))
    with pytest.raises(ModerationError):
        await read(said("three", "bad", "four"))
    assert seen == ["one", "two", "three"]
    assert len(asyncio.all_tasks()) == 1


async def test_a_reader_that_stops_holds_the_writer_back() -> None:
    written = 0

    async def endless() -> AsyncGenerator[str, None]:
        nonlocal written
        while True:
            written += 1
            yield "More. "

    async def check(text: str) -> ModerationVerdict:
        return CLEAN

    gate = gated(endless(), check)
    await anext(gate)
    for _ in range(50):
        await asyncio.sleep(0)
    assert written < 10
    await gate.aclose()
    assert len(asyncio.all_tasks()) == 1
