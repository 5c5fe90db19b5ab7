"""A folder of mixed text of a wanted size: English and Chinese, Markdown and plain, short files and long ones.

The same files each time. No passage is used twice in the same surroundings, so that nobody gains from having seen it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["write_corpus"]

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
PASSAGES = ("scifact_train", "mtragun_en", "nq_oracle", "anthropic_docs", "xquad_en", "cmrc2018_trial", "xquad_zh")
FILES = (ROOT / "examples" / "docs", SHARED / "docs" / "python-doc", SHARED / "docs" / "vue-docs-zh")
MEAN_BYTES = 15_000
"""Of a file made from passages; a third to three times that."""


def write_corpus(folder: Path, n_bytes: int) -> tuple[int, int]:
    """Write about ``n_bytes`` of text below ``folder``; return the number of files and of bytes."""
    if not SHARED.is_dir():
        raise SystemExit(f"{SHARED} is not there: this benchmark reads its texts from it")
    written: list[int] = []
    rng = random.Random(2026)
    for name, text in _texts(rng):
        if sum(written) >= n_bytes:
            break
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()[: max(0, n_bytes - sum(written))].decode(errors="ignore").encode()
        path.write_bytes(data)
        written.append(len(data))
    return len(written), sum(written)


def _texts(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield names and texts without end: the files there are, then passages, shuffled anew each time round."""
    for root in FILES:
        for path in sorted(root.rglob("*")):
            if path.suffix in (".md", ".txt"):
                with suppress(UnicodeDecodeError):  # in GB 18030: the others would stop there
                    yield f"{root.name}/{path.relative_to(root).as_posix()}", path.read_text(encoding="utf-8")
    for path in sorted((SHARED / "docs" / "tldr").rglob("*.md"))[::8]:
        yield f"tldr/{path.stem}-{path.parts[-3]}-{path.parts[-2]}.md", path.read_text(encoding="utf-8")
    sets = [_passages(name) for name in PASSAGES]
    number = 0
    while True:
        order = [(place, passage) for place, passages in enumerate(sets) for passage in passages]
        rng.shuffle(order)
        by_set: dict[int, list[tuple[str, str]]] = {}
        for place, passage in order:
            by_set.setdefault(place, []).append(passage)
        for passages in by_set.values():
            while passages:
                number += 1
                yield _document(number, passages, rng)


def _passages(name: str) -> list[tuple[str, str]]:
    lines = (SHARED / "beir" / name / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line.get("title") or "", line["text"]) for line in map(json.loads, lines)]


def _document(number: int, passages: list[tuple[str, str]], rng: random.Random) -> tuple[str, str]:
    """Take passages off the list and make a file of them: Markdown with headings, or plain paragraphs."""
    wanted = MEAN_BYTES * 3 ** rng.uniform(-1, 1)
    is_markdown = number % 2 == 0
    parts: list[str] = [f"# Collection {number}" if is_markdown else f"Collection {number}"]
    size = 0
    while passages and size < wanted:
        title, text = passages.pop()
        parts.append(f"## {title}\n\n{text}" if is_markdown and title else f"{title}\n\n{text}".strip())
        size += len(text.encode())
    return f"texts/{number % 40:02}/{number:05}.{'md' if is_markdown else 'txt'}", "\n\n".join(parts) + "\n"
