"""Ingest by batches, through the command as well as the object: nothing is lost, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from api.footnote import Footnote
from ingest.batch import Batches
from ingest.batch_orders import BatchLimits, OrderBook
from ingest.batch_report import ON_ORDER
from rag.errors import AuthenticationError, CollectionError, CollectionLockedError, ConfigError, EndpointResponseError
from rag.gateway.embeddings import EndpointEmbedder
from tests.upstream import Fault, Upstream, embedding_of, error_body

ROOT = Path(__file__).parents[2]
N_DOCUMENTS = 6


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(N_DOCUMENTS):
        lines = (f"Line {n} of document {i} says {n * i} and {n + i} of it." for n in range(30))
        (folder / f"doc{i}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def environ(upstream: Upstream, tmp_path: Path) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_LIBRARY": str(tmp_path / "library"),
        "RAG_CHUNKING_TOKENS": "64",
        "RAG_CHUNKING_OVERLAP": "0",
        "RAG_EMBEDDINGS_MAX_INPUTS": "8",
        "RAG_EMBEDDINGS_MAX_RETRIES": "2",
    }


@pytest.fixture
async def footnote(environ: dict[str, str]) -> AsyncIterator[Footnote]:
    async with Footnote.open(environ=environ) as footnote:
        yield footnote


def paid_once(upstream: Upstream) -> bool:
    """Whether no text of a document was embedded twice, by batch or otherwise."""
    return max(n for text, n in upstream.embedded.items() if "your vectors" not in text) == 1


def n_sent(upstream: Upstream) -> int:
    """How many embeddings requests went the ordinary way, the one that learns the length of the vectors left out."""
    return sum("How long" not in call.json["input"][0] for call in upstream.calls("embeddings"))


def posts(upstream: Upstream, family: str) -> int:
    return sum(call.method == "POST" and call.path.endswith(family) for call in upstream.calls(family))


# --- the way it should go


async def test_a_folder_is_ingested_at_the_price_of_batches(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, run.reports[0].counts["indexed"]) == (0, N_DOCUMENTS)
    (ended,) = run.batch.ended
    assert (ended.status, ended.n_stored, ended.problems) == ("completed", ended.n_texts, ())
    assert ended.n_texts == run.batch.n_texts_ordered == sum(file.n_chunks for file in run.reports[0].files)
    assert footnote.check() == []
    assert paid_once(upstream)
    assert n_sent(upstream) == 0
    assert upstream.batching.files == {}, "nothing of ours is left at the endpoint"
    assert OrderBook(footnote.settings.library).orders() == []
    hits = (await footnote.search("Line 7 of document 3 says 21")).hits
    assert hits[0].chunk.document_id == "doc3.txt"


async def test_the_requests_are_those_of_the_protocol(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    upstream.batching.n_polls = 100
    await footnote.ingest_by_batch(docs, wait=False)
    lines = [json.loads(line) for line in next(iter(upstream.batching.contents.values())).splitlines()]
    assert len({line["custom_id"] for line in lines}) == len(lines) > 1
    assert {(line["method"], line["url"], line["body"]["model"]) for line in lines} == {
        ("POST", "/v1/embeddings", "stub-embedding")
    }
    assert {len(line["body"]["input"]) for line in lines[:-1]} == {8}, "requests are full"
    (batch,) = upstream.batching.batches.values()
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/embeddings", "24h")


async def test_what_is_known_is_not_ordered(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    await footnote.ingest(docs)
    (docs / "doc0.txt").write_text("Something new.", encoding="utf-8")
    run = await footnote.ingest_by_batch(docs)
    assert (run.batch.n_texts_ordered, paid_once(upstream)) == (1, True)
    run = await footnote.ingest_by_batch(docs)
    assert (run.batch.n_texts_ordered, run.batch.ended, run.reports[0].counts["unchanged"]) == (0, (), N_DOCUMENTS)
    assert posts(upstream, "batches") == 1


async def test_without_waiting_the_same_call_collects_later(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    upstream.batching.n_polls = 2
    first = await footnote.ingest_by_batch(docs, wait=False)
    assert (first.exit_code, first.n_files_waiting, first.batch.under_way) == (0, N_DOCUMENTS, ("batch_0",))
    assert {entry.reason for entry in footnote.ledger().values()} == {ON_ORDER}, "the ledger says what they wait for"
    again = await footnote.ingest_by_batch(docs, wait=False)
    assert (again.batch.n_texts_ordered, again.n_files_waiting) == (0, N_DOCUMENTS)
    last = await footnote.ingest_by_batch(docs, wait=False)
    assert (last.exit_code, last.reports[0].counts["indexed"], last.n_files_waiting) == (0, N_DOCUMENTS, 0)
    assert (posts(upstream, "files"), posts(upstream, "batches"), paid_once(upstream)) == (1, 1, True)


@asynccontextmanager
async def small_batches(footnote: Footnote, **limits: int) -> AsyncIterator[tuple[Batches, EndpointEmbedder]]:
    """The batches of a library, with limits that a test can reach."""
    config = (await footnote.create_collection("default")).config
    embedder = await footnote.wiring.embedder(config)
    assert isinstance(embedder, EndpointEmbedder)
    book = OrderBook(footnote.library.folder)
    client = footnote.wiring.client(footnote.wiring.choice("embeddings"))
    with book.locked():
        yield Batches(book, client, footnote.library.vectors, limits=BatchLimits(**limits)), embedder


@pytest.mark.parametrize("limits", [{"max_inputs": 20}, {"max_requests": 2}, {"max_bytes": 3_000}], ids=str)
async def test_a_batch_holds_no_more_than_it_may(footnote: Footnote, upstream: Upstream, limits: dict[str, int]):
    async with small_batches(footnote, **limits) as (batches, embedder):
        space = footnote.collection().space
        _, writer = batches.ordering(embedder, space)
        texts = [f"Text number {n}." for n in range(100)]
        for n, text in enumerate(texts):
            writer.add(bytes([n]) * 32, text, n_tokens=5)
        writer.finish()
        await batches.submit()
        contents = list(upstream.batching.contents.values())[::2]
        await batches.settle(wait=True)
    lines = [[json.loads(line) for line in content.splitlines()] for content in contents]
    assert len(contents) == len(batches.ended) > 1
    assert [text for batch in lines for line in batch for text in line["body"]["input"]] == texts
    assert all(len(content) <= limits.get("max_bytes", 10**9) for content in contents)
    assert all(len(batch) <= limits.get("max_requests", 10**9) for batch in lines)
    sizes = [sum(len(line["body"]["input"]) for line in batch) for batch in lines]
    assert max(sizes) <= limits.get("max_inputs", 10**9)
    assert sum(batch.n_stored for batch in batches.ended) == 100


# --- replies that are not as they should be


def answering_badly(kind: str) -> Callable[[dict[str, Any]], tuple[int, dict[str, Any]] | None]:
    """Spoil the reply to the request that holds document 2's first line."""

    def reply_to(line: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        texts = line["body"]["input"]
        if not any("Line 0 of document 2" in text for text in texts):
            return None
        rows: list[dict[str, Any]] = [
            {"index": place, "embedding": embedding_of(text, 64).tolist()} for place, text in enumerate(texts)
        ]
        if kind == "one vector too few":
            rows.pop()
        elif kind == "wrong dimension":
            rows[0]["embedding"] = [1.0, 0.0]
        elif kind == "no number":
            rows[0]["embedding"] = [None] * 64
        elif kind == "zeros":
            rows[0]["embedding"] = [0.0] * 64
        else:
            return 400, error_body(400, message=f"I will not read {texts[0]!r}", code="content_policy")
        return 200, {"data": rows}

    return reply_to


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("one vector too few", "vectors came back"),
        ("wrong dimension", "2 dimensions instead of 64"),
        ("no number", "no finite number"),
        ("zeros", "all zeros"),
        ("an error", "status 400, code content_policy"),
    ],
)
async def test_a_bad_line_costs_only_its_texts_and_goes_the_ordinary_way(
    footnote: Footnote, upstream: Upstream, docs: Path, kind: str, said: str
) -> None:
    upstream.batching.reply_to = answering_badly(kind)
    run = await footnote.ingest_by_batch(docs)
    (ended,) = run.batch.ended
    assert (ended.n_texts - ended.n_stored, len(ended.problems)) == (8, 1)
    assert said in ended.problems[0]
    assert "Line 0" not in ended.problems[0], "texts do not stand in messages"
    assert (run.exit_code, run.reports[0].n_texts_embedded, run.reports[0].counts["indexed"]) == (0, 8, N_DOCUMENTS)
    assert footnote.check() == []


async def test_lines_in_any_order_twice_broken_or_unasked_for(footnote: Footnote, upstream: Upstream, docs: Path):
    stray = json.dumps({"custom_id": "nobody", "response": {"status_code": 200, "body": {"data": []}}}).encode()

    def shuffle(data: bytes) -> bytes:
        lines = data.splitlines()
        return b"\n".join([*reversed(lines), lines[0], b'{"cut', stray, b"", b"[]"]) + b"\n"

    upstream.batching.edit_output = shuffle
    run = await footnote.ingest_by_batch(docs)
    (ended,) = run.batch.ended
    assert (run.exit_code, ended.n_stored) == (0, ended.n_texts)
    assert ended.problems == ("3 lines answer nothing that was asked, and were left out",)
    stored = footnote.collection().document_chunks("doc3.txt")
    hits = (await footnote.search(stored[0].text, k=1)).hits
    assert (hits[0].chunk.text, round(hits[0].vector_score or 0, 3)) == (stored[0].text, 1.0), "each has its own vector"


async def test_what_had_expired_is_sent_the_ordinary_way(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    upstream.batching.ends = "expired"
    upstream.batching.n_answered = 2
    run = await footnote.ingest_by_batch(docs)
    (ended,) = run.batch.ended
    assert (ended.status, ended.n_stored) == ("expired", 16)
    assert "code batch_expired" in ended.problems[0]
    assert (run.exit_code, run.reports[0].n_texts_embedded) == (0, ended.n_texts - 16)
    assert paid_once(upstream)


async def test_a_batch_that_fails_as_a_whole_is_not_paid_in_full_unasked(
    footnote: Footnote, upstream: Upstream, docs: Path
) -> None:
    upstream.batching.invalid = "Enqueued token limit reached."
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, run.batch.ended[0].status) == (1, "failed")
    assert "Enqueued token limit reached" in run.batch.ended[0].problems[0]
    assert "failed its batch as a whole" in run.reports[0].failed[0].reason
    assert n_sent(upstream) == 0
    upstream.batching.invalid = None
    assert (await footnote.ingest_by_batch(docs)).exit_code == 0, "and can be ordered again"


async def test_a_batch_that_is_refused_is_reported_and_forgotten(footnote: Footnote, upstream: Upstream, docs: Path):
    refusal = Fault(status=400, body=error_body(400, message="Billing limit for batches.", code="batch_limit"))
    upstream.script("batches", None, refusal)
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, run.batch.ended[0].status, n_sent(upstream)) == (1, "refused", 0)
    assert "batch_limit" in run.batch.ended[0].problems[0]
    assert upstream.batching.files == {}
    assert (await footnote.ingest_by_batch(docs)).exit_code == 0


async def test_an_endpoint_without_batches_is_told_before_anything_is_read(footnote, upstream, docs: Path) -> None:
    upstream.batching.is_served = False
    with pytest.raises(EndpointResponseError, match=r"serves no /batches .*leave --batch out"):
        await footnote.ingest_by_batch(docs)
    assert footnote.ledger() == {}


async def test_the_embedded_model_and_providers_without_batches_are_refused(tmp_path: Path, docs: Path) -> None:
    lacking = {"RAG_EMBEDDINGS_PROVIDER": "siliconflow", "RAG_EMBEDDINGS_API_KEY": "key"}
    for name, environ, said in (
        ("a", {}, "runs here for nothing"),
        ("b", lacking, "SiliconFlow serves no batches and no files"),
    ):
        async with Footnote.open(tmp_path / name, environ=environ) as footnote:
            with pytest.raises(ConfigError, match=said):
                await footnote.ingest_by_batch(docs)


async def test_replies_that_the_endpoint_no_longer_has_are_not_paid_again_unasked(footnote, upstream, docs: Path):
    upstream.batching.n_polls = 1
    await footnote.ingest_by_batch(docs, wait=False)
    upstream.batching.files.clear()
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, run.batch.ended[0].status, n_sent(upstream)) == (1, "lost", 0)
    assert "no longer has what came of it" in run.reports[0].failed[0].reason
    assert (await footnote.ingest(docs))[0].exit_code == 0


async def test_a_disk_that_cannot_be_written_to_is_told_and_nothing_is_lost(
    footnote: Footnote, upstream: Upstream, docs: Path
) -> None:
    upstream.batching.n_polls = 0
    async with small_batches(footnote) as (batches, embedder):
        _, writer = batches.ordering(embedder, footnote.collection().space)
        writer.add(b"a" * 32, "A text.", n_tokens=2)
        writer.finish()
        await batches.submit()
    (order,) = (book := OrderBook(footnote.library.folder)).orders()
    (book.folder(order) / "output.jsonl.part").mkdir()  # what cannot be written to
    with pytest.raises(CollectionError, match=r"cannot keep batches .*run the same command again"):
        await footnote.ingest_by_batch(docs)
    (book.folder(order) / "output.jsonl.part").rmdir()
    assert (await footnote.ingest_by_batch(docs)).batch.ended[0].n_stored == 1


# --- interruptions


@pytest.fixture
def command(environ: dict[str, str], docs: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``rag ingest docs`` with some flags in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAG_", "OPENAI_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", "ingest", str(docs), *flags],
            cwd=ROOT,
            env={**kept, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heard(upstream: Upstream, family: str, method: str, path_end: str, n: int) -> Callable[[], bool]:
    return lambda: sum(call.method == method and call.path.endswith(path_end) for call in upstream.calls(family)) >= n


KILLS = {
    "while it uploads": ("files", "POST", "/files", "hangs"),
    "when the upload was heard and its answer was not": ("files", "POST", "/files", "is silent"),
    "when the batch was made and its answer was not heard": ("batches", "POST", "/batches", "is silent"),
    "while it waits": ("batches", "GET", "/batches/batch_0", "is silent"),
    "while it fetches": ("files", "GET", "/content", "is silent"),
}


@pytest.mark.parametrize("moment", KILLS)
async def test_after_a_kill_the_same_command_goes_on_and_nothing_is_paid_twice(
    upstream: Upstream, footnote: Footnote, docs: Path, command: Callable[..., subprocess.Popen[str]], moment: str
) -> None:
    family, method, path_end, fault = KILLS[moment]
    upstream.batching.n_polls = 3
    upstream.batching.silent_once = (method, path_end) if fault == "is silent" else None
    if fault == "hangs":
        upstream.script("files", Fault(hang=True))
    child = command("--batch", "--quiet")
    assert await asyncio.to_thread(upstream.wait_until, heard(upstream, family, method, path_end, 1), timeout_s=30), (
        child.communicate()[1]
    )
    await asyncio.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, len(footnote.documents())) == (0, N_DOCUMENTS)
    assert (len(upstream.batching.batches), n_sent(upstream)) == (1, 0)
    assert paid_once(upstream)
    assert footnote.check() == []
    assert sorted(path.name for path in (footnote.library.folder / "batches").iterdir()) == ["lock"]


async def test_ctrl_c_leaves_the_batch_going_and_says_how_to_go_on(
    upstream: Upstream, footnote: Footnote, docs: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    upstream.batching.silent_once = ("GET", "/batches/batch_0")
    child = command("--batch", "--quiet")
    waits = heard(upstream, "batches", "GET", "/batches/batch_0", 1)
    assert await asyncio.to_thread(upstream.wait_until, waits, timeout_s=30)
    child.send_signal(signal.SIGINT)
    _, err = await asyncio.to_thread(child.communicate, timeout=30)
    assert (child.returncode, "the same command goes on from there" in err, "Traceback" in err) == (130, True, False)
    assert (await footnote.ingest_by_batch(docs)).exit_code == 0
    assert (len(upstream.batching.batches), paid_once(upstream)) == (1, True)


@pytest.mark.parametrize("n_calls", range(4))
@pytest.mark.parametrize("family", ["files", "batches"])
async def test_a_run_that_fails_at_any_call_is_gone_on_with(
    upstream: Upstream, footnote: Footnote, docs: Path, family: str, n_calls: int
) -> None:
    upstream.script(family, *[None] * n_calls, Fault(status=401))
    with suppress(AuthenticationError):  # deleting at the end is a courtesy: what fails there is no failure
        await footnote.ingest_by_batch(docs)
    assert len(upstream.calls(family)) > n_calls
    await footnote.ingest_by_batch(docs)
    assert (len(footnote.documents()), footnote.check()) == (N_DOCUMENTS, [])
    assert (len(upstream.batching.batches), n_sent(upstream), paid_once(upstream)) == (1, 0, True)
    assert posts(upstream, "files") <= 2, "at most the upload that was refused comes before the one that counts"


async def test_a_normal_run_in_between_may_pay_and_its_batch_is_then_not_begun(
    footnote: Footnote, upstream: Upstream, docs: Path
) -> None:
    upstream.always("files", Fault(status=401))
    with pytest.raises(AuthenticationError):
        await footnote.ingest_by_batch(docs)
    upstream.always("files", Fault())
    await footnote.ingest(docs)
    run = await footnote.ingest_by_batch(docs)
    assert (run.batch.ended, posts(upstream, "batches"), paid_once(upstream)) == ((), 0, True)


async def test_a_normal_run_beside_a_batch_pays_and_the_batch_is_ignored(
    footnote: Footnote, upstream: Upstream, docs: Path
) -> None:
    upstream.batching.n_polls = 1
    await footnote.ingest_by_batch(docs, wait=False)
    (report,) = await footnote.ingest(docs)
    assert (report.exit_code, report.n_texts_embedded) == (0, sum(file.n_chunks for file in report.files))
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, len(run.batch.ended), run.reports[0].counts["unchanged"]) == (0, 1, N_DOCUMENTS)
    assert footnote.check() == []


async def test_two_at_once_the_second_is_told(footnote: Footnote, docs: Path) -> None:
    async with small_batches(footnote):
        with pytest.raises(CollectionLockedError, match="another process is at work on the batches"):
            await footnote.ingest_by_batch(docs)


async def test_an_endpoint_that_is_away_for_a_while_does_not_end_the_wait(footnote, upstream, docs: Path) -> None:
    upstream.batching.n_polls = 2
    await footnote.ingest_by_batch(docs, wait=False)
    upstream.script("batches", None, *[Fault(status=503, headers={"retry-after-ms": "1"})] * 3)
    waits: list[float] = []
    book = OrderBook(footnote.library.folder)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    client = footnote.wiring.client(footnote.wiring.choice("embeddings"))
    with book.locked():
        batches = Batches(book, client, footnote.library.vectors, sleep=sleep)
        await batches.check()
        await batches.settle(wait=True)
    assert [batch.status for batch in batches.ended] == ["completed"]
    assert waits == [5.0, 0.01], "its own pace where nothing is said, else the endpoint's"


# --- cancelling


async def test_cancelling_keeps_what_was_finished(footnote: Footnote, upstream: Upstream, docs: Path) -> None:
    upstream.batching.n_polls = 1000
    upstream.batching.n_answered = 1
    await footnote.ingest_by_batch(docs, wait=False)
    report = await footnote.cancel_batches()
    assert [(batch.status, batch.n_stored) for batch in report.ended] == [("cancelled", 8)]
    assert report.under_way == ()
    assert (await footnote.cancel_batches()).ended == ()
    assert (await footnote.ingest(docs))[0].exit_code == 0
    assert paid_once(upstream)


async def test_a_batch_cancelled_elsewhere_is_not_paid_in_full_unasked(footnote, upstream, docs: Path) -> None:
    upstream.batching.n_polls = 1000
    upstream.batching.n_answered = 1
    await footnote.ingest_by_batch(docs, wait=False)
    upstream.batching.batches["batch_0"]["status"] = "cancelling"
    run = await footnote.ingest_by_batch(docs)
    assert (run.exit_code, run.batch.ended[0].status, n_sent(upstream)) == (1, "cancelled", 0)


async def test_a_batch_that_the_endpoint_forgot_can_be_given_up(footnote, upstream, docs: Path) -> None:
    upstream.batching.n_polls = 1000
    await footnote.ingest_by_batch(docs, wait=False)
    upstream.batching.batches.clear()
    with pytest.raises(EndpointResponseError, match=r"batch_0 is not known .*--batch-cancel"):
        await footnote.ingest_by_batch(docs)
    assert (await footnote.cancel_batches()).ended[0].problems == ("the endpoint does not know it (any more)",)
    assert (await footnote.ingest(docs))[0].exit_code == 0


# --- the command


@pytest.fixture
def rag(
    environ: dict[str, str], docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``rag ingest`` with some arguments; returns its status and what it printed."""
    for name in [name for name in os.environ if name.startswith(("RAG_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def run(*argv: str) -> tuple[int, str, str]:
        try:
            status = main(["ingest", *argv])
        except SystemExit as error:
            status = int(error.code or 0)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_the_command_submits_collects_and_says_so(upstream: Upstream, rag: Callable[..., Any], docs: Path) -> None:
    upstream.batching.n_polls = 1
    status, out, err = rag(str(docs), "--batch", "--no-wait")
    assert (status, "batches under way: 1 with" in out) == (0, True), err
    assert f"{N_DOCUMENTS} files wait for their vectors; run the same command again" in out
    assert "--batch-cancel cancels" in err
    status, out, err = rag(str(docs), "--batch", "--json", "--quiet")
    batch, report = map(json.loads, out.splitlines())
    assert (status, err) == (0, "")
    assert batch["batch"]["ended"][0]["status"] == "completed"
    assert report["counts"]["indexed"] == N_DOCUMENTS


def test_an_ordinary_run_says_what_is_on_order(upstream: Upstream, rag: Callable[..., Any], docs: Path) -> None:
    upstream.batching.n_polls = 1000
    rag(str(docs), "--batch", "--no-wait", "--quiet")
    _, _, err = rag(str(docs), "--quiet")
    assert "batches on order: 1; this run pays for their texts again" in err
    status, out, _ = rag("--batch-cancel", "--quiet")
    assert (status, "batch_0 cancelled" in out) == (0, True)
    assert rag("--batch-cancel")[:2] == (0, "no batches: nothing was on order\n")


def test_a_limit_on_the_cost_is_kept_before_anything_is_begun(upstream: Upstream, rag, docs: Path) -> None:
    priced = ("--set", "embeddings.price_per_million=10")
    status, _, err = rag(str(docs), "--batch", "--quiet", "--max-cost", "0.0001", *priced)
    assert (status, "the batches would cost up to" in err, upstream.batching.batches) == (1, True, {})
    assert rag(str(docs), "--batch", "--quiet", "--max-cost", "1", *priced)[0] == 0


def test_a_run_by_batches_says_what_it_paid_and_claims_no_savings(upstream: Upstream, rag, docs: Path) -> None:
    openai = {
        "provider": "openai",
        "base_url": upstream.base_url,
        "api_key": "sk-test",
        "model": "text-embedding-3-small",
        "dimensions": "64",
    }
    settings = [word for name, value in openai.items() for word in ("--set", f"embeddings.{name}={value}")]
    status, out, err = rag(str(docs), "--batch", "--quiet", "--json", *settings)
    batch, report = map(json.loads, out.splitlines())
    n_tokens = sum(ended["n_tokens"] for ended in batch["batch"]["ended"])
    assert (status, batch["batch"]["currency"]) == (0, "USD"), err
    assert batch["batch"]["cost"] == pytest.approx(n_tokens * 0.01 / 1e6)
    assert (report["n_texts_reused"], report["n_tokens_reused"]) == (0, 0)


@pytest.mark.parametrize(
    "argv",
    [(), ("--batch",), ("docs", "--no-wait"), ("docs", "--batch", "--rebuild"), ("docs", "--batch", "--dry-run")],
)
def test_what_does_not_go_together_is_wrong_usage(rag: Callable[..., Any], argv: tuple[str, ...]) -> None:
    status, _, err = rag(*argv)
    assert (status, "error: " in err) == (2, True)
