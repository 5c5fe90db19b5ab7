"""Footnote as one object: a library of collections and the models that serve them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Unpack

from api.answering import answer_options, answer_settings
from api.ask_options import AskOptions, QueryWishes
from api.conversing import Threads
from api.document_dates import dates_of
from api.filling import FillingShelf
from api.observing import Observing, RecordKeeper
from api.recording import Recorded
from api.sources import answer_as_page, linked
from api.verifying import verifier_of
from index.collection import Collection
from index.many import ManyDocuments, ManyRetriever, OnceEmbedder
from index.picking import Picking
from index.retriever import VECTOR_WEIGHT, HybridRetriever
from index.vector_store import VectorSpace
from rag.answering.answer import Answerer
from rag.answering.asking import Asking
from rag.answering.numbering import Numbering
from rag.answering.reranked import RerankedRetriever
from rag.contracts import DocumentStore, Embedder, Retriever
from rag.errors import ConfigError, DocumentNotFoundError, IndexMismatchError
from rag.filter_text import FilterLike, as_filter
from rag.filters import Filter, all_of
from rag.local.embedder import LocalEmbedder
from rag.settings import Settings
from rag.types import Answer, AnswerEvent, Hit, Retrieval

__all__ = ["Footnote"]


class Footnote(FillingShelf):
    """What the command, the service, scripts and notebooks hold. Made by ``Footnote.open``; close it with ``aclose``.

    Collections are named; None is ``settings.collection``. All methods may be used at the same time from one event
    loop. Errors are RagErrors.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.records = Recorded(settings)
        """what was observed of answers, where ``observe.records`` is on, and what people said of them"""
        keepers = [RecordKeeper(self.records, settings.observe)] if settings.observe.records == "on" else []
        self.observing = Observing(keepers, price=self.wiring.chat_price)
        self.threads = Threads(settings.library, searched=self._searched, writes=self._written)
        """the stored conversations"""

    async def aclose(self) -> None:
        """Close connections, models and collections."""
        self.threads.close()
        self.records.close()
        await super().aclose()

    def seen_by(self, labels: Iterable[str]) -> Footnote:
        """Return this Footnote as somebody with these access labels sees it: to ask, search and read, no more.

        What the labels do not open is not there. Raises ConfigError for a label that cannot be one.
        """
        from api.seen import SeenFootnote  # late: it is a kind of this class

        return SeenFootnote(self, labels)

    async def search(
        self,
        query: str,
        *,
        collection: str | None = None,
        collections: Sequence[str] = (),
        k: int | None = None,
        filter: FilterLike | None = None,
        min_score: float | None = None,
    ) -> Retrieval:
        """Return the passages that bear on a query, best first; of the documents that match ``filter``.

        Those of a relevance below ``min_score`` are left out before the best ``k`` are taken. Of several collections
        they are the best of all, named ``manuals/guide.md``. A filter is a text, JSON values in OpenAI's shape, or a
        ``rag.filters.Filter``. Raises FilterError.
        """
        picking = self._picking(min_score)
        retriever = await self._retriever(self._searched(collection, collections), self._filter(filter), picking)
        return await retriever.retrieve(query, k=k or self.settings.retrieval.k)

    def places(
        self, hits: Sequence[Hit], *, collection: str | None = None, collections: Sequence[str] = ()
    ) -> list[str]:
        """Return in words where each hit begins, as citations do; "" where its document is gone meanwhile."""
        opened = _documents(self._searched(collection, collections))
        places = []
        for hit in hits:
            try:
                places.append(opened.place_at(hit.chunk.document_id, hit.chunk.start))
            except DocumentNotFoundError:
                places.append("")
        return places

    def page(self, answer: Answer, *, collection: str | None = None, collections: Sequence[str] = ()) -> str:
        """Return an answer as one HTML page that can be kept: with what it cites, marked in the text around it.

        Name the collections that were asked. Markers lead to the quotes, and where ``server.address`` says where a
        service is, these to its pages. In a notebook an answer shows itself.
        """
        opened = _documents(self._searched(collection, collections))
        return answer_as_page(answer, opened, address=self.settings.server.address)

    async def stream(self, question: str, **options: Unpack[AskOptions]) -> AsyncGenerator[AnswerEvent]:
        """Yield an answer as it is written: Retrieved first, the whole Answer last. Closing it stops the model."""
        thread = options.get("thread")
        events = self._written(question, options) if thread is None else self.threads.stream(thread, question, options)
        if self.observing.watchers:
            named = options.get("collections") or (options.get("collection") or self.settings.collection,)
            events = self.observing.watched(events, question, options, collections=named)
        async with aclosing(events):
            async for event in events:
                yield event

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Return a finished answer; ``answered`` is False when the documents do not say."""
        async with aclosing(self.stream(question, **options)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise AssertionError("a stream ends with its answer")

    # --- how

    async def _written(
        self, question: str, options: AskOptions, *, numbering: Numbering | None = None
    ) -> AsyncGenerator[AnswerEvent]:
        answerer = await self._answerer(options)
        searched = self._searched(options.get("collection"), options.get("collections", ()))
        names = [collection.name for collection in searched]
        events = answerer.stream(question, history=options.get("history", ()), k=options.get("k"), numbering=numbering)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Answer) and "answer_id" in options:
                    event = replace(event, id=options["answer_id"])
                yield linked(event, names)

    def _searched(self, name: str | None, names: Sequence[str]) -> list[Collection]:
        """Return the collections to search, each once. Raises CollectionNotFoundError, which names the missing one."""
        if name is not None and names:
            raise ConfigError("name one collection or several, not both")
        return [self.collection(one) for one in dict.fromkeys(names or [name or self.settings.collection])]

    def _filter(self, given: FilterLike | None) -> Filter | None:
        """Return a caller's filter together with the one that the settings demand of every question."""
        usual = self.settings.retrieval.filter
        return all_of(*(None if written is None else as_filter(written) for written in (usual or None, given)))

    def _picking(self, min_score: float | None) -> Picking:
        """Return how hits are picked, where the caller may say how relevant they must be. Raises ConfigError."""
        options = self.settings.retrieval
        least = options.min_score if min_score is None else min_score
        if not 0 <= least <= 1:
            raise ConfigError(f"min_score must be a number from 0 to 1, got {least}")
        return Picking(least, options.fold_duplicates == "on", options.diversity)

    async def _retriever(
        self, collections: Sequence[Collection], filter_: Filter | None, picking: Picking
    ) -> Retriever:
        weight = self.settings.retrieval.vector_weight
        weight = VECTOR_WEIGHT if weight is None else weight
        embedders: dict[VectorSpace, Embedder] = {}
        for collection in collections if len(collections) > 1 else ():
            try:
                embedder = await self.wiring.embedder(collection.config)
            except IndexMismatchError as error:
                raise IndexMismatchError(f"collection {collection.name!r}: {error}") from error
            embedders.setdefault(collection.space, OnceEmbedder(embedder))
        hybrids = await asyncio.gather(
            *(self._hybrid(one, weight, embedders.get(one.space), filter_, picking) for one in collections)
        )
        retriever: Retriever = hybrids[0]
        if len(collections) > 1:
            retriever = ManyRetriever(collections, hybrids, vector_weight=weight, picking=picking)
        reranker = await self.wiring.reranker()
        if reranker is None:
            return retriever
        options = self.settings.rerank
        return RerankedRetriever(
            retriever,
            reranker,
            candidates=options.candidates,
            max_tokens=options.max_tokens,
            timeout_s=options.timeout_s,
        )

    async def _hybrid(
        self,
        collection: Collection,
        weight: float,
        shared: Embedder | None,
        filter_: Filter | None,
        picking: Picking,
    ) -> HybridRetriever:
        """Return what searches one collection; ``shared`` embeds the question for all that have its model."""
        embedder = await self.wiring.embedder(collection.config)
        loading = [asyncio.to_thread(collection.refresh)]
        if isinstance(embedder, LocalEmbedder):
            loading.append(asyncio.to_thread(embedder.load))
        # Side by side: a cold question waits for the slowest of these, not for their sum. Later they are no work.
        tokenizer, *_ = await asyncio.gather(
            asyncio.to_thread(self.wiring.tokenizer, collection.config.tokenizer), *loading
        )
        return HybridRetriever(
            collection,
            shared or embedder,
            tokenizer=tokenizer,
            vector_weight=weight,
            filter_=filter_,
            picking=picking,
        )

    async def _asking(self, collections: Sequence[Collection], wishes: QueryWishes | None) -> Asking | None:
        asking = await self.wiring.asking(wishes)
        if asking is None or not asking.translate:
            return asking
        languages = await asyncio.gather(*(asyncio.to_thread(collection.language) for collection in collections))
        return replace(asking, languages=tuple(dict.fromkeys(filter(None, languages))))

    async def _answerer(self, asked: AskOptions) -> Answerer:
        collections = self._searched(asked.get("collection"), asked.get("collections", ()))
        picking = self._picking(asked.get("min_score"))
        own = collections[0].own_settings() if len(collections) == 1 else {}  # those of several may not agree
        filter_ = self._filter(asked.get("filter"))
        documents = _documents(collections)
        tokenizer = self.wiring.answer_tokenizer(collections[0].config)
        answerer = Answerer(
            await self._retriever(collections, filter_, picking),
            await self.wiring.generator(),
            documents=documents,
            tokenizer=tokenizer,
            moderator=await self.wiring.moderator(),
            policy=self.wiring.moderation_policy(),
            asking=await self._asking(collections, asked.get("query")),
            dates_of=partial(dates_of, collections),
            verifier=await verifier_of(self.wiring, answer_options(self.settings, own)),
            settings=replace(answer_settings(self.settings, own, asked), relevance_floor=picking.min_score),
        )
        if not asked.get("agent"):
            if asked.get("tools"):
                raise ConfigError("tools are called by an agent only; say agent=True with them")
            return answerer

        async def search(query: str, k: int, allowed: Filter | None) -> Retrieval:
            return await (await self._retriever(collections, allowed, picking)).retrieve(query, k=k)

        return await self._agency.agent(
            answerer,
            asked,
            collections=collections,
            documents=documents,
            tokenizer=tokenizer,
            search=search,
            filter_=filter_,
        )


def _documents(collections: Sequence[Collection]) -> DocumentStore:
    return collections[0] if len(collections) == 1 else ManyDocuments(collections)
