import pytest

from api.choice import choose
from rag.errors import ConfigError
from rag.settings import load_settings


def test_without_a_key_the_embedded_models_serve_and_nothing_is_moderated() -> None:
    settings = load_settings({})
    assert [choose(settings, family).kind for family in ("chat", "embeddings", "moderation")] == [
        "local",
        "local",
        "off",
    ]


def test_an_openai_key_serves_every_family() -> None:
    settings = load_settings({"OPENAI_API_KEY": "k"})
    for family in ("chat", "embeddings", "moderation"):
        choice = choose(settings, family)
        assert (choice.kind, choice.base_url, choice.api_key) == ("endpoint", "https://api.openai.com/v1", "k")
        assert choice.model


def test_deepseek_for_chat_leaves_embeddings_to_the_embedded_model() -> None:
    settings = load_settings({"OPENAI_BASE_URL": "https://api.deepseek.com", "OPENAI_API_KEY": "k"})
    assert choose(settings, "chat").kind == "endpoint"
    assert choose(settings, "embeddings").kind == "local"
    assert "serves no embeddings" in choose(settings, "embeddings").reason
    assert choose(settings, "moderation").kind == "off"


def test_each_family_can_have_its_own_provider_and_key() -> None:
    environ = {
        "RAG_CHAT_PROVIDER": "deepseek",
        "DEEPSEEK_API_KEY": "d",
        "RAG_EMBEDDINGS_PROVIDER": "qwen",
        "DASHSCOPE_API_KEY": "q",
        "RAG_MODERATION_PROVIDER": "openai",
        "OPENAI_API_KEY": "o",
    }
    settings = load_settings(environ)
    chosen = {family: choose(settings, family) for family in ("chat", "embeddings", "moderation")}
    assert {family: choice.api_key for family, choice in chosen.items()} == {
        "chat": "d",
        "embeddings": "q",
        "moderation": "o",
    }


def test_the_shared_key_goes_to_the_shared_address_only() -> None:
    settings = load_settings({"OPENAI_API_KEY": "secret", "RAG_CHAT_BASE_URL": "http://other.example/v1"})
    assert choose(settings, "chat").api_key == ""


def test_a_provider_that_needs_a_key_and_has_none_is_named_with_the_variable() -> None:
    with pytest.raises(ConfigError, match="set DEEPSEEK_API_KEY or RAG_CHAT_API_KEY"):
        choose(load_settings({"RAG_CHAT_PROVIDER": "deepseek"}), "chat")


def test_a_provider_without_the_family_is_refused_when_it_was_named() -> None:
    settings = load_settings({"RAG_EMBEDDINGS_PROVIDER": "kimi", "MOONSHOT_API_KEY": "k"})
    with pytest.raises(ConfigError, match="serves no embeddings; set RAG_EMBEDDINGS_PROVIDER"):
        choose(settings, "embeddings")


def test_an_unknown_endpoint_serves_chat_and_embeddings_but_is_not_asked_to_moderate() -> None:
    settings = load_settings({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert [choose(settings, family).kind for family in ("chat", "embeddings", "moderation")] == [
        "endpoint",
        "endpoint",
        "off",
    ]
    assert choose(settings, "chat").model == ""


def test_azure_needs_its_own_address() -> None:
    with pytest.raises(ConfigError, match="set RAG_CHAT_BASE_URL"):
        choose(load_settings({"RAG_CHAT_PROVIDER": "azure", "AZURE_OPENAI_API_KEY": "k"}), "chat")


def test_only_moderation_can_be_off() -> None:
    assert choose(load_settings({"RAG_MODERATION_PROVIDER": "off", "OPENAI_API_KEY": "k"}), "moderation").kind == "off"
    with pytest.raises(ConfigError, match="cannot be 'off'"):
        choose(load_settings({"RAG_CHAT_PROVIDER": "off"}), "chat")
