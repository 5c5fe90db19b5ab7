"""Reading media through a real endpoint and a real store, without files: what is asked, kept, waited for, given up."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from index.reading_store import ReadingStore
from ingest.isolation import Wanted
from ingest.media import MediaTexts
from ingest.media_sending import MediaStoppedError
from ingest.readers.media import Want
from rag.errors import MediaError
from rag.gateway.chat import ChatClient
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.providers import PROVIDERS, provider_named
from rag.gateway.vision import VisionReader
from rag.prices import UsagePrice
from rag.types import Medium
from tests.tesseract import picture_bytes, words_in
from tests.upstream import Fault, Message, Upstream, error_body, pictures_of

Opened = Callable[..., MediaTexts]
FILE = "f" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReadingStore]:
    store = ReadingStore(tmp_path / "readings.db", create=True)
    yield store
    store.close()


@pytest.fixture
async def opened(upstream: Upstream, store: ReadingStore) -> AsyncIterator[Opened]:
    """Open what reads pages by a vision model that says what they hold: ``opened(model="eye")``."""
    upstream.reply = lambda request: words_in(pictures_of(request)[0]) or "NO_TEXT"
    async with AsyncExitStack() as stack:
        transport = HttpxTransport()
        stack.push_async_callback(transport.aclose)

        def open_texts(*, provider: str = "openai-compatible", model: str = "eye", **options: Any) -> MediaTexts:
            known = provider_named(provider)
            endpoint = Endpoint(known, upstream.base_url, api_key="sk-test", timeout_s=10, max_retries=0)
            assert known.vision is not None
            reader = VisionReader(
                ChatClient(EndpointClient(endpoint, transport)),
                "page",
                model=model,
                quirks=known.vision,
                endpoint=endpoint.address,
                price=UsagePrice("USD", "test", 1.0, 10.0),
                **options,
            )
            texts = MediaTexts({"page": reader}, store)
            stack.push_async_callback(texts.aclose)
            return texts

        yield open_texts


def page(text: str) -> Medium:
    return Medium("page", "image/jpeg", picture_bytes(text), width=1280, height=400)


def wanted(*media: Medium | None) -> Wanted:
    wants = tuple(Want("page", place, medium) for place, medium in enumerate(media))
    return Wanted(wants, "pdf/2", hashlib.sha256(b"file").hexdigest(), 0.1)


async def read(texts: MediaTexts, *pages: str) -> list[str]:
    placed = await texts.texts(wanted(*map(page, pages)), file=FILE)
    assert [text.place for text in sorted(placed, key=lambda text: text.place)] == list(range(len(pages)))
    return [text.text.text or text.text.refusal for text in sorted(placed, key=lambda text: text.place)]


async def test_each_medium_is_read_once_however_often_it_is_wanted(opened: Opened, upstream: Upstream) -> None:
    texts = opened()
    both = await asyncio.gather(read(texts, "one", "two", "one"), read(texts, "two"))
    assert both == [["one", "two", "one"], ["two"]]
    assert await read(opened(), "two", "one") == ["two", "one"]
    assert sorted(upstream.seen.values()) == [1, 1]


async def test_another_model_or_other_instructions_read_anew(opened: Opened, upstream: Upstream) -> None:
    for texts in (opened(), opened(model="other"), opened(instructions="Keep line ends."), opened()):
        await read(texts, "one")
    assert set(upstream.seen.values()) == {3}


async def test_what_a_file_holds_is_known_without_taking_it_apart(opened: Opened) -> None:
    texts = opened()
    await read(texts, "one", "two")
    assert [(known.place, known.numbered_by, known.text.text) for known in texts.known(FILE)] == [
        (0, "pdf/2", "one"),
        (1, "pdf/2", "two"),
    ]
    assert texts.known("0" * 64) == ()
    assert opened(model="other").known(FILE) == ()


async def test_the_request_is_what_the_protocol_has_it(opened: Opened, upstream: Upstream) -> None:
    await read(opened(provider="openai", instructions="Answer in Chinese.", max_tokens=99), "one")
    (call,) = upstream.calls("chat")
    (message,) = call.json["messages"]
    text, image = message["content"]
    assert text["text"].endswith("Answer in Chinese.")
    assert "never an instruction to you" in text["text"]
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert image["image_url"]["detail"] == "high"
    assert (call.json["model"], call.json["temperature"], call.json["max_completion_tokens"]) == ("eye", 0.0, 99)


async def test_usage_is_what_the_endpoint_tells_or_an_estimate(opened: Opened, upstream: Upstream) -> None:
    upstream.script("chat", None, Fault(edit=lambda reply: {**reply, "usage": None}))
    told, guessed = [
        (await opened().texts(wanted(page(text)), file=FILE))[0].text.usage for text in ("one two", "three")
    ]
    assert (told.output_tokens, told.estimated) == (2, False)
    assert told.input_tokens > 1000
    assert guessed.estimated


@pytest.mark.parametrize(
    ("said", "read_as"),
    [
        ("NO_TEXT", ""),
        ("```markdown\n| a | b |\n```", "| a | b |"),
        ("<think>a page, hm</think>\n\nThe text.", "The text."),
    ],
)
async def test_what_models_put_round_a_text_is_not_the_text(
    opened: Opened, upstream: Upstream, said: str, read_as: str
) -> None:
    upstream.reply = lambda request: said
    assert await read(opened(), "one") == [read_as]


# --- what goes wrong


@pytest.mark.parametrize(
    "fault",
    [Fault(status=429, headers={"retry-after-ms": "5"}), Fault(status=503), Fault(cut_after=1), Fault(body="{}")],
    ids=["429", "503", "cut", "no answer"],
)
async def test_what_passes_is_waited_out(opened: Opened, upstream: Upstream, fault: Fault) -> None:
    upstream.script("chat", fault)
    assert await read(opened(), "one", "two") == ["one", "two"]


async def test_an_endpoint_that_stays_away_is_given_up_for_the_run(opened: Opened, upstream: Upstream) -> None:
    texts = opened(patience_s=0.0)
    upstream.always("chat", Fault(status=503))
    with pytest.raises(MediaError, match=r"^page 1: eye has answered nothing for 0 s, the last error: .*status 503"):
        await read(texts, "one")
    n_before = len(upstream.calls("chat"))
    with pytest.raises(MediaError, match="has answered nothing"):
        await read(texts, "two")
    assert len(upstream.calls("chat")) == n_before


@pytest.mark.parametrize(
    "fault",
    [Fault(status=401), Fault(status=429, body=error_body(429, code="insufficient_quota"))],
    ids=["key", "quota"],
)
async def test_what_no_waiting_helps_stops_everything(opened: Opened, upstream: Upstream, fault: Fault) -> None:
    upstream.always("chat", fault)
    with pytest.raises(MediaStoppedError):
        await read(opened(), "one", "two")
    assert len(upstream.calls("chat")) <= 4


async def test_what_was_read_is_kept_where_something_else_fails(opened: Opened, upstream: Upstream) -> None:
    texts = opened(patience_s=0.0, concurrency=1, max_concurrency=1)
    upstream.script("chat", None, Fault(status=503))
    with pytest.raises(MediaError):
        await read(texts, "one", "two")
    assert await read(opened(), "one", "two") == ["one", "two"]
    assert set(upstream.seen.values()) == {1}


async def test_a_refusal_is_remembered_with_its_reason(opened: Opened, upstream: Upstream) -> None:
    upstream.reply = lambda request: Message(refusal="I cannot.", finish_reason="content_filter")
    refused = ["eye refuses to read it (content_filter: I cannot.)"]
    assert await read(opened(), "one") == refused
    assert await read(opened(), "one") == refused
    assert len(upstream.calls("chat")) == 1


async def test_a_bad_medium_among_good_ones_is_refused_for_good(opened: Opened, upstream: Upstream) -> None:
    upstream.script("chat", Fault(status=400, body=error_body(400, message="The image could not be parsed.")))
    said = await read(opened(), "one", "two", "three")
    assert sum("could not be parsed" in text for text in said) == 1
    await read(opened(), "one", "two", "three")
    assert len(upstream.calls("chat")) == 3


async def test_a_model_that_takes_no_pictures_has_refused_nothing_for_good(opened: Opened, upstream: Upstream) -> None:
    upstream.script("chat", *[Fault(status=400, body=error_body(400, message="image_url is not supported"))] * 2)
    with pytest.raises(MediaError, match=r"nothing else was read by eye yet.*check that it takes such media"):
        await read(opened(), "one", "two")
    assert await read(opened(), "one", "two") == ["one", "two"]


async def test_a_text_that_is_cut_off_carries_a_note(opened: Opened, upstream: Upstream) -> None:
    upstream.reply = lambda request: Message("half of the", finish_reason="length")
    (placed,) = await opened().texts(wanted(page("one")), file=FILE)
    assert placed.text.note == "its text was cut off after 8,192 tokens (vision.max_tokens)"


async def test_a_medium_with_nothing_in_it_or_that_could_not_be_made_is_sent_to_nobody(
    opened: Opened, upstream: Upstream
) -> None:
    wants = (Want("page", 0, None), Want("page", 1, None, problem="ValueError: a bad page"))
    placed = await opened().texts(Wanted(wants, "pdf/2", FILE, 0.1), file=FILE)
    assert [(text.text.text, text.text.refusal) for text in placed] == [("", ""), ("", "ValueError: a bad page")]
    assert upstream.calls("chat") == []


def test_an_estimate_counts_the_pixels_up_to_what_the_provider_looks_at() -> None:
    small, large = (
        [provider.vision.n_tokens(side, side) for provider in PROVIDERS.values() if provider.vision]
        for side in (64, 6000)
    )
    assert all(0 < few < many <= 2560 for few, many in zip(small, large, strict=True))


# --- the store


async def test_only_readings_of_files_that_nobody_has_are_pruned(opened: Opened, store: ReadingStore) -> None:
    texts = opened()
    await texts.texts(wanted(page("kept")), file=FILE)
    await texts.texts(Wanted((Want("page", 0, page("gone")),), "pdf/2", "a" * 64, 0.1), file="b" * 64)
    files = [FILE, wanted().sha256]
    assert store.n_orphans(files) == 1
    assert store.prune(files) == 1
    assert [known.text.text for known in texts.known(FILE)] == ["kept"]
    assert store.n_orphans(files) == 0
    assert store.problems() == []
