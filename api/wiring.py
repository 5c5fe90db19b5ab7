"""Builds the real parts from the settings: the only place that does. Each part is built once, when first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.ask_options import QueryWishes
from api.choice import Choice, Family, choose
from api.writers import generator_of
from index.records import CollectionConfig
from index.vector_store import VectorSpace
from rag.answering.asking import Asking
from rag.answering.chat_reranker import ChatReranker
from rag.answering.moderation import ModerationPolicy
from rag.answering.queries import QueryWriter
from rag.contracts import Embedder, Generator, MediaReader, Moderator, Reranker, Tokenizer
from rag.errors import ConfigError, EndpointError, IndexMismatchError
from rag.gateway.chat import ChatClient
from rag.gateway.embeddings import EndpointEmbedder
from rag.gateway.endpoint import Endpoint, EndpointClient
from rag.gateway.models import list_models
from rag.gateway.moderations import EndpointModerator
from rag.gateway.providers import Provider, embedder_profile
from rag.gateway.rerank import EndpointReranker
from rag.gateway.transport import Transport
from rag.local.embedder import LOCAL_MODEL, LocalEmbedder
from rag.prices import FREE, FREE_USAGE, Price, UsagePrice, known_price, known_usage_price
from rag.settings import ModelOptions, Settings, environment_name
from rag.tokens import tokenizer as named_tokenizer
from rag.types import ChunkingSettings, EmbedderProfile, MediaKind

if TYPE_CHECKING:
    from ingest.attributes import PathRules
    from ingest.isolation import ReadingLimits
    from ingest.sources import WalkRules
    from ingest.web.visit import WebRules, WebSource
    from rag.gateway.vision import VisionKind
    from rag.local.tesseract import Tesseract

__all__ = ["Wiring"]

CHAT_TOKENIZER = "o200k_base"
"""Counts the prompt of a chat model: exact for OpenAI's present models, an estimate for all others."""

MAX_CONCURRENCY = 32
"""Embeddings requests under way at once, where no setting says and the endpoint bears it."""

_NOT_LOOKED_FOR: Any = object()


_SAID_BY_NAME: Mapping[Family, tuple[str, ...]] = {
    "embeddings": ("embed",),
    "rerank": ("rerank",),
    "audio": ("whisper", "transcribe"),
}
"""What the names of models of a family have in them; a chat model is one that has none of it."""


class Wiring:
    """The parts of one Footnote. ``transport`` replaces the network (in tests)."""

    def __init__(self, settings: Settings, *, transport: Transport | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._clients: dict[tuple[str, ...], EndpointClient] = {}
        self._query_writer: QueryWriter | None = None
        self._models: dict[tuple[str, str], str] = {}
        self._generator: Generator | None = None
        self._embedder: EndpointEmbedder | None = None
        self._local_embedder: LocalEmbedder | None = None
        self._tesseract: Tesseract | None = _NOT_LOOKED_FOR
        self._building = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None
        self._clients.clear()
        self._generator = None

    # --- who serves

    def choice(self, family: Family) -> Choice:
        """Return who serves a family; see ``api.choice``."""
        return choose(self._settings, family)

    async def model(self, choice: Choice) -> str:
        """Return the model of a chosen endpoint, asking the endpoint where no setting and no default names one."""
        if choice.model:
            return choice.model
        async with self._building:
            place = (choice.family, choice.base_url)
            if place not in self._models:
                self._models[place] = await self._only_model(choice)
            return self._models[place]

    async def _only_model(self, choice: Choice) -> str:
        setting = environment_name(choice.family, "model")
        try:
            names = [model.id for model in await list_models(self.client(choice))]
        except EndpointError as error:
            raise ConfigError(f"no model is named for {choice.family}, and {error}; set {setting}") from error
        special = {
            family: [name for name in names if any(word in name.lower() for word in words)]
            for family, words in _SAID_BY_NAME.items()
        }
        others = [name for name in names if not any(name in found for found in special.values())]
        fitting = special.get(choice.family) or others
        if len(fitting) != 1:
            listed = ", ".join(fitting[:20]) or "none"
            raise ConfigError(
                f"{choice.base_url} serves {len(fitting)} models for {choice.family}: {listed}; set {setting}"
            )
        return fitting[0]

    def client(self, choice: Choice) -> EndpointClient:
        """Return the client of a chosen endpoint."""
        assert choice.provider is not None, f"{choice.family} is served by {choice.kind}"
        place = (choice.family, choice.base_url, choice.api_key)
        if place not in self._clients:
            options: ModelOptions = getattr(self._settings, choice.family)
            endpoint = Endpoint(
                provider=choice.provider,
                base_url=choice.base_url,
                api_key=choice.api_key or None,
                timeout_s=options.timeout_s,
                max_retries=0
                if choice.family in ("vision", "audio")
                else options.max_retries,  # their queue tries again
            )
            self._clients[place] = EndpointClient(endpoint, self._shared_transport())
        return self._clients[place]

    def _shared_transport(self) -> Transport:
        if self._transport is None:
            from rag.gateway.streaming import StreamingTransport  # late: without a key no HTTP client is needed

            self._transport = StreamingTransport()
        return self._transport

    # --- embeddings

    async def embedder(self, config: CollectionConfig | None = None) -> Embedder:
        """Return the embedder for a collection, or the one a new collection would get.

        A collection keeps the model it was made with. Raises IndexMismatchError when that is neither the embedded one
        nor the one of the settings, or when the settings name another one outright.
        """
        choice = self.choice("embeddings")
        if config is not None and config.model == LOCAL_MODEL and not (choice.explicit and choice.kind == "endpoint"):
            return self.local_embedder()
        embedder: Embedder = self.local_embedder() if choice.kind == "local" else await self._endpoint_embedder(choice)
        if config is not None:
            _require_same_space(embedder.profile, config)
        return embedder

    def local_embedder(self) -> LocalEmbedder:
        """Return the embedded model; its weights are loaded by the first text."""
        if self._local_embedder is None:
            self._local_embedder = LocalEmbedder()
        return self._local_embedder

    async def _endpoint_embedder(self, choice: Choice) -> EndpointEmbedder:
        model = await self.model(choice)
        if self._embedder is None:
            assert choice.provider is not None
            options = self._settings.embeddings
            profile = embedder_profile(choice.provider, model, dimensions=options.dimensions)
            limits = replace(
                profile.limits,
                concurrency=options.concurrency or profile.limits.concurrency,
                max_concurrency=options.concurrency or MAX_CONCURRENCY,
                patience_s=options.patience_s,
                max_inputs=min(options.max_inputs or profile.limits.max_inputs, profile.limits.max_inputs),
            )
            self._embedder = EndpointEmbedder(
                self.client(choice),
                replace(profile, limits=limits),
                tokenizer=named_tokenizer(profile.tokenizer),
            )
        return self._embedder

    async def new_config(self, known: Sequence[VectorSpace] = ()) -> CollectionConfig:
        """Return the configuration of a new collection; learns the length of the vectors where nobody knows it.

        ``known`` are the spaces of the library: where it has vectors of this model, of one length, nobody is asked.
        """
        embedder = await self.embedder()
        lengths = {space.dimensions for space in known if space.model == embedder.profile.model}
        if embedder.profile.dimensions is None and len(lengths) == 1:
            return self.config_for(embedder.profile, lengths.pop())
        if embedder.profile.dimensions is None:
            await embedder.embed(["How long are your vectors?"], kind="query")
        profile = embedder.profile
        assert profile.dimensions is not None, "learnt from the first reply"
        return self.config_for(profile, profile.dimensions)

    def config_for(self, profile: EmbedderProfile, dimensions: int) -> CollectionConfig:
        """Return the configuration of a new collection of this model and length of vectors."""
        return CollectionConfig(profile.model, dimensions, profile.tokenizer, self._chunking(profile))

    def price(self, model: str) -> Price | None:
        """Return what the tokens of an embedding model cost: by the settings, else by the table; None if unknown."""
        if model == LOCAL_MODEL:
            return FREE
        options, choice = self._settings.embeddings, self.choice("embeddings")
        if options.price_per_million is not None and choice.model in ("", model):
            return Price(options.price_per_million, options.price_currency, "embeddings.price_per_million")
        return None if choice.provider is None else known_price(choice.provider.name, model)

    def counts_exactly(self, profile: EmbedderProfile) -> bool:
        """Whether the tokens counted here are those that are paid for: OpenAI's vocabularies ship with this package."""
        provider = self.choice("embeddings").provider
        return profile.model == LOCAL_MODEL or (provider is not None and provider.name in ("openai", "azure"))

    def _chunking(self, profile: EmbedderProfile) -> ChunkingSettings:
        from ingest.chunking import default_settings  # late: asking needs no chunker

        wanted = self._settings.chunking
        usual = default_settings(profile)
        tokens = wanted.tokens or usual.tokens
        if tokens > profile.limits.max_input_tokens:
            raise ConfigError(
                f"chunking.tokens is {tokens}, but {profile.model} reads {profile.limits.max_input_tokens} at most; "
                "set it lower, so that nothing is cut off"
            )
        overlap = min(usual.overlap, tokens // 4) if wanted.overlap is None else wanted.overlap
        try:
            return ChunkingSettings(tokens=tokens, overlap=overlap)
        except ValueError as error:
            raise ConfigError(f"[chunking] {error}") from error

    # --- reading

    def walk_rules(self) -> WalkRules:
        """Return which files of a folder are read."""
        from ingest.sources import WalkRules  # late: asking needs no readers

        options = self._settings.ingest
        return WalkRules(include=options.include, exclude=options.exclude, max_bytes=options.max_file_mb * 1024 * 1024)

    def attribute_rules(self) -> PathRules:
        """Return the rules that read attributes off paths."""
        from ingest.attributes import PathRules  # late, as above

        return PathRules(self._settings.ingest.attributes)

    def reading_limits(self) -> ReadingLimits:
        """Return what reading one file may take."""
        from ingest.isolation import ReadingLimits  # late, likewise

        options = self._settings.ingest
        return ReadingLimits(timeout_s=options.parse_timeout_s, memory_mb=options.parse_memory_mb)

    async def media_readers(self) -> dict[MediaKind, MediaReader]:
        """Return who reads pages, pictures and speech; a kind that nobody reads is left out."""
        readers: dict[MediaKind, MediaReader] = {}
        if (page_reader := await self.page_reader()) is not None:
            readers["page"] = page_reader
        if self.choice("vision").kind == "endpoint":
            readers["picture"] = await self._vision_reader("picture")
        if (speech_reader := await self.speech_reader()) is not None:
            readers["speech"] = speech_reader
        return readers

    async def speech_reader(self) -> MediaReader | None:
        """Return who transcribes recordings; None where nobody does."""
        choice = self.choice("audio")
        if choice.kind != "endpoint":
            return None
        from api.speech import speech_reader  # late: asking needs no readers

        return speech_reader(self._settings.audio, choice, self.client(choice), model=await self.model(choice))

    async def page_reader(self) -> MediaReader | None:
        """Return who reads pages without text: Tesseract where it is, else a vision model that was named, or nobody."""
        options = self._settings.ocr
        if options.provider == "off":
            return None
        if options.provider != "vision" and (tesseract := await self._tesseract_reader()) is not None:
            return tesseract
        if options.provider == "tesseract":
            from rag.local.tesseract import INSTALL  # late, as below

            raise ConfigError(f"ocr.provider is 'tesseract', which is not on the PATH; {INSTALL}")
        if self.choice("vision").kind == "endpoint":
            return await self._vision_reader("page")
        if options.provider == "vision":
            raise ConfigError(
                f"ocr.provider is 'vision' and no model is named; set {environment_name('vision', 'model')}"
            )
        return None

    async def _tesseract_reader(self) -> MediaReader | None:
        from rag.local.tesseract import TesseractReader, find_tesseract  # late: asking needs no readers

        options = self._settings.ocr
        if self._tesseract is _NOT_LOOKED_FOR:
            self._tesseract = await asyncio.to_thread(find_tesseract)
        if self._tesseract is None:
            return None
        return TesseractReader(self._tesseract, languages=options.languages, timeout_s=options.timeout_s)

    async def _vision_reader(self, kind: VisionKind) -> MediaReader:
        from rag.gateway.vision import VisionReader  # late, likewise

        choice, options = self.choice("vision"), self._settings.vision
        assert choice.provider is not None
        assert choice.provider.vision is not None
        model = await self.model(choice)
        return VisionReader(
            ChatClient(self.client(choice)),
            kind,
            model=model,
            quirks=choice.provider.vision,
            endpoint=self.client(choice).endpoint.address,
            price=self._vision_price(choice.provider, model),
            instructions=options.instructions,
            detail=options.detail,
            max_tokens=options.max_tokens,
            concurrency=options.concurrency,
            max_concurrency=MAX_CONCURRENCY,
            patience_s=options.patience_s,
        )

    def _vision_price(self, provider: Provider, model: str) -> UsagePrice | None:
        options = self._settings.vision
        if options.input_per_million is None or options.output_per_million is None:
            return known_usage_price(provider.name, model)
        return UsagePrice(
            options.price_currency,
            "vision.input_per_million and vision.output_per_million",
            input_per_million=options.input_per_million,
            output_per_million=options.output_per_million,
        )

    def web_source(
        self, folder: Path, *, from_mirror: bool = False, public_only: bool = False, scratch: Path | None = None
    ) -> WebSource:
        """Return what fetches addresses into the mirror in ``folder``, or for a dry run into ``scratch``."""
        from ingest.web.mirror import Mirror  # late: few ingests are of the web
        from ingest.web.visit import WebSource

        mirror = Mirror(folder) if scratch is None else Mirror(scratch, behind=Mirror(folder))
        return WebSource(self._web_rules(public_only=public_only), mirror, from_mirror)

    def _web_rules(self, *, public_only: bool) -> WebRules:
        """Return which addresses are fetched, and how; ``public_only``: no private ones, whatever the settings say."""
        from ingest.web.addresses import networks
        from ingest.web.fetching import FetchLimits
        from ingest.web.visit import AGENT, WebRules

        options = self._settings.web
        contact = f" (+{options.contact})" if options.contact else ""
        return WebRules(
            private=() if public_only else networks(options.private_networks),
            hosts=options.hosts,
            limits=FetchLimits(
                max_bytes=options.max_page_mb * 1024 * 1024, total_s=options.timeout_s, max_retries=options.max_retries
            ),
            max_urls=options.max_urls,
            per_host=options.per_host,
            concurrency=options.concurrency,
            proxy=options.proxy,
            user_agent=f"{AGENT}/{version('footnote-rag')}{contact}",
        )

    # --- answers

    def tokenizer(self, name: str) -> Tokenizer:
        """Return a tokenizer by the name a collection remembers."""
        return named_tokenizer(name)

    def answer_tokenizer(self, config: CollectionConfig) -> Tokenizer:
        """Return the tokenizer that counts the prompt; without a chat model the collection's own, already at hand."""
        local = self.choice("chat").kind == "local"
        return named_tokenizer(config.tokenizer if local else CHAT_TOKENIZER)

    async def generator(self) -> Generator:
        """Return who writes answers; kept, for what it has learnt of its endpoint."""
        if self._generator is None:
            self._generator = await generator_of(self, self._settings)
        return self._generator

    def chat_price(self, model: str) -> UsagePrice | None:
        """Return what the tokens of a model that writes answers cost, by the table; None where that is not known."""
        choice = self.choice("chat")
        if choice.provider is None:
            return FREE_USAGE
        return known_usage_price(choice.provider.name, model)

    async def chat(self) -> tuple[ChatClient, str]:
        """Return the chat endpoint and the model to ask there. Raises ConfigError where none is set."""
        choice = self.choice("chat")
        if choice.kind == "local":
            raise ConfigError("this needs a chat model, and none is set; set OPENAI_API_KEY, or see `rag doctor`")
        return ChatClient(self.client(choice)), await self.model(choice)

    async def asking(self, wishes: QueryWishes | None = None) -> Asking | None:
        """Return how the queries of a question are written; None without a chat model, or where none are wanted.

        ``wishes`` are a question's own. Whoever knows the languages of the documents adds them.
        """
        options = replace(self._settings.query, **(wishes or {}))
        nothing_wanted = options.rewrite == options.hyde == options.translate == "off" and not options.alternatives
        if nothing_wanted or self.choice("chat").kind == "local":
            return None
        if self._query_writer is None:  # kept, for what it remembers
            client, model = await self.chat()
            self._query_writer = QueryWriter(
                client,
                model=options.model or model,
                tokenizer=named_tokenizer(CHAT_TOKENIZER),
                max_tokens=options.max_tokens,
                timeout_s=options.timeout_s,
            )
        return Asking(
            self._query_writer,
            options.rewrite,
            options.alternatives,
            hyde=options.hyde == "on",
            translate=options.translate == "auto",
        )

    async def moderator(self) -> Moderator | None:
        """Return who moderates; None when nobody does."""
        choice = self.choice("moderation")
        if choice.kind == "off":
            return None
        if choice.kind == "local":
            from rag.local.moderator import WordModerator  # late: rarely wanted

            return WordModerator()
        return EndpointModerator(self.client(choice), model=await self.model(choice))

    async def reranker(self) -> Reranker | None:
        """Return who puts the first hits in order; None when nobody does."""
        choice = self.choice("rerank")
        if choice.kind != "endpoint":
            return None
        client = self.client(choice)
        if self._settings.rerank.provider.lower() == "chat":
            return ChatReranker(ChatClient(client), model=choice.model or await self.model(self.choice("chat")))
        return EndpointReranker(client, model=await self.model(choice))

    def moderation_policy(self) -> ModerationPolicy:
        """Return what follows from a verdict."""
        options = self._settings.moderation
        off = self.choice("moderation").kind == "off"
        return ModerationPolicy(action="off" if off else options.action, when_unreachable=options.when_unreachable)


def _require_same_space(profile: EmbedderProfile, config: CollectionConfig) -> None:
    known = profile.dimensions is None or profile.dimensions == config.dimensions
    if profile.model != config.model or not known:
        setting = environment_name("embeddings", "model")
        raise IndexMismatchError(
            f"the collection holds vectors of {config.model} ({config.dimensions} dimensions), the settings name "
            f"{profile.model} ({profile.dimensions or 'unknown'} dimensions); set {setting} to the former, or "
            "run `rag ingest FOLDER --rebuild` to embed everything anew"
        )
