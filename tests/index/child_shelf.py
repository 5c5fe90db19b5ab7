"""What the tests of names and snapshots run in another process: ``python -m tests.index.child_shelf ACTION ...``."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from index import points
from index.library import Library
from rag.errors import CollectionNotFoundError


def kill_before(place: str) -> None:
    """Be killed before the n-th call of a function of this name: ``NAME:N``."""
    wanted, _, count = place.partition(":")
    left = int(count)

    def watch(frame: object, event: str, function: object) -> None:
        nonlocal left
        name = getattr(function, "__name__", "") if event == "c_call" else ""
        if event == "call":
            name = getattr(getattr(frame, "f_code", None), "co_name", "")
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def watch(library: Library, name: str) -> None:
    """Read the collection again and again until a line comes in; print what was found, each state once in a row."""
    seen: list[list[str]] = []
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    sys.stdout.write("reading\n")
    sys.stdout.flush()
    opened, is_last = library.open_collection(name), False
    while not is_last:
        is_last = stop.is_set()
        try:
            rows = [row for row, _ in opened.search_keywords("zebra", k=10)]
            found = sorted({chunk.document_id for chunk in opened.chunks(rows).values()})
        except CollectionNotFoundError:
            opened = library.open_collection(name)
            is_last = False
            continue
        if not seen or seen[-1] != found:
            seen.append(found)
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    action, folder, argument = sys.argv[1:4]
    with Library.open(Path(folder)) as library:
        if action == "watch":
            watch(library, argument)
        else:
            kill_before(argument)
            if action == "rename":
                library.rename("main", "new")
            else:
                points.restore(library, "main", "early", keep=False)
