from pathlib import Path

import pytest

from rag.errors import ConfigError
from rag.settings import Settings, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "rag.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings({}) == Settings()


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[retrieval]\nk = 3\n[chat]\nmodel = 'of the file'\n[answer]\nseed = 7\n")
    environ = {"RAG_RETRIEVAL_K": "4", "RAG_CHAT_MODEL": "of the environment"}
    settings = load_settings(environ, file=file, overrides={"retrieval.k": 5})
    assert (settings.retrieval.k, settings.chat.model, settings.answer.seed) == (5, "of the environment", 7)


def test_an_unset_flag_and_an_empty_variable_override_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "[retrieval]\nk = 3\n")
    assert load_settings({"RAG_RETRIEVAL_K": ""}, file=file, overrides={"retrieval.k": None}).retrieval.k == 3


def test_a_library_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "library = 'books'\n")
    assert load_settings({}, file=file).library == tmp_path / "books"
    assert load_settings({"RAG_LIBRARY": "here"}, file=file).library == Path("here")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RAG_RETRIEVAL_K": "many"}, "RAG_RETRIEVAL_K must be a whole number, got 'many'"),
        ({"RAG_RETRIEVAL_K": "0"}, "k must be a whole number from 1 to 1000, got 0"),
        ({"RAG_RETRIEVAL_VECTOR_WEIGHT": "1.5"}, "vector_weight must be a number from 0 to 1"),
        ({"RAG_MODERATION_ACTION": "warn"}, "must be 'block' or 'flag', got 'warn'"),
        ({"RAG_CHAT_BASE_URL": "api.deepseek.com"}, "base_url must begin with http:// or https://"),
        ({"RAG_EMBEDDINGS_DIMENSIONS": "0"}, r"\[embeddings\] dimensions must be a whole number from 1"),
        ({"RAG_CONFIG": "nowhere.toml"}, "'nowhere.toml' does not exist"),
    ],
)
def test_a_wrong_value_is_named_with_the_wanted_form(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(environ)


def test_a_misspelt_setting_is_refused_with_the_likely_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'chat.modle' in .*did you mean 'chat.model'"):
        load_settings({}, file=write(tmp_path, "[chat]\nmodle = 'x'\n"))


def test_broken_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 1"):
        load_settings({}, file=write(tmp_path, "[chat\n"))


def test_a_number_in_the_file_must_be_a_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"retrieval.k must be a whole number, got 2.5"):
        load_settings({}, file=write(tmp_path, "[retrieval]\nk = 2.5\n"))


def test_keys_are_never_shown() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-1",
        "RAG_CHAT_API_KEY": "sk-2",
        "DEEPSEEK_API_KEY": "sk-3",
        "RAG_SERVER_API_KEY": "sk-4",
    }
    assert "sk-" not in repr(load_settings(environ))
