"""The endpoint embedder over real HTTP: what comes back is checked before it is believed."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import AuthenticationError, EmbeddingError, EndpointResponseError
from rag.gateway.embeddings import EndpointEmbedder, unit_rows_of
from rag.gateway.providers import embedder_profile
from rag.types import Allowance
from tests.upstream import Fault, embedding_of, error_body
from tests.upstream.faults import first_row, lose_last_row, repeat_first_index, reversed_data, without

TEXTS = ["green tea", "green tea cup", "the last train", "价格是多少"]


class LetterCounter:
    """A tokenizer of one token per character."""

    name = "letters"

    def count(self, text: str) -> int:
        return len(text)

    def starts(self, text: str):
        return np.arange(len(text) + 1)


@pytest.fixture
def embedder(connect):
    def make(provider="openai-compatible", model="stub-embedding", *, dimensions=None, **settings) -> EndpointEmbedder:
        client = connect(provider, **settings)
        profile = embedder_profile(client.endpoint.provider, model, dimensions=dimensions)
        return EndpointEmbedder(client, profile, tokenizer=LetterCounter())

    return make


def expected(dimensions=64):
    return np.stack([embedding_of(text, dimensions) for text in TEXTS])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(),
        Fault(edit=reversed_data),
        Fault(edit=without("index", "object")),
        Fault(preamble=b"\n\n"),
        Fault(edit=lambda reply: {**reply, "data": [_as_floats(reply["data"][0]), *reply["data"][1:]]}),
    ],
    ids=["good", "shuffled", "no index", "blank lines", "floats and base64 mixed"],
)
@pytest.mark.parametrize("base64_ok", [True, False], ids=["base64", "floats"])
async def test_vectors_come_in_the_order_of_the_texts(embedder, upstream, fault, base64_ok):
    upstream.base64_ok = base64_ok
    upstream.script("embeddings", fault)
    found = await embedder().embed(TEXTS, kind="document")
    assert np.allclose(found.vectors, expected(), atol=1e-6)
    assert (found.vectors.dtype, found.vectors.flags.c_contiguous) == (np.float32, True)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1)
    assert found.readable.all()
    assert (found.n_tokens, found.estimated) == (13, False)


def _as_floats(item):
    if isinstance(item["embedding"], str):
        return {**item, "embedding": np.frombuffer(base64.b64decode(item["embedding"]), "<f4").tolist()}
    return item


async def test_without_usage_the_tokens_are_counted_here(embedder, upstream):
    upstream.script("embeddings", Fault(edit=without("usage")))
    found = await embedder().embed(["four", "四四"], kind="query")
    assert (found.n_tokens, found.estimated) == (6, True)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lose_last_row, "4 texts were sent and 3 vectors came back"),
        (repeat_first_index, "not numbered from 0 up"),
        (lambda reply: {**reply, "data": [{**reply["data"][0], "index": None}, *reply["data"][1:]]}, "not numbered"),
        (first_row(1.0, 2.0), "dimensions instead of"),
        (first_row(*[0.0] * 64), "vector 0 is all zeros"),
        (first_row(math.nan, *[1.0] * 63), "no finite number"),
        (first_row(1e39, *[1.0] * 63), "no finite number"),
        (lambda reply: {**reply, "data": None}, "no list of embeddings"),
        (lambda reply: {**reply, "data": {"embedding": [1.0]}}, "no list of embeddings"),
        (lambda reply: {**reply, "data": [{**row, "embedding": [[1.0]]} for row in reply["data"]]}, "2 axes"),
        (lambda reply: {**reply, "data": [{**row, "embedding": "a!b"} for row in reply["data"]]}, "neither numbers"),
        (lambda reply: {**reply, "data": [{**row, "embedding": "AAAA"} for row in reply["data"]]}, "neither numbers"),
        (lambda reply: {**reply, "data": [{**row, "embedding": None} for row in reply["data"]]}, "axes"),
        (lambda reply: {**reply, "data": [{**row, "embedding": []} for row in reply["data"]]}, "0 dimensions"),
        (lambda reply: {"error": {"message": "no such model"}}, "no such model"),
    ],
)  # fmt: skip
async def test_what_is_no_set_of_vectors_is_refused(embedder, upstream, edit, found):
    upstream.always("embeddings", Fault(edit=edit))
    with pytest.raises(EmbeddingError, match=f"embedding 4 texts with 'stub-embedding': .*{found}") as caught:
        await embedder().embed(TEXTS, kind="document")
    assert isinstance(caught.value.__cause__, EndpointResponseError)


async def test_a_nan_in_base64_is_refused(embedder, upstream):
    poison = base64.b64encode(struct.pack("<2f", math.nan, 1.0)).decode()
    upstream.always("embeddings", Fault(body={"data": [{"index": 0, "embedding": poison}]}))
    with pytest.raises(EmbeddingError, match="no finite number"):
        await embedder().embed(["x"], kind="document")


async def test_dimensions_are_learnt_and_then_held(embedder, upstream):
    tea = embedder()
    assert tea.profile.dimensions is None
    await tea.embed(["x"], kind="document")
    assert tea.profile.dimensions == 64
    upstream.dimensions = 32
    with pytest.raises(EmbeddingError, match="32 dimensions instead of 64"):
        await tea.embed(["x"], kind="document")
    assert all("dimensions" not in call.json for call in upstream.calls("embeddings"))


async def test_fewer_dimensions_are_asked_for(embedder, upstream):
    tea = embedder("openai", "text-embedding-3-large", dimensions=16, api_key="sk-1")
    assert (await tea.embed(["x"], kind="document")).vectors.shape == (1, 16)
    (call,) = upstream.calls("embeddings")
    assert call.json == {
        "model": "text-embedding-3-large",
        "input": ["x"],
        "dimensions": 16,
        "encoding_format": "base64",
    }


async def test_base64_is_only_asked_of_those_who_take_it(embedder, upstream):
    upstream.script("embeddings", Fault(status=400, body=error_body(400, message="bad", param="encoding_format")))
    learner = embedder()
    for _ in range(2):
        assert (await learner.embed(["x"], kind="document")).vectors.shape == (1, 64)
    upstream.dimensions = 1024
    await embedder("qwen", "text-embedding-v4").embed(["x"], kind="document")
    asked = ["encoding_format" in call.json for call in upstream.calls("embeddings")]
    assert asked == [True, False, False, False]


async def test_wrong_use_is_a_value_error_and_costs_nothing(embedder, upstream):
    tea = embedder("qwen", "text-embedding-v4")
    with pytest.raises(ValueError, match="empty text"):
        await tea.embed(["x", ""], kind="document")
    with pytest.raises(ValueError, match="holds 10 texts, got 11"):
        await tea.embed(["x"] * 11, kind="document")
    assert (await tea.embed([], kind="document")).vectors.shape == (0, 1024)
    assert not upstream.requests


async def test_a_refused_key_is_the_cause(embedder, upstream):
    upstream.key = "sk-right"
    with pytest.raises(EmbeddingError, match="check the key") as caught:
        await embedder(api_key="sk-wrong").embed(["x"], kind="document")
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert len(upstream.requests) == 1


async def test_a_lone_surrogate_does_not_stop_a_batch(embedder, upstream):
    found = await embedder().embed(["broken \ud800 emoji", "x"], kind="document")
    assert found.vectors.shape == (2, 64)
    assert upstream.embedded["broken \ufffd emoji"] == 1


async def test_an_overloaded_endpoint_is_waited_for(embedder, upstream, connect):
    upstream.script("embeddings", Fault(status=429, headers={"retry-after": "2"}), Fault(status=500))
    await embedder().embed(["x"], kind="query")
    assert connect.slept == [2.25, 0.5]
    assert upstream.embedded["x"] == 1


async def test_documents_are_sent_once_and_their_queue_told_when_to_come_back(embedder, upstream, connect):
    headers = {
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m30s",
    }
    upstream.script("embeddings", Fault(status=429, headers=headers))
    with pytest.raises(EmbeddingError) as caught:
        await embedder().embed(["x"], kind="document")
    assert caught.value.__cause__.retry_after_s == 90
    assert (len(upstream.requests), connect.slept) == (1, [])


async def test_what_is_left_of_the_rate_comes_with_the_vectors(embedder, upstream):
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
    }
    upstream.script("embeddings", Fault(headers=headers))
    found = await embedder().embed(["x"], kind="document")
    assert (found.requests_left, found.tokens_left) == (Allowance(60, 59, 1), None)


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=5), st.randoms())
def test_base64_and_floats_give_the_same_unit_rows_in_any_order(rows, random):
    array = np.array(rows, np.float32)
    array[np.linalg.norm(array, axis=1) < 1e-6] = (0, 0, 1)
    as_floats = [{"index": place, "embedding": row.tolist()} for place, row in enumerate(array)]
    packed = [base64.b64encode(struct.pack("<3f", *row)).decode() for row in array]
    as_base64 = [{"index": place, "embedding": text} for place, text in enumerate(packed)]
    random.shuffle(as_base64)
    slow = np.array([row / math.sqrt(sum(float(v) ** 2 for v in row)) for row in array.astype(float)])
    for data in (as_floats, as_base64):
        found = unit_rows_of({"data": data}, n_texts=len(rows), dimensions=3)
        assert np.allclose(found, slow, atol=1e-6)


def test_the_profile_passed_in_is_not_changed(connect):
    profile = embedder_profile(connect().endpoint.provider, "m")
    EndpointEmbedder(connect(), profile, tokenizer=LetterCounter())
    assert profile == replace(profile, dimensions=None)
