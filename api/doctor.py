"""Checks all that a run depends on and says what to do about what is wrong. Reads only; costs a few tokens at most."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from api.choice import FAMILIES, WHEN_NAMED, Choice, Family
from api.footnote import Footnote
from rag.contracts import Embedder
from rag.errors import ConfigError, RagError
from rag.gateway.chat import ChatClient, ChatRequest
from rag.gateway.models import Model, list_models
from rag.settings import environment_name
from rag.tokens import tokenizer
from rag.types import GenerationSettings

__all__ = ["Finding", "examine"]

MIN_FREE_BYTES = 500 * 1024 * 1024
SOON = timedelta(days=60)
"""A model that its provider shuts down within this time is worth a warning."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``advice`` is what to do, empty when all is well."""

    level: Literal["ok", "warning", "problem"]
    subject: str
    found: str
    advice: str = ""


async def examine(footnote: Footnote, *, offline: bool = False) -> AsyncIterator[Finding]:
    """Yield findings as they are made: settings, disk, embedded parts, each model family, each collection.

    ``offline`` calls no endpoint. A configured chat model without a list of models is asked for one word.
    """
    yield _settings(footnote)
    for finding in _disk(footnote.settings.library):
        yield finding
    yield _vocabularies()
    yield await _embedded_model(footnote)
    for family in FAMILIES:
        async for finding in _family(footnote, family, offline=offline):
            yield finding
    for finding in _server(footnote):
        yield finding
    for name in footnote.collections():
        yield await _collection(footnote, name)


def _settings(footnote: Footnote) -> Finding:
    file = footnote.settings.file
    return Finding("ok", "settings", f"read from {file}" if file else "no rag.toml here: environment and defaults")


def _disk(library: Path) -> list[Finding]:
    there = library.resolve()
    while not there.exists():
        there = there.parent
    findings = []
    if not os.access(there, os.W_OK):
        advice = "give yourself write access, or name another folder with --library"
        findings.append(Finding("problem", "library", f"{there} cannot be written to", advice))
    free = shutil.disk_usage(there).free
    if free < MIN_FREE_BYTES:
        findings.append(Finding("warning", "disk", f"{free >> 20} MB free at {there}", "make room before ingesting"))
    return findings or [Finding("ok", "library", f"{library} ({free >> 30} GB free)")]


def _vocabularies() -> Finding:
    try:
        counts = [tokenizer(name).count("One, two, three.") for name in ("cl100k_base", "o200k_base")]
    except RagError as error:
        return Finding("problem", "vocabularies", str(error), "install the package again")
    return Finding("ok", "vocabularies", f"whole, no download needed ({counts[0]} and {counts[1]} tokens for a test)")


async def _embedded_model(footnote: Footnote) -> Finding:
    """Embed three short texts: the related pair must be closer than the unrelated one."""
    embedder = footnote.wiring.local_embedder()
    started = time.monotonic()
    texts = ["How do I reset my password?", "I forgot my login credentials.", "The harvest was poor that year."]
    try:
        vectors = (await embedder.embed(texts, kind="query")).vectors
    except RagError as error:
        return Finding("problem", "embedded model", str(error), "install the package again")
    related, unrelated = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    if not related > unrelated:
        said = f"gives wrong vectors: {related:.2f} for a related pair, {unrelated:.2f} for an unrelated one"
        return Finding("problem", "embedded model", said, "install the package again")
    elapsed_ms = 1000 * (time.monotonic() - started)
    return Finding("ok", "embedded model", f"{embedder.profile.model}, loaded and tried in {elapsed_ms:.0f} ms")


async def _family(footnote: Footnote, family: Family, *, offline: bool) -> AsyncIterator[Finding]:
    try:
        choice = footnote.wiring.choice(family)
    except ConfigError as error:
        yield Finding("problem", family, str(error), "correct the setting")
        return
    if choice.kind != "endpoint":
        yield Finding("ok", family, f"{_served(choice)} ({choice.reason})", _how_to_change(choice))
        return
    if offline:
        yield Finding("ok", family, f"{choice.base_url}, not called ({choice.reason})")
        return
    try:
        async for finding in _endpoint(footnote, choice):
            yield finding
    except RagError as error:
        yield Finding("problem", family, str(error), f"check {environment_name(family, 'base_url')} and the key")


def _served(choice: Choice) -> str:
    return {"local": "the embedded model", "off": "nobody"}[choice.kind]


def _how_to_change(choice: Choice) -> str:
    if choice.explicit:
        return ""
    setting = environment_name(choice.family, "provider")
    if choice.family in WHEN_NAMED:
        return f"for one, set {setting} and its key"
    return f"for another, set OPENAI_API_KEY, or {setting} and its key"


async def _endpoint(footnote: Footnote, choice: Choice) -> AsyncIterator[Finding]:
    """Call an endpoint for as little as proves that address, key and model are right."""
    assert choice.provider is not None
    model = await footnote.wiring.model(choice)
    subject: Family = choice.family
    if "models" in choice.provider.families:
        listed = {item.id: item for item in await list_models(footnote.wiring.client(choice))}
        if listed and model not in listed:
            near = ", ".join(sorted(listed)[:8])
            yield Finding("warning", subject, f"{choice.base_url} does not list {model}", f"it lists {near}")
        elif model in listed and (ending := _shutdown(listed[model])):
            yield Finding(
                "warning", subject, f"{model} is shut down on {ending}", f"set {environment_name(subject, 'model')}"
            )
    said = await _tried(footnote, choice, model)
    yield Finding("ok", subject, f"{model} at {choice.base_url} answers ({said}; {choice.reason})")


def _shutdown(model: Model) -> str:
    try:
        day = date.fromisoformat(model.shutdown_date or "")
    except ValueError:
        return ""
    return day.isoformat() if day <= date.today() + SOON else ""


async def _tried(footnote: Footnote, choice: Choice, model: str) -> str:
    started = time.monotonic()
    if choice.family == "embeddings":
        embedder: Embedder = await footnote.wiring.embedder()
        embeddings = await embedder.embed(["test"], kind="query")
        said = f"{embeddings.vectors.shape[1]} dimensions"
    elif choice.family == "moderation":
        moderator = await footnote.wiring.moderator()
        assert moderator is not None
        await moderator.moderate(["test"])
        said = "a verdict"
    elif choice.family == "rerank":
        reranker = await footnote.wiring.reranker()
        assert reranker is not None
        scores = await reranker.rerank("How tall is the tower?", ["The tower is 330 metres tall.", "Tea is a drink."])
        said = f"{scores[0]:.2f} for a passage that answers, {scores[1]:.2f} for one that does not"
    else:
        client = ChatClient(footnote.wiring.client(choice))
        message = {"role": "user", "content": "Say OK."}
        reply = await client.complete(ChatRequest([message], model, GenerationSettings(max_tokens=16)))
        said = f"finish reason {reply.finish_reason}"
    return f"{said}, {1000 * (time.monotonic() - started):.0f} ms"


def _server(footnote: Footnote) -> list[Finding]:
    server = footnote.settings.server
    if server.host not in ("127.0.0.1", "::1", "localhost") and not server.api_key:
        advice = f"set {environment_name('server', 'api_key')}, or server.host to 127.0.0.1"
        return [Finding("problem", "server", f"host {server.host} without a key is refused", advice)]
    return []


async def _collection(footnote: Footnote, name: str) -> Finding:
    subject = f"collection {name}"
    try:
        status = footnote.status(name)
        await footnote.wiring.embedder(status.config)
    except RagError as error:
        return Finding("problem", subject, str(error), "see the message")
    failed = status.ledger.get("failed", 0)
    held = f"{status.n_documents:,} documents, {status.n_chunks:,} chunks of {status.config.model}"
    if not status.agrees:
        return Finding("warning", subject, f"{held}; a derived index is damaged", "it is rebuilt by the next search")
    if failed:
        return Finding("warning", subject, f"{held}; {failed} files failed", f"rag status -c {name} --files failed")
    return Finding("ok", subject, held)
