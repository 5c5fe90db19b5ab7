"""How long does `rag ask` take from a cold process, without a key? Beside Python alone and Python with its libraries.

    python benchmarks/cold_start.py [--rounds 7]

Makes a small library first. Each line is the median of whole processes; "first output" is when the first character of
the answer arrives on standard output. The last line names the heavy libraries that the process imported.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = (
    "numpy",
    "faiss",
    "tantivy",
    "onnxruntime",
    "tokenizers",
    "tiktoken",
    "httpx2",
    "fastapi",
    "pypdf",
    "pypdfium2",
)
NEEDED = ("numpy", "faiss", "tantivy", "onnxruntime", "tokenizers")


def seconds(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return the seconds until the first output of a process, and until its end."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - start
        process.stdout.read()
    return first, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    environ = {"PATH": os.environ["PATH"]}
    rag = [sys.executable, "-m", "api.cli.main"]
    with tempfile.TemporaryDirectory() as folder:
        environ["RAG_LIBRARY"] = str(Path(folder) / "library")
        subprocess.run(
            [*rag, "ingest", "README.md", "-q"], cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL
        )
        commands = {
            "python -c print(1)": [sys.executable, "-c", "print(1)"],
            f"python -c 'import {', '.join(NEEDED)}'": [sys.executable, "-c", f"import {', '.join(NEEDED)}; print(1)"],
            "rag --help": [*rag, "--help"],
            "rag search": [*rag, "search", "What is a collection?"],
            "rag ask": [*rag, "ask", "What is a collection?"],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                taken[name].append(seconds(command, environ))
        width = max(map(len, commands))
        for name, runs in taken.items():
            first, end = (statistics.median(values) for values in zip(*runs, strict=True))
            print(f"{name:{width}}  first output {first * 1000:5.0f} ms, end {end * 1000:5.0f} ms")
        script = f"""
import sys
from api.cli.main import main
main(["ask", "What is a collection?"])
print("loaded:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
        )
        print(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
