"""The stub against the official client: what it sends is the OpenAI protocol."""

from __future__ import annotations

import numpy as np
import openai
import pytest

from tests.upstream import Fault, Message, Said, embedding_of


@pytest.fixture
async def client(upstream):
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


async def test_chat(client, upstream):
    upstream.reply = lambda request: f"You said {request['messages'][0]['content']} [1]"
    reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert reply.choices[0].message.content == "You said hello [1]"
    assert reply.usage.completion_tokens == 4


async def test_the_default_reply_cites_the_first_source(client):
    question = "Sources:\n[1] tea.md\nTea is brewed hot. Coffee too.\nQuestion: tea?"
    reply = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": question}])
    assert reply.choices[0].message.content == "Tea is brewed hot [1]."


async def test_a_chat_stream_with_tools_reasoning_and_usage(client, upstream):
    upstream.reply = lambda request: Message("done now", "let me think", (("look", '{"at": 1}'),))
    stream = await client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "x"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "done now"
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert "".join(call.function.arguments for call in calls) == '{"at": 1}'
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 2
    assert chunks[-2].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_embeddings(client, upstream, encoding):
    upstream.base64_ok = encoding == "base64"
    reply = await client.embeddings.create(model="e", input=["one two", "two three"], dimensions=8)
    assert np.allclose([row.embedding for row in reply.data], [embedding_of(t, 8) for t in ("one two", "two three")])
    assert upstream.embedded == {"one two": 1, "two three": 1}


async def test_moderations_and_models(client):
    verdicts = await client.moderations.create(input=["we attack at dawn", "tea"])
    assert [verdict.flagged for verdict in verdicts.results] == [True, False]
    assert verdicts.results[0].categories.violence
    assert [model.id async for model in client.models.list()] == ["stub-chat", "stub-embedding"]


async def test_errors_and_keys(client, upstream):
    upstream.script("models", Fault(status=429))
    with pytest.raises(openai.RateLimitError):
        await client.models.list()
    upstream.key = "sk-other"
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()
    with pytest.raises(openai.NotFoundError):
        await client.with_options(api_key="sk-other").get("/nothing", cast_to=object)


async def test_a_client_that_goes_away_is_counted(client, upstream):
    upstream.always("chat", Fault(hang_after=1))
    stream = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert upstream.wait_until(lambda: upstream.disconnects == 1)


async def test_shared_words_bring_texts_closer():
    tea, more_tea, other = (embedding_of(text, 64) for text in ("green tea", "green tea cup", "the last train"))
    assert tea @ more_tea > 0.6 > abs(tea @ other)


async def test_transcriptions_and_translations(client, upstream):
    upstream.hear = lambda upload: (Said(0.0, 1.5, "Tea is hot."), Said(2.0, 4.25, "Milk is not.", speaker="B"))
    file = ("talk.wav", b"RIFF\r\n\x00\xff", "audio/wav")
    plain = await client.audio.transcriptions.create(model="m", file=file, language="en")
    assert plain.text == "Tea is hot. Milk is not."
    verbose = await client.audio.transcriptions.create(
        model="m", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert [(part.start, part.end) for part in verbose.segments] == [(0.0, 1.5), (2.0, 4.25)]
    diarized = await client.audio.transcriptions.create(
        model="m", file=file, response_format="diarized_json", chunking_strategy="auto"
    )
    assert [part.speaker for part in diarized.segments] == ["A", "B"]
    subtitles = await client.audio.transcriptions.create(model="m", file=file, response_format="srt")
    assert "00:00:02,000 --> 00:00:04,250" in subtitles
    with pytest.warns(DeprecationWarning, match="deprecated"):  # it ends with whisper-1
        assert (await client.audio.translations.create(model="m", file=file)).text.startswith("Tea")
    uploads = upstream.uploads()
    assert {upload.data for upload in uploads} == {file[1]}
    assert [upload.task for upload in uploads] == ["transcriptions"] * 4 + ["translations"]
    assert uploads[1].fields["timestamp_granularities[]"] == "segment"
