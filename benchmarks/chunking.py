"""Chunking beside bare tiktoken and beside other chunkers: megabytes per CPU second, and what came out wrong.

    python benchmarks/chunking.py [--tokenizer cl100k_base] [--tokens 512] [--overlap 64] [--rounds 7] [--rivals]

Texts: English (the documentation of Python, tldr pages) and Chinese (the documentation of Vue, tldr pages) from
../shared/data/docs, strung together into documents of about 250,000 characters; runs of 400 printed ASCII characters
(compressed programs in links, images in base64) are left out, as they have no boundaries. Rounds are interleaved: each
runs every contender once; medians are printed, and the ratio to tiktoken is the median of the ratios of each round.

``over``: chunks whose own tokens exceed the limit. ``offsets``: chunks that are not the text at their offsets (where
the library gives any). ``ends``: share of chunks that end where a sentence, a line, a paragraph or the text does.

--rivals also runs langchain-text-splitters, chonkie, semchunk and llama-index-core, those that can be imported. They
are no dependencies of this project: install them with ``pip install --target FOLDER`` and set PYTHONPATH to FOLDER.
"""

from __future__ import annotations

import argparse
import importlib
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ingest.chunking import chunk
from rag.tokens import BYTE_PAIR, BytePairTokenizer
from rag.types import ChunkingSettings, Document, Heading

DATA = Path(__file__).parents[2] / "shared" / "data" / "docs"
TEXTS = {
    "English": ("python-doc/**/*.txt", "tldr/pages/**/*.md"),
    "Chinese": ("vue-docs-zh/src/**/*.md", "tldr/pages.zh/**/*.md"),
}
DOCUMENT_CHARS = 250_000
NO_BOUNDARY = re.compile(r"[!-~]{400,}")


class Piece(NamedTuple):
    """A chunk of any library; ``start`` is None where it gives no offsets."""

    start: int | None
    text: str


Chunker = Callable[[Document], list[Piece]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", choices=BYTE_PAIR, default="cl100k_base")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=float, default=1.2, help="of each language")
    parser.add_argument("--rivals", action="store_true")
    options = parser.parse_args()
    if not DATA.is_dir():
        print(f"skipped: the texts are not there ({DATA})")
        return 0
    tokenizer = BytePairTokenizer(options.tokenizer)
    settings = ChunkingSettings(options.tokens, options.overlap)
    contenders: dict[str, Chunker] = {"footnote": partial(ours, tokenizer=tokenizer, settings=settings)}
    if options.rivals:
        contenders |= rivals(tokenizer, settings)
    for language, patterns in TEXTS.items():
        documents = list(read_documents(patterns, round(options.megabytes * 1e6)))
        compare(language, documents, contenders, tokenizer, settings, rounds=options.rounds)
    return 0


def read_documents(patterns: tuple[str, ...], n_bytes: int) -> Iterator[Document]:
    """Yield documents made of whole files, as many as hold about ``n_bytes`` bytes, an equal part from each pattern."""
    for pattern in patterns:
        text, left = "", n_bytes // len(patterns)
        for path in sorted(DATA.glob(pattern)):
            text += NO_BOUNDARY.sub("", path.read_text("utf-8").replace("\r\n", "\n")) + "\n\n"
            if len(text) >= DOCUMENT_CHARS or len(text.encode()) >= left:
                yield document(f"{pattern}-{left}", text)
                text, left = "", left - len(text.encode())
            if left <= 0:
                break
        if text and left > 0:
            yield document(pattern, text)


def document(name: str, text: str) -> Document:
    """Headings as a reader would find them."""
    found = re.finditer(r"^(#{1,6}) (.+)$", text, re.MULTILINE)
    headings = tuple(Heading(len(match[1]), match[2], match.start()) for match in found)
    return Document(name, name, text, "", "text/markdown", "benchmark", headings=headings)


def ours(document: Document, *, tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> list[Piece]:
    return [Piece(made.start, made.text) for made in chunk(document, tokenizer, settings)]


def rivals(tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> dict[str, Chunker]:
    """Return the chunkers that can be imported, set up as their documentation shows for this tokenizer."""
    makers: dict[str, Callable[[BytePairTokenizer, ChunkingSettings], Chunker]] = {
        "langchain recursive": langchain_recursive,
        "chonkie recursive": chonkie_recursive,
        "semchunk": semchunk_chunker,
        "llama-index sentence": llama_index_sentence,
    }
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make(tokenizer, settings)
        except ImportError as error:
            print(f"{name}: skipped, {error}", file=sys.stderr)
    return found


def langchain_recursive(tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> Chunker:
    splitters: Any = importlib.import_module("langchain_text_splitters")
    splitter = splitters.RecursiveCharacterTextSplitter(
        chunk_size=settings.tokens,
        chunk_overlap=settings.overlap,
        length_function=lambda text: len(tokenizer.encoding.encode_ordinary(text)),
        add_start_index=True,
    )
    return lambda document: [
        Piece(made.metadata["start_index"], made.page_content) for made in splitter.create_documents([document.text])
    ]


def chonkie_recursive(tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> Chunker:
    chonkie: Any = importlib.import_module("chonkie")
    chunker = chonkie.RecursiveChunker(tokenizer=tokenizer.encoding, chunk_size=settings.tokens)
    return lambda document: [Piece(made.start_index, made.text) for made in chunker.chunk(document.text)]


def semchunk_chunker(tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> Chunker:
    semchunk: Any = importlib.import_module("semchunk")
    # subtle: by default it remembers every text it has counted, and each round after the first would be free.
    chunker = semchunk.chunkerify(
        lambda text: len(tokenizer.encoding.encode_ordinary(text)), settings.tokens, memoize=False
    )

    def cut(document: Document) -> list[Piece]:
        texts, offsets = chunker(document.text, offsets=True, overlap=settings.overlap)
        return [Piece(start, text) for text, (start, _) in zip(texts, offsets, strict=True)]

    return cut


def llama_index_sentence(tokenizer: BytePairTokenizer, settings: ChunkingSettings) -> Chunker:
    parsers: Any = importlib.import_module("llama_index.core.node_parser")
    splitter = parsers.SentenceSplitter(
        tokenizer=tokenizer.encoding.encode_ordinary, chunk_size=settings.tokens, chunk_overlap=settings.overlap
    )
    return lambda document: [Piece(None, text) for text in splitter.split_text(document.text)]


def compare(
    language: str,
    documents: list[Document],
    contenders: dict[str, Chunker],
    tokenizer: BytePairTokenizer,
    settings: ChunkingSettings,
    *,
    rounds: int,
) -> None:
    megabytes = sum(len(document.text.encode()) for document in documents) / 1e6
    encode = tokenizer.encoding.encode_ordinary
    bare, seconds = [], {name: [] for name in contenders}  # type: tuple[list[float], dict[str, list[float]]]
    pieces: dict[str, list[list[Piece]]] = {}
    for _ in range(rounds):
        bare.append(cpu_seconds(lambda: [encode(document.text) for document in documents])[0])
        for name, cut in contenders.items():
            spent, pieces[name] = cpu_seconds(partial(cut_all, cut, documents))
            seconds[name].append(spent)
    print(f"{language}: {megabytes:.2f} MB in {len(documents)} documents, {settings}, {tokenizer.name}")
    print(f"  {'':22}{'MB/CPU s':>9}{'ratio':>7}{'chunks':>8}{'tokens':>8}{'over':>6}{'offsets':>9}{'ends':>8}")
    print(f"  {'tiktoken alone':22}{megabytes / statistics.median(bare):9.2f}{1:7.2f}")
    for name in contenders:
        ratio = statistics.median(alone / spent for alone, spent in zip(bare, seconds[name], strict=True))
        speed = megabytes / statistics.median(seconds[name])
        print(f"  {name:22}{speed:9.2f}{ratio:7.2f}{describe(documents, pieces[name], tokenizer, settings)}")


def cut_all(cut: Chunker, documents: list[Document]) -> list[list[Piece]]:
    return [cut(document) for document in documents]


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    done = work()
    return time.process_time() - begun, done


def describe(
    documents: list[Document], cut: list[list[Piece]], tokenizer: BytePairTokenizer, settings: ChunkingSettings
) -> str:
    """Count what is wrong, from the texts alone."""
    pairs = [(source.text, piece) for source, pieces in zip(documents, cut, strict=True) for piece in pieces]
    lengths = [tokenizer.count(piece.text) for _, piece in pairs]
    over = sum(length > settings.tokens for length in lengths)
    placed = [(text, piece.start, piece.text) for text, piece in pairs if piece.start is not None]
    wrong = sum(text[start : start + len(cut)] != cut for text, start, cut in placed)
    good = [ends_on_boundary(text, start, cut) for text, start, cut in placed if text[start : start + len(cut)] == cut]
    ends = f"{sum(good) / len(good):8.2%}" if good else f"{'-':>8}"
    offsets = f"{wrong:9}" if placed else f"{'none':>9}"
    return f"{len(pairs):8}{statistics.mean(lengths):8.0f}{over:6}{offsets}{ends}"


def ends_on_boundary(text: str, start: int, piece: str) -> bool:
    """Whether the last printed character of a piece ends a sentence, a line or the text."""
    end = start + len(piece.rstrip())
    if not text[end:].strip() or re.compile(r"[ \t]*\n").match(text, end):
        return True
    bare = text[max(start, end - 20) : end].rstrip("\"'”’»」』）》】〕])*_`")
    return bare.endswith(tuple("。！？；…")) or (bare.endswith((".", "!", "?")) and text[end].isspace())


if __name__ == "__main__":
    sys.exit(main())
