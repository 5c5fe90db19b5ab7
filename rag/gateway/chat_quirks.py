"""How the chat completions of a provider differ from OpenAI's: data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LACKS_OPENAI_EXTRAS", "ChatQuirks"]

LACKS_OPENAI_EXTRAS = frozenset({"verbosity", "service_tier", "store", "metadata"})
"""What OpenAI and Azure know and no other provider of the table documents: left out, and said so."""


@dataclass(frozen=True, slots=True)
class ChatQuirks:
    """How a provider's chat completions differ from OpenAI's.

    ``max_tokens_field`` is the name of the length limit; models starting with one of ``reasoning_prefixes`` take
    ``max_completion_tokens`` instead. ``fixed_sampling_prefixes`` name models that reject any temperature, top_p or
    penalty of the caller. ``temperature`` is the range accepted, its lower end excluded where ``open_low``.
    ``unsupported`` parameters are left out; ``tools`` says whether functions can be called. ``echo_reasoning``: earlier
    ``reasoning_content`` must be sent back.

    ``reasoning`` says how a model is told to think: "effort" by ``reasoning_effort``, "toggle" by
    ``thinking: {"type": "enabled"}`` or "disabled" without degrees, "effort and toggle" by both, "flag" by
    ``enable_thinking: true`` or false, "none" not at all. ``user_field`` carries who asks.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reasoning_prefixes: tuple[str, ...] = ()
    fixed_sampling_prefixes: tuple[str, ...] = ()
    temperature: tuple[float, float] = (0.0, 2.0)
    open_low: bool = False
    unsupported: frozenset[str] = frozenset()
    tools: bool = True
    tool_choice_required: bool = True
    json_schema: bool = True
    developer_role: bool = False
    stream_options: bool = True
    echo_reasoning: bool = False
    reasoning: Literal["effort", "toggle", "effort and toggle", "flag", "none"] = "effort"
    user_field: Literal["user", "safety_identifier"] = "user"
