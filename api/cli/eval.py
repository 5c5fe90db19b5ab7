"""``rag eval``: how well a collection answers questions whose answers are known."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from api.cli.output import note
from api.cli.progress import ingest_progress
from api.evaluating import Evaluation, compared, evaluate
from api.footnote import Footnote
from api.question_sets import ingest_beir, is_beir, load_questions
from rag.errors import ConfigError
from rag.evaluation.questions import Question
from rag.settings import Settings, load_settings

__all__ = ["run"]

_TELL_EVERY = 100


async def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure, or with ``make`` draft a question set; 1 when questions had to be left out."""
    if args.questions == "make":
        return await _make(args, settings)
    if args.file is not None:
        raise ConfigError(f"rag eval takes one question set, got {args.questions!r} and {str(args.file)!r}")
    path = Path(args.questions)
    questions = load_questions(path)[: args.limit]
    if is_beir(path):
        settings = await _with_passages(path, args, settings)
    evaluations = [await _evaluation(questions, args, settings, "as set")]
    if args.compare:
        other = _changed(args, settings)
        evaluations.append(await _evaluation(questions, args, other, ", ".join(args.compare)))
    if args.json:
        print(json.dumps(_values(evaluations), ensure_ascii=False))
    else:
        print("\n".join(_lines(evaluations)))
    if args.plot:
        from api.eval_plot import draw  # matplotlib is an extra

        draw(evaluations, args.plot)
    for problem in evaluations[0].problems:
        note(f"left out: {problem}")
    return 1 if evaluations[0].problems else 0


async def _with_passages(path: Path, args: argparse.Namespace, settings: Settings) -> Settings:
    """Bring the collection of a BEIR folder up to date, and return the settings that name it."""
    name = args.collection or f"eval-{path.resolve().name}"
    async with Footnote(settings) as footnote:
        with ingest_progress("ingest", quiet=args.quiet) as show:
            await ingest_beir(footnote, path, collection=name, on_progress=show)
    return replace(settings, collection=name)


def _changed(args: argparse.Namespace, settings: Settings) -> Settings:
    """Return the settings with those of ``--compare`` in place; ``collection=NAME`` compares two collections."""
    overrides: dict[str, object] = {"library": settings.library, "collection": settings.collection}
    for item in (*args.set, *args.compare):
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--compare takes NAME=VALUE, got {item!r}")
        overrides[name.strip()] = value.strip()
    return load_settings(os.environ, file=args.config, overrides=overrides)


async def _evaluation(
    questions: Sequence[Question], args: argparse.Namespace, settings: Settings, label: str
) -> Evaluation:
    def told(n_done: int) -> None:
        if not args.quiet and (n_done % _TELL_EVERY == 0 or n_done == len(questions)):
            note(f"eval, {label}: {n_done:,} of {len(questions):,} questions")

    async with Footnote(settings) as footnote:
        return await evaluate(footnote, questions, k=args.k or 10, label=label, on_progress=told)


def _lines(evaluations: Sequence[Evaluation]) -> Iterable[str]:
    """Yield a table in Markdown: measures with their intervals, the difference, then the time of each stage."""
    first = evaluations[0]
    skipped = f" ({first.n_unanswerable:,} without an answer were not asked)" if first.n_unanswerable else ""
    yield f"collection '{first.collection}', {len(first.questions):,} questions{skipped}, {first.k} hits each"
    yield ""
    difference = compared(first, evaluations[1]) if len(evaluations) > 1 else {}
    yield _row("measure", *(each.label for each in evaluations), *(["difference"] if difference else []))
    yield "|---" * (1 + len(evaluations) + bool(difference)) + "|"
    means = [each.means() for each in evaluations]
    for name in first.names:
        cells = [f"{mean[name].mean:.3f} ({mean[name].low:.3f} to {mean[name].high:.3f})" for mean in means]
        if name in difference:
            by = difference[name]
            verdict = "" if by.excludes_zero else ", may be chance"
            cells.append(f"{by.mean:+.3f} ({by.low:+.3f} to {by.high:+.3f}){verdict}")
        yield _row(name, *cells)
    yield ""
    yield _row("stage", *(f"{each.label}: p50, p95 ms" for each in evaluations))
    yield "|---" * (1 + len(evaluations)) + "|"
    stages = [each.latencies_ms() for each in evaluations]
    for stage in dict.fromkeys(name for times in stages for name in times):
        cells = [f"{times[stage][0]:.1f}, {times[stage][1]:.1f}" if stage in times else "–" for times in stages]
        yield _row(stage.replace("_", " "), *cells)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _values(evaluations: Sequence[Evaluation]) -> dict[str, object]:
    values: dict[str, object] = {"evaluations": [_evaluation_values(each) for each in evaluations]}
    if len(evaluations) > 1:
        differences = compared(*evaluations)
        values["difference"] = {
            name: {"mean": by.mean, "low": by.low, "high": by.high} for name, by in differences.items()
        }
    return values


def _evaluation_values(each: Evaluation) -> dict[str, object]:
    return {
        "label": each.label,
        "collection": each.collection,
        "k": each.k,
        "measures": {name: {"mean": m.mean, "low": m.low, "high": m.high} for name, m in each.means().items()},
        "latencies_ms": {stage: {"p50": p50, "p95": p95} for stage, (p50, p95) in each.latencies_ms().items()},
        "questions": [{"id": question.question, **question.measures} for question in each.questions],
        "left_out": list(each.problems),
        "n_unanswerable": each.n_unanswerable,
    }


async def _make(args: argparse.Namespace, settings: Settings) -> int:
    """Draft a question set into a new file; 1 when no passage gave a question."""
    from api.question_drafts import draft_questions, sample_passages  # measuring needs no chat client

    if args.file is None:
        raise ConfigError("rag eval make needs the name of a new file: rag eval make questions.jsonl")
    if args.file.exists():
        raise ConfigError(f"{args.file} is there already; name a new file, or delete it first")
    n_kept = 0
    async with Footnote(settings) as footnote:
        client, model = await footnote.wiring.chat()
        passages = sample_passages(footnote.collection(), args.limit or 50)
        with args.file.open("x", encoding="utf-8") as file:  # each line is paid for, and kept at once
            async for draft in draft_questions(client, model, passages):
                if draft.problem:
                    note(f"no question from {draft.chunk.document_id} at {draft.chunk.start}: {draft.problem}")
                    continue
                file.write(json.dumps(draft.to_json(), ensure_ascii=False) + "\n")
                file.flush()
                n_kept += 1
    note(f"{n_kept:,} questions from {len(passages):,} passages in {args.file}; read them before you trust them")
    return 0 if n_kept else 1
