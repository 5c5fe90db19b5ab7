"""What the process tests run in another process: ``python -m tests.index.child ACTION LIBRARY [ARGUMENT]``."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from index.collection import Collection
from index.library import Library
from tests.index.shelving import open_or_create, shelve


def write(library: Library, collection: Collection, n: str) -> None:
    """Add n documents, one a transaction, saying so after each."""
    with collection.writer("child") as writer:
        for number in range(int(n)):
            shelve(library, collection, writer, f"child-{number}.txt", f"zebra number {number} " * 5, size=30)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


def hold(library: Library, collection: Collection, _: str) -> None:
    """Hold the writer lock until killed."""
    with collection.writer("ingest of the child"):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        time.sleep(60)


def killed_in(library: Library, collection: Collection, place: str) -> None:
    """Replace documents, and be killed before the n-th call of a C function of this name: ``NAME:N``.

    ``execute`` and ``executemany`` are SQLite's, ``commit`` and ``add_document`` tantivy's, ``fsync`` and ``replace``
    put snapshots in place.
    """
    wanted, _, count = place.partition(":")
    left = int(count)

    def watch(_: object, event: str, function: object) -> None:
        nonlocal left
        if event == "c_call" and getattr(function, "__name__", "") == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    with collection.writer("child") as writer:
        sys.setprofile(watch)
        for number in range(6):
            shelve(library, collection, writer, f"{number}.txt", f"quagga number {number} " * 5, size=30)


def read(library: Library, collection: Collection, query: str) -> None:
    """Print what a search finds, as JSON."""
    rows = [row for row, _ in collection.search_keywords(query, k=100)]
    found = sorted({chunk.document_id for chunk in collection.chunks(rows).values()})
    n_vectors = len(collection.search_vectors(collection.vectors_of(collection.rows()[:1])[0], k=1000))
    sys.stdout.write(json.dumps({"documents": found, "n_vectors": n_vectors}) + "\n")


def become_nobody() -> None:
    """Give up root, whom permissions do not stop; what is imported late is imported while it can be read."""
    for module in ("index.vectors", "index.keywords", "encodings.idna"):
        importlib.import_module(module)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


if __name__ == "__main__":
    action, folder, argument = sys.argv[1:4]
    if action == "read_only":
        become_nobody()
    if action in ("read", "read_only"):
        with Library.open(Path(folder)) as opened:
            read(opened, opened.open_collection("main"), argument)
    else:
        opened, main = open_or_create(Path(folder))
        {"write": write, "hold": hold, "killed_in": killed_in}[action](opened, main, argument)
        opened.close()
