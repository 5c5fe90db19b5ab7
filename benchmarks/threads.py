"""What storing a conversation adds to an answer, in a thread of 10, 100 and 1,000 turns, beside a bare commit.

    python benchmarks/threads.py [--turns 1000] [--rounds 40]

A turn is begun (the question stored, the earlier turns and numbers read, the history packed) and finished (the answer
with eight sources and three citations stored), with nothing between: no model, no search. A bare commit is one row of
the size of an answer in a table of its own, in the same mode (WAL, synchronous=FULL) on the same disk: no store that
keeps an answer through a power cut does with less than one, and a question that must be known before its answer is two.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from api.conversing import history_of
from api.thread_views import finished
from index.thread_records import Thread
from index.threads import ThreadStore
from rag.answering.numbering import Numbering, Version
from rag.answering.prompt import pack_history
from rag.contracts import Tokenizer
from rag.tokens import tokenizer
from rag.types import Answer, Citation, Source, Statement, Usage

PASSAGE = "The Moon goes around the Earth in 27.3 days. Its mean distance is 384,400 kilometres. " * 6
SENTENCE = "The Moon goes around the Earth in 27.3 days"


def answer(sources: tuple[Source, ...], n: int) -> Answer:
    """Return an answer of three sentences that cite the first three sources."""
    text = " ".join(f"{SENTENCE} [{source.marker}]." for source in sources[:3])
    cited = [
        Citation(
            marker=source.marker,
            document=source.document_id,
            page=None,
            place="line 1",
            start=0,
            end=len(SENTENCE),
            quote=SENTENCE,
            answer_start=0,
            answer_end=47,
            chunk_id="c",
            verdict="supported",
            missing=(),
            reason="",
        )
        for source in sources[:3]
    ]
    statements = tuple(Statement(0, 47, (source.marker,), "supported") for source in sources[:3])
    return Answer(
        f"answer-{n}", "How far?", text, True, None, tuple(cited), statements, (), sources, "model", "stop", Usage(), {}
    )


def turn(store: ThreadStore, thread: Thread, n: int, words: Tokenizer) -> None:
    """Add one turn; its sources are eight of forty passages, so that numbers are given and found again."""
    begun = store.begin(thread.id, f"How far is the Moon, question {n}?")
    pack_history(history_of(begun), tokenizer=words, budget_tokens=1000)
    numbering = Numbering(
        begun.passages, taken=begun.taken, version=lambda one: Version("default", one.document_id, "s")
    )
    places = [(n * 3 + place) % 40 for place in range(8)]
    sources = numbering.number(
        [
            Source(0, f"document-{place}.md", "Moon", 0, len(PASSAGE), PASSAGE, None, (), 1.0, ("c",), (0,), "line 1")
            for place in places
        ]
    )
    store.finish(begun.turn, finished(answer(sources, n), numbering.given))


def median_ms(work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def bare_commit_ms(folder: Path, rounds: int) -> float:
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        bare.execute("CREATE TABLE answers (number INTEGER PRIMARY KEY, record TEXT)")
        return median_ms(lambda: bare.execute("INSERT INTO answers (record) VALUES (?)", ("x" * 6000,)), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=1000, help="turns of the longest thread")
    parser.add_argument("--rounds", type=int, default=40, help="turns that are timed in each")
    options = parser.parse_args()
    words = tokenizer("cl100k_base")
    with tempfile.TemporaryDirectory() as name, closing(ThreadStore(Path(name))) as store:
        folder = Path(name)
        commit = bare_commit_ms(folder, options.rounds)
        print(f"a bare commit: {commit:.2f} ms")
        thread = store.create(title="", collections=(), metadata={})
        numbers = itertools.count()
        for length in sorted({10, 100, options.turns}):
            while store.get(thread.id).n_turns < length:
                turn(store, thread, next(numbers), words)
            took = median_ms(lambda: turn(store, thread, next(numbers), words), options.rounds)
            print(f"a turn after {length:,}: {took:.2f} ms, {took / commit:.1f} bare commits")
        whole = store.whole(thread.id)
        size = sum(file.stat().st_size for file in folder.glob("threads.db")) / len(whole.turns)
        print(f"{len(whole.turns):,} turns, {len(whole.passages)} numbers, {size / 1024:.1f} KB a turn")


if __name__ == "__main__":
    main()
