"""Another model for the time that the first is down, over real HTTP: two endpoints, real faults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.footnote import Footnote
from api.writers import fallback_choice
from rag.answering.fallback import FallbackGenerator
from rag.errors import ConfigError, EndpointUnreachableError, GenerationError
from rag.settings import load_settings
from rag.types import GenerationSettings, Prompt, TextDelta
from tests.fakes import CannedGenerator
from tests.upstream import Fault, Upstream
from tests.upstream.faults import OUT_OF_QUOTA, error_after

MOON = "Apollo 11 landed on the Moon on 20 July 1969.\n"
QUESTION = "When did Apollo 11 land on the Moon?"


@pytest.fixture(scope="module")
def running_second() -> Iterator[Upstream]:
    with Upstream() as second:
        yield second


@pytest.fixture
def second(running_second: Upstream) -> Upstream:
    running_second.reset()
    running_second.reply = lambda request: "It landed on 20 July 1969 [1]."
    return running_second


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fallback")
    (home / "docs").mkdir()
    (home / "docs" / "moon.md").write_text(MOON, encoding="utf-8")

    async def ingest() -> None:
        async with Footnote.open(home / "library", environ={}) as footnote:
            await footnote.ingest(home / "docs")

    asyncio.run(ingest())
    return home / "library"


def opened(library: Path, first: Upstream, second: Upstream, **more: Any) -> Footnote:
    settings: dict[str, Any] = {
        "chat__base_url": first.base_url,
        "chat__model": "first",
        "chat__max_retries": 0,
        "chat__timeout_s": 0.3,
        "chat__fallback_base_url": second.base_url,
        "chat__fallback_model": "second",
        "embeddings__provider": "local",
    }
    return Footnote.open(library, environ={}, **settings | more)


@pytest.mark.parametrize(
    "fault",
    [Fault(status=503), Fault(status=500), Fault(status=429), Fault(hang=True), Fault(cut_after=0), OUT_OF_QUOTA],
    ids=["503", "500", "429", "timeout", "cut", "quota"],
)
async def test_the_second_answers_while_the_first_is_down(
    library: Path, upstream: Upstream, second: Upstream, fault: Fault
) -> None:
    upstream.always("chat", fault)
    async with opened(library, upstream, second) as footnote:
        answer = await footnote.ask(QUESTION)
    assert (answer.model, answer.citations[0].document) == ("second", "moon.md")
    (note,) = answer.notes
    assert note.startswith("answered by second, because first is down: chat with 'first'")


async def test_a_first_that_was_down_is_left_in_peace_for_a_while(
    library: Path, upstream: Upstream, second: Upstream
) -> None:
    upstream.script("chat", Fault(status=503))
    async with opened(library, upstream, second) as footnote:
        answers = [await footnote.ask(QUESTION) for _ in range(3)]
    assert [answer.model for answer in answers] == ["second"] * 3
    assert len(upstream.calls("chat")) == 1
    assert all("because first is down" in answer.notes[0] for answer in answers)


@pytest.mark.parametrize("fault", [Fault(status=400), Fault(status=401)], ids=["400", "401"])
async def test_a_mistake_is_seen_and_not_covered_up(
    library: Path, upstream: Upstream, second: Upstream, fault: Fault
) -> None:
    upstream.always("chat", fault)
    async with opened(library, upstream, second) as footnote:
        with pytest.raises(GenerationError, match="chat with 'first'"):
            await footnote.ask(QUESTION)
    assert not second.calls("chat")


async def test_a_stream_that_breaks_after_its_first_word_is_an_error(
    library: Path, upstream: Upstream, second: Upstream
) -> None:
    upstream.reply = lambda request: "It landed on some day in the seventies [1]."
    broken = error_after(5, {"error": {"message": "The engine broke.", "type": "server_error", "code": None}})
    upstream.script("chat", Fault(edit_events=broken))
    shown: list[str] = []

    async def read(footnote: Footnote) -> None:
        async for event in footnote.stream(QUESTION):
            shown.extend([event.text] if isinstance(event, TextDelta) else [])

    async with opened(library, upstream, second) as footnote:
        with pytest.raises(GenerationError, match="The engine broke"):
            await read(footnote)
    assert "".join(shown).startswith("It landed")
    assert not second.calls("chat")


async def test_both_down_is_an_error_that_names_both(library: Path, upstream: Upstream, second: Upstream) -> None:
    upstream.always("chat", Fault(status=503))
    second.always("chat", Fault(status=500))
    async with opened(library, upstream, second) as footnote:
        with pytest.raises(GenerationError, match=r"chat with 'second'.*it was asked because chat with 'first'"):
            await footnote.ask(QUESTION)


async def test_another_model_of_the_same_endpoint_and_the_embedded_one_can_stand_in(
    library: Path, upstream: Upstream, second: Upstream
) -> None:
    upstream.script("chat", Fault(status=503))
    async with opened(library, upstream, second, chat__fallback_base_url="") as footnote:
        answer = await footnote.ask(QUESTION)
    assert [call.json["model"] for call in upstream.calls("chat")] == ["first", "second"]
    assert answer.model == "second"
    upstream.script("chat", Fault(status=503))
    local = {"chat__fallback_base_url": "", "chat__fallback_provider": "local", "chat__fallback_model": ""}
    async with opened(library, upstream, second, **local) as footnote:
        quoted = await footnote.ask(QUESTION)
    assert (quoted.model, "20 July 1969" in quoted.text) == ("local/extractive", True)


async def test_the_first_is_asked_again_when_the_pause_is_over() -> None:
    down = GenerationError("the first is gone")
    down.__cause__ = EndpointUnreachableError("no connection")
    first, now = CannedGenerator(error=down), [0.0]
    generator = FallbackGenerator(first, CannedGenerator("Yes [1]."), pause_s=30, clock=lambda: now[0])
    prompt = Prompt("", (), "Is it?")
    for at, asked in ((0.0, 1), (29.0, 1), (30.0, 2)):
        now[0] = at
        events = [event async for event in generator.generate(prompt, settings=GenerationSettings())]
        assert events[0] == TextDelta("Yes [1].")
        assert len(first.prompts) == asked


def test_nobody_stands_in_unless_named_and_a_wrong_name_is_told() -> None:
    assert fallback_choice(load_settings({"OPENAI_API_KEY": "sk-x"})) is None
    wrong = load_settings({"OPENAI_API_KEY": "sk-x", "RAG_CHAT_FALLBACK_PROVIDER": "deepseek"})
    with pytest.raises(ConfigError, match=r"fallback_api_key: DeepSeek needs a key"):
        fallback_choice(wrong)
    keyed = load_settings({"RAG_CHAT_FALLBACK_PROVIDER": "deepseek", "DEEPSEEK_API_KEY": "sk-d"})
    chosen = fallback_choice(keyed)
    assert chosen is not None
    assert (chosen.base_url, chosen.api_key, chosen.model) == ("https://api.deepseek.com", "sk-d", "deepseek-v4-flash")
