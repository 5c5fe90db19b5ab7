"""How much a word list catches: precision and recall of WordModerator beside human labels.

    python benchmarks/moderation.py [--data FOLDER]

English: OpenAI's moderation evaluation set (any undesired category counts). Chinese: COLD (offensive or not).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from rag.local.moderator import WordModerator

DATA = Path(__file__).parents[2] / "shared" / "data" / "moderation"
CATEGORIES = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")


def labelled(data: Path) -> dict[str, list[tuple[str, bool]]]:
    """Return texts with whether people called them bad, by set."""
    english = [json.loads(line) for line in (data / "openai_moderation.jsonl").read_text(encoding="utf-8").splitlines()]
    chinese = [json.loads(line) for line in (data / "cold_zh.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "openai_moderation": [(row["prompt"], any(row.get(name) == 1 for name in CATEGORIES)) for row in english],
        "cold_zh": [(row["text"], row["offensive"] == 1) for row in chinese],
    }


async def measure(rows: list[tuple[str, bool]]) -> str:
    """Return a line of figures."""
    moderator = WordModerator()
    start = time.perf_counter()
    verdicts = await moderator.moderate([text for text, _ in rows])
    seconds = time.perf_counter() - start
    pairs = [(verdict.flagged, bad) for verdict, (_, bad) in zip(verdicts, rows, strict=True)]
    hits = sum(flagged and bad for flagged, bad in pairs)
    n_flagged, n_bad = sum(flagged for flagged, _ in pairs), sum(bad for _, bad in pairs)
    false_alarms = (n_flagged - hits) / (len(rows) - n_bad)
    size = sum(len(text) for text, _ in rows) / 1e6
    return (
        f"{len(rows)} texts, {n_bad} bad; precision {hits / max(n_flagged, 1):.2f}, recall {hits / n_bad:.2f}, "
        f"{false_alarms:.2f} of the good flagged; {size / seconds:.1f} million characters a second"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    if not data.is_dir():
        print(f"{data} is not there; name the folder of the sets with --data", file=sys.stderr)
        return 2
    for name, rows in labelled(data).items():
        print(f"{name}: {asyncio.run(measure(rows))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
