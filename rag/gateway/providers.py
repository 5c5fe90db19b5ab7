"""What each provider of the OpenAI protocol has, takes and lacks: data, and three ways to look it up.

A provider that is not listed here works as ``openai-compatible``: every family is assumed, nothing is changed. Model
names age fast, so defaults are few and carry the day they were checked (``CHECKED``); every one of them is a setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from rag.errors import ConfigError
from rag.gateway.chat_quirks import LACKS_OPENAI_EXTRAS, ChatQuirks
from rag.types import EmbedderProfile, EmbeddingLimits

__all__ = [
    "CHECKED",
    "GENERIC",
    "PROVIDERS",
    "ChatQuirks",
    "EmbeddingModel",
    "Provider",
    "SpeechModel",
    "VisionQuirks",
    "embedder_profile",
    "embedding_model",
    "provider_for",
    "provider_named",
    "speech_model",
]

CHECKED = "2026-11-22"
"""The day the model names and limits below were last compared with the providers' pages."""

OPENAI_LIMITS = EmbeddingLimits()


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """What is known of the embedding models whose name starts with ``prefix``.

    ``dimensions`` is the length of a vector when none is asked for (None: learnt from the first reply).
    ``tokenizer`` counts for this model: exact for OpenAI's models, an estimate for the others.
    ``sends_base64`` and ``takes_dimensions`` say which request parameters are understood.
    """

    prefix: str
    limits: EmbeddingLimits = OPENAI_LIMITS
    dimensions: int | None = None
    tokenizer: str = "cl100k_base"
    takes_dimensions: bool = False
    sends_base64: bool = False


@dataclass(frozen=True, slots=True)
class VisionQuirks:
    """How a provider takes pictures in chat completions, for all its models that take any.

    ``max_bytes`` is the largest picture, before it becomes base64. ``detail`` tells whether the field of that name is
    known. A picture counts as ``tokens_per_patch`` for each ``patch`` x ``patch`` pixels, ``max_tokens`` at most; the
    models of one provider differ, so this is what the dearer ones count, and an estimate.
    """

    max_bytes: int = 5_000_000
    detail: bool = False
    patch: int = 28
    tokens_per_patch: float = 1.0
    max_tokens: int = 2560

    def n_tokens(self, width: int, height: int) -> int:
        """Return about how many tokens a picture counts as.

        >>> VisionQuirks(patch=32, tokens_per_patch=1.5).n_tokens(640, 320)
        300
        """
        n_patches = math.ceil(width / self.patch) * math.ceil(height / self.patch)
        return min(self.max_tokens, math.ceil(n_patches * self.tokens_per_patch))


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """What is known of the speech models that have ``within`` in their names, in lower case.

    ``reply_format`` is the one that tells most: "verbose_json" has times, "diarized_json" speakers too, "json" neither.
    ``max_bytes`` and ``max_seconds`` are the longest recording; ``media_types`` what it may be, the best first.
    """

    within: str = ""
    reply_format: Literal["json", "verbose_json", "diarized_json"] = "json"
    max_bytes: int = 25_000_000
    max_seconds: float = math.inf
    media_types: tuple[str, ...] = (
        "audio/flac",
        "audio/wav",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/webm",
    )

    @property
    def has_times(self) -> bool:
        return self.reply_format != "json"


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. ``base_url`` is "" where each account has its own; ``hosts`` starting with "." are suffixes.

    ``key_env`` names the environment variables that may hold the key, the first found wins. ``auth`` is the header
    that carries it. ``families`` is what the provider serves under ``base_url``. ``vision`` is None where no model
    takes pictures. Of ``speech`` the first that fits a model's name counts.
    """

    name: str
    title: str
    base_url: str
    hosts: tuple[str, ...]
    families: frozenset[str]
    key_env: tuple[str, ...]
    docs: str
    aliases: tuple[str, ...] = ()
    needs_key: bool = True
    auth: Literal["bearer", "api-key"] = "bearer"
    default_models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    embeddings: tuple[EmbeddingModel, ...] = ()
    chat: ChatQuirks = field(default_factory=ChatQuirks)
    vision: VisionQuirks | None = VisionQuirks()
    speech: tuple[SpeechModel, ...] = ()


def _models(**families: str) -> Mapping[str, str]:
    return MappingProxyType(families)


def _limits(max_inputs: int, max_input_tokens: int, max_request_tokens: int | None = None) -> EmbeddingLimits:
    """Return the documented limits less a tenth of the tokens: they are counted here with another vocabulary.

    A request holds as much as its inputs may, where no other sum is documented.
    """
    total = max_inputs * max_input_tokens if max_request_tokens is None else max_request_tokens
    return EmbeddingLimits(
        max_inputs=max_inputs,
        max_input_tokens=max_input_tokens * 9 // 10,
        max_request_tokens=min(total, 300_000) * 9 // 10,
    )


_ALL_FAMILIES = frozenset(
    {
        "audio",
        "batches",
        "chat",
        "embeddings",
        "files",
        "fine_tuning",
        "images",
        "models",
        "moderations",
        "realtime",
        "responses",
    }
)

# OpenAI: 2,048 inputs, 8,191 tokens each, 300,000 a request. https://developers.openai.com/api/reference/embeddings
_OPENAI_EMBEDDINGS = (
    EmbeddingModel("text-embedding-3-small", dimensions=1536, takes_dimensions=True, sends_base64=True),
    EmbeddingModel("text-embedding-3-large", dimensions=3072, takes_dimensions=True, sends_base64=True),
    EmbeddingModel("text-embedding-ada-002", dimensions=1536, sends_base64=True),
)
_OPENAI_CHAT = ChatQuirks(
    user_field="safety_identifier",
    max_tokens_field="max_completion_tokens",  # max_tokens is deprecated, and an error with reasoning models
    fixed_sampling_prefixes=("o1", "o3", "o4"),
    developer_role=True,
)
# Patches of 32 x 32 pixels, 1,536 of them at most, times 1.2 to 1.62 by model; the older tiles count less.
# https://developers.openai.com/api/docs/guides/images-vision
_OPENAI_VISION = VisionQuirks(max_bytes=20_000_000, detail=True, patch=32, tokens_per_patch=1.62, max_tokens=2489)
# 25 MB for all; GPT-4o's models take no recording of more than 1,400 seconds and, like gpt-transcribe, tell no times.
# https://developers.openai.com/api/docs/guides/speech-to-text
_OPENAI_SPEECH = (
    SpeechModel("diarize", "diarized_json", max_seconds=1_400.0),
    SpeechModel("whisper", "verbose_json"),
    SpeechModel("", max_seconds=1_400.0),
)
_OPENAI = Provider(
    name="openai",
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    hosts=("api.openai.com", "us.api.openai.com", "eu.api.openai.com"),
    families=_ALL_FAMILIES,
    key_env=("OPENAI_API_KEY",),
    docs="https://developers.openai.com/api/docs",
    default_models=_models(
        chat="gpt-5.4-mini",
        embeddings="text-embedding-3-small",
        moderations="omni-moderation-latest",
        audio="whisper-1",  # until 2027-02-26; its successors tell no times yet, and a citation needs them
    ),
    embeddings=_OPENAI_EMBEDDINGS,
    chat=_OPENAI_CHAT,
    vision=_OPENAI_VISION,
    speech=_OPENAI_SPEECH,
)
# A model's name is the name of the deployment, so nothing can be known from it and nothing is the default.
_AZURE = Provider(
    name="azure",
    title="Azure OpenAI",
    base_url="",
    hosts=(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
    families=_ALL_FAMILIES - {"moderations"},
    key_env=("AZURE_OPENAI_API_KEY",),
    docs="https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
    aliases=("azure-openai",),
    auth="api-key",
    embeddings=(*_OPENAI_EMBEDDINGS, EmbeddingModel("", sends_base64=True)),
    chat=_OPENAI_CHAT,
    vision=_OPENAI_VISION,
    speech=_OPENAI_SPEECH,
)
_DEEPSEEK = Provider(
    name="deepseek",
    title="DeepSeek",
    base_url="https://api.deepseek.com",
    hosts=("api.deepseek.com",),
    families=frozenset({"chat", "models"}),
    key_env=("DEEPSEEK_API_KEY",),
    docs="https://api-docs.deepseek.com",
    default_models=_models(chat="deepseek-v4-flash"),
    # https://api-docs.deepseek.com/guides/thinking_mode
    chat=ChatQuirks(
        json_schema=False,
        echo_reasoning=True,
        reasoning="effort and toggle",
        unsupported=LACKS_OPENAI_EXTRAS | {"logit_bias"},
    ),
    vision=None,
)
_KIMI = Provider(
    name="kimi",
    title="Kimi (Moonshot)",
    base_url="https://api.moonshot.cn/v1",
    hosts=("api.moonshot.cn", "api.moonshot.ai"),
    families=frozenset({"batches", "chat", "files", "models"}),
    key_env=("MOONSHOT_API_KEY", "KIMI_API_KEY"),
    docs="https://platform.moonshot.cn/docs",
    aliases=("moonshot",),
    default_models=_models(chat="kimi-k2.6"),
    chat=ChatQuirks(
        temperature=(0.0, 1.0),
        fixed_sampling_prefixes=("kimi-k2",),
        tool_choice_required=False,
        json_schema=False,
        echo_reasoning=True,
        reasoning="toggle",
        unsupported=LACKS_OPENAI_EXTRAS | {"logit_bias"},
    ),
)
# Errors may come as HTTP 200 with code != 0. Reasoning models (x1) live under /v2 of the same host.
_SPARK = Provider(
    name="spark",
    title="iFLYTEK Spark",
    base_url="https://spark-api-open.xf-yun.com/v1",
    hosts=("spark-api-open.xf-yun.com",),
    families=frozenset({"chat"}),
    key_env=("SPARK_API_PASSWORD", "SPARK_API_KEY"),
    docs="https://www.xfyun.cn/doc/spark/HTTP%E8%B0%83%E7%94%A8%E6%96%87%E6%A1%A3.html",
    aliases=("xunfei", "iflytek"),
    default_models=_models(chat="4.0Ultra"),
    chat=ChatQuirks(
        temperature=(0.0, 1.0),
        open_low=True,
        unsupported=LACKS_OPENAI_EXTRAS | {"frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias"},
        reasoning="none",
        tool_choice_required=False,
        json_schema=False,
        stream_options=False,
    ),
    vision=None,
)
# text-embedding-v4: 10 inputs of 8,192 tokens, 64-2,048 dimensions. https://help.aliyun.com/zh/model-studio/embedding
_QWEN = Provider(
    name="qwen",
    title="Qwen (Alibaba DashScope)",
    base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
    hosts=("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
    families=frozenset({"batches", "chat", "embeddings", "files", "models", "responses"}),
    key_env=("DASHSCOPE_API_KEY",),
    docs="https://help.aliyun.com/zh/model-studio/",
    aliases=("dashscope", "bailian"),
    default_models=_models(chat="qwen-plus", embeddings="text-embedding-v4"),
    chat=ChatQuirks(reasoning="flag", unsupported=LACKS_OPENAI_EXTRAS),
    embeddings=(
        EmbeddingModel("text-embedding-v4", _limits(10, 8192), 1024, takes_dimensions=True),
        EmbeddingModel("text-embedding-v3", _limits(10, 8192), 1024, takes_dimensions=True),
        EmbeddingModel("text-embedding-v2", _limits(25, 2048), 1536),
        EmbeddingModel("text-embedding-v1", _limits(25, 2048), 1536),
        EmbeddingModel("", _limits(10, 2048)),
    ),
    vision=VisionQuirks(
        max_bytes=7_000_000, patch=32
    ),  # 10 MB as base64. https://help.aliyun.com/zh/model-studio/vision
)
# embedding-3: 64 inputs of 3,072 tokens, 256/512/1024/2048 dimensions. https://docs.bigmodel.cn/cn/guide/models/embedding
_ZHIPU = Provider(
    name="zhipu",
    title="Zhipu GLM",
    base_url="https://open.bigmodel.cn/api/paas/v4",
    hosts=("open.bigmodel.cn", "api.z.ai"),
    families=frozenset({"batches", "chat", "embeddings", "files", "images"}),
    key_env=("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
    docs="https://docs.bigmodel.cn",
    aliases=("glm", "bigmodel", "zai"),
    default_models=_models(chat="glm-5", embeddings="embedding-3"),
    embeddings=(
        EmbeddingModel("embedding-3", _limits(64, 3072), 2048, takes_dimensions=True),
        EmbeddingModel("embedding-2", _limits(16, 512, 8_000), 1024),
        EmbeddingModel("", _limits(16, 512, 8_000)),
    ),
    chat=ChatQuirks(
        temperature=(0.0, 1.0),
        unsupported=LACKS_OPENAI_EXTRAS | {"frequency_penalty", "presence_penalty", "seed"},
        reasoning="toggle",
        tool_choice_required=False,
        json_schema=False,
        stream_options=False,  # usage comes on the last chunk unasked
    ),
)
# 32 inputs; 512 tokens for bge-large and bce, 8,192 for bge-m3. https://docs.siliconflow.cn/api-reference/embeddings
_SILICONFLOW = Provider(
    name="siliconflow",
    title="SiliconFlow",
    base_url="https://api.siliconflow.cn/v1",
    hosts=("api.siliconflow.cn", "api.siliconflow.com"),
    families=frozenset({"audio", "chat", "embeddings", "images", "models", "rerank"}),
    key_env=("SILICONFLOW_API_KEY",),
    docs="https://docs.siliconflow.cn",
    default_models=_models(embeddings="BAAI/bge-m3"),
    chat=ChatQuirks(reasoning="flag", unsupported=LACKS_OPENAI_EXTRAS),
    embeddings=(
        EmbeddingModel("BAAI/bge-m3", _limits(32, 8192), 1024, sends_base64=True),
        EmbeddingModel("Pro/BAAI/bge-m3", _limits(32, 8192), 1024, sends_base64=True),
        EmbeddingModel("BAAI/bge-large", _limits(32, 512), 1024, sends_base64=True),
        EmbeddingModel("netease-youdao/bce-embedding", _limits(32, 512), 768, sends_base64=True),
        EmbeddingModel("Qwen/Qwen3-Embedding", _limits(32, 32_768), takes_dimensions=True, sends_base64=True),
        EmbeddingModel("", _limits(32, 512)),
    ),
    # An hour, 50 MB, and a text without times. https://docs.siliconflow.cn/cn/api-reference/audio/create-audio-transcriptions
    speech=(SpeechModel("", max_bytes=50_000_000, max_seconds=3_600.0, media_types=("audio/wav", "audio/mpeg")),),
)
# The model may be an endpoint id (ep-...). https://www.volcengine.com/docs/82379/1302003
_VOLCENGINE = Provider(
    name="volcengine",
    title="Volcengine Ark (Doubao)",
    base_url="https://ark.cn-beijing.volces.com/api/v3",
    hosts=(".volces.com",),
    families=frozenset({"chat", "embeddings", "files", "images", "responses"}),
    key_env=("ARK_API_KEY", "VOLCENGINE_API_KEY"),
    docs="https://www.volcengine.com/docs/82379",
    aliases=("ark", "doubao"),
    chat=ChatQuirks(reasoning="toggle", unsupported=LACKS_OPENAI_EXTRAS),
    embeddings=(EmbeddingModel("", _limits(64, 4096)),),
)
# The window of an Ollama model is its num_ctx, and a longer text is cut there without a word: so 2,048 is assumed.
_OLLAMA = Provider(
    name="ollama",
    title="Ollama",
    base_url="http://localhost:11434/v1",
    hosts=("localhost:11434", "127.0.0.1:11434"),
    families=frozenset({"audio", "chat", "embeddings", "models", "responses"}),
    key_env=("OLLAMA_API_KEY",),
    docs="https://docs.ollama.com/api/openai-compatibility",
    needs_key=False,
    embeddings=(
        EmbeddingModel("nomic-embed-text", _limits(64, 2048), 768),
        EmbeddingModel("all-minilm", _limits(64, 256), 384),
        EmbeddingModel("mxbai-embed-large", _limits(64, 512), 1024),
        EmbeddingModel("bge-m3", _limits(64, 8192), 1024),
        EmbeddingModel("", _limits(64, 2048)),
    ),
    chat=ChatQuirks(tool_choice_required=False, unsupported=LACKS_OPENAI_EXTRAS),
    # Models that chat and hear: 30 seconds, WAV, no times. https://github.com/ollama/ollama/issues/15427
    speech=(SpeechModel("", max_seconds=30.0, media_types=("audio/wav",)),),
)
_VLLM = Provider(
    name="vllm",
    title="vLLM",
    base_url="http://localhost:8000/v1",
    hosts=(),
    families=frozenset({"audio", "chat", "embeddings", "models", "rerank", "responses"}),
    key_env=("VLLM_API_KEY",),
    docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    needs_key=False,
    embeddings=(EmbeddingModel("", _limits(256, 8191), sends_base64=True),),
    speech=(SpeechModel("whisper", "verbose_json"), SpeechModel("")),
)
# One text must fit into one physical batch (--ubatch-size, 512 unless set).
_LLAMACPP = Provider(
    name="llamacpp",
    title="llama.cpp server",
    base_url="http://localhost:8080/v1",
    hosts=(),
    families=frozenset({"chat", "embeddings", "models", "rerank", "responses"}),
    key_env=("LLAMA_API_KEY",),
    docs="https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
    aliases=("llama.cpp", "llama-cpp"),
    needs_key=False,
    embeddings=(EmbeddingModel("", _limits(64, 512), sends_base64=True),),
)
# Rerankers and embeddings; no chat. https://api.jina.ai/redoc
_JINA = Provider(
    name="jina",
    title="Jina AI",
    base_url="https://api.jina.ai/v1",
    hosts=("api.jina.ai",),
    families=frozenset({"embeddings", "rerank"}),
    key_env=("JINA_API_KEY",),
    docs="https://jina.ai/reranker",
    default_models=_models(rerank="jina-reranker-v3"),
    embeddings=(EmbeddingModel("", _limits(512, 8192)),),
)
# The address of its rerankers; its chat and embeddings in OpenAI's form are elsewhere (/compatibility/v1).
_COHERE = Provider(
    name="cohere",
    title="Cohere (rerank)",
    base_url="https://api.cohere.com/v2",
    hosts=("api.cohere.com",),
    families=frozenset({"rerank"}),
    key_env=("COHERE_API_KEY", "CO_API_KEY"),
    docs="https://docs.cohere.com/reference/rerank",
    default_models=_models(rerank="rerank-v3.5"),
)
GENERIC = Provider(
    name="openai-compatible",
    title="an OpenAI-compatible endpoint",
    base_url="",
    hosts=(),
    families=_ALL_FAMILIES | {"rerank"},
    key_env=("OPENAI_API_KEY",),
    docs="",
    aliases=("generic", "compatible"),
    needs_key=False,
    embeddings=(
        EmbeddingModel("text-embedding-3-small", dimensions=1536, takes_dimensions=True, sends_base64=True),
        EmbeddingModel("text-embedding-3-large", dimensions=3072, takes_dimensions=True, sends_base64=True),
        EmbeddingModel("", takes_dimensions=True, sends_base64=True),
    ),
    chat=ChatQuirks(echo_reasoning=True),  # it may stand in front of a provider that wants it; others ignore it
    # Whisper's servers tell times (whisper.cpp, faster-whisper, Groq); WAV is what all of them read.
    speech=(
        SpeechModel("diarize", "diarized_json", max_seconds=1_400.0, media_types=("audio/wav", "audio/mpeg")),
        SpeechModel("whisper", "verbose_json", media_types=("audio/wav", "audio/flac", "audio/mpeg")),
        SpeechModel("", max_seconds=1_400.0, media_types=("audio/wav", "audio/mpeg")),
    ),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            _OPENAI,
            _AZURE,
            _DEEPSEEK,
            _KIMI,
            _SPARK,
            _QWEN,
            _ZHIPU,
            _SILICONFLOW,
            _VOLCENGINE,
            _OLLAMA,
            _VLLM,
            _LLAMACPP,
            _JINA,
            _COHERE,
            GENERIC,
        )
    }
)
_BY_ALIAS: Mapping[str, Provider] = MappingProxyType(
    {alias: provider for provider in PROVIDERS.values() for alias in (provider.name, *provider.aliases)}
)


def provider_named(name: str) -> Provider:
    """Return the provider of this name or alias, in any case; an unknown name is a ConfigError that lists the known."""
    provider = _BY_ALIAS.get(name.strip().lower())
    if provider is None:
        raise ConfigError(f"provider {name!r} is not known; the known ones are: {', '.join(PROVIDERS)}")
    return provider


def provider_for(base_url: str) -> Provider:
    """Return the provider that serves this URL, judged by its host; a host nobody claims is ``openai-compatible``.

    >>> provider_for("https://api.moonshot.ai/v1").name
    'kimi'
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    names = {host, parts.netloc.rpartition("@")[2].lower()}
    for provider in PROVIDERS.values():
        for known in provider.hosts:
            if known in names or (known.startswith(".") and host.endswith(known)):
                return provider
    return GENERIC


def embedding_model(provider: Provider, model: str) -> EmbeddingModel:
    """Return what is known of a model: the longest matching prefix of the provider's list, else cautious defaults."""
    # Ollama writes "name:tag" and gateways "vendor/name"; only the former is a prefix, the latter a provider's matter.
    matches = [known for known in provider.embeddings if model.startswith(known.prefix)]
    return max(matches, key=lambda known: len(known.prefix), default=EmbeddingModel(""))


def speech_model(provider: Provider, model: str) -> SpeechModel:
    """Return what is known of a speech model: the first of the provider's list that its name fits, else defaults."""
    name = model.lower()
    return next((known for known in provider.speech if known.within in name), SpeechModel())


def embedder_profile(provider: Provider, model: str, *, dimensions: int | None = None) -> EmbedderProfile:
    """Return the profile of a model, with ``dimensions`` where the caller asks for fewer.

    Raises ConfigError when the model cannot shorten its vectors.
    """
    known = embedding_model(provider, model)
    if dimensions is not None and not known.takes_dimensions and dimensions != known.dimensions:
        raise ConfigError(
            f"{provider.title} model {model!r} cannot make vectors of {dimensions} dimensions; "
            "remove the dimensions setting"
        )
    return EmbedderProfile(
        model=model,
        dimensions=known.dimensions if dimensions is None else dimensions,
        tokenizer=known.tokenizer,
        limits=known.limits,
    )
