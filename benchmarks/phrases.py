"""How often the ten best hits hold the words that were asked for as they stand, beside a search without the rule.

    python benchmarks/phrases.py [--library DIR] [--queries 150]

Queries are made from the passages: an identifier that stands in one to ten chunks (``CX3CR1``, ``max_tokens``), four
words (or six Chinese characters) in a row, quoted. Found: of the chunks that hold the words, up to ten, the share that
is among the ten best. First: how often the best one holds them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from retrieval import DATA, load, stored

import index.retriever
from index.library import Library
from index.phrases import Phrase, Wanted, wanted_exactly
from index.retriever import HybridRetriever
from rag.local.embedder import LocalEmbedder
from rag.local.wordpiece import WordPieceTokenizer

SETS = ("anthropic_docs", "nq_oracle", "scifact_train", "xquad_zh")
K = 10
_IN_A_ROW = r"\s[^\W_]+(?: [^\W_]+){3}(?=\s)|[\u4e00-\u9fff]{6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, help="where the sets are kept, as by benchmarks/retrieval.py")
    parser.add_argument("--queries", type=int, default=150, help="of each kind, a set")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"no question sets in {DATA}; put BEIR folders there")
    print(f"{'':16} {'':12} {'':>7} {'with the rule':>19} {'without':>19}")
    print(f"{'set':16} {'kind':12} {'queries':>7} {'found':>10} {'first':>8} {'found':>10} {'first':>8}")
    with (
        tempfile.TemporaryDirectory() as temporary,
        Library.open(options.library or Path(temporary), create=True) as lib,
    ):
        for name in SETS:
            asyncio.run(measure(lib, name, options.queries))


async def measure(library: Library, name: str, n_queries: int) -> None:
    embedder, tokenizer = LocalEmbedder(), WordPieceTokenizer()
    collection = await stored(library, load(DATA / name), embedder, tokenizer)
    retriever = HybridRetriever(collection, embedder, tokenizer=tokenizer)
    texts = {chunk.id: chunk.text for chunk in collection.chunks(collection.rows()).values()}
    for kind, queries in (("identifiers", identifiers(texts, n=n_queries)), ("quotes", quotes(texts, n=n_queries))):
        cells = []
        for rule in (True, False):
            shares, firsts = [], []
            with as_ruled(rule):
                for query, holding in queries.items():
                    hits = [hit.chunk.id for hit in (await retriever.retrieve(query, k=K)).hits]
                    shares.append(sum(hit in holding for hit in hits) / min(K, len(holding)))
                    firsts.append(hits[:1] != [] and hits[0] in holding)
            cells += [float(np.mean(shares)) if shares else 0.0, float(np.mean(firsts)) if firsts else 0.0]
        figures = f"{cells[0]:10.3f} {cells[1]:8.3f} {cells[2]:10.3f} {cells[3]:8.3f}"
        print(f"{name:16} {kind:12} {len(queries):7} {figures}", flush=True)


@contextmanager
def as_ruled(rule: bool) -> Iterator[None]:
    """Search with the rule, or as if nothing were wanted word for word."""
    if not rule:
        index.retriever.wanted_exactly = lambda query: Wanted()
    try:
        yield
    finally:
        index.retriever.wanted_exactly = wanted_exactly


def identifiers(texts: Mapping[str, str], *, n: int) -> dict[str, set[str]]:
    """Return up to ``n`` words that are searched as they stand, and the chunks that hold each."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for name, text in texts.items():
        for word in set(text.split()):
            seen[word.strip(".,;:!?()[]{}<>\"'`*")].add(name)
    rare = sorted(word for word, names in seen.items() if 4 <= len(word) <= 30 and len(names) <= K)
    random.Random(1).shuffle(rare)
    folded = {name: text.casefold() for name, text in texts.items()}
    found: dict[str, set[str]] = {}
    for word in rare:
        if len(found) < n and wanted_exactly(word).phrases and not wanted_exactly(word).quoted:
            phrase, within = Phrase(word), word.casefold()
            found[word] = {name for name, text in folded.items() if within in text and phrase.stands_in(texts[name])}
    return {word: holding for word, holding in found.items() if 1 <= len(holding) <= K}


def quotes(texts: Mapping[str, str], *, n: int) -> dict[str, set[str]]:
    """Return up to ``n`` quotes from the middle of chunks, and the chunks that hold each."""
    found: dict[str, set[str]] = {}
    folded = {name: text.casefold() for name, text in texts.items()}
    for _, text in random.Random(2).sample(sorted(texts.items()), min(len(texts), n)):
        words = re.search(_IN_A_ROW, text[len(text) // 2 :])
        if words is not None:
            phrase, within = Phrase(words[0].strip()), words[0].strip().casefold()
            holding = {name for name, other in folded.items() if within in other and phrase.stands_in(other)}
            found[f"“{phrase.text}”"] = holding
    return {query: holding for query, holding in found.items() if holding}


if __name__ == "__main__":
    main()
