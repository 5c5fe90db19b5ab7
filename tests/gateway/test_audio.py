"""Speech to text: what is sent, every shape of reply, and what is made of the model's own doubts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rag.errors import AuthenticationError, EndpointResponseError, MediaError, MediaSizeError
from rag.gateway.audio import ReplyFormat, TranscriptionRequest, transcribe
from rag.gateway.endpoint import EndpointClient
from rag.gateway.providers import provider_named, speech_model
from rag.gateway.speech import SpeechReader
from rag.prices import UsagePrice
from rag.types import Medium
from tests.upstream import Fault, Said, Upstream, error_body

MEDIUM = Medium("speech", "audio/flac", b"fLaC\r\n--\x00\xff", seconds=90.0)
TALK = (Said(0.0, 1.5, "Tea is hot."), Said(2.0, 4.25, "Milk is not.", speaker="B"))


@pytest.fixture
def client(connect: Callable[..., EndpointClient]) -> EndpointClient:
    return connect()


def request(**fields: Any) -> TranscriptionRequest:
    return TranscriptionRequest(MEDIUM, "whisper-x", **fields)


def reader(client: EndpointClient, *, model: str = "whisper-x", **options: Any) -> SpeechReader:
    known = speech_model(provider_named("openai-compatible"), model)
    return SpeechReader(client, model=model, known=known, price=UsagePrice("USD", "test", per_minute=0.6), **options)


async def test_a_recording_is_sent_as_a_form(client: EndpointClient, upstream: Upstream) -> None:
    await transcribe(client, request(reply_format="verbose_json", language="en", prompt="Ann, Zoë", temperature=0.2))
    (upload,) = upstream.uploads()
    assert (upload.task, upload.filename, upload.content_type) == ("transcriptions", "speech.flac", "audio/flac")
    assert upload.data == MEDIUM.data
    assert upload.fields == {
        "model": "whisper-x",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "segment",
        "language": "en",
        "prompt": "Ann, Zoë",
        "temperature": "0.2",
    }


async def test_a_translation_goes_to_its_own_address_and_names_no_language(
    client: EndpointClient, upstream: Upstream
) -> None:
    await transcribe(client, request(task="translate", language="de"))
    (upload,) = upstream.uploads()
    assert (upload.task, upload.fields) == ("translations", {"model": "whisper-x"})


@pytest.mark.parametrize("reply_format", ["json", "verbose_json", "diarized_json", "text", "srt", "vtt"])
async def test_every_shape_of_reply_is_read(
    client: EndpointClient, upstream: Upstream, reply_format: ReplyFormat
) -> None:
    upstream.hear = lambda upload: TALK
    found = await transcribe(client, request(reply_format=reply_format))
    assert found.text == "Tea is hot. Milk is not."
    times = [(item.start_s, item.end_s) for item in found.segments]
    assert times == ([] if reply_format in ("json", "text") else [(0.0, 1.5), (2.0, 4.25)])
    assert [item.speaker for item in found.segments] == (
        ["A", "B"] if reply_format == "diarized_json" else [""] * len(times)
    )


@pytest.mark.parametrize(
    ("body", "text", "n_segments"),
    [
        ({"segments": [{"start": 0, "end": 1, "text": " Tea."}]}, "Tea.", 1),
        ({"text": " Tea. ", "segments": [{"text": "no time"}, {"start": None, "text": "x"}, "?"]}, "Tea.", 0),
        ({"text": "", "segments": []}, "", 0),
        ("[Music]", "[Music]", 0),
        ('"Tea."', "Tea.", 0),
        ("1\r\n00:00:01,000 --> 00:00:02,000\r\nTea\r\nis hot.\r\n\r\n2\r\n01:00 --> 01:02\r\n", "Tea is hot.", 1),
        ({"text": "Tea.", "segments": [{"start": 3, "end": 2.5, "text": "Tea."}]}, "Tea.", 1),
    ],
    ids=["segments alone", "no times", "nothing said", "a bracket", "a JSON string", "CRLF", "a segment turned round"],
)
async def test_replies_that_are_a_little_odd_are_read(
    client: EndpointClient, upstream: Upstream, body: Any, text: str, n_segments: int
) -> None:
    upstream.script("audio", Fault(body=body))
    found = await transcribe(client, request())
    assert (found.text, len(found.segments)) == (text, n_segments)
    assert all(segment.end_s >= segment.start_s for segment in found.segments)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (Fault(status=401), AuthenticationError, "key"),
        (Fault(status=404), EndpointResponseError, "model name"),
        (Fault(body={"language": "english"}), EndpointResponseError, "no text"),
        (Fault(body="<html><title>Sign in</title></html>"), EndpointResponseError, "web page"),
        (Fault(body=error_body(400, message="Invalid file format.")), EndpointResponseError, "Invalid file format"),
    ],
    ids=["key", "address", "no transcript", "a web page", "an error with status 200"],
)
async def test_what_is_no_transcript_is_an_error(
    client: EndpointClient, upstream: Upstream, fault: Fault, error: type[Exception], said: str
) -> None:
    upstream.always("audio", fault)
    with pytest.raises(error, match=said):
        await transcribe(client, request())


async def test_a_broken_call_is_tried_again_with_the_whole_recording(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.script("audio", Fault(status=503), Fault(cut_after=0))
    await transcribe(client, request())
    assert [upload.data for upload in upstream.uploads()] == [MEDIUM.data] * 3


# --- the reader of speech


async def test_what_the_model_takes_for_silence_is_left_out_and_told(
    client: EndpointClient, upstream: Upstream
) -> None:
    thanks = Said(5.0, 9.0, "Thanks for watching!", no_speech_prob=0.9, avg_logprob=-1.4)
    quiet = Said(10.0, 11.0, "Hm.", no_speech_prob=0.9, avg_logprob=-0.3)
    loop = Said(12.0, 20.0, "la la la la", compression_ratio=3.1)
    upstream.hear = lambda upload: (*TALK, thanks, quiet, loop)
    found = await reader(client).read(MEDIUM)
    assert found.text == "Tea is hot. Milk is not. Hm. la la la la"
    assert "1 of 5 segments were left out" in found.note
    assert "repeat themselves" in found.note
    assert (found.language, found.usage.seconds) == ("english", 90.0)


async def test_a_translation_says_that_it_is_one(client: EndpointClient) -> None:
    assert "quotes the translation" in (await reader(client, task="translate").read(MEDIUM)).note


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=413, body="<html><title>413 Request Entity Too Large</title></html>"), "audio.part_seconds"),
        (
            Fault(
                status=400,
                body=error_body(
                    400, message="audio duration 1830 seconds is longer than 1400 seconds", code="invalid_value"
                ),
            ),
            "audio.part_seconds",
        ),
    ],
    ids=["a proxy", "OpenAI"],
)
async def test_what_is_too_long_for_the_endpoint_says_which_setting_cuts_it(
    client: EndpointClient, upstream: Upstream, fault: Fault, said: str
) -> None:
    upstream.always("audio", fault)
    with pytest.raises(MediaSizeError, match=said):
        await reader(client).read(MEDIUM)


async def test_an_endpoint_that_does_not_know_the_reply_format_says_which_setting_to_change(
    client: EndpointClient, upstream: Upstream
) -> None:
    upstream.always("audio", Fault(status=400, body=error_body(400, message="verbose_json is not supported")))
    with pytest.raises(MediaError, match=r"audio\.response_format"):
        await reader(client).read(MEDIUM)


@pytest.mark.parametrize(
    ("provider", "model", "reply_format", "max_s", "media_type"),
    [
        ("openai", "whisper-1", "verbose_json", 600, "audio/flac"),
        ("openai", "gpt-4o-mini-transcribe", "json", 60, "audio/flac"),
        ("openai", "gpt-4o-transcribe-diarize", "diarized_json", 600, "audio/flac"),
        ("siliconflow", "FunAudioLLM/SenseVoiceSmall", "json", 60, "audio/wav"),
        ("vllm", "openai/whisper-large-v3", "verbose_json", 600, "audio/flac"),
        ("ollama", "gemma4", "json", 30, "audio/wav"),
        ("openai-compatible", "Systran/faster-whisper-small", "verbose_json", 600, "audio/wav"),
    ],
)
async def test_what_is_known_of_a_model_says_how_long_a_part_is(
    client: EndpointClient, provider: str, model: str, reply_format: str, max_s: float, media_type: str
) -> None:
    known = speech_model(provider_named(provider), model)
    limits = SpeechReader(client, model=model, known=known, price=None).profile.limits
    assert (known.reply_format, limits.max_seconds, limits.media_types[0]) == (reply_format, max_s, media_type)
    assert max_s * 32_000 < limits.max_bytes  # so that a part fits, whatever it holds


async def test_what_is_asked_for_is_part_of_what_a_reading_is_known_by(client: EndpointClient) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"language": "en"},
        {"prompt": "en"},
        {"task": "translate"},
        {"model": "whisper-y"},
    ]
    assert len({reader(client, **option).profile.identity for option in options}) == len(options)
    assert reader(client, part_s=30).profile.identity == reader(client).profile.identity
