"""How much of the text of real pages is read, and how much of what surrounds it.

    python benchmarks/main_text.py --data FOLDER

FOLDER is ``tests`` of the trafilatura repository (Apache-2.0): ``evaldata.json`` names, for some thousand pages of the
web, pieces that belong to the text and pieces that do not. Shown are the share of the former that is read (recall), the
share of the latter that is read as well (noise), and the CPU time: for the whole page without its navigation, for what
the HTML reader makes of it, and for trafilatura, where it is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.readers.html import read_html

Extract = Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Page:
    data: bytes
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def pages(folder: Path) -> Iterator[Page]:
    """Yield the labelled pages whose files are there."""
    for entry in json.loads((folder / "evaldata.json").read_text(encoding="utf-8")).values():
        for place in ("cache", "eval"):
            path = folder / place / entry["file"]
            if path.exists():
                yield Page(path.read_bytes(), tuple(entry["with"]), tuple(entry["without"]))
                break


def one_line(text: str) -> str:
    return " ".join(text.split())


def measure(name: str, extract: Extract, labelled: list[Page]) -> None:
    n_wanted = n_unwanted = n_read = n_noise = 0
    seconds = 0.0
    for page in labelled:
        started = time.process_time()
        text = one_line(extract(page.data))
        seconds += time.process_time() - started
        n_wanted += len(page.wanted)
        n_unwanted += len(page.unwanted)
        n_read += sum(one_line(piece) in text for piece in page.wanted)
        n_noise += sum(one_line(piece) in text for piece in page.unwanted)
    rate = 1000 * seconds / len(labelled)
    print(f"{name:<14} recall {n_read / n_wanted:.3f}   noise {n_noise / n_unwanted:.3f}   {rate:5.1f} ms a page")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with evaldata.json, cache and eval")
    folder = parser.parse_args().data
    if not (folder / "evaldata.json").exists():
        print(f"{folder} holds no evaldata.json; name the folder 'tests' of a copy of trafilatura", file=sys.stderr)
        return 2
    labelled = list(pages(folder))
    print(f"{len(labelled)} pages")
    measure("whole page", lambda data: read_html(data, "", is_page=False).text, labelled)
    measure("this reader", lambda data: read_html(data, "").text, labelled)
    try:
        import trafilatura
    except ImportError:
        print("trafilatura is not installed: pip install trafilatura")
    else:
        measure("trafilatura", lambda data: trafilatura.extract(data, include_comments=False) or "", labelled)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
