"""What an ingest would do and cost, found out without embedding or writing anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from api.wiring import Wiring
from index.collection import Collection
from index.library import Library
from index.vector_store import VectorSpace, VectorStore
from ingest.cost import IngestEstimate
from ingest.rehearsal import Rehearsal, RehearsedMedia, RehearsedTexts, n_requests
from ingest.report import IngestReport
from ingest.roots import Place, all_roots, is_there
from ingest.run import Intake, rehearse
from ingest.tally import IngestProgress
from rag.settings import Settings
from rag.types import EmbedderProfile

__all__ = ["plan_ingest"]

_PLACEHOLDER = 1


async def plan_ingest(
    places: Sequence[Place],
    *,
    name: str,
    settings: Settings,
    wiring: Wiring,
    library: Library | None,
    collection: Collection | None,
    rebuild: bool = False,
    on_progress: Callable[[IngestProgress], None] = lambda progress: None,
) -> list[IngestEstimate]:
    """Return an estimate for each path, in the order in which they would be ingested; see ``Footnote.plan_ingest``.

    ``library`` and ``collection`` are None where there is none yet.
    """
    old = None if rebuild else collection
    embedder = await wiring.embedder(None if old is None else old.config)
    profile = embedder.profile
    price = wiring.price(profile.model)
    space, notes = _space(profile, old, library.vectors if library else None)
    notes += _counting(wiring, old, profile)
    config = old.config if old else wiring.config_for(profile, space.dimensions if space else _PLACEHOLDER)
    rehearsal = Rehearsal(name, config, old)
    texts = RehearsedTexts(library.vectors if library else None, space)
    readers = await wiring.media_readers()
    media = RehearsedMedia(readers, library.readings() if library else None) if readers else None
    uploads = (library.uploads(name) if library else settings.library / "uploads" / name).resolve()
    if collection is not None and rebuild:
        places = [root for root in all_roots(collection.runs(), places, library=settings.library) if is_there(root)]
    rate = _tokens_per_s(library, name, profile.model)
    estimates: list[IngestEstimate] = []
    n_before, left = 0, settings.ingest.max_cost
    with TemporaryDirectory(prefix="rag-dry-run-") as scratch:
        for place in places:
            report = await rehearse(
                _intake(place, wiring, settings.library, rebuild=rebuild, uploads=uploads, scratch=Path(scratch)),
                rehearsal=rehearsal,
                texts=texts,
                limits=profile.limits,
                tokenizer=wiring.tokenizer(config.tokenizer),
                media=media,
                on_progress=on_progress,
            )
            sizes, n_before = texts.sizes[n_before:], len(texts.sizes)
            estimate = IngestEstimate(
                report=report,
                model=profile.model,
                tokenizer=config.tokenizer,
                n_texts=len(sizes),
                n_tokens=sum(sizes),
                n_requests=n_requests(sizes, profile.limits),
                price=price,
                seconds=None if rate is None else round(sum(sizes) / rate, 1),
                max_cost=left,
                notes=(*notes, *report.notes, *_about_media(report)),
            )
            estimates.append(estimate)
            left = None if left is None or estimate.cost is None else max(0.0, left - estimate.cost)
    return estimates


def _intake(place: Place, wiring: Wiring, library: Path, *, rebuild: bool, uploads: Path, scratch: Path) -> Intake:
    """Return what a run would take in; pages that have to be fetched are kept in ``scratch``, not in the library."""
    web = None
    if isinstance(place, str):
        web = wiring.web_source(library / "web", from_mirror=rebuild, scratch=scratch)
    alone = rebuild and place == uploads
    return Intake(place, library, wiring.walk_rules(), alone=alone, limits=wiring.reading_limits(), web=web)


def _space(
    profile: EmbedderProfile, collection: Collection | None, store: VectorStore | None
) -> tuple[VectorSpace | None, list[str]]:
    """Return where the vectors are kept, asking nobody; None where the length of the vectors cannot be known."""
    if collection is not None:
        return collection.space, []
    if profile.dimensions is not None:
        return VectorSpace(profile.model, profile.dimensions), []
    known = [space for space in store.spaces() if space.model == profile.model] if store is not None else []
    if len(known) == 1:
        return known[0], []
    note = f"the length of the vectors of {profile.model} is not known before the first reply"
    return None, [note + ("; which texts are paid for already is not known either" if known else "")]


def _counting(wiring: Wiring, collection: Collection | None, profile: EmbedderProfile) -> list[str]:
    if wiring.counts_exactly(profile):
        return []
    tokenizer = collection.config.tokenizer if collection else profile.tokenizer
    return [f"tokens are counted with {tokenizer}; the endpoint counts in its own way, so they are an estimate"]


def _about_media(report: IngestReport) -> list[str]:
    n_unread = sum(count.n_read for count in report.media)
    if not n_unread:
        return []
    return [
        f"the text of {n_unread:,} pages, pictures or recordings is not known before they are read: embedding it adds"
    ]


def _tokens_per_s(library: Library | None, name: str, model: str) -> float | None:
    """Return how fast the last run embedded with this model, in this collection or else in another of the library."""
    names = [] if library is None else sorted(library.collections(), key=lambda other: other != name)
    for candidate in names:
        assert library is not None
        with library.open_collection(candidate) as collection:
            runs = collection.runs() if collection.config.model == model else []
        for run in reversed(runs):
            n_tokens, seconds = run.get("n_tokens_embedded"), run.get("seconds")
            if isinstance(n_tokens, int) and isinstance(seconds, float) and n_tokens and seconds:
                return n_tokens / seconds
    return None
