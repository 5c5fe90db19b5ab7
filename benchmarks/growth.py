"""How searches grow with a collection: 10,000, 100,000 and 1,000,000 chunks, as a table and a plot.

    python benchmarks/growth.py [--chunks N ...] [--folder FOLDER] [--data FOLDER] [--plot docs/growth.svg]
                                [--json FILE]

Each collection is made and measured as `million.py` does it, in a process of its own on one core; a `--folder` that
has `N/` with such a collection is used again. The plot shows CPU milliseconds of a hybrid search for ten hits (median
and 99th percentile), the memory of the process, the disk, and the chunks that are stored and indexed in a CPU second.
The reference is the straight line: what each would be if it grew with the number of chunks, as exact search does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from million import figures_of

SIZES = (10_000, 100_000, 1_000_000)
SHOWN = {
    "hybrid_p50_ms": "hybrid, CPU ms, median",
    "hybrid_p99_ms": "hybrid, CPU ms, p99",
    "vectors_p50_ms": "vectors alone, CPU ms, median",
    "keywords_p50_ms": "keywords alone, CPU ms, median",
    "recall": "recall@10",
    "rss_mb": "memory of the process, MB",
    "disk_mb": "disk, MB",
    "chunks_a_cpu_s": "chunks a CPU second",
    "open_s": "open to first answer, s",
}
PANELS = (
    ("CPU milliseconds a search", ("hybrid_p50_ms", "hybrid_p99_ms"), ("median", "p99")),
    ("memory of the process, MB", ("rss_mb",), ("resident at most",)),
    ("disk, MB", ("disk_mb",), ("all files",)),
    ("chunks stored and indexed a CPU second", ("chunks_a_cpu_s",), ("rate",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--folder", type=Path, help="where the collections are, or are made (a temporary folder)")
    parser.add_argument("--data", type=Path, default=Path("shared/data/beir"), help="folder of the real texts")
    parser.add_argument("--plot", type=Path, help="draw there; the ending is the format")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        table = {n: figures_of(folder / str(n), n, args.data) for n in sorted(args.chunks)}
    print("| |" + "".join(f" {n:,} |" for n in table))
    print("|---|" + "--:|" * len(table))
    for key, words in SHOWN.items():
        print(f"| {words} |" + "".join(f" {_shown(figures[key])} |" for figures in table.values()))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        draw(list(table), list(table.values()), args.plot)


def draw(sizes: Sequence[int], figures: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw one panel for each quantity over the number of chunks, both axes logarithmic."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    for axes, (title, keys, labels) in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
        for key, label in zip(keys, labels, strict=True):
            axes.plot(sizes, [one[key] for one in figures], marker="o", label=label)
        first = figures[0][keys[0]]
        if keys != ("chunks_a_cpu_s",):
            straight = [first * n / sizes[0] for n in sizes]
            axes.plot(sizes, straight, color="grey", linestyle=":", linewidth=1, label="if it grew with the chunks")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(title, fontsize=10)
        axes.grid(which="major", linewidth=0.3)
        axes.legend(fontsize=8)
    for axes in figure.axes[2:]:
        axes.set_xlabel("chunks", fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
