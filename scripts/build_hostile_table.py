"""Ingests hostile and damaged files and writes what became of each to docs/hostile.md.

    python -m scripts.build_hostile_table            make the files, ingest them, write the page
    python -m scripts.build_hostile_table --print    the same, to the terminal

The files are made by ``make_hostile.py`` and lie in ``badinputs`` of the project's data, which is looked for in
``../shared/data``. Vectors come from the scripted endpoint of the tests: nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from api.footnote import Footnote
from ingest.report import FileResult, IngestReport
from tests.upstream import Upstream

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
MAKER = DATA / "make_hostile.py"
BAD_INPUTS = DATA / "badinputs"
PAGE = ROOT / "docs" / "hostile.md"
MAX_WORDS = 160
HEAD = """# Hostile files

What `rag ingest` makes of files that were made to break readers, and of damaged files from the wild. Each is read in
a child process with limits on time, memory and text ([design](design.md)); a file that breaks them fails alone.

Written by `python -m scripts.build_hostile_table`; `tests/ingest/test_hostile.py` says which outcomes are right.

"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a whole ingest came to: its report, and the most memory that one reading process held."""

    report: IngestReport
    child_mb: int


def make_hostile(folder: Path) -> dict[str, str]:
    """Write the hostile files into ``folder``; return what must become of each, by path."""
    subprocess.run([sys.executable, str(MAKER), str(folder)], check=True, stdout=subprocess.DEVNULL)
    manifest = folder / "MANIFEST.json"
    expected = {item["file"]: item["expect"] for item in json.loads(manifest.read_text(encoding="utf-8"))}
    manifest.unlink()
    return expected


async def ingested(folder: Path, *, library: Path, endpoint: str) -> Outcome:
    """Ingest a folder as a user would, with vectors from the scripted endpoint."""
    async with Footnote.open(library, environ={"OPENAI_BASE_URL": endpoint, "RAG_OCR_PROVIDER": "off"}) as footnote:
        (report,) = await footnote.ingest(folder)
        problems = footnote.check()
    assert problems == [], problems
    return Outcome(report, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)


def shown(text: str) -> str:
    """Return a text as one cell of a table, whatever is in it."""
    visible = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    cut = visible if len(visible) <= MAX_WORDS else visible[:MAX_WORDS] + "..."
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("`", "&#96;")


def said(file: FileResult) -> str:
    """Return the reason or the warnings of a file, without its name."""
    words = file.reason.replace(f"cannot read {file.path!r}: ", "") or "; ".join(file.warnings)
    return shown(words)


def table(files: Iterable[FileResult], expected: Mapping[str, str]) -> str:
    """Return a Markdown table of outcomes."""
    lines = ["| File | Asked for | State | What is said |", "| --- | --- | --- | --- |"]
    for file in files:
        path = shown(file.path if len(file.path) <= 60 else f"{file.path[:30]}...{file.path[-25:]}")
        lines.append(f"| {path} | {shown(expected.get(file.path.rstrip('/'), ''))} | {file.state} | {said(file)} |")
    return "\n".join(lines) + "\n"


def summary(outcome: Outcome) -> str:
    counts = ", ".join(f"{n} {state}" for state, n in outcome.report.counts.items() if n)
    return f"{len(outcome.report.files)} paths: {counts}. No reading process held more than {outcome.child_mb:,} MB.\n"


async def page() -> str:
    """Return the whole page."""
    with tempfile.TemporaryDirectory() as scratch, Upstream() as upstream:
        hostile = Path(scratch, "hostile")
        expected = make_hostile(hostile)
        made = await ingested(hostile, library=Path(scratch, "library"), endpoint=upstream.base_url)
        found = await ingested(BAD_INPUTS, library=Path(scratch, "library2"), endpoint=upstream.base_url)
    odd = [file for file in found.report.files if file.state != "indexed" or file.warnings]
    return (
        f"{HEAD}## Made to do harm\n\n{summary(made)}\n{table(made.report.files, expected)}\n"
        "## Found in the wild\n\nTest files of other projects, damaged and protected PDFs, old encodings. "
        f"{summary(found)}"
        f"Those that were not simply indexed:\n\n{table(odd, {})}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="write to the terminal, not to the page")
    arguments = parser.parse_args()
    if not MAKER.exists():
        sys.stderr.write(f"{MAKER} is not there: this needs the project's data\n")
        return 1
    text = asyncio.run(page())
    if arguments.print:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
