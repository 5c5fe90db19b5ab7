"""What ``rag ingest --dry-run`` prints: plain text from estimates. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from api.cli.listing import listed
from api.cli.output import duration, media_line
from ingest.cost import IngestEstimate
from rag.prices import money, money_or_unknown

__all__ = ["estimate_lines"]


def estimate_lines(estimate: IngestEstimate, *, verbose: bool = False) -> Iterable[str]:
    """Yield what an ingest would do and cost: totals, every file that needs a word, then the money."""
    report = estimate.report
    yield f"{report.root} → collection '{report.collection}' (dry run: nothing is embedded, nothing is written)"
    changes = [f"{n:,} {change}" for change, n in estimate.changes.items() if n]
    states = [f"{n:,} {state}" for state, n in report.counts.items() if n and state != "indexed"]
    removed = f"; {len(report.removed):,} to be removed" if report.removed else ""
    yield f"{len(report.files):,} files: {', '.join([*changes, *states]) or 'none'}{removed}"
    yield from listed(report, verbose=verbose)
    yield f"{estimate.n_chunks:,} chunks, {estimate.n_tokens_of_chunks:,} tokens of {estimate.tokenizer}"
    yield f"known        {report.n_texts_reused:,} chunks, {report.n_tokens_reused:,} tokens: no cost"
    for count in report.media:
        yield f"to read      {media_line(count, verb='')}"
    requests = f"about {estimate.n_requests:,} request{'' if estimate.n_requests == 1 else 's'}"
    yield f"to pay       {estimate.n_texts:,} chunks, {estimate.n_tokens:,} tokens, {requests}"
    yield f"cost         {_cost(estimate)}"
    if estimate.currency and any(count.n_read and count.cost for count in report.media):
        yield f"in all       {money_or_unknown(estimate.cost, estimate.currency)}, about"
    if estimate.batch_cost and estimate.price:
        yield f"batch        {money(estimate.batch_cost, estimate.price.currency)} with --batch, within a day"
    if estimate.seconds is not None:
        yield f"time         about {duration(estimate.seconds)}, at the rate of the last run"
    if estimate.exceeds_limit and estimate.max_cost is not None:
        limit = money(estimate.max_cost, estimate.currency)
        yield f"limit        {limit}: the run would stop there, and go on with a higher --max-cost"
    for note in estimate.notes:
        yield f"note         {note}"


def _cost(estimate: IngestEstimate) -> str:
    price = estimate.price
    if price is None:
        return f"unknown price of {estimate.model}; set embeddings.price_per_million to know it"
    said = money_or_unknown(estimate.embedding_cost, price.currency)
    if price.is_free:
        return f"{said} ({estimate.model})"
    return f"{said} ({estimate.model} at {money(price.per_million, price.currency)} a million tokens, {price.source})"
