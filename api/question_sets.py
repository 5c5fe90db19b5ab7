"""Question sets on disk: JSON Lines files, and BEIR folders with the documents they are about."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from api.footnote import Footnote
from rag.errors import QuestionSetError
from rag.evaluation.questions import (
    Question,
    parse_beir_passages,
    parse_beir_qrels,
    parse_beir_queries,
    parse_questions,
)

if TYPE_CHECKING:
    from ingest.tally import IngestProgress

__all__ = ["ingest_beir", "is_beir", "load_questions"]


def is_beir(path: Path) -> bool:
    """Tell whether a folder holds a question set in the form of BEIR."""
    return (path / "corpus.jsonl").is_file() and (path / "queries.jsonl").is_file()


def load_questions(path: Path) -> list[Question]:
    """Return the questions of a JSON Lines file, or of a BEIR folder: those have the documents of ``ingest_beir``.

    Raises QuestionSetError for what is neither.
    """
    if not path.is_dir():
        return parse_questions(_lines(path), source=str(path))
    if not is_beir(path):
        raise QuestionSetError(f"{path} is no question set: a BEIR folder holds corpus.jsonl, queries.jsonl and qrels")
    answers: dict[str, dict[str, int]] = {}
    for qrels in (path / "qrels.tsv", path / "qrels" / "test.tsv"):
        if qrels.is_file():
            answers = parse_beir_qrels(_lines(qrels), source=str(qrels))
            break
    queries = path / "queries.jsonl"
    return [_about_files(question) for question in parse_beir_queries(_lines(queries), answers, source=str(queries))]


def _about_files(question: Question) -> Question:
    """Return a question whose documents are the files that the passages become."""
    files = (replace(reference, document=_passage_file(reference.document)) for reference in question.relevant)
    return replace(question, relevant=tuple(files))


async def ingest_beir(
    footnote: Footnote,
    path: Path,
    *,
    collection: str,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> None:
    """Make a collection of the passages of a BEIR folder, one document each; a second call embeds nothing.

    They become files in the library, so that they go the way of all documents. Raises QuestionSetError where one of
    them could not be ingested.
    """
    corpus = path / "corpus.jsonl"
    passages = parse_beir_passages(_lines(corpus), source=str(corpus))
    folder = footnote.settings.library / "evaluation" / collection
    await asyncio.to_thread(_write_passages, folder, passages)
    (report,) = await footnote.ingest(folder, collection=collection, on_progress=on_progress)
    if report.exit_code:
        reason = report.stopped or f"{report.failed[0].path}: {report.failed[0].reason}"
        raise QuestionSetError(f"the passages of {path} could not all be ingested: {reason}; run it again")


def _write_passages(folder: Path, passages: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = {_passage_file(name): text for name, text in passages.items()}
    for gone in {path.name for path in folder.iterdir()} - files.keys():
        (folder / gone).unlink()
    for name, text in files.items():
        target = folder / name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def _passage_file(name: str) -> str:
    """Return the file of a passage: ids may hold anything, slashes too."""
    return f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.txt"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise QuestionSetError(f"{path} cannot be read: {error}; name a file of questions in UTF-8") from error
