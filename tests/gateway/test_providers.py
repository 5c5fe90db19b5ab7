"""The provider table: every entry is whole, and found by name, alias and URL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rag.errors import ConfigError
from rag.gateway.providers import (
    GENERIC,
    PROVIDERS,
    embedder_profile,
    embedding_model,
    provider_for,
    provider_named,
)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_each_provider_is_found_by_its_names_and_its_url(provider):
    assert all(provider_named(name.upper()) is provider for name in (provider.name, *provider.aliases))
    if provider.hosts:
        host = provider.hosts[0]
        url = f"https://x{host}/v1" if host.startswith(".") else f"https://{host}/v1"
        assert provider_for(url) is provider


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda provider: provider.name)
def test_a_default_model_belongs_to_a_family_the_provider_has(provider):
    assert set(provider.default_models) <= provider.families
    assert ("embeddings" in provider.families) == bool(provider.embeddings)
    assert provider.key_env


def test_no_two_providers_share_a_name_or_a_host():
    names = [name for provider in PROVIDERS.values() for name in (provider.name, *provider.aliases)]
    hosts = [host for provider in PROVIDERS.values() for host in provider.hosts]
    assert len(names) == len(set(names))
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.deepseek.com/beta", "deepseek"),
        ("https://my.openai.azure.com/openai/v1", "azure"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://localhost:9999/v1", "openai-compatible"),
        ("https://evil-api.openai.com.example.org/v1", "openai-compatible"),
        ("", "openai-compatible"),
    ],
)
def test_a_url_is_judged_by_its_host(url, name):
    assert provider_for(url).name == name


def test_an_unknown_provider_is_an_error_that_lists_the_known():
    with pytest.raises(ConfigError, match=r"'acme' is not known.*deepseek"):
        provider_named("acme")


def test_the_longest_prefix_describes_an_embedding_model():
    qwen = provider_named("qwen")
    assert embedding_model(qwen, "text-embedding-v4").limits.max_inputs == 10
    assert embedding_model(qwen, "text-embedding-v2").limits.max_input_tokens == 1843  # nine tenths of 2,048
    assert embedding_model(qwen, "something-new").dimensions is None


def test_a_profile_takes_fewer_dimensions_only_where_the_model_can():
    assert embedder_profile(provider_named("openai"), "text-embedding-3-large", dimensions=256).dimensions == 256
    assert embedder_profile(GENERIC, "anything").dimensions is None
    with pytest.raises(ConfigError, match="cannot make vectors of 256"):
        embedder_profile(provider_named("openai"), "text-embedding-ada-002", dimensions=256)


def test_importing_the_table_loads_no_http_client():
    code = "import sys, rag.gateway.providers; print([m for m in ('httpx2', 'tiktoken', 'orjson') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
