"""What an ingest would cost, and may cost: the estimate against the run, the limit against the endpoint's bill."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.footnote import Footnote
from ingest.cost import IngestEstimate, MaxCostError, Spending
from ingest.report import IngestReport
from rag.errors import ConfigError
from rag.prices import Price, known_price, listed_prices
from rag.tokens import tokenizer
from tests.upstream import Fault, Upstream

OpenFootnote = Callable[..., Footnote]


def prose(seed: int, n_sentences: int = 30) -> str:
    return " ".join(f"Line {i} of text {seed} says {(seed * 31 + i * 7) % 97} and no more." for i in range(n_sentences))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for i in range(8):
        (folder / f"doc{i}.md").write_text(f"# Document {i}\n\n{prose(i)}\n", encoding="utf-8")
    return folder


@pytest.fixture
async def footnote_with(tmp_path: Path, upstream: Upstream) -> AsyncIterator[OpenFootnote]:
    """Open a Footnote over the scripted endpoint, with more settings: ``footnote_with(ingest__max_cost=1)``."""
    environ = {
        "OPENAI_BASE_URL": upstream.base_url,
        "RAG_CHUNKING_TOKENS": "64",
        "RAG_CHUNKING_OVERLAP": "0",
        "RAG_EMBEDDINGS_MAX_RETRIES": "0",
        "RAG_EMBEDDINGS_MAX_INPUTS": "4",
        "RAG_EMBEDDINGS_PRICE_PER_MILLION": "1000",
    }
    async with AsyncExitStack() as stack:

        def opened(library: str = "library", **overrides: Any) -> Footnote:
            footnote = Footnote.open(tmp_path / library, environ=environ, **overrides)
            stack.push_async_callback(footnote.aclose)
            return footnote

        yield opened


@pytest.fixture
def bill(upstream: Upstream) -> Callable[[], int]:
    """Let the endpoint count as OpenAI does, take its time, and say how many tokens of documents it was sent so far."""
    count = tokenizer("cl100k_base").count
    billed = 0

    def told(reply: dict[str, Any]) -> dict[str, Any]:
        nonlocal billed
        before, billed = billed, sum(count(text) * n for text, n in upstream.embedded.items())
        return {**reply, "usage": {"prompt_tokens": billed - before, "total_tokens": billed - before}}

    upstream.always("embeddings", Fault(delay_s=0.01, edit=told))
    return lambda: sum(count(text) * n for text, n in of_documents(upstream).items())


def of_documents(upstream: Upstream) -> Counter[str]:
    """Texts sent, without the question by which the length of the vectors is learnt."""
    return Counter({text: n for text, n in upstream.embedded.items() if "your vectors" not in text})


async def estimate(footnote: Footnote, *paths: Path, **options: Any) -> IngestEstimate:
    (found,) = await footnote.plan_ingest(*paths, **options)
    return found


async def ingest(footnote: Footnote, *paths: Path, **options: Any) -> IngestReport:
    (report,) = await footnote.ingest(*paths, **options)
    return report


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def outcome(report: IngestReport) -> dict[str, tuple[str, str | None, str, int, int]]:
    return {file.path: (file.state, file.change, file.reason, file.n_chunks, file.n_tokens) for file in report.files}


async def assert_the_run_does_what_was_estimated(
    footnote: Footnote, *paths: Path, paid: Callable[[], int], upstream: Upstream, **options: Any
) -> None:
    planned = await footnote.plan_ingest(*paths, **options)
    before, n_before = paid(), of_documents(upstream).total()
    reports = await footnote.ingest(*paths, **options)
    assert [outcome(report) for report in reports] == [outcome(plan.report) for plan in planned]
    assert [report.removed for report in reports] == [plan.report.removed for plan in planned]
    assert [report.n_texts_embedded for report in reports] == [plan.n_texts for plan in planned]
    assert [report.n_tokens_embedded for report in reports] == [plan.n_tokens for plan in planned]
    assert [report.cost for report in reports] == [plan.cost for plan in planned]
    assert [(report.n_texts_reused, report.n_tokens_reused) for report in reports] == [
        (plan.report.n_texts_reused, plan.report.n_tokens_reused) for plan in planned
    ]
    assert paid() - before == sum(plan.n_tokens for plan in planned)
    assert of_documents(upstream).total() - n_before == sum(plan.n_texts for plan in planned)


# --- the dry run


async def test_a_dry_run_foretells_every_figure_of_the_run(
    footnote_with: OpenFootnote, folder: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    footnote = footnote_with()
    (folder / "copy.md").write_bytes((folder / "doc1.md").read_bytes())
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (folder / "blank.txt").write_text(" \n", encoding="utf-8")
    (folder / "archive.md").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(200))
    await assert_the_run_does_what_was_estimated(footnote, folder, paid=bill, upstream=upstream)

    (folder / "doc2.md").write_text(f"# Document 2\n\n{prose(2)} And one line more.\n", encoding="utf-8")
    (folder / "doc3.md").unlink()
    (folder / "doc4.md").rename(folder / "moved.md")
    (folder / "new.md").write_text(prose(50), encoding="utf-8")
    await assert_the_run_does_what_was_estimated(footnote, folder, paid=bill, upstream=upstream)
    await assert_the_run_does_what_was_estimated(footnote, folder, paid=bill, upstream=upstream)


async def test_a_dry_run_knows_what_other_collections_have_paid_for(
    footnote_with: OpenFootnote, folder: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    footnote = footnote_with()
    await ingest(footnote, folder / "doc1.md", collection="first")
    found = await estimate(footnote, folder, collection="second")
    assert found.report.n_texts_reused > 0
    await assert_the_run_does_what_was_estimated(footnote, folder, paid=bill, upstream=upstream, collection="second")


async def test_two_folders_with_the_same_texts_are_estimated_as_one_run_pays_them(
    footnote_with: OpenFootnote, folder: Path, tmp_path: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    (other / "doc1.md").write_bytes((folder / "doc1.md").read_bytes())
    (other / "more.md").write_text(prose(70), encoding="utf-8")
    footnote = footnote_with()
    await assert_the_run_does_what_was_estimated(footnote, folder, other, paid=bill, upstream=upstream)


async def test_a_dry_run_of_a_rebuild_covers_all_folders_and_pays_for_new_chunks_only(
    footnote_with: OpenFootnote, folder: Path, tmp_path: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    (other / "more.md").write_text(prose(70), encoding="utf-8")
    await footnote_with().ingest(folder, other)
    smaller = footnote_with(chunking__tokens=32)
    await assert_the_run_does_what_was_estimated(smaller, folder, paid=bill, upstream=upstream, rebuild=True)


async def test_a_dry_run_writes_nothing_and_embeds_nothing(
    footnote_with: OpenFootnote, folder: Path, tmp_path: Path, upstream: Upstream
) -> None:
    writing = footnote_with()
    await ingest(writing, folder)
    await writing.aclose()
    (folder / "new.md").write_text(prose(50), encoding="utf-8")
    (folder / "doc3.md").unlink()
    before, n_calls = fingerprint(tmp_path), len(upstream.calls("embeddings"))
    looking = footnote_with()
    assert (await estimate(looking, folder)).n_texts > 0
    assert (await estimate(looking, folder, rebuild=True)).n_texts > 0
    assert (await estimate(looking, folder, collection="another")).n_texts > 0
    await looking.aclose()
    assert fingerprint(tmp_path) == before
    assert len(upstream.calls("embeddings")) == n_calls


async def test_a_dry_run_makes_no_library(footnote_with: OpenFootnote, folder: Path, upstream: Upstream) -> None:
    footnote = footnote_with("elsewhere")
    found = await estimate(footnote, folder)
    assert (found.changes["new"], upstream.calls("embeddings")) == (8, [])
    assert not footnote.settings.library.exists()
    assert "length of the vectors" in found.notes[0]


async def test_a_dry_run_needs_no_lock(footnote_with: OpenFootnote, folder: Path) -> None:
    footnote = footnote_with()
    await ingest(footnote, folder)
    with footnote.collection().writer("somebody else"):
        assert (await estimate(footnote, folder)).report.counts["unchanged"] == 8


async def test_requests_and_time_are_estimated_from_what_is_known(
    footnote_with: OpenFootnote, folder: Path, upstream: Upstream
) -> None:
    footnote = footnote_with()
    first = await estimate(footnote, folder)
    assert (first.n_requests, first.seconds) == (-(-first.n_texts // 4), None)
    await ingest(footnote, folder)
    (folder / "new.md").write_text(prose(50), encoding="utf-8")
    assert (await estimate(footnote, folder)).seconds is not None, "the rate of the first run is known now"


async def test_an_unknown_price_is_said_and_not_guessed(footnote_with: OpenFootnote, folder: Path) -> None:
    footnote = footnote_with(embeddings__model="text-embedding-3-small")
    assert (await estimate(footnote, folder)).cost is not None, "the setting names a price"
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "RAG_EMBEDDINGS_MODEL": "text-embedding-3-small"}
    async with Footnote.open(folder.parent / "none", environ=environ) as unpriced:
        found = await estimate(unpriced, folder)
    assert (found.price, found.cost, found.to_json()["cost"]) == (None, None, None)


# --- the limit


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
async def test_a_limit_is_never_exceeded_by_requests_at_once(
    share: float, footnote_with: OpenFootnote, folder: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    whole = (await estimate(footnote_with(), folder)).cost
    assert whole is not None
    limit = whole * share
    report = await ingest(footnote_with(ingest__max_cost=limit, embeddings__concurrency=4), folder)
    assert bill() * 1000 / 1e6 <= limit
    assert (report.exit_code, "--max-cost" in report.stopped) == (1, True)
    assert {file.state for file in report.files} <= {"indexed", "failed"}
    assert all(file.retriable for file in report.failed)


async def test_after_a_limit_the_same_command_goes_on_and_pays_nothing_twice(
    footnote_with: OpenFootnote, folder: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    whole = await estimate(footnote_with(), folder)
    assert whole.cost is not None
    stopped = await ingest(footnote_with(ingest__max_cost=whole.cost / 2), folder)
    assert 0 < stopped.n_texts_embedded < whole.n_texts
    assert stopped.cost == pytest.approx(bill() / 1000)
    rest = await estimate(footnote_with(), folder)
    assert rest.n_texts == whole.n_texts - stopped.n_texts_embedded
    report = await ingest(footnote_with(ingest__max_cost=rest.cost), folder)
    assert (report.exit_code, bill()) == (0, whole.n_tokens)
    assert footnote_with().check() == []


async def test_a_limit_holds_over_all_paths_of_a_command(
    footnote_with: OpenFootnote, folder: Path, upstream: Upstream, bill: Callable[[], int]
) -> None:
    paths = [folder / "doc0.md", folder / "doc1.md"]
    whole = await footnote_with().plan_ingest(*paths)
    limit = sum(plan.cost or 0 for plan in whole) * 0.75
    footnote = footnote_with(ingest__max_cost=limit)
    assert [plan.exceeds_limit for plan in await footnote.plan_ingest(*paths)] == [False, True]
    first, second = await footnote.ingest(*paths)
    assert (first.stopped, bill() * 1000 / 1e6 <= limit) == ("", True)
    assert "would be exceeded" in second.stopped


async def test_a_limit_without_a_price_is_refused_before_anything_is_made(folder: Path, upstream: Upstream) -> None:
    environ = {"OPENAI_BASE_URL": upstream.base_url, "RAG_INGEST_MAX_COST": "1"}
    async with Footnote.open(folder.parent / "none", environ=environ) as footnote:
        with pytest.raises(ConfigError, match=r"set embeddings\.price_per_million"):
            await footnote.ingest(folder)
        assert not footnote.settings.library.exists()


@given(
    counted=st.lists(st.tuples(st.integers(1, 50), st.floats(0.2, 1.0)), max_size=30),
    limit=st.integers(0, 500),
    concurrency=st.integers(1, 6),
)
def test_reservations_keep_any_mix_of_requests_within_the_limit(
    counted: list[tuple[int, float]], limit: int, concurrency: int
) -> None:
    async def run() -> tuple[int, int]:
        spending = Spending(Price(1_000_000.0, "USD", "a dollar a token"), limit=float(limit))
        slots = asyncio.Semaphore(concurrency)
        paid, refused = 0, 0

        async def request(n_tokens: int, factor: float) -> None:
            nonlocal paid, refused
            async with slots:
                try:
                    reserved = await spending.reserve(n_tokens)
                except MaxCostError:
                    refused += 1
                    return
                await asyncio.sleep(0)
                told = max(1, int(n_tokens * factor))
                paid += told
                await spending.settle(reserved, n_counted=n_tokens, n_paid=told)

        await asyncio.gather(*(request(*sizes) for sizes in counted))
        return paid, refused

    paid, refused = asyncio.run(run())
    assert paid <= limit
    assert refused == 0 or sum(n_tokens for n_tokens, _ in counted) > limit


async def test_an_endpoint_that_counts_more_is_believed_from_its_first_reply() -> None:
    spending = Spending(Price(1_000_000.0, "USD", "a dollar a token"), limit=100.0)
    first = await spending.reserve(10)
    await spending.settle(first, n_counted=10, n_paid=30)
    assert await spending.reserve(20) == 60
    with pytest.raises(MaxCostError, match=r"100\.00 USD would be exceeded: 90\.00 USD spent, the next .* 12\.00 USD"):
        await asyncio.gather(spending.reserve(4), spending.settle(60, n_counted=20, n_paid=60))


# --- money in reports


async def test_a_report_and_the_history_say_what_was_spent_and_saved(
    footnote_with: OpenFootnote, folder: Path, bill: Callable[[], int]
) -> None:
    footnote = footnote_with()
    report = await ingest(footnote, folder)
    assert (report.cost, report.currency) == (bill() / 1000, "USD")
    again = await ingest(footnote, folder, collection="second")
    assert (again.cost, again.n_texts_embedded, again.n_tokens_reused) == (0.0, 0, report.n_tokens_embedded)
    (space,) = footnote.cache().spaces
    assert space.n_tokens_reused == again.n_tokens_reused
    (run,) = footnote.collection("second").runs()
    assert json.dumps(run["n_texts_reused"]) == str(again.n_texts_reused)


def test_the_price_table_names_its_models_as_the_provider_does() -> None:
    small = known_price("openai", "text-embedding-3-small")
    assert small is not None
    assert (small.per_million, small.batch_per_million, small.currency) == (0.02, 0.01, "USD")
    assert small.source.startswith("price table of 20")
    assert known_price("openai-compatible", "text-embedding-3-small") is None
    assert all(price.batch_per_million == price.per_million / 2 for price in listed_prices().values())


@given(st.floats(0, 1000), st.floats(0.001, 100))
def test_what_is_affordable_costs_no_more_than_the_amount(amount: float, per_million: float) -> None:
    price = Price(per_million, "USD", "example")
    n_tokens = price.affordable(amount)
    assert price.cost(n_tokens) <= amount
    assert price.cost(n_tokens + 1) > amount or n_tokens > 1e15
