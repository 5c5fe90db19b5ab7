"""Asks a collection the questions of a set, and measures what it finds; compares two settings question by question."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.footnote import Footnote
from index.collection import Collection
from ingest.normalise import normalise
from rag.contracts import Tokenizer
from rag.errors import DocumentNotFoundError, QuestionSetError
from rag.evaluation.intervals import Interval, mean_interval
from rag.evaluation.measures import Span, Target, covered, ndcg, overlap, recall, reciprocal_rank
from rag.evaluation.questions import Question, Reference
from rag.types import Hit, Retrieval

__all__ = ["Evaluation", "Measured", "compared", "evaluate"]

DEPTH = 10
"""Hits asked for where whole documents answer, for each document wanted: the first hits may all be of one document."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One question: its measures by name, and the milliseconds of each stage of its search."""

    question: str
    measures: Mapping[str, float]
    timings_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a setting reached on a question set.

    ``label`` says which setting. ``problems`` says which questions were left out: what should answer them is not in the
    collection. ``n_unanswerable`` were not asked: the documents do not answer them.
    """

    label: str
    collection: str
    k: int
    questions: tuple[Measured, ...]
    problems: tuple[str, ...]
    n_unanswerable: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, in the order in which they are shown."""
        return tuple(dict.fromkeys(name for question in self.questions for name in question.measures))

    def means(self) -> dict[str, Interval]:
        """Return the mean of each measure with its 95 % interval."""
        return {name: mean_interval(self.values(name)) for name in self.names}

    def values(self, measure: str) -> list[float]:
        """Return a measure of each question that has it: those of tokens need words or a page that answer."""
        return [question.measures[measure] for question in self.questions if measure in question.measures]

    def latencies_ms(self) -> dict[str, tuple[float, float]]:
        """Return the median and the 95th percentile of each stage; a stage that did not take place is left out."""
        stages: dict[str, list[float]] = {}
        for question in self.questions:
            for stage, milliseconds in question.timings_ms.items():
                stages.setdefault(stage, []).append(milliseconds)
        return {name: (float(np.percentile(all_, 50)), float(np.percentile(all_, 95))) for name, all_ in stages.items()}


def compared(first: Evaluation, second: Evaluation) -> dict[str, Interval]:
    """Return by how much the second exceeds the first, over the questions that both were asked, with 95 % intervals."""
    before = {each.question: each.measures for each in first.questions}
    differences: dict[str, list[float]] = {}
    for each in second.questions:
        for name, value in each.measures.items():
            if name in before.get(each.question, {}):
                differences.setdefault(name, []).append(value - before[each.question][name])
    return {name: mean_interval(values) for name, values in differences.items()}


async def evaluate(
    footnote: Footnote,
    questions: Sequence[Question],
    *,
    collection: str | None = None,
    k: int = 10,
    label: str = "",
    on_progress: Callable[[int], None] = lambda n_done: None,
) -> Evaluation:
    """Ask a collection every question, one after the other, and measure the first ``k`` hits.

    Measures: recall at 1, 5 and ``k``, nDCG and MRR at ``k``, and where words or pages answer the recall, precision and
    IoU of the tokens of those hits. Raises QuestionSetError when no question can be asked.
    """
    opened = footnote.collection(collection)
    answerable = [question for question in questions if question.relevant]
    targets, problems = await asyncio.to_thread(_located, opened, answerable)
    if not targets:
        raise QuestionSetError(
            f"none of the {len(questions)} questions can be asked of collection {opened.name!r}: "
            f"{problems[0] if problems else 'none has an answer'}; name documents as `rag collections show` lists them"
        )
    await footnote.search(next(iter(targets)).text, collection=opened.name, k=1)  # loads models: no question's time
    tokens = _TokenStarts(opened, footnote.wiring.tokenizer(opened.config.tokenizer))
    measured: list[Measured] = []
    for question, wanted in targets.items():
        depth = k if any(target.span for target in wanted) else k * DEPTH
        retrieval = await footnote.search(question.text, collection=opened.name, k=depth)
        measures = await asyncio.to_thread(_measures, retrieval, wanted, k, tokens)
        measured.append(Measured(question.id, measures, dict(retrieval.timings_ms)))
        on_progress(len(measured))
    n_unanswerable = len(questions) - len(answerable)
    return Evaluation(label or "as set", opened.name, k, tuple(measured), tuple(problems), n_unanswerable)


def _measures(retrieval: Retrieval, wanted: Sequence[Target], k: int, tokens: _TokenStarts) -> dict[str, float]:
    documents = {target.document for target in wanted}
    found = [_span(hit, documents) for hit in retrieval.hits]
    new = covered(found, wanted)
    measures = {f"recall@{depth}": recall(new, len(wanted), k=depth) for depth in sorted({1, 5, k}) if depth <= k}
    measures[f"ndcg@{k}"] = ndcg(new, [target.grade for target in wanted], k=k)
    measures[f"mrr@{k}"] = reciprocal_rank(new[:k])
    spans = [target.span for target in wanted if target.span is not None]
    if spans:
        shares = overlap(found[:k], spans, tokens.of({span.document for span in (*found[:k], *spans)}))
        measures |= {
            "token recall": shares.recall,
            "token precision": shares.precision,
            "token IoU": shares.iou,
        }
    return measures


def _span(hit: Hit, wanted: set[str]) -> Span:
    """Return what a hit covers: in a wanted document, where it is a near-duplicate of what stands there."""
    own = hit.chunk.document_id
    named = own if own in wanted else next((name for name in hit.duplicates if name in wanted), own)
    return Span(named, hit.chunk.start, hit.chunk.end)


class _TokenStarts:
    """Where the tokens of documents begin, each document cut once."""

    def __init__(self, collection: Collection, tokenizer: Tokenizer) -> None:
        self._collection = collection
        self._tokenizer = tokenizer
        self._known: dict[str, NDArray[np.int64]] = {}

    def of(self, documents: set[str]) -> Mapping[str, NDArray[np.int64]]:
        for name in documents - self._known.keys():
            self._known[name] = self._tokenizer.starts(self._collection.document(name).text)[:-1]
        return self._known


# --- references to targets


def _located(
    collection: Collection, questions: Sequence[Question]
) -> tuple[dict[Question, tuple[Target, ...]], list[str]]:
    """Return what answers each question as spans of stored text, and what is wrong with those that cannot be asked."""
    located: dict[Question, tuple[Target, ...]] = {}
    problems: list[str] = []
    there = {info.id for info in collection.documents()}
    for question in questions:
        try:
            targets = [_target(collection, reference, there) for reference in question.relevant]
            if len({target.span is None for target in targets}) > 1:
                raise ValueError("whole documents and parts of documents cannot answer one question together")
            located[question] = tuple(targets)
        except ValueError as error:
            problems.append(f"{question.id}: {error}")
    return located, problems


def _target(collection: Collection, reference: Reference, there: set[str]) -> Target:
    name = reference.document
    if name not in there:
        raise ValueError(f"no document {name!r} in the collection")
    if not reference.page and not reference.quote:
        return Target(name, reference.grade)
    try:
        document = collection.document(name)
    except DocumentNotFoundError as error:  # removed since
        raise ValueError(str(error)) from error
    start, end = 0, len(document.text)
    if reference.page:
        page = next((page for page in document.pages if page.number == reference.page), None)
        if page is None:
            raise ValueError(f"{name!r} has no page {reference.page}")
        start, end = page.start, page.end
    if reference.quote:
        start, end = _place_of(reference.quote, document.text, start, end, name)
    if start == end:
        raise ValueError(f"page {reference.page} of {name!r} has no text")
    return Target(name, reference.grade, Span(name, start, end))


def _place_of(quote: str, text: str, start: int, end: int, name: str) -> tuple[int, int]:
    """Return where the words stand, however white space falls between them."""
    words = normalise(quote).text.split()
    found = re.compile(r"\s*".join(map(re.escape, words))).search(text, start, end) if words else None
    if found is None:
        raise ValueError(f"the words {quote[:60]!r} are not in {name!r}")
    return found.start(), found.end()
