"""Who writes answers: the chat model or the embedded answerer, and who does while the chat model is down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from api.choice import Choice, choose
from rag.answering.chat_generator import ChatGenerator
from rag.answering.fallback import FallbackGenerator
from rag.contracts import Generator
from rag.errors import ConfigError
from rag.gateway.chat import ChatClient
from rag.gateway.responses import ResponsesClient
from rag.settings import ChatOptions, Settings

if TYPE_CHECKING:
    from api.wiring import Wiring

__all__ = ["fallback_choice", "generator_of"]


def fallback_choice(settings: Settings) -> Choice | None:
    """Return who is asked while the chat model is down; None where no setting names anybody. Raises ConfigError.

    What ``chat.fallback_*`` leaves out of an address is the first one's: another model of the same endpoint is named by
    ``fallback_model`` alone.
    """
    chat = settings.chat
    if not (chat.fallback_provider or chat.fallback_base_url or chat.fallback_model):
        return None
    elsewhere = chat.fallback_provider or chat.fallback_base_url
    options = ChatOptions(
        provider=chat.fallback_provider if elsewhere else chat.provider,
        base_url=chat.fallback_base_url if elsewhere else chat.base_url,
        api_key=chat.fallback_api_key or ("" if elsewhere else chat.api_key),
        model=chat.fallback_model,
    )
    try:
        return choose(replace(settings, chat=options), "chat")
    except ConfigError as error:
        raise ConfigError(f"[chat] fallback_provider, fallback_base_url, fallback_api_key: {error}") from error


async def generator_of(wiring: Wiring, settings: Settings) -> Generator:
    """Return who writes answers. Raises ConfigError."""
    first = await _writer(wiring, wiring.choice("chat"), settings.chat.api)
    fallback = fallback_choice(settings)
    return first if fallback is None else FallbackGenerator(first, await _writer(wiring, fallback))


async def _writer(wiring: Wiring, choice: Choice, api: str = "chat") -> Generator:
    if choice.kind == "local":
        from rag.local.extractive import ExtractiveGenerator  # late: not needed where a chat model writes

        return ExtractiveGenerator(wiring.local_embedder())
    client = wiring.client(choice)
    if api == "chat":
        return ChatGenerator(ChatClient(client), model=await wiring.model(choice))
    provider = client.endpoint.provider
    if "responses" not in provider.families:
        raise ConfigError(f"{provider.title} has no Responses API; set chat.api to 'chat', or chat.provider to another")
    return ChatGenerator(ResponsesClient(client), model=await wiring.model(choice))
