"""Which model serves which family, and why: settings and the provider table in, a choice out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from rag.errors import ConfigError
from rag.gateway.providers import GENERIC, Provider, provider_for, provider_named
from rag.settings import ModelOptions, Settings, environment_name

__all__ = ["FAMILIES", "WHEN_NAMED", "Choice", "Family", "choose"]

Family = Literal["chat", "embeddings", "moderation", "rerank"]
FAMILIES: tuple[Family, ...] = ("chat", "embeddings", "moderation", "rerank")

_WIRE_NAME: Mapping[Family, str] = {
    "chat": "chat",
    "embeddings": "embeddings",
    "moderation": "moderations",
    "rerank": "rerank",
}
_MAY_BE_OFF: frozenset[Family] = frozenset({"moderation", "rerank"})
WHEN_NAMED: frozenset[Family] = frozenset({"rerank"})
"""Families that nobody serves unless the user names who: they cost money that no answer needs."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who serves a family.

    ``kind`` is "endpoint", "local" (the embedded model) or "off". ``model`` is "" where the endpoint must be asked what
    it serves. ``reason`` says in words why this was chosen; ``explicit`` whether the user named it.
    """

    family: Family
    kind: Literal["endpoint", "local", "off"]
    reason: str
    explicit: bool
    provider: Provider | None = None
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    model: str = ""


def choose(settings: Settings, family: Family) -> Choice:
    """Return who serves a family. Raises ConfigError when the named provider lacks the family, a key or an address."""
    options: ModelOptions = getattr(settings, family)
    name = options.provider.lower()
    if name == "local" and family not in WHEN_NAMED:
        return Choice(family, "local", f"{family}.provider is 'local'", explicit=True)
    if name == "off":
        if family not in _MAY_BE_OFF:
            raise ConfigError(
                f"{family}.provider cannot be 'off'; leave it out, or name 'local' for the embedded model"
            )
        return Choice(family, "off", f"{family}.provider is 'off'", explicit=True)
    if name == "chat" and family == "rerank":
        return _by_chat(settings, options)
    if name or options.base_url:
        return _named(settings, family, options)
    if family in WHEN_NAMED:
        return Choice(family, "off", f"no {family}.provider is named", explicit=False)
    if settings.shared.is_set:
        return _shared(settings, family, options)
    return _fallback(family, "no key and no endpoint is set")


def _named(settings: Settings, family: Family, options: ModelOptions) -> Choice:
    provider = provider_named(options.provider) if options.provider else provider_for(options.base_url)
    if _WIRE_NAME[family] not in provider.families:
        raise ConfigError(
            f"{provider.title} serves no {_WIRE_NAME[family]}; set {environment_name(family, 'provider')} to another "
            f"provider, or to {'off' if family in _MAY_BE_OFF else 'local'}"
        )
    base_url = options.base_url or _address(settings, provider)
    if not base_url:
        raise ConfigError(
            f"{provider.title} has an address of its own for every account; set {environment_name(family, 'base_url')}"
        )
    key = options.api_key or _key(settings, provider, base_url)
    if provider.needs_key and not key:
        raise ConfigError(
            f"{provider.title} needs a key for {family} and none is set; "
            f"set {provider.key_env[0]} or {environment_name(family, 'api_key')}"
        )
    model = options.model or provider.default_models.get(_WIRE_NAME[family], "")
    setting = "provider" if options.provider else "base_url"
    reason = f"{family}.{setting} names {provider.title}"
    return Choice(family, "endpoint", reason, True, provider, base_url, key, model)


def _by_chat(settings: Settings, options: ModelOptions) -> Choice:
    """Return the chat endpoint as the one that reranks."""
    chat = choose(settings, "chat")
    if chat.kind != "endpoint":
        raise ConfigError("rerank.provider is 'chat', and no chat endpoint is set; set one, or name another provider")
    reason = f"rerank.provider is 'chat': {chat.reason}"
    return replace(chat, family="rerank", explicit=True, reason=reason, model=options.model or chat.model)


def _shared(settings: Settings, family: Family, options: ModelOptions) -> Choice:
    base_url = settings.shared.base_url or provider_named("openai").base_url
    provider = provider_for(base_url)
    variable = "OPENAI_BASE_URL" if settings.shared.base_url else "OPENAI_API_KEY"
    if _WIRE_NAME[family] not in provider.families:
        return _fallback(family, f"{provider.title} ({variable}) serves no {_WIRE_NAME[family]}")
    if family == "moderation" and provider is GENERIC:
        return _fallback(family, f"the endpoint in {variable} is not known to moderate")
    key = options.api_key or _key(settings, provider, base_url)
    if provider.needs_key and not key:
        raise ConfigError(f"OPENAI_BASE_URL names {provider.title}, which needs a key; set {provider.key_env[0]}")
    model = options.model or provider.default_models.get(_WIRE_NAME[family], "")
    return Choice(family, "endpoint", f"{variable} is set", False, provider, base_url, key, model)


def _fallback(family: Family, why: str) -> Choice:
    if family == "moderation":
        return Choice(family, "off", why, explicit=False)
    return Choice(family, "local", why, explicit=False)


def _address(settings: Settings, provider: Provider) -> str:
    shared = settings.shared.base_url
    return shared if shared and provider_for(shared) is provider else provider.base_url


def _key(settings: Settings, provider: Provider, base_url: str) -> str:
    """Return the key meant for this address: the shared one only where the shared address, or none, leads there."""
    shared = settings.shared
    if shared.api_key and base_url == (shared.base_url or provider_named("openai").base_url):
        return shared.api_key
    names = [name for name in provider.key_env if name != "OPENAI_API_KEY"]
    found = (settings.provider_keys.get(name, "") for name in names)
    return next((key for key in found if key), "")
