"""Is what is on disk whole? Asked in a process of its own, against texts and spans learnt from an undisturbed run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from index.collection import Collection
from index.library import Library
from tests.upstream.replies import embedding_of

__all__ = ["portrait", "problems_in", "search_problems"]

Version = Mapping[str, Any]
_TEMPORARY = re.compile(r"tmp|\.new|\.old|\.deleted|\.rebuild|-journal")


def portrait(library: Path) -> dict[str, Any]:
    """Return what a library holds: texts, chunk spans and ledger states by document, and the texts' total."""
    with Library.open(library) as opened:
        collection = opened.open_collection("main")
        documents = {
            info.id: {
                "text": collection.document(info.id).text,
                "spans": [[chunk.start, chunk.end] for chunk in collection.document_chunks(info.id)],
            }
            for info in collection.documents()
        }
        ledger = {path: [entry.state, entry.sha256] for path, entry in collection.ledger().items()}
        chunking = [collection.config.chunking.tokens, collection.config.chunking.overlap]
        return {"documents": documents, "ledger": ledger, "chunking": chunking, "problems": collection.check()}


def problems_in(library: Path, reference: Path, *, done: list[str], finished: bool) -> dict[str, Any]:
    """Return what is wrong, in words, with the states of the derived indexes before anything searched.

    ``done`` are documents whose new version was reported as stored. ``finished`` says that the command has run to its
    end, so that nothing may be as it was before, and nothing temporary may be left.
    """
    versions: dict[str, Version] = json.loads(reference.read_text(encoding="utf-8"))
    before, after = versions["before"], versions["after"]
    gone = bool(before) or bool(done) or finished
    none_yet = {"problems": ["the collection is gone"] if gone else [], "derived": "none yet", "new": 0}
    if not (library / "vectors.db").exists():
        return none_yet
    with Library.open(library) as opened:
        if "main" not in opened.collections():
            return none_yet
        collection = opened.open_collection("main")
        status = collection.status()
        derived = f"{status.vectors.state}/{status.keywords.state}"
        problems, n_new = _document_problems(collection, before, after, done=done, finished=finished)
        problems += collection.check()
        problems += search_problems(collection)
        if not collection.status().agrees:
            problems.append("after a search, status still disagrees")
    if finished:
        names = (path.relative_to(library).as_posix() for path in library.rglob("*"))
        problems += [f"left behind: {name}" for name in names if _TEMPORARY.search(name)]
    return {"problems": problems, "derived": derived, "new": n_new}


def _document_problems(
    collection: Collection, before: Version, after: Version, *, done: list[str], finished: bool
) -> tuple[list[str], int]:
    problems = []
    tokens = [collection.config.chunking.tokens, collection.config.chunking.overlap]
    # A rebuilt collection is one or the other; an updated one may hold documents of both.
    allowed = [version for version in (after, before) if version and version["chunking"] == tokens]
    if finished and after not in allowed:
        problems.append("the finished run left the collection as it was before")
    there = {info.id for info in collection.documents()}
    n_new = 0
    for name in sorted(there):
        chunks = collection.document_chunks(name)
        stored = {
            "text": collection.document(name).text,
            "spans": [[chunk.start, chunk.end] for chunk in chunks],
        }
        of = [version is after for version in allowed if version["documents"].get(name) == stored]
        n_new += any(of)
        if not of:
            problems.append(f"{name} is neither its old version nor its new one")
        elif (name in done or finished) and not any(of):
            problems.append(f"{name} was stored and has its old version again")
        if any(stored["text"][chunk.start : chunk.end] != chunk.text for chunk in chunks):
            problems.append(f"{name} has a chunk that is not cut from its text")
    old, new = (set(version["documents"]) if version else set() for version in (before, after))
    needed = new if finished else (old & new) | (set(done) & new)
    problems += [f"{name} is lost" for name in sorted(needed - there)]
    problems += [f"{name} should be gone" for name in sorted(there - new)] if finished else []
    if "rename.txt" in old and len(there & {"rename.txt", "sub/renamed.txt"}) != 1 and "rename.txt" not in new:
        problems.append("a renamed document is there twice, or not at all")
    ledger = {path: [entry.state, entry.sha256] for path, entry in collection.ledger().items()}
    problems += [f"{name} has no entry in the ledger" for name in sorted(there - set(ledger))]
    indexed = {path for path, (state, _) in ledger.items() if state == "indexed"}
    problems += [f"{name} is indexed in the ledger only" for name in sorted(indexed - there)]
    if finished and ledger != after["ledger"]:
        problems.append("the ledger of the finished run is another")
    return problems, n_new


def search_problems(collection: Collection) -> list[str]:
    """Compare both legs with brute force over the stored chunks."""
    problems = []
    rows = collection.rows()
    texts = {row: chunk.text for row, chunk in collection.chunks(rows).items()}
    words = {word for text in texts.values() for word in re.findall(r"mark\w+", text)}
    for word in sorted(words | {"place", "quagga"}):
        expected = {row for row, text in texts.items() if word in re.findall(r"\w+", text)}
        found = {row for row, _ in collection.search_keywords(word, k=1000)}
        if found != expected:
            problems.append(f"keywords: {word!r} finds {len(found)} chunks instead of {len(expected)}")
    if lost := [row for row in rows if row not in texts]:
        return [*problems, f"chunks: {len(lost)} of {len(rows)} cannot be read"]
    if not rows:
        return problems
    dimensions = collection.config.dimensions
    matrix = np.stack([embedding_of(texts[row], dimensions) for row in rows])
    for query in ("Line 3 of markchangemdx", "what follows in this place", *sorted(words)[:2]):
        vector = embedding_of(query, dimensions)
        cosines = matrix @ vector
        found_rows = collection.search_vectors(vector, k=10)
        best = np.sort(cosines)[::-1][:10]
        exact = dict(zip(rows, cosines.tolist(), strict=True))
        told = [cosine for _, cosine in found_rows]
        honest = all(row in exact and abs(exact[row] - cosine) < 1e-5 for row, cosine in found_rows)
        if len(told) != len(best) or not np.allclose(told, best, atol=1e-5) or not honest:
            problems.append(f"vectors: {query!r} does not find what brute force finds")
    return problems
