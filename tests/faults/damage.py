"""Altered and torn files: bits flipped, tails cut off, zeroed or overwritten; and what a reader makes of them."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.library import Library
from rag.errors import RagError
from tests.faults.verify import search_problems

__all__ = ["DERIVED", "TRUTH", "Damage", "ail", "damages", "inflict", "outcome", "particulars"]

DERIVED = ("vectors.faiss", "keywords/")
TRUTH = ("collection.db", "vectors.db")

KINDS = ("flip", "cut", "zero", "garbage")


@dataclass(frozen=True)
class Damage:
    """One injury: ``flip`` bit ``n`` of byte ``place``; ``cut``, ``zero`` or ``garbage`` the last ``n`` bytes."""

    path: str
    kind: str
    place: int
    n: int


def files_of(library: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Return the files of these kinds, in an order that does not depend on random names."""
    found = [path for path in library.rglob("*") if path.is_file() and path.stat().st_size]
    wanted = [path for path in found if any(f"/{kind}" in f"/{path.relative_to(library).as_posix()}" for kind in kinds)]
    return sorted((path for path in wanted if path.suffix != ".lock"), key=lambda path: (path.suffix, path.name))


def damages(library: Path, kinds: tuple[str, ...], n: int, *, seed: int) -> Iterator[Damage]:
    """Yield ``n`` injuries: three in four are single bits, each file gets its share."""
    chance = random.Random(seed)
    files = files_of(library, kinds)
    for turn in range(n):
        path = files[turn % len(files)]
        size = path.stat().st_size
        kind = KINDS[0] if turn // len(files) % 4 else chance.choice(KINDS[1:])
        amount = chance.randrange(8) if kind == "flip" else chance.randint(1, max(1, size // 2))
        yield Damage(path.relative_to(library).as_posix(), kind, chance.randrange(size), amount)


def inflict(library: Path, damage: Damage) -> None:
    path = library / damage.path
    data = bytearray(path.read_bytes())
    if damage.kind == "flip":
        data[damage.place] ^= 1 << damage.n
    else:
        del data[len(data) - damage.n :]
        noise = random.Random(damage.place).randbytes(damage.n)
        data += {"cut": b"", "zero": bytes(damage.n), "garbage": noise}[damage.kind]
    path.write_bytes(data)


TRUE_DB = "collections/main/collection.db"
AILMENTS = (
    ("vectors.db", "UPDATE vectors SET embedding = zeroblob(length(embedding)) WHERE number IN (3, 9)"),
    ("vectors.db", "DELETE FROM vectors WHERE number = 20"),
    (TRUE_DB, "DELETE FROM ledger WHERE path = 'rename.txt'"),
    (TRUE_DB, "DELETE FROM documents WHERE id = 'remove.txt'"),
    (TRUE_DB, "UPDATE segments SET text = 'x' || substr(text, 2) WHERE document = 1 AND place = 0"),
    (TRUE_DB, "UPDATE documents SET title = 'Another' WHERE id = 'spoilt.pdf'"),
    (TRUE_DB, "UPDATE ledger SET size = size + 1 WHERE path = 'keep.txt'"),
)
"""One of each thing that a repair has to do."""


def ail(library: Path) -> None:
    """Damage a library in every way that a repair mends."""
    for name, statement in AILMENTS:
        with closing(sqlite3.connect(library / name)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)
            connection.commit()
    inflict(library, Damage("collections/main/vectors.faiss", "cut", 0, 100))


def particulars(library: Path) -> dict[str, str]:
    """Return digests of everything a reader can get out of a library, each kind of thing by itself."""
    digests = {}
    with Library.open(library) as opened:
        collection = opened.open_collection("main")
        documents = [collection.document(info.id) for info in collection.documents()]
        chunks = [collection.document_chunks(document.id) for document in documents]
        things: dict[str, object] = {
            "settings": collection.config,
            "texts": [(document.id, document.text) for document in documents],
            "titles": [document.title for document in documents],
            "pages and headings": [(document.pages, document.headings) for document in documents],
            "other fields": [(document.sha256, document.metadata, document.reader) for document in documents],
            "sizes": [(info.n_chunks, info.n_tokens, info.n_pages) for info in collection.documents()],
            "chunks": chunks,
            "vectors": [(row, vector) for row, _, vector in collection.iter_chunks()],
            "ledger": sorted(collection.ledger().items()),
            "runs": collection.runs(),
        }
        for name, thing in things.items():
            if name == "vectors":
                assert isinstance(thing, list)
                thing = [(row, None if vector is None else vector.tobytes()) for row, vector in thing]
            digests[name] = hashlib.sha256(repr(thing).encode("utf-8", "surrogatepass")).hexdigest()
    return digests


def outcome(library: Path, expected: dict[str, str]) -> dict[str, Any]:
    """Return what a reader makes of a library: refused, reported by the check, wrong in silence, or right.

    ``altered`` are the kinds of things that read otherwise than before; ``wrong`` what a search gets wrong.
    """
    said: list[str] = []
    answer: dict[str, Any] = {"altered": [], "wrong": [], "states": ""}
    try:
        with Library.open(library) as opened:
            collection = opened.open_collection("main")
            try:
                status = collection.status()
                answer["states"] = f"{status.vectors.state}/{status.keywords.state}"
            except RagError as error:
                said.append(str(error))
            try:
                answer["wrong"] = search_problems(collection)
            except RagError as error:
                said.append(str(error))
            try:
                said += collection.check()
            except RagError as error:
                said.append(str(error))
        found = particulars(library)
        answer["altered"] = [name for name, digest in expected.items() if found[name] != digest]
    except RagError as error:
        said.append(str(error))
    return {**answer, "said": said}
