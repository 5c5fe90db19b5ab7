"""Files and batches: bodies that stream from and to disk, and retries that make nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import openai
import pytest

from rag.errors import EndpointError, EndpointResponseError
from rag.gateway.batches import (
    cancel_batch,
    check_batches_are_served,
    create_batch,
    find_batch,
    get_batch,
    list_batches,
)
from rag.gateway.endpoint import EndpointClient
from rag.gateway.files import delete_file, download_file, find_file, get_file, list_files, upload_file
from tests.upstream import Fault, Upstream, embedding_of


def line_of(*texts: str, custom_id: str = "a") -> dict[str, object]:
    body = {"model": "stub-embedding", "input": list(texts), "encoding_format": "float"}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps(line_of("green tea", "茶")) + "\n", encoding="utf-8")
    return path


async def test_a_file_goes_up_and_comes_back_as_it_was(connect, upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_bytes(bytes(range(256)) * 4096)
    client = connect()
    file = await upload_file(client, path, filename='odd "name".jsonl')
    assert (file.n_bytes, file.purpose) == (2**20, "batch")
    assert (await get_file(client, file.id)).raw["status"] == "processed", "fields unknown to us are kept"
    await download_file(client, file.id, tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_bytes() == path.read_bytes()
    assert int(upstream.calls("files")[0].headers["content-length"]) > 2**20
    await delete_file(client, file.id)
    await delete_file(client, file.id)  # gone already: no error
    assert [file async for file in list_files(client, purpose="batch")] == []


async def test_a_batch_is_made_followed_and_fetched(connect, upstream: Upstream, requests_file: Path) -> None:
    client = connect()
    file = await upload_file(client, requests_file, filename="r.jsonl")
    made = await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={"order": "1"})
    assert (made.status, made.has_ended, made.n_requests) == ("validating", False, 1)
    assert (await get_batch(client, made.id)).status == "in_progress"
    ended = await get_batch(client, made.id)
    assert (ended.status, ended.has_ended, ended.n_done, ended.poll_after_s) == ("completed", True, 1, 0.01)
    assert ended.raw["metadata"] == {"order": "1"}
    assert ended.output_file_id
    await download_file(client, ended.output_file_id, requests_file.with_name("out.jsonl"))
    reply = json.loads(requests_file.with_name("out.jsonl").read_text())
    assert reply["response"]["body"]["data"][0]["embedding"] == embedding_of("green tea", 64).tolist()


async def test_an_upload_whose_reply_was_lost_is_not_made_twice(connect, upstream: Upstream, requests_file: Path):
    upstream.script("files", Fault(cut_after=0))
    file = await upload_file(connect(), requests_file, filename="once.jsonl")
    assert list(upstream.batching.files) == [file.id]


async def test_a_batch_whose_reply_was_lost_is_not_made_twice(connect, upstream: Upstream, requests_file: Path):
    client = connect()
    file = await upload_file(client, requests_file, filename="r.jsonl")
    upstream.script("batches", Fault(cut_after=0))
    batch = await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={})
    assert list(upstream.batching.batches) == [batch.id]
    assert upstream.embedded == {"green tea": 1, "茶": 1}


async def test_a_creation_that_was_not_heard_is_tried_again(connect, upstream: Upstream, requests_file: Path) -> None:
    client = connect()
    upstream.script("files", Fault(status=503), Fault(), None)
    file = await upload_file(client, requests_file, filename="r.jsonl")
    upstream.script("batches", Fault(status=429, headers={"retry-after-ms": "5"}), None, Fault(status=500))
    batch = await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={})
    assert list(upstream.batching.batches) == [batch.id]


async def test_a_batch_is_found_on_a_later_page(connect, upstream: Upstream, requests_file: Path) -> None:
    client = connect()
    files = [await upload_file(client, requests_file, filename=f"{n}.jsonl") for n in range(25)]
    for file in files:
        await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={})
    found = await find_batch(client, files[0].id)
    assert found is not None
    assert found.id == "batch_0"
    assert await find_batch(client, "file-none") is None
    assert len([batch async for batch in list_batches(client)]) == 25
    assert (await find_file(client, "3.jsonl")).id == files[3].id  # type: ignore[union-attr]


async def test_a_download_that_breaks_is_begun_again_and_never_half_there(connect, upstream, tmp_path: Path) -> None:
    client = connect()
    (tmp_path / "r.jsonl").write_bytes(b"x" * 100_000)
    file = await upload_file(client, tmp_path / "r.jsonl", filename="r.jsonl")
    upstream.script("files", Fault(cut_after=0))
    await download_file(client, file.id, tmp_path / "back")
    assert (tmp_path / "back").stat().st_size == 100_000
    upstream.always("files", Fault(cut_after=0))
    with pytest.raises(EndpointError):
        await download_file(connect(max_retries=0), file.id, tmp_path / "never")
    assert not (tmp_path / "never").exists()


async def test_a_batch_that_failed_says_why(connect, upstream: Upstream, requests_file: Path) -> None:
    client = connect()
    file = await upload_file(client, requests_file, filename="r.jsonl")
    upstream.batching.invalid = "This line is not valid."
    batch = await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={})
    ended = await get_batch(client, batch.id)
    assert (ended.status, ended.problems) == ("failed", ("invalid_input This line is not valid. (line 1)",))


async def test_cancelling_is_asked_for_and_harmless_afterwards(connect, upstream, requests_file: Path) -> None:
    client = connect()
    file = await upload_file(client, requests_file, filename="r.jsonl")
    batch = await create_batch(client, file.id, endpoint="/v1/embeddings", metadata={})
    assert (await cancel_batch(client, batch.id)).status == "cancelling"
    assert (await get_batch(client, batch.id)).status == "cancelled"
    assert (await cancel_batch(client, batch.id)).status == "cancelled"


async def test_an_endpoint_without_the_routes_is_told_apart(connect, upstream: Upstream, requests_file: Path) -> None:
    upstream.batching.is_served = False
    client: EndpointClient = connect()
    calls = {
        "files": upload_file(client, requests_file, filename="r.jsonl"),
        "batches": create_batch(client, "file-1", endpoint="/v1/embeddings", metadata={}),
    }
    for family, call in calls.items():
        with pytest.raises(EndpointResponseError, match=f"serves no /{family} .*leave --batch out"):
            await call
    with pytest.raises(EndpointResponseError, match="serves no /batches"):
        await check_batches_are_served(client)


async def test_the_stub_speaks_the_protocol_of_files_and_batches(upstream: Upstream, requests_file: Path) -> None:
    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-test", max_retries=0) as client:
        file = await client.files.create(file=requests_file, purpose="batch")
        assert (file.filename, file.bytes) == ("requests.jsonl", requests_file.stat().st_size)
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", metadata={"a": "b"}
        )
        assert (batch.status, batch.metadata) == ("validating", {"a": "b"})
        await client.batches.retrieve(batch.id)
        batch = await client.batches.retrieve(batch.id)
        assert (batch.status, batch.request_counts.completed) == ("completed", 1)  # type: ignore[union-attr]
        content = await client.files.content(batch.output_file_id or "")
        assert json.loads(content.text)["response"]["status_code"] == 200
        assert [entry.id async for entry in client.batches.list()] == [batch.id]
        assert {entry.id async for entry in client.files.list()} == {file.id, batch.output_file_id}
        other = await client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
        assert (await client.batches.cancel(other.id)).status == "cancelling"
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file.id)
