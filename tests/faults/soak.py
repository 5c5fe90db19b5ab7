"""Two endless processes over one library: ``python -m tests.faults.soak write|read LIBRARY``.

The writer replaces twenty documents again and again, and says when it holds the lock. The reader searches by both legs;
it ends with an error, or with the number of its searches once its standard input is closed. Every search must find the
documents that nobody touches; of the others a slow search may find none, for they can all be replaced meanwhile.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import sys
import time
from pathlib import Path

import numpy as np

from index.collection import Collection
from tests.index.shelving import open_or_create, shelve

N_WORDS = 60
N_DOCUMENTS = 20
STILL = ("still-0.txt", "still-1.txt")
PAUSE_S = 0.02  # leaves the reader its share of a processor
_WORD = re.compile(r"(?<=zebra )\w+x\d+(?= )")


def settle(folder: Path) -> None:
    """Store the documents that stay as they are."""
    library, collection = open_or_create(folder)
    with collection.writer("test") as writer:
        for name in STILL:
            shelve(library, collection, writer, name, " ".join(["zebra v0x0"] * (N_WORDS // 2)))
    library.close()


def write(folder: Path) -> None:
    library, collection = open_or_create(folder)
    with collection.writer("soak") as writer:
        sys.stdout.write("held\n")
        sys.stdout.flush()
        for n in itertools.count():
            text = " ".join(f"zebra v{n}x{os.getpid()}" for _ in range(N_WORDS // 2))
            shelve(library, collection, writer, f"{n % N_DOCUMENTS}.txt", text)
            time.sleep(PAUSE_S)


def look(collection: Collection) -> None:
    """Raise AssertionError unless every document that is seen is of one version, and whole."""
    anything = np.eye(8, dtype=np.float32)[7]
    for hits in (collection.search_keywords("zebra", k=500), collection.search_vectors(anything, k=500)):
        found = collection.chunks([row for row, _ in hits])
        lost = set(STILL) - {chunk.document_id for chunk in found.values()}
        assert not lost, f"a search did not find {lost}"
        versions = {(chunk.document_id, word) for chunk in found.values() for word in _WORD.findall(chunk.text)}
        assert len(versions) == len({name for name, _ in versions}), f"documents of two versions: {versions}"
    for info in collection.documents():
        words = collection.document(info.id).text.split()
        assert len(words) == N_WORDS, f"{info.id} has {len(words)} words"
        assert len(set(words)) == 2, f"{info.id} is of two versions: {set(words)}"


def read(folder: Path) -> None:
    library, collection = open_or_create(folder)
    for n in itertools.count(1):
        look(collection)
        if n == 1:
            sys.stdout.write("reading\n")
            sys.stdout.flush()
        if select.select([sys.stdin], [], [], 0)[0]:
            sys.stdout.write(f"{n}\n")
            library.close()
            return


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
