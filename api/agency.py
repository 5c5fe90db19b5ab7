"""Builds an agent: a model that calls tools over the collections of a question, within the budget of the settings."""

from __future__ import annotations

from collections.abc import Sequence

from api.ask_options import AskOptions
from api.corpus import CollectionsCorpus, Search
from api.wiring import Wiring
from index.collection import Collection
from rag.answering.agent.answering import AgentAnswerer
from rag.answering.agent.budget import AgentLimits, Budget
from rag.answering.agent.looking import GrepTool, ListTool
from rag.answering.agent.loop import AgentLoop, Notify
from rag.answering.agent.model import ChatToolModel
from rag.answering.agent.searching import ReadTool, SearchTool
from rag.answering.answer import Answerer
from rag.contracts import DocumentStore, Tokenizer
from rag.errors import ConfigError
from rag.filters import Filter
from rag.settings import Settings

__all__ = ["Agency"]


class Agency:
    """Makes an agent of an answerer. Remembers which models were found to take no tools, and why."""

    def __init__(self, settings: Settings, wiring: Wiring) -> None:
        self._settings = settings
        self._wiring = wiring
        self._refused: dict[tuple[str, str], str] = {}

    async def agent(
        self,
        answerer: Answerer,
        asked: AskOptions,
        *,
        collections: Sequence[Collection],
        documents: DocumentStore,
        tokenizer: Tokenizer,
        search: Search,
        filter_: Filter | None,
    ) -> Answerer:
        """Return what answers one question with tools; where nobody can call any, as ``answerer`` and with a note."""
        choice = self._wiring.choice("chat")
        if choice.kind == "local" or choice.provider is None:
            return AgentAnswerer(answerer, None, why_not="the embedded answerer calls no tools; set a chat model")
        if not choice.provider.chat.tools:
            return AgentAnswerer(answerer, None, why_not=f"{choice.provider.title} takes no tools")
        client, model = await self._wiring.chat()
        key = (choice.base_url, model)
        if (known := self._refused.get(key)) is not None:
            return AgentAnswerer(answerer, None, why_not=known)
        options = self._settings.agent
        limits = AgentLimits(
            max_steps=options.max_steps,
            max_tokens=options.max_tokens,
            timeout_s=options.timeout_s,
            max_tool_tokens=options.max_tool_tokens,
        )
        corpus = CollectionsCorpus(collections, search=search, filter_=filter_)
        tools = (
            SearchTool(corpus, documents, tokenizer, k=asked.get("k") or self._settings.retrieval.k),
            ReadTool(corpus, tokenizer),
            GrepTool(corpus, tokenizer),
            ListTool(corpus, tokenizer),
        )
        own = tuple(asked.get("tools", ()))
        names = [*(tool.name for tool in tools), *(tool.name for tool in own)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"there are two tools {twice[0]!r}; give yours another name")

        def new_loop(notify: Notify) -> AgentLoop:
            return AgentLoop(
                ChatToolModel(client, model=model), tools, Budget(limits), tokenizer=tokenizer, own=own, notify=notify
            )

        def refused(why: str) -> None:
            self._refused[key] = why

        return AgentAnswerer(answerer, new_loop, refused=refused)
