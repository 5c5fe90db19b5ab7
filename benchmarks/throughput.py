"""What reading, cutting, embedding and storing a folder costs: megabytes a processor second, beside rivals and a floor.

    python benchmarks/throughput.py [--megabytes 20] [--rounds 3] [--rivals]

The same files (English and Chinese, Markdown and plain), chunks of 512 tokens, 1536 dimensions, and an endpoint that
answers at once, in a process that is not counted. Each program runs in a process of its own, in turn; the processor
time is that of all the processes it starts. Footnote is `rag ingest` into a new library: with its ledger, durable
documents, keyword index and reading processes, none of which the others have. The floor is `beside/floor.py`: what
cannot be left out. `--rivals` first makes an environment for each rival below `build/rivals`. Exits with 1 where
Footnote does less than 0.8 of the floor, 3 times LangChain or 5 times LlamaIndex.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from beside.corpus import write_corpus
from beside.measuring import Taken, run
from beside.stubbed import ROOT, endpoint, environ_of, ingest_command, vocabulary_cache

BESIDE = Path(__file__).with_name("beside")
RIVALS = ("langchain", "llamaindex")
WANTED = {"floor": 0.8, "langchain": 3.0, "llamaindex": 5.0}


def python_of(rival: str) -> Path:
    return ROOT / "build" / "rivals" / rival / "bin" / "python"


def make_environments() -> None:
    for rival in RIVALS:
        if not python_of(rival).exists():
            subprocess.run([sys.executable, "-m", "venv", str(python_of(rival).parents[1])], check=True)
            requirements = BESIDE / f"{rival}-requirements.txt"
            subprocess.run([python_of(rival), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)


def programs(folder: Path, base_url: str, out: Path) -> Mapping[str, Sequence[str]]:
    arguments = [str(folder), base_url, str(out)]
    found: dict[str, Sequence[str]] = {
        "footnote": ingest_command(folder, "--json"),
        "floor": [sys.executable, str(BESIDE / "floor.py"), *arguments],
    }
    for rival in RIVALS:
        if python_of(rival).exists():
            found[rival] = [str(python_of(rival)), str(BESIDE / f"{rival}_faiss.py"), *arguments]
    return found


def n_chunks(name: str, output: str) -> int:
    told = json.loads(output.strip().splitlines()[-1])
    if name != "footnote":
        return int(told["n_chunks"])
    return sum(file["n_chunks"] for file in told["files"])


def one_round(folder: Path, base_url: str, cache: Path) -> dict[str, tuple[Taken, int]]:
    taken: dict[str, tuple[Taken, int]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, command in programs(folder, base_url, Path(place)).items():
            environ = environ_of(base_url, Path(place) / "library") | {"HOME": place, "TIKTOKEN_CACHE_DIR": str(cache)}
            found = run(command, environ=environ, cwd=ROOT)
            taken[name] = found, n_chunks(name, found.output)
            for left in Path(place).iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rivals", action="store_true", help="install the rivals that are not installed yet")
    arguments = parser.parse_args()
    if arguments.rivals:
        make_environments()
    with tempfile.TemporaryDirectory() as place, endpoint() as base_url:
        folder, cache = Path(place) / "texts", Path(place) / "vocabulary"
        n_files, n_bytes = write_corpus(folder, int(arguments.megabytes * 1e6))
        vocabulary_cache(cache)
        print(f"{n_files:,} files, {n_bytes / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f}", flush=True)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(folder, base_url, cache))
            costs = ", ".join(f"{name} {taken.cpu_s:.2f} s" for name, (taken, _) in rounds[-1].items())
            print(f"round {number + 1}: {costs}; load {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{'':12} {'MB/CPU s':>9} {'CPU s':>7} {'wall s':>7} {'chunks':>7} {'RSS MB':>7} {'of all':>7}  ours / its")
    good = True
    for name in rounds[0]:
        takens = [found[name][0] for found in rounds]
        cpu_s = statistics.median(taken.cpu_s for taken in takens)
        ratio = statistics.median(found[name][0].cpu_s / found["footnote"][0].cpu_s for found in rounds)
        print(
            f"{name:12} {n_bytes / 1e6 / cpu_s:9.2f} {cpu_s:7.2f} {statistics.median(t.wall_s for t in takens):7.1f}"
            f" {rounds[0][name][1]:7,} {max(t.rss_mb for t in takens):7.0f} {max(t.tree_mb for t in takens):7.0f}"
            f"  {ratio:.2f}"
        )
        good = good and ratio >= WANTED.get(name, 0)
    for rival in RIVALS:
        if rival not in rounds[0]:
            print(f"{rival} is not installed: --rivals does that")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
