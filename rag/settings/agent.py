"""The settings of answers for which a model looks for its sources itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rag.settings.checks import require

__all__ = ["AgentOptions"]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What an agent may spend on one question. When it is spent, the model answers from what it has."""

    max_steps: int = 8
    """turns in which the model may call tools"""
    max_tokens: int = 100_000
    """tokens of all turns, sent and written, after which no further one with tools is begun"""
    timeout_s: float = 120.0
    """seconds after which no tool is called any more"""
    max_tool_tokens: int = 4000
    """tokens that the results of one turn may have, together"""

    def __post_init__(self) -> None:
        require(1 <= self.max_steps <= 100, "max_steps", self.max_steps, "a whole number from 1 to 100")
        require(self.max_tokens >= 1, "max_tokens", self.max_tokens, "a whole number from 1")
        require(0 < self.timeout_s < math.inf, "timeout_s", self.timeout_s, "a number above 0")
        require(self.max_tool_tokens >= 256, "max_tool_tokens", self.max_tool_tokens, "a whole number from 256")
