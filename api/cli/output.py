"""What the commands print: plain text from plain values. Pure."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence

from api.cli.listing import listed
from index.records import CollectionStatus, DerivedStatus, DocumentInfo, LedgerEntry, RepairReport
from ingest.report import IngestReport, MediaCount
from rag.answering.contradictions import told
from rag.answering.support import support_of
from rag.prices import money, money_or_unknown
from rag.types import Answer, Citation, Hit, Source, Step, in_context

__all__ = [
    "answer_footnotes",
    "document_lines",
    "duration",
    "hit_lines",
    "ledger_lines",
    "media_line",
    "note",
    "repair_lines",
    "report_lines",
    "size",
    "source_lines",
    "status_lines",
    "step_line",
    "where",
]

QUOTE_CHARACTERS = 400
"""Longer quotes are shown in part, with an ellipsis; --json has them whole."""


def note(text: str) -> None:
    """Print a line to standard error: progress, warnings, advice."""
    print(text, file=sys.stderr, flush=True)


def step_line(step: Step) -> str:
    """Return a step of an agent on one line.

    >>> step_line(Step(2, 1, "search", '{"query": "pump"}', "3 hits in 1 passages of 1 documents", (1,)))
    'step 2: search {"query": "pump"}: 3 hits in 1 passages of 1 documents [1]'
    """
    markers = "".join(f"[{marker}]" for marker in step.markers)
    came = f"refused: {step.error}" if step.error else f"{step.summary} {markers}".rstrip()
    arguments = " ".join(step.arguments.split())
    return f"step {step.number}: {step.tool} {textwrap.shorten(arguments, 200, placeholder='…') or '{}'}: {came}"


def size(n_bytes: float) -> str:
    """Return a size a person can read.

    >>> size(1536)
    '1.5 KB'
    """
    for unit in ("B", "KB", "MB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GB"


def duration(seconds: float) -> str:
    """Return a time a person can read.

    >>> duration(200)
    '3 min'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def where(document: str, place: str) -> str:
    """Return where something stands: the document and its place in it, as a citation names it.

    >>> where("guide.pdf", "page 12")
    'guide.pdf, page 12'
    >>> where("guide.md", "§ Pumps, line 5")
    'guide.md § Pumps, line 5'
    """
    return document if not place else f"{document} {place}" if place.startswith("§") else f"{document}, {place}"


def shown(quote: str) -> str:
    """Return a quote on one line, in part where it is very long."""
    line = " ".join(quote.split())
    return line if len(line) <= QUOTE_CHARACTERS else line[:QUOTE_CHARACTERS].rstrip() + " […]"


# --- ingest


def report_lines(report: IngestReport, *, verbose: bool = False) -> Iterable[str]:
    """Yield the summary of a run: totals first, then every file that needs a word."""
    counts = ", ".join(f"{n:,} {state}" for state, n in report.counts.items() if n)
    yield f"{report.root} → collection '{report.collection}'"
    warned = sum(bool(file.warnings) for file in report.files)
    also = [f"{len(report.removed):,} removed"] if report.removed else []
    also += [f"{warned:,} with warnings"] if warned else []
    yield "; ".join([f"{len(report.files):,} files: {counts or 'none'}", *also])
    yield from listed(report, verbose=verbose)
    n_chunks = sum(file.n_chunks for file in report.files)
    n_tokens = sum(file.n_tokens for file in report.files)
    embedded = f"{report.n_texts_embedded:,} chunks ({report.n_tokens_embedded:,} tokens) embedded now"
    paid = f", {money_or_unknown(report.embedding_cost, report.currency)}" if report.n_tokens_embedded else ""
    yield f"{n_chunks:,} chunks, {n_tokens:,} tokens; {embedded}{paid}, {report.seconds:.1f} s"
    if report.n_texts_reused:
        reused = f"{report.n_texts_reused:,} chunks ({report.n_tokens_reused:,} tokens)"
        saved = f", {money(report.saved, report.currency)} saved" if report.saved and report.currency else ""
        yield f"{reused} cost nothing: their texts have vectors already{saved}"
    if report.n_texts_unreadable:
        yield f"{report.n_texts_unreadable:,} of them are in languages the model cannot read: keywords find them"
    for count in report.media:
        yield media_line(count)
    for said in report.notes:
        yield f"note: {said}"
    if report.stopped:
        yield f"stopped: {report.stopped}"
    if report.failed or report.stopped:
        yield _what_next(report)


def _what_next(report: IngestReport) -> str:
    """Return what to do about what failed."""
    n_retriable = sum(file.retriable for file in report.failed)
    n_for_good = len(report.failed) - n_retriable
    again = f"{n_retriable:,} failed files may pass next time: run it again" if n_retriable else ""
    repair = f"{n_for_good:,} failed files need repair, or --exclude" if n_for_good else ""
    advice = "; ".join(words for words in (again, repair) if words) or "run it again to go on"
    return f"next: {advice}; nothing that is stored is paid for twice"


_PLURAL = {"page": "pages", "picture": "pictures", "speech": "stretches of speech"}


def media_line(count: MediaCount, *, verb: str = " read") -> str:
    """Return what one reader has read of pages, pictures or speech, and what that cost."""
    known = f", {count.n_known:,} known" if count.n_known else ""
    if known and count.known_usage.seconds:
        known += f" ({count.known_usage.seconds / 60:,.1f} minutes)"
    refused = f", {count.n_refused:,} refused" if count.n_refused else ""
    usage = count.usage
    about = "about " if usage.estimated else ""
    took = [f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"] if usage.input_tokens else []
    took += [f"{usage.seconds / 60:,.1f} minutes"] if usage.seconds else []
    is_free = count.price is not None and count.price.is_free
    cost = "" if is_free or not count.n_read else f", {money_or_unknown(count.cost, _currency(count))}"
    said = f" ({about}{'; '.join(took)}{cost})" if took or cost else ""
    return f"{count.n_read:,} {_PLURAL[count.kind]}{verb} by {count.reader}{said}{known}{refused}"


def _currency(count: MediaCount) -> str:
    return count.price.currency if count.price else ""


# --- answers and hits


def answer_footnotes(answer: Answer, *, address: str = "") -> Iterable[str]:
    """Yield the footnotes of an answer, one for each marker and quote, in the order of the text.

    With the ``address`` of a service each is followed by a line that leads to the quote there.
    """
    seen: set[tuple[int, int, int]] = set()
    for citation in answer.citations:
        key = (citation.marker, citation.start, citation.end)
        if key not in seen:
            seen.add(key)
            yield _footnote(citation)
            if address and citation.link:
                yield f"    {address.rstrip('/')}/{citation.link}"
    for marker in answer.unknown_markers:
        yield f"[{marker}] names no source: do not trust this statement"
    for statement in answer.statements:
        if statement.verdict != "supported":
            words = textwrap.shorten(answer.text[statement.start : statement.end], 60, placeholder="…")
            yield f"{statement.verdict}: “{shown(words)}”: {shown(statement.reason)}"
    for part in answer.unanswered:
        yield f"not in the documents: {shown(part)}"
    for line in told(answer.contradictions):
        yield f"the sources contradict each other: {line}"
    for sentence in answer.removed:
        yield f"left out ({sentence.verdict}): “{shown(sentence.text)}”: {shown(sentence.reason)}"
    if answer.statements:
        support = support_of(answer.statements)
        yield f"{support.n_supported} of {support.n_statements} statements supported by the words they cite"


def _footnote(citation: Citation) -> str:
    return f"[{citation.marker}] {where(citation.document, citation.place)}: “{shown(citation.quote)}”"


def source_lines(sources: Iterable[Source]) -> Iterable[str]:
    """Yield the passages an answer was written from."""
    for source in sources:
        yield f"[{source.marker}] {where(source.document_id, source.place)} (score {source.score:.2f})"
        yield from _wrapped(source.text, source.context)


def hit_lines(hits: Iterable[Hit], places: Iterable[str]) -> Iterable[str]:
    """Yield hits with rank, score, place and text; ``places`` are in the order of the hits."""
    for rank, (hit, place) in enumerate(zip(hits, places, strict=True), 1):
        legs = [
            f"{name} {score:.2f}"
            for name, score in (
                ("relevance", hit.relevance),
                ("vectors", hit.vector_score),
                ("keywords", hit.keyword_score),
                ("reranked", hit.rerank_score),
            )
            if score is not None
        ]
        yield f"{rank:2}. {hit.score:.2f}  {where(hit.chunk.document_id, place)}" + (
            f"  ({', '.join(legs)})" if legs else ""
        )
        if hit.duplicates:
            yield f"    also in {', '.join(shown(name) for name in hit.duplicates)}"
        yield from _wrapped(hit.chunk.text, hit.chunk.context)


def _wrapped(text: str, context: str) -> Iterable[str]:
    """Yield a text in lines of the terminal's width, below what it is read with."""
    text = in_context(text, f"{context} …" if context else "")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    yield textwrap.fill(shown(text), width=width, initial_indent="    ", subsequent_indent="    ")


# --- status


def status_lines(status: CollectionStatus, problems: Sequence[str], *, deep: bool) -> Iterable[str]:
    """Yield what a collection holds. ``problems`` is what a check found, and ``deep`` says which."""
    config = status.config
    yield f"collection   {status.name}"
    yield f"documents    {status.n_documents:,} ({status.n_chunks:,} chunks, {status.n_tokens:,} tokens)"
    yield f"embeddings   {config.model}, {config.dimensions} dimensions"
    if status.n_unreadable:
        yield f"             {status.n_unreadable:,} chunks in languages the model cannot read: keywords find them"
    yield f"chunks       up to {config.chunking.tokens} tokens of {config.tokenizer}, {config.chunking.overlap} shared"
    yield "files        " + (", ".join(f"{n:,} {state}" for state, n in sorted(status.ledger.items())) or "none yet")
    if n_failed := status.ledger.get("failed", 0):
        command = f"rag status -c {status.name} --files failed"
        yield f"             {n_failed:,} failed: {command} says why, rag ingest tries them again"
    if status.n_with_warnings:
        said = f"{status.n_with_warnings:,} documents have warnings (pages without text, say)"
        yield f"             {said}: rag status -c {status.name} --files warnings"
    yield f"vectors      {_derived(status.vectors)}"
    yield from (f"             {line}" for line in _recall(status.vectors))
    yield f"keywords     {_derived(status.keywords)}"
    yield "on disk      " + ", ".join(f"{name} {size(n)}" for name, n in status.size_bytes.items())
    if status.changed_at is not None:
        yield f"changed      {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(status.changed_at))}"
    if status.writer:
        yield f"writing now  {status.writer}"
    if status.n_unsealed and deep:
        yield f"unsealed     up to {status.n_unsealed:,} documents and vectors of an earlier version, which had no"
        yield "             checksums; `rag ingest` adds them"
    if problems or deep:
        yield "check        " + ("everything agrees" if not problems else f"{len(problems)} problems")
        yield from (f"  {problem}" for problem in problems)
    if problems and not deep:
        yield "             `rag status --check` compares the rest, `rag status --repair` mends"


def repair_lines(report: RepairReport, commands: Sequence[str]) -> Iterable[str]:
    """Yield what a repair did, and what to run next."""
    yield "repaired     " + (f"{len(report.done)} things" if report.done else "nothing: there was nothing to mend")
    yield from (f"  {line}" for line in report.done)
    for root, paths in sorted(report.waiting.items()):
        yield f"to be read   {len(paths):,} files of {root}"
        yield from (f"  {path}" for path in paths)
    if commands:
        yield "run next:"
        yield from (f"  {command}" for command in commands)
    elif report.problems:
        yield "not mended: restore the library from a backup, or build the collection anew with `rag ingest --rebuild`"


def _derived(derived: DerivedStatus) -> str:
    said = {
        "current": "up to date",
        "behind": "behind; the next search catches up",
        "missing": "not there; the next search builds it",
        "damaged": "damaged; the next search rebuilds it",
    }[derived.state]
    return f"{derived.n_chunks:,} chunks ({derived.kind}), {said}"


def _recall(derived: DerivedStatus) -> Iterable[str]:
    """Yield what share of the nearest chunks a search finds, and what will be done where that is too little."""
    if derived.kind in ("flat", "none"):
        return
    measured = derived.recall
    if measured is None:
        yield "recall not measured yet: the next rag ingest that writes does"
        return
    day = time.strftime("%Y-%m-%d", time.localtime(measured.at))
    yield (
        f"recall@10 {measured.recall:.3f}, surely {measured.at_least:.3f}; measured {day} with"
        f" {measured.n_questions} questions of {measured.n_chunks:,} chunks"
    )
    if not measured.is_enough:
        yield (
            f"below the target of {measured.target:g}: searches look as hard as they can; a rag ingest that changes a"
            " tenth of the chunks measures and trains again"
        )


def ledger_lines(entries: Iterable[LedgerEntry]) -> Iterable[str]:
    """Yield the files of a collection with their states."""
    for entry in sorted(entries, key=lambda entry: entry.path):
        yield f"{entry.state:<12} {entry.path}" + (f": {entry.reason}" if entry.reason else "")
        yield from (f"{'warning':<12} {entry.path}: {warning}" for warning in entry.warnings)


def document_lines(documents: Iterable[DocumentInfo]) -> Iterable[str]:
    """Yield the documents of a collection."""
    for document in documents:
        pages = f", {document.n_pages} pages" if document.n_pages else ""
        yield f"{document.id}  ({document.n_chunks} chunks{pages})  {document.title}"
