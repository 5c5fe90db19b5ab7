"""What do files cost that lie in an archive, beside the same files in a folder? Reading all, and finding all unchanged.

    python benchmarks/archives.py [--files 2000] [--rounds 3]

Reading is a dry run: walk, hash, read and cut, without embeddings. The run over unchanged files comes after a real one,
with the embedded model. All take turns; the best round of each counts. Exits with 1 where an archive takes more than 3
times as long to read as the folder.
"""

from __future__ import annotations

import argparse
import asyncio
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from api.footnote import Footnote

BOUND = 3.0
SETTLING_S = 2.5
"""Files that were touched just before a run are hashed by the next."""
MODES = {"box.zip": "", "box.tar": "w", "box.tar.gz": "w:gz", "box.tar.bz2": "w:bz2", "box.tar.xz": "w:xz"}


def write_files(folder: Path, n: int) -> None:
    for i in range(n):
        path = folder / f"part{i % 20}" / f"note{i:05}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"Line {j} of note {i} says {(i * 7919 + j * 104729) % 99991}." for j in range(8))
        path.write_text(f"# Note {i}\n\n" + "\n".join(lines), encoding="utf-8")


def pack(source: Path, target: Path) -> None:
    if mode := MODES[target.name]:
        with tarfile.open(target, mode) as tar:  # type: ignore[call-overload]
            tar.add(source, "notes")
        return
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*.md")):
            archive.write(path, path.relative_to(source))


async def seconds_to_read(footnote: Footnote, folder: Path, n: int) -> float:
    start = time.perf_counter()
    (estimate,) = await footnote.plan_ingest(folder, collection="nowhere")
    seconds = time.perf_counter() - start
    assert estimate.report.counts["indexed"] == n, estimate.report.counts
    return seconds


async def seconds_unchanged(footnote: Footnote, folder: Path, n: int) -> float:
    start = time.perf_counter()
    (report,) = await footnote.ingest(folder, collection=folder.name)
    seconds = time.perf_counter() - start
    assert report.counts["unchanged"] == n, report.counts
    return seconds


async def measure(scratch: Path, n: int, rounds: int) -> bool:
    folders = [scratch / "folder", *(scratch / name.replace(".", "-") for name in MODES)]
    write_files(folders[0], n)
    for folder, name in zip(folders[1:], MODES, strict=True):
        folder.mkdir()
        pack(folders[0], folder / name)
    async with Footnote.open(scratch / "library", environ={}) as footnote:
        await footnote.plan_ingest(folders[0], collection="nowhere")
        reading = [[await seconds_to_read(footnote, folder, n) for folder in folders] for _ in range(rounds)]
        for folder in folders:
            await footnote.ingest(folder, collection=folder.name)
        await asyncio.sleep(SETTLING_S)
        for folder in folders:  # looks again at what was written just before
            await footnote.ingest(folder, collection=folder.name)
        again = [[await seconds_unchanged(footnote, folder, n) for folder in folders] for _ in range(rounds)]
    read, unchanged = [[min(times) for times in zip(*table, strict=True)] for table in (reading, again)]
    print(f"{n:,} files\n{'':12}{'read':>9}{'ratio':>7}{'unchanged':>12}")
    for folder, seconds, later in zip(folders, read, unchanged, strict=True):
        print(f"{folder.name:12}{seconds:>7.2f} s{seconds / read[0]:>7.2f}{later:>10.2f} s")
    return all(seconds <= BOUND * read[0] for seconds in read)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return 0 if asyncio.run(measure(Path(scratch), arguments.files, arguments.rounds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
