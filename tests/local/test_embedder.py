"""The embedded model against the original's float vectors, and what it promises its callers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest

from rag.contracts import Embedder
from rag.errors import EmbeddingError
from rag.local.embedder import MAX_TOKENS, LocalEmbedder, available_cores, is_readable
from rag.local.wordpiece import MINILM, WordPieceTokenizer

DATA = Path(__file__).parent / "data"
TEXTS: list[str] = json.loads((DATA / "reference_texts.json").read_text(encoding="utf-8"))
ORIGINAL = np.load(DATA / "reference_vectors.npz")["vectors"]
BEIR = Path(__file__).parents[3] / "shared" / "data" / "beir"


@pytest.fixture(scope="module")
def embedder() -> LocalEmbedder:
    return LocalEmbedder()


def test_the_shipped_files_are_those_of_the_provenance() -> None:
    provenance = json.loads((MINILM / "PROVENANCE.json").read_text(encoding="utf-8"))

    for name, digest in provenance["shipped_sha256"].items():
        assert hashlib.sha256((MINILM / name).read_bytes()).hexdigest() == digest


async def test_vectors_are_those_of_the_original(embedder: LocalEmbedder) -> None:
    result = await embedder.embed(TEXTS, kind="document")

    assert [text for text, readable in zip(TEXTS, result.readable, strict=True) if not readable] == [
        "αβγ decay rates differ"
    ]
    cosine = (result.vectors * ORIGINAL).sum(axis=1)[result.readable]
    # Measured .99263 (the text is one ellipsis) and .99871; the second lowest is .9973.
    assert cosine.min() > 0.991
    assert cosine.mean() > 0.998
    assert np.sort(cosine)[1] > 0.996


async def test_neighbours_are_those_of_the_original(embedder: LocalEmbedder) -> None:
    result = await embedder.embed(TEXTS, kind="document")
    vectors, original = result.vectors[result.readable], ORIGINAL[result.readable]
    ours, theirs = vectors @ vectors.T, original @ original.T
    np.fill_diagonal(ours, -1)
    np.fill_diagonal(theirs, -1)

    agree = ours.argmax(axis=1) == theirs.argmax(axis=1)

    assert agree.mean() > 0.95  # measured .984: 60 of 61
    assert np.abs(ours - theirs).max() < 0.05


async def test_it_satisfies_the_contract(embedder: LocalEmbedder) -> None:
    contract: Embedder = embedder
    result = await contract.embed(["A text.", "Another."], kind="query")

    assert result.vectors.shape == (2, contract.profile.dimensions)
    assert result.vectors.dtype == np.float32
    assert result.vectors.flags.c_contiguous
    assert np.allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-5)
    assert result.n_tokens == 5
    assert not result.estimated


async def test_no_texts_give_no_rows(embedder: LocalEmbedder) -> None:
    assert (await embedder.embed([], kind="document")).vectors.shape == (0, 384)


async def test_a_vector_depends_on_its_text_alone(embedder: LocalEmbedder) -> None:
    together = await embedder.embed(TEXTS, kind="document")
    alone = await LocalEmbedder(n_threads=1).embed([TEXTS[5]], kind="query")
    backwards = await embedder.embed(TEXTS[::-1], kind="document")

    assert np.array_equal(together.vectors[5], alone.vectors[0])
    assert np.array_equal(together.vectors, backwards.vectors[::-1])


async def test_an_empty_text_is_refused(embedder: LocalEmbedder) -> None:
    with pytest.raises(ValueError, match="text 1 of 2 is empty"):
        await embedder.embed(["a", ""], kind="document")


async def test_a_text_over_the_window_is_refused_and_one_that_fills_it_is_not(embedder: LocalEmbedder) -> None:
    result = await embedder.embed(["word " * MAX_TOKENS], kind="document")
    assert result.readable.tolist() == [True]

    with pytest.raises(EmbeddingError, match=r"has 255 tokens .* reads 254"):
        await embedder.embed(["fine", "word " * (MAX_TOKENS + 1)], kind="document")


async def test_a_missing_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="reinstall footnote-rag"):
        await LocalEmbedder(tmp_path).embed(["a"], kind="query")


async def test_the_event_loop_runs_on_while_it_computes(embedder: LocalEmbedder) -> None:
    ticks: list[float] = []
    task = asyncio.create_task(embedder.embed([TEXTS[-4]] * 24, kind="document"))
    while not task.done():
        ticks.append(time.monotonic())
        await asyncio.sleep(0.001)

    await task
    assert len(ticks) > 10


READABLE = {
    "english": "How do I return an item?",
    "a few Chinese words": "What does 关系 (guanxi) mean in business?",
    "digits": "2024-11-22 17:45",
    "code": "for i in range(10):\n    print(i ** 2)  # squares",
    "identifier": "MAX_RETRY_COUNT",
    "accents": "El niño está aquí",
    "formula": "The α-helix and the β-sheet are the two usual folds.",
}
UNREADABLE = {
    "chinese": "文档中没有能回答这个问题的内容。",
    "chinese with a name": "FAISS 是什么？",
    "japanese": "日本語のテキストです。",
    "katakana": "カタカナ",
    "korean": "안녕하세요 세계",
    "russian": "Привет, как дела?",
    "arabic": "مرحبا بالعالم",
    "hebrew": "שלום עולם",
    "thai": "สวัสดีชาวโลก",
    "hindi": "हिन्दी भाषा",
    "greek": "Καλημέρα κόσμε",
    "emoji": "🎉🎉",
    "blank": " \n ",
}


@pytest.mark.parametrize(
    ("text", "readable"),
    [(text, True) for text in READABLE.values()] + [(text, False) for text in UNREADABLE.values()],
    ids=[*READABLE, *UNREADABLE],
)
async def test_what_the_model_cannot_read_gets_no_vector(embedder: LocalEmbedder, text: str, readable: bool) -> None:
    result = await embedder.embed([text, "An English sentence."], kind="query")

    assert result.readable.tolist() == [readable, True]
    assert bool(result.vectors[0].any()) is readable


@pytest.mark.parametrize(
    ("name", "expected"),
    [("xquad_en", True), ("nq_oracle", True), ("anthropic_docs", True), ("xquad_zh", False), ("cmrc2018_trial", False)],
)
def test_real_passages_are_judged_right(name: str, expected: bool) -> None:
    path = BEIR / name / "corpus.jsonl"
    if not path.exists():
        pytest.skip(f"needs ../shared/data/beir/{name}")
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(240), strict=False)]

    assert {is_readable(tokens) for tokens in WordPieceTokenizer().encode(texts)} == {expected}


def test_at_least_one_core_is_available() -> None:
    assert available_cores() >= 1
