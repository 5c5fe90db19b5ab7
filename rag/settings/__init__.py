"""The settings of a run: the only reader of the environment and of ``rag.toml``.

Order, strongest first: flag, environment (``RAG_<SECTION>_<NAME>``), ``rag.toml``, default. ``OPENAI_API_KEY`` and
``OPENAI_BASE_URL`` are the common ground: a model family without settings of its own uses them, if that provider has
the family; otherwise the embedded model serves. A key is only ever sent to the provider it was given for.
"""

from rag.settings.agent import AgentOptions
from rag.settings.answers import AnswerOptions
from rag.settings.loading import SECTIONS, Settings, SharedEndpoint, environment_name, load_settings, section_of
from rag.settings.models import (
    AudioOptions,
    ChatOptions,
    EmbeddingsOptions,
    ModelOptions,
    ModerationOptions,
    OcrOptions,
    RerankOptions,
    VisionOptions,
)
from rag.settings.observe import ObserveOptions
from rag.settings.options import (
    ChunkingOptions,
    IngestOptions,
    QueryOptions,
    RetrievalOptions,
    ServerOptions,
    WebOptions,
)

__all__ = [
    "SECTIONS",
    "AgentOptions",
    "AnswerOptions",
    "AudioOptions",
    "ChatOptions",
    "ChunkingOptions",
    "EmbeddingsOptions",
    "IngestOptions",
    "ModelOptions",
    "ModerationOptions",
    "ObserveOptions",
    "OcrOptions",
    "QueryOptions",
    "RerankOptions",
    "RetrievalOptions",
    "ServerOptions",
    "Settings",
    "SharedEndpoint",
    "VisionOptions",
    "WebOptions",
    "environment_name",
    "load_settings",
    "section_of",
]
